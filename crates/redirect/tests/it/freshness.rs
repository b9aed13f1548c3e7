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
        // a notice that a redirect hears makes it look the link up: from then on it misses none
        until(LIMIT, async || {
            get(redirect.addr, "/abc", &[]).await;
            bus.notify(&changed).await;
            (redirect.count("lookups", "database") >= 2).then_some(())
        })
        .await;
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
    let redirect = house.start().await;
    let bus = house.nats.bus("test").await;
    get(redirect.addr, "/abc", &[]).await;
    house.clicks_when(1).await;

    house.decide(LinkSettings { is_tracking: false, ..LinkSettings::default() }).await;
    let changed = Changed { table: Table::Settings, workspace_id: house.workspace_id, keys: vec![] };

    until(LIMIT, async || {
        bus.notify(&changed).await;
        let before = house.clicks().await.len();
        assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 302);
        // a second, tracked visit would come after it
        tokio::time::timeout(Duration::from_millis(200), house.clicks_when(before + 1))
            .await
            .is_err()
            .then_some(())
    })
    .await;
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
    let ops = service::ops::Ops::new();
    let app = redirect::App::build_with(house.settings(), ops.clone()).await.expect("it starts");
    let (addr, stop) = (app.addr(), tokio_util::sync::CancellationToken::new());
    let running = tokio::spawn(app.run(stop.clone()));

    assert_eq!(get(addr, "/abc", &[]).await.status, 503);
    assert!(!ops.readiness().ready);

    database.restart().await;
    until(LIMIT, async || ops.readiness().ready.then_some(())).await;
    assert_eq!(get(addr, "/abc", &[]).await.status, 302);
    stop.cancel();
    running.await.expect("no panic").expect("a clean end");
}
