//! Destinations that an operator has blocked.

use std::time::Duration;

use chrono::{SubsecRound as _, TimeDelta, Utc};
use model::{DestinationUrl, Host, LinkId};
use store::link_import::NewLink;
use store::links::{self, LinkOptions};
use store::{AsyncConnection as _, Connection, QueryError, destinations, domains, locks, routes, settings};
use testkit::{TestDatabase, given};

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_blocked_destination_is_known_with_the_names_below_it() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let at = Utc::now().trunc_subsecs(3);
    let asked = ["evil.example", "a.b.evil.example", "notevil.example", "example"].map(host);

    assert_eq!(destinations::block(&mut conn, &host("evil.example"), at).await.unwrap(), at);
    let again =
        destinations::block(&mut conn, &host("evil.example"), at + TimeDelta::hours(1)).await.unwrap();
    assert_eq!(again, at, "it is blocked since then");

    let blocked = destinations::blocked_among(&mut conn, &asked).await.unwrap();
    assert_eq!(blocked, [host("evil.example"), host("a.b.evil.example")].into());
    let later = at + TimeDelta::hours(2);
    assert_eq!(destinations::block(&mut conn, &host("b.evil.example"), later).await.unwrap(), later);
    let since = destinations::blocks_of(&mut conn, &asked, None).await.unwrap();
    assert_eq!(since, [(host("evil.example"), at), (host("a.b.evil.example"), at)].into());
    destinations::unblock(&mut conn, &host("b.evil.example")).await.unwrap();
    assert_eq!(destinations::unblock(&mut conn, &host("evil.example")).await.unwrap(), Some(at));
    assert_eq!(destinations::unblock(&mut conn, &host("evil.example")).await.unwrap(), None);
    assert!(destinations::blocked_among(&mut conn, &asked).await.unwrap().is_empty());
}

async fn led(conn: &mut Connection, after: Option<LinkId>) -> (Vec<LinkId>, Option<LinkId>) {
    let (leading, next) = destinations::leading_to(conn, &host("evil.example"), after).await.unwrap();
    (leading.into_iter().map(|link| link.id).collect(), next)
}

#[tokio::test]
async fn links_that_lead_there_are_found_whosever_they_are_look_by_look() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let mut expected = Vec::new();
    for served in ["a.example", "b.example"] {
        let workspace_id = given::workspace(&mut conn).await;
        let domain = given::domain(&mut conn, workspace_id, served).await;
        for (n, url) in [
            "https://evil.example/x",
            "https://www.evil.example/",
            "https://notevil.example/",
            "https://example.com/",
        ]
        .into_iter()
        .cycle()
        .take(800)
        .enumerate()
        {
            let (id, slug) = (LinkId::generate(), format!("s{n}").parse().unwrap());
            let options = LinkOptions::to(url.parse().unwrap());
            let new =
                NewLink { id, domain_id: domain.id, slug: &slug, options: &options, created_by: "test" };
            links::insert(&mut conn, workspace_id, &new, Utc::now()).await.unwrap();
            if url.contains("/evil") || url.contains("www.") {
                expected.push(id);
            }
        }
    }
    expected.sort();

    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (ids, next) = led(&mut conn, after).await;
        found.extend(ids);
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }

    assert!(found == expected, "{} of {}, each once", found.len(), expected.len());
    let at = Utc::now().trunc_subsecs(3);
    destinations::set_links(&mut conn, &found[..1], Some(at)).await.unwrap();
    let (leading, _) = destinations::leading_to(&mut conn, &host("evil.example"), None).await.unwrap();
    assert_eq!((leading[0].blocked_at, leading[1].blocked_at), (Some(at), None));
    let (since, next) = destinations::blocked_since(&mut conn, at, None).await.unwrap();
    assert_eq!((&since[..], next), (&leading[..1], None));
}

