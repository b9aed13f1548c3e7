//! Events that are fetched.

use serde_json::json;
use testkit::until;

use crate::command::{Clickwire, LIMIT, text};

#[tokio::test]
async fn an_endpoint_that_nothing_is_sent_to_fetches_its_events() {
    let clickwire = Clickwire::new();
    clickwire.up(&[]).await;
    let add = ["endpoints", "add", "http://127.0.0.1:18123/behind-a-firewall", "--pull", "--json"];
    let endpoint = clickwire.ok(&add).await.json();
    assert_eq!(endpoint["delivery"], "pull");
    let id = text(&endpoint, "id");
    clickwire.ok(&["links", "create", "https://example.com/offer", "--slug", "spring"]).await;

    let none = clickwire.ok(&["events", "pull", id]).await;
    clickwire.ok(&["click", "spring"]).await;
    let event = until(LIMIT, || async {
        let pulled = clickwire.ok(&["events", "pull", id, "--json"]).await;
        pulled.stdout.lines().next().map(|_| pulled.json())
    })
    .await;

    assert_eq!(none.stdout, "");
    assert_eq!(event["body"]["type"], json!("link.clicked"));
    assert_eq!(event["body"]["id"], event["id"]);
    let again = clickwire.ok(&["events", "pull", id]).await;
    assert!(again.stdout.starts_with(text(&event, "id")), "{again:?}");
    let cursor = again.stderr.trim().rsplit_once(' ').unwrap().1;
    assert_eq!(cursor, text(&event, "cursor"));
    assert_eq!(clickwire.ok(&["events", "pull", id, "--after", cursor]).await.stdout, "");
    let wrong = clickwire.fails(&["events", "pull", id, "--after", "nonsense"]).await;
    assert!(wrong.stderr.contains("next_cursor"), "{wrong:?}");
}
