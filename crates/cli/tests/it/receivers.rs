//! The receivers of `deploy/receivers`, each as a program of its own, and clicks that come to them as they do in production.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use chrono::Utc;
use embedded::free_port;
use model::secret::SigningSecret;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use testkit::until;
use tokio::process::{Child, Command};
use webhook::signature;

use crate::command::{Clickwire, LIMIT, text};

/// Whether they are tested: their packages come from registries, which the ordinary tests do not need.
const RECEIVERS: &str = "CLICKWIRE_TEST_RECEIVERS";

/// Reads rows of an SQLite file as JSON.
const ROWS: &str = "import json, sqlite3, sys\n\
    db = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True)\n\
    print(json.dumps(db.execute(sys.argv[2]).fetchall()))";

/// A receiver with its endpoint. It ends when this is dropped.
struct Receiver {
    name: &'static str,
    _child: Child,
    url: String,
    id: String,
    secret: String,
}

/// The world that they live in.
struct World {
    clickwire: Clickwire,
    running: Value,
    client: Client,
}

impl World {
    fn dir(&self) -> &Path {
        self.clickwire.dir.path()
    }

    fn program(&self, name: &str) -> Command {
        let run = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/receivers/run");
        let mut command = Command::new(run);
        let log = std::fs::File::create(self.dir().join(format!("{name}.log"))).expect("a log");
        command
            .arg(name)
            .current_dir(self.dir())
            .env("NATS_URL", text(&self.running, "nats_url"))
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .kill_on_drop(true);
        command
    }