#[tokio::test]
async fn a_fallback_of_a_domain_or_of_settings_that_leads_there_is_not_served_while_that_is_blocked() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let (one, other) = (given::workspace(&mut conn).await, given::workspace(&mut conn).await);
    let domain = given::domain(&mut conn, one, "go.example").await;
    let options = LinkOptions::to("https://example.com/".parse().unwrap());
    given::link(&mut conn, one, domain.id, "plain", &options).await;
    let settings_with = |url: &str| settings::LinkSettings {
        fallback_url: Some(url.parse().unwrap()),
        ..settings::LinkSettings::default()
    };
    settings::save(&mut conn, other, &settings_with("https://notevil.example/"), Utc::now()).await.unwrap();

    // of a slug that no link has, and of a link
    let ask = async |conn: &mut Connection| {
        let of_domain = routes::domain(conn, &domain.host).await.unwrap().unwrap().fallback_url;
        let link = routes::find_for_redirect(conn, &domain.host, &"plain".parse().unwrap()).await.unwrap();
        (of_domain.is_some(), link.unwrap().fallback_url.is_some())
    };
    for url in [
        "https://evil.example/x",
        "http://www.evil.example:8443?x",
        "https://a.b.evil.example.#x",
        "https://notevil.example/evil.example",
    ] {
        let is_led = !url.contains("notevil");
        for is_of_domain in [false, true] {
            let fallback: DestinationUrl = url.parse().unwrap();
            let of_domain = Some(&fallback).filter(|_| is_of_domain);
            domains::set_fallback(&mut conn, one, domain.id, of_domain).await.unwrap();
            let of_settings = if is_of_domain { "https://example.com/" } else { url };
            settings::save(&mut conn, one, &settings_with(of_settings), Utc::now()).await.unwrap();
            assert_eq!(ask(&mut conn).await, (is_of_domain, true), "{url}");

            destinations::block(&mut conn, &host("evil.example"), Utc::now()).await.unwrap();
            assert_eq!(ask(&mut conn).await, (is_of_domain && !is_led, !is_led), "{url}");
            let found = destinations::falling_back_to(&mut conn, &host("evil.example")).await.unwrap();
            assert_eq!(
                found.into_iter().collect::<Vec<_>>(),
                if is_led { vec![one] } else { vec![] },
                "{url}"
            );

            destinations::unblock(&mut conn, &host("evil.example")).await.unwrap();
            assert_eq!(ask(&mut conn).await, (is_of_domain, true), "{url}");
        }
    }
}

#[tokio::test]
async fn a_link_that_is_made_while_its_destination_is_being_blocked_is_found() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let (mut maker, mut operator) = (pool.get().await.unwrap(), pool.get().await.unwrap());
    let workspace_id = given::workspace(&mut maker).await;
    let domain = given::domain(&mut maker, workspace_id, "a.example").await;
    let (id, slug) = (LinkId::generate(), "s0".parse().unwrap());
    let options = LinkOptions::to("https://www.evil.example/".parse().unwrap());
    let new = NewLink { id, domain_id: domain.id, slug: &slug, options: &options, created_by: "test" };
    let led_to = [host("www.evil.example")];

    let blocking = maker
        .transaction::<_, QueryError, _>(async |conn| {
            assert!(destinations::blocked_among(conn, &led_to).await?.is_empty());
            let blocking = tokio::spawn(async move {
                destinations::block(&mut operator, &host("evil.example"), Utc::now()).await.unwrap();
                led(&mut operator, None).await.0
            });
            testkit::until(Duration::from_secs(30), || async {
                let mut conn = pool.get().await.ok()?;
                (locks::waiting(&mut conn).await.ok()? > 0).then_some(())
            })
            .await;
            links::insert(conn, workspace_id, &new, Utc::now()).await?;
            Ok(blocking)
        })
        .await
        .unwrap();

    assert_eq!(blocking.await.unwrap(), [id]);
    let blocked = destinations::blocked_among(&mut maker, &led_to).await.unwrap();
    assert_eq!(blocked, led_to.into(), "whoever asks later is told");
}
