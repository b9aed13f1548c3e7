//! Destinations that an operator blocks, and lifts again.

use chrono::Utc;
use store::links::LinkOptions;
use testkit::{OwnDatabase, TestNats};

use crate::command::Clickwire;

#[tokio::test]
async fn an_operator_blocks_where_links_lead_and_lifts_it_again_but_of_links_that_are_blocked_themselves() {
    let (database, nats) = tokio::join!(OwnDatabase::start(), TestNats::start());
    let mut conn = database.pool().get().await.expect("a connection");
    let workspace_id = testkit::given::workspace(&mut conn).await;
    let domain = testkit::given::domain(&mut conn, workspace_id, "go.example.com").await;
    let mut ids = Vec::new();
    for (slug, url) in [
        ("a", "https://www.evil.example/"),
        ("b", "https://evil.example/x"),
        ("c", "https://example.com/evil.example"),
    ] {
        let options = LinkOptions::to(url.parse().expect("a URL"));
        ids.push(testkit::given::link(&mut conn, workspace_id, domain.id, slug, &options).await);
    }
    let clickwire = Clickwire::new()
        .with("CLICKWIRE__DATABASE__URL", database.url())
        .with("CLICKWIRE__NATS__URL", nats.url());
    let mut are_blocked = async || {
        let mut blocked = Vec::new();
        for id in &ids {
            let link = store::links::find(&mut conn, workspace_id, *id).await.expect("a row");
            blocked.push(link.expect("there").blocked_at.is_some());
        }
        blocked
    };

    clickwire.ok(&["block", &ids[1].to_string()]).await;
    let blocked = clickwire.ok(&["block", "--destination", "evil.example", "--json"]).await.json();
    assert_eq!((&blocked["blocked"], &blocked["links"]), (&true.into(), &1.into()), "{blocked}");
    assert_eq!(are_blocked().await, [true, true, false]);
    let again = clickwire.ok(&["block", "--destination", "evil.example", "--json"]).await.json();
    assert_eq!(again["links"], 0, "{again}");

    let lifted = clickwire.ok(&["unblock", "--destination", "evil.example"]).await;
    assert!(lifted.stdout.contains("not blocked any more: 1"), "{lifted:?}");
    assert_eq!(are_blocked().await, [false, true, false]);
    for (command, wrong) in [("unblock", "evil.example"), ("block", "https://evil.example/")] {
        clickwire.fails(&[command, "--destination", wrong]).await;
    }
}

#[tokio::test]
async fn lifting_one_destination_opens_no_link_to_another_and_keeps_none_that_leads_elsewhere_by_now() {
    let (database, nats) = tokio::join!(OwnDatabase::start(), TestNats::start());
    let mut conn = database.pool().get().await.expect("a connection");
    let workspace_id = testkit::given::workspace(&mut conn).await;
    let domain = testkit::given::domain(&mut conn, workspace_id, "go.example.com").await;
    let mut ids = Vec::new();
    for (slug, url, expired_url) in [
        ("below", "https://www.evil.example/", None),
        ("plain", "https://evil.example/", None),
        ("moved", "https://evil.example/x", None),
        ("both", "https://evil.example/y", Some("https://other.example/")),
    ] {
        let expired_url = expired_url.map(|url| url.parse().expect("a URL"));
        let options = LinkOptions { expired_url, ..LinkOptions::to(url.parse().expect("a URL")) };
        ids.push(testkit::given::link(&mut conn, workspace_id, domain.id, slug, &options).await);
    }
    let clickwire = Clickwire::new()
        .with("CLICKWIRE__DATABASE__URL", database.url())
        .with("CLICKWIRE__NATS__URL", nats.url());

    for (destination, links) in [("evil.example", 4), ("www.evil.example", 0), ("other.example", 0)] {
        let blocked = clickwire.ok(&["block", "--destination", destination, "--json"]).await.json();
        assert_eq!(blocked["links"], links, "{blocked}");
    }
    let elsewhere = LinkOptions::to("https://example.com/".parse().expect("a URL"));
    store::links::update(&mut conn, workspace_id, ids[2], &elsewhere, Utc::now()).await.expect("a row");

    for (destination, links, blocked) in [
        ("evil.example", 2, [true, false, false, true]),
        ("www.evil.example", 1, [false, false, false, true]),
        ("other.example", 1, [false; 4]),
    ] {
        let lifted = clickwire.ok(&["unblock", "--destination", destination, "--json"]).await.json();
        assert_eq!(lifted["links"], links, "{lifted}");
        let mut are_blocked = Vec::new();
        for id in &ids {
            let link = store::links::find(&mut conn, workspace_id, *id).await.expect("a row");
            are_blocked.push(link.expect("there").blocked_at.is_some());
        }
        assert_eq!(are_blocked, blocked, "{destination}");
    }
}
