//! Links in memory: how soon an edit shows, and what is served while the database is away.

use std::time::Duration;

use bus::{Changed, Table};
use model::Click;
use store::links::LinkOptions;
use store::settings::LinkSettings;
use testkit::{TestDatabase, until};

use crate::client::get;
use crate::house::{House, LIMIT, Running, options};

fn elsewhere() -> LinkOptions {
    LinkOptions { original_url: "https://example.com/elsewhere".parse().expect("a URL"), ..options() }
}

/// Acceptance test 10 of links and clicks.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_a_disable_and_an_archive_show_on_every_node_with_one_notice() {
    let house = House::new().await;
    let id = house.link("abc", options()).await;
    let mut settings = house.settings();
    // age does not help
    settings.links.refresh = Duration::from_secs(3600);
    let first = Running::start(settings.clone()).await;
    settings.redirect.spool.dir = house.spool_dir.path().join("second");
    let second = Running::start(settings).await;
    let bus = house.nats.bus("test").await;
    let keys = vec!["go.example.com/abc".to_owned()];
    let changed = Changed { table: Table::Links, workspace_id: house.workspace_id, keys };
    for redirect in [&first, &second] {
        redirect.follows_changes().await;
        assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 302);
    }
    let both_answer = async |status: u16, location: Option<&str>| {
        bus.notify(&changed).await;
        for redirect in [&first, &second] {
            until(LIMIT, async || {
                let answer = get(redirect.addr, "/abc", &[]).await;
                ((answer.status, answer.header("location")) == (status, location)).then_some(())
            })
            .await;
        }
    };

    house.edit(id, elsewhere()).await;
    both_answer(302, Some("https://example.com/elsewhere")).await;
    let clicks = until(LIMIT, async || {
        let clicks = house.clicks().await;
        let edited = clicks.iter().filter(|click| click.destination_url == "https://example.com/elsewhere");
        (edited.count() >= 2).then_some(clicks)
    })
    .await;
    let is_edited = |click: &Click| click.destination_url == "https://example.com/elsewhere";
    assert!(clicks.iter().all(|click| (click.link.revision == 2) == is_edited(click)));
    house.edit(id, LinkOptions { enabled: false, ..elsewhere() }).await;
    both_answer(410, None).await;
    house.edit(id, options()).await;
    both_answer(302, Some(options().original_url.as_str())).await;
    house.archive(id).await;
    both_answer(404, None).await;

    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switching_tracking_off_shows_with_its_notice() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    // age does not help
    settings.links.refresh = Duration::from_secs(3600);
    let redirect = Running::start(settings).await;
    redirect.follows_changes().await;
    assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 302);
    let bus = house.nats.bus("test").await;
    let changed = Changed { table: Table::Settings, workspace_id: house.workspace_id, keys: vec![] };
    let untracked = redirect.count("answers", "followed_untracked");

    house.decide(LinkSettings { is_tracking: false, ..LinkSettings::default() }).await;
    bus.notify(&changed).await;

    until(LIMIT, async || {
        assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 302);
        (redirect.count("answers", "followed_untracked") > untracked).then_some(())
    })
    .await;
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_workspace_decides_leaves_the_links_of_others_in_memory() {
    let house = House::new().await;
    house.link("abc", options()).await;
    house.stranger("others.example", "abc").await;
    let mut settings = house.settings();
    settings.links.refresh = Duration::from_secs(3600);
    let redirect = Running::start(settings).await;
    redirect.follows_changes().await;
    assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 302);
    let bus = house.nats.bus("test").await;
    let changed = Changed { table: Table::Settings, workspace_id: house.workspace_id, keys: vec![] };
    let others = [("host", "others.example")];
    assert_eq!(get(redirect.addr, "/abc", &others).await.status, 302);

    let before = redirect.count("lookups", "database");
    bus.notify(&changed).await;
    until(LIMIT, async || {
        assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 302);
        (redirect.count("lookups", "database") > before).then_some(())
    })
    .await;

    let before = redirect.count("lookups", "database");
    assert_eq!(get(redirect.addr, "/abc", &others).await.status, 302);
    assert_eq!(redirect.count("lookups", "database"), before);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stood_for_the_default_domain_shows_its_own_links_with_their_notice() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.links.refresh = Duration::from_secs(3600);
    settings.links.any_host = true;
    let redirect = Running::start(settings).await;
    redirect.follows_changes().await;
    assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 302);
    let bus = house.nats.bus("test").await;
    let new = [("host", "new.example")];
    assert_eq!(get(redirect.addr, "/abc", &new).await.status, 302);

    house.domain_of_its_own("new.example", "other").await;
    let keys = vec!["new.example/other".to_owned()];
    bus.notify(&Changed { table: Table::Links, workspace_id: house.workspace_id, keys }).await;

    until(LIMIT, async || (get(redirect.addr, "/other", &new).await.status == 302).then_some(())).await;
    assert_eq!(get(redirect.addr, "/abc", &new).await.status, 404);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_notices_an_edit_shows_with_age() {
    let house = House::new().await;
    let id = house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.links.refresh = Duration::from_millis(50);
    let redirect = Running::start(settings).await;
    get(redirect.addr, "/abc", &[]).await;

    house.edit(id, elsewhere()).await;

    until(LIMIT, async || {
        let answer = get(redirect.addr, "/abc", &[]).await;
        (answer.location() == "https://example.com/elsewhere").then_some(())
    })
    .await;
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_made_after_it_was_asked_for_is_found_soon() {
    let house = House::new().await;
    let redirect = house.start().await;
    assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 404);

    house.link("abc", options()).await;

    until(LIMIT, async || (get(redirect.addr, "/abc", &[]).await.status == 302).then_some(())).await;
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_database_away_known_links_are_followed_and_others_asked_to_wait() {
    let mut database = TestDatabase::cluster().await;
    let house = House::with(database.settings()).await;
    house.link("known", options()).await;
    house.link("new", options()).await;
    let mut settings = house.settings();
    settings.links.refresh = Duration::from_millis(1);
    let redirect = Running::start(settings).await;
    assert_eq!(get(redirect.addr, "/known", &[]).await.status, 302);

    database.stop().await;

    assert_eq!(get(redirect.addr, "/known", &[]).await.status, 302);
    let answer = get(redirect.addr, "/new", &[]).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    assert_eq!(house.clicks_when(2).await.len(), 2);

    database.restart().await;
    until(LIMIT, async || (get(redirect.addr, "/new", &[]).await.status == 302).then_some(())).await;
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_database_away_links_that_are_too_old_are_not_served() {
    let mut database = TestDatabase::cluster().await;
    let house = House::with(database.settings()).await;
    house.link("known", options()).await;
    let mut settings = house.settings();
    settings.links.refresh = Duration::from_millis(1);
    settings.links.stale_max = Duration::from_millis(300);
    settings.redirect.lookup_timeout = Duration::from_millis(200);
    let redirect = Running::start(settings).await;
    assert_eq!(get(redirect.addr, "/known", &[]).await.status, 302);

    database.stop().await;

    until(LIMIT, async || {
        let answer = get(redirect.addr, "/known", &[]).await;
        (answer.status == 503 && answer.header("retry-after") == Some("5")).then_some(())
    })
    .await;
    database.restart().await;
    until(LIMIT, async || (get(redirect.addr, "/known", &[]).await.status == 302).then_some(())).await;
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_it_starts_and_says_that_it_is_not_ready() {
    let mut database = TestDatabase::cluster().await;
    let house = House::with(database.settings()).await;
    house.link("abc", options()).await;
    database.stop().await;
    let redirect = house.start().await;

    assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 503);
    assert!(!redirect.is_ready());

    database.restart().await;
    until(LIMIT, async || redirect.is_ready().then_some(())).await;
    assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 302);
    redirect.stop().await;
}
