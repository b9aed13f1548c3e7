//! `up` and `down`: everything in one process, on a directory of its own.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testkit::{Subscriber, TestDatabase, TestNats, until};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::command::{Clickwire, LIMIT, text};

fn client() -> reqwest::Client {
    service::tls::install_provider();
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

async fn post(running: &Value, path: &str, body: Value) -> Value {
    let url = format!("{}{path}", text(running, "api_url"));
    let answer = client().post(url).bearer_auth(text(running, "key")).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    answer.json().await.unwrap()
}

async fn status(running: &Value, key: &str) -> StatusCode {
    let url = format!("{}/v1/links", text(running, "api_url"));
    client().get(url).bearer_auth(key).send().await.unwrap().status()
}

/// Whether a process with this directory among its arguments runs.
fn runs_on(dir: &Path) -> bool {
    let dir = dir.to_string_lossy().into_owned();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let mut commands = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    commands.any(|command| String::from_utf8_lossy(&command).contains(&dir))
}

fn send(running: &Value, signal: Signal) {
    let pid = i32::try_from(running["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[tokio::test]
async fn a_click_through_up_reaches_a_subscriber_and_down_ends_everything() {
    let clickwire = Clickwire::new();
    let subscriber = Subscriber::start(testkit::Script::always(testkit::Answer::Status(200))).await;

    let running = clickwire.up(&[]).await;

    let ready = format!("{}/readyz", text(&running, "ops_url"));
    clickwire.ok(&["healthcheck", &ready]).await;
    let endpoint = post(&running, "/v1/webhook-endpoints", json!({ "url": subscriber.url() })).await;
    let link = post(&running, "/v1/links", json!({ "url": "https://example.com/offer" })).await;
    let tracked_url = text(&link, "tracked_url");
    assert!(tracked_url.starts_with(text(&running, "redirect_url")), "{tracked_url}");
    let before = clickwire.fails(&["why", tracked_url]).await;
    assert!(before.stdout.contains("no click of this link has been recorded yet"), "{before:?}");

    let clicked = clickwire.ok(&["click", tracked_url, "--from", "2.252.10.20", "--json"]).await.json();
    assert_eq!(
        (&clicked["status"], &clicked["location"]),
        (&json!(302), &json!("https://example.com/offer"))
    );
    let received = until(LIMIT, || async { subscriber.requests().into_iter().next() }).await;
    let event: Value = serde_json::from_slice(&received.body).unwrap();
    assert_eq!(event["data"]["location"]["country"], "SE");
    assert_eq!(event["data"]["device"]["os"], "iOS");
    until(LIMIT, || async { (clickwire.run(&["why", tracked_url]).await.code == Some(0)).then_some(()) })
        .await;

    let explained = clickwire.ok(&["explain-click", text(&event["data"], "click_id")]).await;
    for line in [
        "place     ",
        "source    IP Geolocation by DB-IP",
        "device    mobile",
        "verdict   human, score 0",
        "first     yes",
    ] {
        assert!(explained.stdout.contains(line), "{line}: {explained:?}");
    }
    let unknown = clickwire.fails(&["explain-click", "clk_01kbr5zj7v0000000000000001"]).await;
    assert!(unknown.stderr.contains("has no recorded click clk_01kbr5zj7v0000000000000001"), "{unknown:?}");

    let again = ["replay", "--endpoint", text(&endpoint, "id"), "--since", "1h", "--status", "delivered"];
    let counted = clickwire.ok(&[&again[..], &["--dry-run"]].concat()).await;
    assert_eq!(counted.stdout, "1 would be replayed\n");
    assert_eq!(clickwire.ok(&[&again[..], &["--json"]].concat()).await.json()["total"], 1);
    let replayed = until(LIMIT, || async { subscriber.requests().into_iter().nth(1) }).await;
    assert_eq!(replayed.header("webhook-id"), received.header("webhook-id"));
    assert_eq!(replayed.header("clickwire-replayed"), Some("true"));
    assert_eq!(replayed.body, received.body);

    let doctor = clickwire.ok(&["doctor"]).await;
    assert!(doctor.stdout.contains("are ready: links on http://127.0.0.1:"), "{doctor:?}");

    clickwire.ok(&["down"]).await;
    assert!(!runs_on(clickwire.dir.path()));
    let again = clickwire.ok(&["down"]).await;
    assert!(again.stdout.starts_with("nothing runs on "), "{again:?}");
    let doctor = clickwire.fails(&["doctor"]).await;
    assert!(doctor.stdout.contains("`clickwire up` brings its own"), "{doctor:?}");
}

#[tokio::test]
async fn a_second_up_names_the_first_and_keys_open_the_api() {
    let clickwire = Clickwire::new();
    let running = clickwire.up(&[]).await;

    let second = clickwire.fails(&["up"]).await;
    assert!(second.stderr.contains(&format!("as process {}", running["pid"])), "{second:?}");
    assert!(second.stderr.contains("clickwire down --data-dir "), "{second:?}");
    let second = clickwire.fails(&["up", "--detach"]).await;
    assert!(second.stderr.contains("it runs already on "), "{second:?}");

    let data = clickwire.dir.path().join("data");
    for private in ["api.key", "sealing.key", "visitor.secret", "running.json"] {
        let mode = fs::metadata(data.join(private)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{private}");
    }

    let made = clickwire.ok(&["keys", "create", "--name", "crm", "--json"]).await.json();
    assert_eq!(status(&running, text(&made, "key")).await, StatusCode::OK);
    let url = format!("{}/v1/audit?action=key.created", text(&running, "api_url"));
    let audit = client().get(url).bearer_auth(text(&running, "key")).send().await.unwrap();
    let audit: Value = audit.json().await.unwrap();
    let names: Vec<&str> =
        audit["data"].as_array().unwrap().iter().map(|entry| text(&entry["details"], "name")).collect();
    assert_eq!(names, ["crm", "clickwire up"]);
    let listed = clickwire.ok(&["keys", "list"]).await;
    assert!(listed.stdout.contains("crm") && listed.stdout.contains("clickwire up"), "{listed:?}");
    clickwire.ok(&["keys", "revoke", text(&made, "id")]).await;
    until(LIMIT, || async {
        (status(&running, text(&made, "key")).await == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    let again = clickwire.fails(&["keys", "revoke", text(&made, "id")]).await;
    assert!(again.stderr.contains("has no key"), "{again:?}");
}

#[tokio::test]
async fn after_kill_9_the_next_up_has_the_same_key_and_the_same_links() {
    let clickwire = Clickwire::new();
    let key = format!("cw_{}", "k".repeat(43));
    let first = clickwire.up(&["--admin-key", &key]).await;
    assert_eq!(text(&first, "key"), key);
    let link = post(&first, "/v1/links", json!({ "url": "https://example.com/offer" })).await;

    send(&first, Signal::KILL);
    until(LIMIT, || async {
        clickwire.run(&["click", text(&link, "slug")]).await.stderr.contains("no running").then_some(())
    })
    .await;
    let second = clickwire.up(&[]).await;

    assert_eq!(text(&second, "key"), key);
    let clicked = clickwire.ok(&["click", text(&link, "slug")]).await;
    assert!(clicked.stdout.starts_with("302 Found to https://example.com/offer "), "{clicked:?}");
}

#[tokio::test]
async fn a_taken_default_port_gives_way_and_a_named_one_is_refused() {
    let clickwire = Clickwire::new();
    // whoever has it, `up` cannot
    let _taken = TcpListener::bind("127.0.0.1:8081");
    let named = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = named.local_addr().unwrap().to_string();

    let refused = clickwire.fails(&["up", "--detach", "--redirect-addr", &addr]).await;
    let free = ["--redirect-addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0"];
    let moved = clickwire.ok(&[&["up", "--detach", "--json"], &free[..]].concat()).await;

    assert!(refused.stderr.contains(&format!("cannot listen on {addr} for tracked links")), "{refused:?}");
    let running = moved.json();
    let port = text(&running, "api_url").rsplit_once(':').unwrap().1;
    assert_ne!(port, "8081");
    assert_eq!(moved.stderr, format!("port 8081 is taken: API and console are on port {port}\n"));
    assert_eq!(status(&running, text(&running, "key")).await, StatusCode::OK);
}

#[tokio::test]
async fn in_the_foreground_it_ends_in_order_when_asked_to() {
    let clickwire = Clickwire::new();
    let free = ["--redirect-addr", "127.0.0.1:0", "--api-addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0"];
    let mut up = clickwire.command(&[&["up", "--json"], &free[..]].concat()).spawn().unwrap();
    let mut lines = BufReader::new(up.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(LIMIT, lines.next_line()).await.unwrap().unwrap().unwrap();
    let running: Value = serde_json::from_str(&line).unwrap();

    send(&running, Signal::TERM);

    let status = tokio::time::timeout(Duration::from_secs(60), up.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
    assert!(!runs_on(clickwire.dir.path()));
    assert!(!clickwire.dir.path().join("data/running.json").exists());
}

#[tokio::test]
async fn servers_that_settings_name_are_used_and_no_others_started() {
    let (database, nats) = tokio::join!(TestDatabase::new(), TestNats::start());
    let clickwire = Clickwire::new()
        .with("CLICKWIRE__DATABASE__URL", database.url())
        .with("CLICKWIRE__NATS__URL", nats.url());

    let running = clickwire.up(&[]).await;

    assert_eq!(text(&running, "database_url"), database.url());
    assert_eq!(status(&running, text(&running, "key")).await, StatusCode::OK);
    assert!(!clickwire.dir.path().join("data/postgres").exists());
    assert!(!clickwire.dir.path().join("data/nats").exists());

    // commands with the same settings find what it serves under any host, and the keys that it keeps
    let link = post(&running, "/v1/links", json!({ "url": "https://example.com/offer" })).await;
    let (_, slug) = text(&link, "tracked_url").rsplit_once('/').unwrap();
    let blocked = clickwire.ok(&["block", &format!("https://elsewhere.example.com/{slug}"), "--json"]).await;
    assert_eq!(text(&blocked.json(), "subject"), text(&link, "id"));
    clickwire.ok(&["reseal"]).await;
}

#[tokio::test]
async fn a_server_that_ends_by_itself_ends_up_with_its_name() {
    let clickwire = Clickwire::new();
    let running = clickwire.up(&[]).await;
    let pid_file =
        fs::read_to_string(clickwire.dir.path().join("data/postgres/data/postmaster.pid")).unwrap();
    let pid: i32 = pid_file.lines().next().unwrap().parse().unwrap();

    kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();

    until(LIMIT, || async { (!clickwire.dir.path().join("data/running.json").exists()).then_some(()) }).await;
    until(LIMIT, || async { (!runs_on(clickwire.dir.path())).then_some(()) }).await;
    let log = fs::read_to_string(clickwire.dir.path().join("data/clickwire.log")).unwrap();
    assert!(log.contains("PostgreSQL ended by itself"), "{log}");
    drop(running);
}
