//! What a redirect left on disk can be looked at, and sent without it.

use serde_json::json;
use store::links::LinkOptions;
use testkit::{TestDatabase, TestNats, given};
use tokio_util::sync::CancellationToken;

use crate::command::Clickwire;

const CLICKS: usize = 30;

/// A directory with clicks that a redirect could not ship, because NATS is away.
async fn left_behind(clickwire: &Clickwire, nats: &TestNats) -> String {
    let database = TestDatabase::new().await;
    let mut conn = database.pool().get().await.expect("a connection");
    let workspace_id = given::workspace(&mut conn).await;
    let domain = given::domain(&mut conn, workspace_id, "go.example.com").await;
    let options = LinkOptions::to("https://example.com/offer".parse().expect("a URL"));
    given::link(&mut conn, workspace_id, domain.id, "abc", &options).await;
    let dir = clickwire.dir.path().join("spool").display().to_string();
    let variables = [
        ("CLICKWIRE__REDIRECT__ADDR", "127.0.0.1:0"),
        ("CLICKWIRE__REDIRECT__WORKERS", "1"),
        ("CLICKWIRE__REDIRECT__DRAIN_TIMEOUT", "10ms"),
        ("CLICKWIRE__REDIRECT__SPOOL__DIR", &dir),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings: redirect::Settings =
        service::settings::load_from(redirect::Settings::DEFAULTS, None, variables).expect("settings");
    let settings = redirect::Settings { nats: nats.settings(), database: database.settings(), ..settings };
    let app = redirect::App::build_with(settings, service::ops::Ops::new()).await.expect("it starts");
    let (addr, stop) = (app.addr(), CancellationToken::new());
    let running = tokio::spawn(app.run(stop.clone()));
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
    let client = client.expect("a client");
    for _ in 0..CLICKS {
        let visit = client.get(format!("http://{addr}/abc")).header("host", "go.example.com").send();
        assert_eq!(visit.await.expect("an answer").status(), 302);
    }
    let held = clickwire.ok(&["spool", "inspect", "--dir", &dir]).await;
    assert!(held.stdout.contains("a redirect uses it"), "{held:?}");
    stop.cancel();
    running.await.expect("no panic").expect("a clean end");
    dir
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_was_left_behind_is_looked_at_and_sent() {
    service::tls::install_provider();
    let mut nats = TestNats::start().await;
    let clickwire = Clickwire::new().with("CLICKWIRE__NATS__URL", nats.url());
    nats.kill().await;
    let dir = left_behind(&clickwire, &nats).await;

    let before = clickwire.ok(&["spool", "inspect", "--json", "--dir", &dir]).await.json();
    assert_eq!(before["is_held"], false);
    assert_eq!((&before["unshipped"]["clicks"], &before["shipped"]["clicks"]), (&CLICKS.into(), &0.into()));
    assert!(before["unshipped"]["oldest"].as_str() <= before["unshipped"]["newest"].as_str());

    nats.restart().await;
    let clickwire = clickwire.with("CLICKWIRE__REDIRECT__SPOOL__DIR", &dir);
    let status = clickwire.run(&["status", "--json"]).await.json();
    assert_eq!(
        (&status["spool"]["dir"], &status["spool"]["unshipped_clicks"]),
        (&json!(dir), &json!(CLICKS))
    );
    let lock = std::fs::File::open(format!("{dir}/lock")).expect("a lock");
    lock.lock().expect("nobody has it");
    let in_use = clickwire.fails(&["spool", "ship", "--dir", &dir]).await;
    assert!(in_use.stderr.contains("another process uses the spool"), "{in_use:?}");
    drop(lock);
    let sent = clickwire.ok(&["spool", "ship", "--json", "--dir", &dir]).await.json();
    assert_eq!((&sent["shipped_clicks"], &sent["left_bytes"]), (&CLICKS.into(), &0.into()));
    assert_eq!(nats.messages("CLICKS").await.len(), CLICKS);

    let after = clickwire.ok(&["spool", "inspect", "--json", "--dir", &dir]).await.json();
    assert_eq!((&after["unshipped"]["clicks"], &after["shipped"]["clicks"]), (&0.into(), &CLICKS.into()));
    let again = clickwire.ok(&["spool", "ship", "--dir", &dir]).await;
    assert!(again.stdout.contains("0 clicks sent"), "{again:?}");
    let all = clickwire.ok(&["spool", "ship", "--all", "--json", "--dir", &dir]).await.json();
    assert_eq!(all["shipped_clicks"], CLICKS);
    assert_eq!(nats.messages("CLICKS").await.len(), CLICKS, "the stream knows them");
}

#[tokio::test]
async fn what_was_put_aside_is_shown_and_sent_with_the_rest() {
    let nats = TestNats::start().await;
    let clickwire = Clickwire::new().with("CLICKWIRE__NATS__URL", nats.url());
    nats.kill().await;
    let mut nats = nats;
    service::tls::install_provider();
    let dir = left_behind(&clickwire, &nats).await;
    nats.restart().await;
    clickwire.ok(&["spool", "ship", "--dir", &dir]).await;
    let spool_files =
        || std::fs::read_dir(&dir).expect("a spool").map(|entry| entry.expect("an entry").path());
    for file in spool_files().filter(|path| path.extension().is_some_and(|e| e == "spool")) {
        std::fs::rename(&file, file.with_extension("unconfirmed")).expect("renamed");
    }

    let aside = clickwire.ok(&["spool", "inspect", "--dir", &dir]).await;
    let left_alone = clickwire.fails(&["spool", "ship", "--dir", &dir]).await;
    let all = clickwire.ok(&["spool", "ship", "--all", "--json", "--dir", &dir]).await.json();

    assert!(aside.stdout.contains("put aside") && aside.stdout.contains(".unconfirmed"), "{aside:?}");
    assert!(left_alone.stdout.contains("0 clicks sent\nnot sent "), "{left_alone:?}");
    assert_eq!((&all["shipped_clicks"], &all["put_aside"]), (&CLICKS.into(), &serde_json::json!([])));
    assert!(spool_files().all(|path| path.extension().is_none_or(|e| e != "unconfirmed")));
}

#[tokio::test]
async fn a_damaged_file_is_never_sent_and_whoever_ships_a_spool_is_told_of_it() {
    let nats = TestNats::start().await;
    let clickwire = Clickwire::new().with("CLICKWIRE__NATS__URL", nats.url());
    let dir = clickwire.dir.path().join("spool");
    std::fs::create_dir(&dir).expect("a directory");
    let damaged = dir.join("00000000000000000003.damaged");
    std::fs::write(&damaged, "nobody can read this").expect("written");
    let dir = dir.display().to_string();

    let told = clickwire.fails(&["spool", "ship", "--all", "--dir", &dir]).await;
    let listed = clickwire.fails(&["spool", "ship", "--all", "--json", "--dir", &dir]).await.json();

    let damaged = damaged.display().to_string();
    assert!(told.stdout.contains(&format!("not sent   {damaged}, 20 bytes")), "{told:?}");
    assert_eq!(listed["put_aside"], serde_json::json!([{"path": damaged, "bytes": 20}]));
}

#[tokio::test]
async fn a_spool_that_is_not_there_is_an_error() {
    let nats = TestNats::start().await;
    let clickwire = Clickwire::new().with("CLICKWIRE__NATS__URL", nats.url());

    let inspect = clickwire.fails(&["spool", "inspect", "--dir", "nothing"]).await;
    let ship = clickwire.fails(&["spool", "ship", "--dir", "nothing"]).await;

    assert!(inspect.stderr.contains("failed to look at the spool in nothing"), "{inspect:?}");
    assert!(ship.stderr.contains("there is no spool in nothing"), "{ship:?}");
    assert!(!clickwire.dir.path().join("nothing").exists());
}