    /// Adds an endpoint and starts what listens behind it.
    async fn receiver(&self, name: &'static str) -> Receiver {
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}/");
        let add =
            ["endpoints", "add", &url, "--event", "link.clicked", "--event", "link.click.amended", "--json"];
        let endpoint = self.clickwire.ok(&add).await.json();
        let secret = text(&endpoint, "secret").to_owned();
        let mut program = self.program(name);
        program.env("PORT", port.to_string()).env("WEBHOOK_SECRET", &secret);
        let child = program.spawn().expect("it starts");
        until(LIMIT, || async { TcpStream::connect(("127.0.0.1", port)).ok().map(|_| ()) }).await;
        Receiver { name, _child: child, url, id: text(&endpoint, "id").to_owned(), secret }
    }

    /// What it has written so far.
    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// The rows of a file that a receiver keeps; none while there is no such file.
    async fn rows(&self, file: &str, query: &str) -> Vec<Value> {
        let python =
            Command::new("python3").args(["-c", ROWS]).arg(self.dir().join(file)).arg(query).output();
        let output = python.await.expect("Python");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Waits until these rows are there.
    async fn until_rows(&self, file: &str, query: &str, expected: Value) {
        let expected = expected.as_array().expect("rows");
        until(LIMIT, || async { (self.rows(file, query).await == *expected).then_some(()) }).await;
    }

    /// What the catch-hook shows.
    async fn caught(&self, hook: &Receiver) -> Vec<Value> {
        let last = self.client.get(format!("{}last.json", hook.url)).send().await.expect("an answer");
        last.json().await.expect("JSON")
    }

    /// Posts an event with a good signature, or one over other bytes; says how it was answered.
    async fn post(&self, receiver: &Receiver, id: &str, event: &Value, is_good: bool) -> StatusCode {
        let secret: SigningSecret = receiver.secret.parse().expect("a secret");
        let timestamp = Utc::now().timestamp();
        let body = event.to_string();
        let value = signature::sign(&[secret], id, timestamp, body.as_bytes());
        let body = if is_good { body } else { body + " " };
        let request =
            self.client.post(&receiver.url).header("webhook-id", id).header("webhook-timestamp", timestamp);
        request.header("webhook-signature", value).body(body).send().await.expect("an answer").status()
    }

    /// From now on it gets its events in batches.
    async fn batch(&self, receiver: &Receiver) {
        let url = format!("{}/v1/webhook-endpoints/{}", text(&self.running, "api_url"), receiver.id);
        let request = self.client.patch(&url).bearer_auth(text(&self.running, "key"));
        let answer =
            request.json(&json!({ "batch": { "max_wait_ms": 100 } })).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{}", receiver.name);
    }

    async fn overrule(&self, click_id: &str) {
        let url = format!("{}/v1/clicks/{click_id}/verdict", text(&self.running, "api_url"));
        // in its first minute a click may still be judged by what follows
        until(LIMIT, || async {
            let request = self.client.post(&url).bearer_auth(text(&self.running, "key"));
            let answer = request.json(&json!({ "verdict": "automated" })).send().await.expect("an answer");
            (answer.status() == StatusCode::ACCEPTED).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn each_receiver_takes_a_click_once_and_follows_what_is_learned_of_it_later() {
    if std::env::var_os(RECEIVERS).is_none() {
        return;
    }
    let clickwire = Clickwire::new();
    let running = clickwire.up(&[]).await;
    service::tls::install_provider();
    let client = Client::builder().no_proxy().build().expect("a client");
    let world = World { clickwire, running, client };
    let install = world.program("--install").status().await.expect("it starts");
    assert!(install.success(), "{}", world.log("--install"));
    let mut automation = world.program("nats_automation").spawn().expect("it starts");
    let mut receivers = Vec::new();
    for name in ["crm", "tasks", "warehouse", "catch_hook"] {
        receivers.push(world.receiver(name).await);
    }
    until(LIMIT, || async { world.log("nats_automation").contains("following").then_some(()) }).await;
    let link = ["links", "create", "https://example.com/offer", "--contact", "cont_9", "--json"];
    let link = world.clickwire.ok(&link).await.json();

    for receiver in &receivers {
        world.clickwire.ok(&["endpoints", "test", &receiver.id]).await;
    }
    world.clickwire.ok(&["click", text(&link, "tracked_url"), "--from", "2.252.10.20"]).await;

    let task = format!("task cont_9/{}", text(&link, "id"));
    until(LIMIT, || async { world.log("tasks").contains(&task).then_some(()) }).await;
    world.until_rows("crm.sqlite3", "SELECT contact_id, clicks FROM contacts", json!([["cont_9", 1]])).await;
    let clicks = "SELECT revision, verdict, contact_id, country FROM clicks";
    world.until_rows("warehouse.sqlite3", clicks, json!([[0, "human", "cont_9", "SE"]])).await;
    let heard = "SELECT revision, is_human, contact_id, url FROM clicks";
    let offer = "https://example.com/offer";
    world.until_rows("automation.sqlite3", heard, json!([[0, 1, "cont_9", offer]])).await;

    for receiver in &receivers {
        tell_again(&world, receiver).await;
        world.batch(receiver).await;
    }
    until(LIMIT, || async { world.log("catch_hook").contains("link.clicked (a duplicate)").then_some(()) })
        .await;
    let caught = world.caught(&receivers[3]).await;
    assert!(caught.iter().any(|hook| hook["headers"]["clickwire-replayed"] == "true"), "{caught:?}");
    // four events were told: the test, the click, and the two that nobody knows
    world.until_rows("warehouse.sqlite3", "SELECT count(*) FROM events", json!([[4]])).await;
    world.until_rows("crm.sqlite3", "SELECT count(*) FROM inbox", json!([[4]])).await;
    for once in [task.as_str(), "evt_x ignored", "evt_z ignored"] {
        assert_eq!(world.log("tasks").matches(once).count(), 1, "{}", world.log("tasks"));
    }

    // what stands still hears of it when it runs again
    automation.kill().await.expect("it ends");
    let click_id = world.rows("crm.sqlite3", "SELECT click_id FROM clicks").await[0][0]
        .as_str()
        .expect("an id")
        .to_owned();
    world.overrule(&click_id).await;
    let _automation = world.program("nats_automation").spawn().expect("it starts");

    world.until_rows("crm.sqlite3", "SELECT contact_id, clicks FROM contacts", json!([["cont_9", 0]])).await;
    world.until_rows("warehouse.sqlite3", clicks, json!([[1, "automated", "cont_9", "SE"]])).await;
    world.until_rows("automation.sqlite3", heard, json!([[1, 0, "cont_9", offer]])).await;
    until(LIMIT, || async { world.log("tasks").contains("withdrawn cont_9/").then_some(()) }).await;
    until(LIMIT, || async { world.log("catch_hook").contains("(revision 1: was human)").then_some(()) })
        .await;
    let caught = world.caught(&receivers[3]).await;
    let is_batch =
        |hook: &Value| hook["body"].as_str().is_some_and(|body| body.contains(r#""type":"batch""#));
    assert!(caught.last().is_some_and(is_batch), "{caught:?}");
}

/// What it had already, alone and in a batch, with what nobody knows.
async fn tell_again(world: &World, receiver: &Receiver) {
    let Receiver { name, id, .. } = receiver;
    world
        .clickwire
        .ok(&["replay", "--endpoint", id, "--since", "1h", "--status", "delivered", "--wait"])
        .await;
    let timestamp = "2026-11-23T14:16:12.345Z";
    let unknown =
        |id: &str| json!({"id": id, "type": "something.new", "timestamp": timestamp, "data": {"a": 1}});
    let told = [unknown("evt_x"), unknown("evt_z")];
    let batch = json!({"id": "bat_x", "type": "batch", "timestamp": timestamp, "data": told});
    let is_checking = *name != "catch_hook";
    for (webhook_id, event) in [("evt_x", &told[0]), ("bat_x", &batch), ("bat_x", &batch)] {
        assert!(world.post(receiver, webhook_id, event, true).await.is_success(), "{name}");
        let forged = world.post(receiver, "evt_y", event, false).await;
        assert_eq!(forged == StatusCode::BAD_REQUEST, is_checking, "{name}");
    }
}
