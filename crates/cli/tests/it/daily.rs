//! The commands of the daily work, against everything running.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testkit::{Answer, Response, Script, Subscriber, until};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::command::{Clickwire, LIMIT, Ran, text};

/// A file in the format of another shortener, or in ours.
fn file(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../api/tests/link_files").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

/// The last line, as JSON: the sums of an import.
#[track_caller]
fn sums(ran: &Ran) -> Value {
    let last = ran.stdout.lines().last().unwrap_or_else(|| panic!("{ran:#?}"));
    let told: Value = serde_json::from_str(last).expect("a line of JSON");
    told["sums"].clone()
}

async fn add_domain(running: &Value, host: &str) {
    service::tls::install_provider();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v1/domains", text(running, "api_url"));
    let request = client.post(url).bearer_auth(text(running, "key")).json(&json!({ "host": host }));
    assert_eq!(request.send().await.unwrap().status(), 201);
}

#[tokio::test]
async fn links_and_endpoints_are_made_listed_tested_and_deliveries_tried_again() {
    let clickwire = Clickwire::new();
    let subscriber = Subscriber::start(Script::new([Answer::Status(401), Answer::Status(200)])).await;
    clickwire.up(&[]).await;

    let none = clickwire.ok(&["links", "list"]).await;
    assert_eq!(none.stdout, "no links; make one with `clickwire links create URL`\n");
    let create = [
        "links",
        "create",
        "https://example.com/offer",
        "--slug",
        "spring",
        "--tag",
        "sms",
        "--metadata",
        "a=b",
    ];
    let made = clickwire.ok(&[&create[..], &["--expires", "30days", "--json"]].concat()).await.json();
    assert_eq!(
        (&made["slug"], &made["tags"], &made["metadata"]["a"]),
        (&json!("spring"), &json!(["sms"]), &json!("b"))
    );
    assert!(made["expires_at"].is_string());
    let taken = clickwire.fails(&create).await;
    assert!(taken.stderr.contains("choose another --slug"), "{taken:?}");
    for slug in ["one", "two"] {
        let second = clickwire.ok(&["links", "create", "https://example.com/", "--slug", slug]).await;
        assert!(second.stdout.ends_with(&format!("/{slug}\n")), "{second:?}");
    }
    let page = clickwire.ok(&["links", "list", "--limit", "2"]).await;
    assert_eq!(page.stdout.lines().count(), 2);
    let cursor = page.stderr.trim().rsplit_once(' ').unwrap().1;
    let rest = clickwire.ok(&["links", "list", "--cursor", cursor, "--json"]).await.json();
    assert_eq!((&rest["data"][0]["slug"], &rest["next_cursor"]), (&json!("spring"), &Value::Null));
    assert_eq!(clickwire.ok(&["links", "list", "--all", "--json"]).await.stdout.lines().count(), 3);
    assert_eq!(clickwire.ok(&["links", "list", "--tag", "sms"]).await.stdout.lines().count(), 1);

    let endpoint =
        clickwire.ok(&["endpoints", "add", &subscriber.url(), "--people-only", "--json"]).await.json();
    assert!(text(&endpoint, "secret").starts_with("whsec_"));
    assert_eq!(endpoint["filter"], json!({ "verdicts": ["human"] }));
    let id = text(&endpoint, "id");
    let refused = clickwire.fails(&["endpoints", "test", id]).await;
    assert!(refused.stderr.contains("not delivered, answered 401"), "{refused:?}");
    assert!(refused.stderr.contains("this endpoint's secret"), "{refused:?}");
    let good = clickwire.ok(&["endpoints", "test", id]).await;
    assert!(good.stdout.starts_with("delivered, answered 200 in "), "{good:?}");
    let listed = clickwire.ok(&["endpoints", "list"]).await;
    assert!(
        listed.stdout.contains(id) && listed.stdout.contains("  active  http://127.0.0.1:"),
        "{listed:?}"
    );

    clickwire.ok(&["click", "spring"]).await;
    let delivery = until(LIMIT, || async {
        let listed =
            clickwire.ok(&["deliveries", "list", "--endpoint", id, "--status", "delivered", "--json"]).await;
        listed.json()["data"].get(0).cloned()
    })
    .await;
    let requests = subscriber.requests().len();
    let again = clickwire.ok(&["deliveries", "retry", text(&delivery, "id")]).await;
    assert_eq!(again.stdout, format!("{} is tried again now\n", text(&delivery, "id")));
    until(LIMIT, || async { (subscriber.requests().len() > requests).then_some(()) }).await;
    let unknown = clickwire.fails(&["deliveries", "retry", "dlv_01jd8m3x5v9k2n4p6q8r0s1t3w"]).await;
    assert!(unknown.stderr.contains("there is no such delivery"), "{unknown:?}");
    let unknown = clickwire.fails(&["deliveries", "give-up", "dlv_01jd8m3x5v9k2n4p6q8r0s1t3w"]).await;
    assert!(unknown.stderr.contains("is not given up"), "{unknown:?}");
    let replay = ["replay", "--endpoint", id, "--since", "1h", "--status", "delivered", "--wait"];
    let replayed = clickwire.ok(&replay).await;
    assert!(replayed.stdout.contains(" is done: 1 in line"), "{replayed:?}");
    what_the_console_can_choose_the_command_can_choose_too(&clickwire).await;
}

async fn what_the_console_can_choose_the_command_can_choose_too(clickwire: &Clickwire) {
    // nobody listens there
    let add = ["endpoints", "add", "http://127.0.0.1:18123/hook", "--json"];
    let settled = [&add[..], &["--settle-ms", "12000", "--payload", r#"{"profile": "thin"}"#]].concat();
    let settled = clickwire.ok(&settled).await.json();
    let numbered = clickwire.ok(&[&add[..], &["--checkpoint-minutes", "60"]].concat()).await.json();
    let link = ["links", "create", "https://example.com/offer", "--kind", "honeypot", "--json"];
    let link = clickwire.ok(&link).await.json();

    assert_eq!((&settled["settle_ms"], &settled["payload"]["profile"]), (&json!(12_000), &json!("thin")));
    assert_eq!(link["kind"], "honeypot");
    let none = clickwire.ok(&["endpoints", "checkpoints", text(&numbered, "id")]).await;
    assert!(none.stdout.starts_with("no checkpoints"), "{none:?}");
    let id = text(&settled, "id");
    let refused = clickwire.fails(&["endpoints", "verify", id, "--json"]).await;
    assert_eq!(refused.json()["reason"], "not_accepted");
    assert!(refused.stderr.starts_with(&format!("{id} is not verified: ")), "{refused:?}");
    assert!(refused.stderr.contains("nobody listens there"), "{refused:?}");
}

#[tokio::test]
async fn who_asks_without_a_key_that_opens_anything_is_told_what_to_do() {
    let clickwire = Clickwire::new();
    let lone = clickwire.fails(&["links", "list"]).await;
    assert!(lone.stderr.contains("say --api-url and --key"), "{lone:?}");
    let running = clickwire.up(&[]).await;

    let wrong = ["--api-url", text(&running, "api_url"), "--key", "cw_wrong"];
    let refused = clickwire.fails(&[&["links", "list"], &wrong[..]].concat()).await;
    let as_json = clickwire.fails(&[&["endpoints", "list", "--json"], &wrong[..]].concat()).await;
    let told = as_json.json();
    let all = clickwire.fails(&[&["links", "list", "--json", "--all"], &wrong[..]].concat()).await;
    let away =
        clickwire.fails(&["links", "list", "--api-url", "http://127.0.0.1:1", "--key", "cw_wrong"]).await;

    assert!(refused.stderr.contains("`clickwire keys create` makes one"), "{refused:?}");
    assert_eq!(told["code"], "unauthorized");
    assert!(as_json.stderr.contains("`clickwire keys create` makes one"), "{as_json:?}");
    assert!(all.stdout.is_empty() && all.stderr.contains("`clickwire keys create` makes one"), "{all:?}");
    assert!(away.stderr.contains("does not answer: is --api-url right"), "{away:?}");
    for arguments in
        [&["links", "create"][..], &["deliveries", "list", "--status", "lost"], &["endpoints", "test", "x"]]
    {
        assert_eq!(clickwire.run(arguments).await.code, Some(2), "{arguments:?}");
    }
    for command in [
        &["links", "import"][..],
        &["endpoints", "add"],
        &["deliveries", "retry"],
        &["deliveries", "give-up"],
        &["clicks", "tail"],
        &["events", "pull"],
        &["replay"],
    ] {
        let help = clickwire.ok(&[command, &["--help"]].concat()).await;
        assert!(help.stdout.contains("Example"), "{command:?}");
    }
}

#[tokio::test]
async fn exports_of_other_shorteners_are_imported_with_their_slugs_and_again_change_nothing() {
    let clickwire = Clickwire::new().with("CLICKWIRE__LINKS__DOMAIN_VERIFICATION", "off");
    let running = clickwire.up(&[]).await;
    add_domain(&running, "go.example.com").await;
    // name, rows, links, refused
    let files = [
        ("bitly.csv", "bitly", 2, 2),
        ("bitly.json", "bitly", 2, 1),
        ("dub.csv", "dub", 1, 1),
        ("dub.json", "dub", 1, 1),
        ("shlink.csv", "shlink", 2, 0),
        ("shlink.json", "shlink", 2, 0),
        ("yourls.csv", "yourls", 2, 0),
        ("yourls.tsv", "yourls", 1, 0),
        ("yourls.json", "yourls", 2, 0),
        ("yourls-plugin.csv", "yourls", 1, 0),
        ("clickwire.csv", "clickwire", 2, 1),
        ("clickwire.ndjson", "clickwire", 1, 2),
    ];

    for (name, source, made, refused) in files {
        let path = file(name);
        let dry = clickwire.run(&["links", "import", &path, "--dry-run"]).await;
        assert!(dry.stdout.starts_with(&format!("read as {source}: ")), "{name}: {dry:#?}");
        let first = clickwire.run(&["links", "import", &path, "--json"]).await;
        assert_eq!(first.code, Some(i32::from(refused > 0)), "{name}: {first:#?}");
        let told = sums(&first);
        assert_eq!(
            (&told["made"], &told["changed"], &told["unchanged"], &told["refused"]),
            (&json!(made), &json!(0), &json!(0), &json!(refused)),
            "{name}: {first:#?}"
        );
        let again = clickwire.run(&["links", "import", &path, "--json"]).await;
        let told = sums(&again);
        assert_eq!(
            (&told["made"], &told["changed"], &told["unchanged"], &told["refused"]),
            (&json!(0), &json!(0), &json!(made), &json!(refused)),
            "{name} again: {again:#?}"
        );
    }

    let all = clickwire.ok(&["links", "list", "--all", "--json"]).await.stdout;
    let links: Vec<Value> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find =
        |slug: &str| links.iter().find(|link| link["slug"] == slug).unwrap_or_else(|| panic!("{slug}"));
    let spring = find("spring");
    assert_eq!((&spring["domain"], &spring["tags"]), (&json!("go.example.com"), &json!(["spring", "sale"])));
    assert_eq!(spring["metadata"]["title"], "Spring sale, part 1");
    assert_eq!((&find("expo")["max_clicks"], &find("once")["enabled"]), (&json!(500), &json!(false)));
    assert_eq!(find("autumn")["external_id"], "crm-77");
    assert_eq!(find("stat")["url"], "https://example.com/stat");
}

#[tokio::test]
async fn a_refused_row_is_named_by_line_field_and_rule_and_a_later_export_changes_what_differs() {
    let clickwire = Clickwire::new().with("CLICKWIRE__LINKS__DOMAIN_VERIFICATION", "off");
    let running = clickwire.up(&[]).await;
    add_domain(&running, "go.example.com").await;
    let path = clickwire.dir.path().join("links.csv");
    let import = ["links", "import", path.to_str().unwrap()];
    fs::write(
        &path,
        "url,slug\nhttps://example.com/a,a\njavascript:alert(1),b\nhttps://example.com/c,no/slash\n",
    )
    .unwrap();

    let first = clickwire.fails(&import).await;

    assert_eq!(first.stdout, "read as clickwire: 3 rows: 1 made, 0 changed, 0 unchanged, 2 refused\n");
    assert!(first.stderr.contains("line 3: refused: url `javascript:alert(1)` "), "{first:?}");
    assert!(first.stderr.contains("line 4: refused: slug `no/slash` "), "{first:?}");

    let mut later = "url,slug\nhttps://example.com/other,a\n".to_owned();
    for number in 0..1200 {
        later.push_str(&format!("https://example.com/{number},many-{number}\n"));
    }
    fs::write(&path, &later).unwrap();
    let second = clickwire.ok(&import).await;
    assert_eq!(second.stdout, "read as clickwire: 1201 rows: 1200 made, 1 changed, 0 unchanged, 0 refused\n");
    let link = clickwire.ok(&["links", "list", "--external-id", "import:/a", "--json"]).await.json();
    assert_eq!(link["data"][0]["url"], "https://example.com/other");

    fs::write(&path, "Short link,Destination URL\nhttps://elsewhere.example/x,https://example.com/x\n")
        .unwrap();
    let foreign = clickwire.fails(&import).await;
    assert!(foreign.stderr.contains("with --domain HOST"), "{foreign:?}");
    let moved = clickwire.ok(&[&import[..], &["--domain", "go.example.com", "--json"]].concat()).await;
    assert!(moved.stdout.contains("\"tracked_url\":"), "{moved:?}");
    fs::write(&path, "name\nx\n").unwrap();
    let unknown = clickwire.fails(&import).await;
    assert!(unknown.stderr.contains("name whose it is with --from"), "{unknown:?}");
}

#[tokio::test]
async fn a_click_is_followed_live_with_its_link_place_and_verdict() {
    let clickwire = Clickwire::new();
    clickwire.up(&[]).await;
    clickwire
        .ok(&["links", "create", "https://example.com/offer", "--slug", "offer", "--contact", "cont_9"])
        .await;
    clickwire.ok(&["links", "create", "https://example.com/other", "--slug", "other"]).await;
    let tail = ["clicks", "tail", "--link", "offer", "--count", "1"];
    let mut child = clickwire.command(&tail).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let waiting = tokio::time::timeout(LIMIT, told.next_line()).await.unwrap().unwrap();
    assert_eq!(waiting.as_deref(), Some("waiting for clicks; Ctrl-C ends it"));

    clickwire.ok(&["click", "other"]).await;
    clickwire.ok(&["click", "offer", "--from", "2.252.10.20"]).await;

    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{line}");
    assert!(
        line.contains("/offer  ") && line.contains("Sweden") && line.contains("  human  contact cont_9"),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1, "{line}");
}

/// An answer with these events.
fn events(text: &str) -> Answer {
    let mut response = Response::new(200).header("content-type", "text/event-stream");
    response.body = text.as_bytes().to_vec();
    Answer::Response(response)
}

#[tokio::test]
async fn clicks_are_followed_across_a_broken_connection_from_the_last_one_on() {
    let clickwire = Clickwire::new();
    let click = |id: u32, verdict: &str| {
        format!(
            "id: {id}\nevent: link.clicked\ndata: {{\"click_id\":\"clk_{id}\",\"automation\":{{\"verdict\":\"{verdict}\"}}}}\n\n"
        )
    };
    let first =
        format!(":\n\nid: 6\nevent: ready\ndata: {{}}\n\n{}{}", click(7, "human"), click(8, "automated"));
    let second = format!("event: gap\ndata: {{}}\n\n{}", click(9, "human"));
    let script = Script::new([events(&first), Answer::Status(503), events(&second), Answer::Hang]);
    let api = Subscriber::start(script).await;
    let url = api.url();
    let tail = ["clicks", "tail", "--api-url", &url, "--key", "cw_any", "--verdict", "human", "--json"];

    let ran = clickwire.ok(&[&tail[..], &["--count", "2"]].concat()).await;

    let ids: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["click_id"].clone())
        .collect();
    assert_eq!(ids, ["clk_7", "clk_9"]);
    assert!(ran.stderr.contains("some clicks are not shown here"), "{ran:?}");
    let requests = api.requests();
    let resumed: Vec<Option<&str>> = requests.iter().map(|request| request.header("last-event-id")).collect();
    assert_eq!(resumed, [None, Some("8"), Some("8")]);
    assert_eq!(requests[0].header("authorization"), Some("Bearer cw_any"));
}

#[tokio::test]
async fn following_clicks_ends_with_ctrl_c_with_its_reader_and_with_a_key_that_is_revoked() {
    let clickwire = Clickwire::new();
    let hanging = Subscriber::start(Script::always(Answer::Hang)).await;
    let url = hanging.url();
    let mut child =
        clickwire.command(&["clicks", "tail", "--api-url", &url, "--key", "cw_any"]).spawn().unwrap();
    until(LIMIT, || async { (!hanging.requests().is_empty()).then_some(()) }).await;

    let pid = i32::try_from(child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();

    assert!(tokio::time::timeout(LIMIT, child.wait()).await.unwrap().unwrap().success());

    let many = "event: click\ndata: {\"click_id\":\"clk_1\"}\n\n".repeat(20_000);
    let busy = Subscriber::start(Script::always(events(&many))).await;
    let url = busy.url();
    let mut child =
        clickwire.command(&["clicks", "tail", "--api-url", &url, "--key", "cw_any"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().is_some());
    drop(lines);
    assert!(tokio::time::timeout(LIMIT, child.wait()).await.unwrap().unwrap().success());

    let end = "event: end\ndata: {\"code\":\"unauthorized\",\"detail\":\"the key was revoked\"}\n\n";
    let revoked = Subscriber::start(Script::always(events(end))).await;
    let ran = clickwire.fails(&["clicks", "tail", "--api-url", &revoked.url(), "--key", "cw_any"]).await;
    assert!(ran.stderr.contains("the key was revoked"), "{ran:?}");
}
