//! The program itself, killed while it works.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::Click;
use testkit::until;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::client::Browser;
use crate::house::{House, LIMIT, options};

const REDIRECT: &str = env!("CARGO_BIN_EXE_clickwire-redirect");

const VISITORS: usize = 16;

/// Starts `clickwire-redirect` and waits until it says where it listens.
async fn start(house: &House) -> (Child, SocketAddr) {
    let (child, addr, _) = start_with(house, Command::new(REDIRECT), "10s").await;
    (child, addr)
}

/// The same by this command, with this time to drain; what it says can be read.
async fn start_with(
    house: &House,
    mut command: Command,
    drain_timeout: &str,
) -> (Child, SocketAddr, JoinHandle<String>) {
    let settings = house.settings();
    let mut child = command
        .env("CLICKWIRE__TELEMETRY__LOG_FORMAT", "json")
        .env("CLICKWIRE__REDIRECT__ADDR", "127.0.0.1:0")
        .env("CLICKWIRE__REDIRECT__OPS_ADDR", "127.0.0.1:0")
        .env("CLICKWIRE__REDIRECT__WORKERS", "2")
        .env("CLICKWIRE__REDIRECT__DRAIN_TIMEOUT", drain_timeout)
        .env("CLICKWIRE__REDIRECT__SPOOL__DIR", &settings.redirect.spool.dir)
        .env("CLICKWIRE__DATABASE__URL", &settings.database.url)
        .env("CLICKWIRE__NATS__URL", &settings.nats.url)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut said = String::new();
    let addr = loop {
        let line = lines.next_line().await.expect("readable").expect("it says where it listens");
        said.push_str(&line);
        said.push('\n');
        if let Some((_, rest)) = line.split_once("\"addr\":\"") {
            let (addr, _) = rest.split_once('"').expect("a text");
            break addr.parse().expect("an address");
        }
    };
    let said = tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            said.push_str(&line);
            said.push('\n');
        }
        said
    });
    (child, addr, said)
}

/// The same with so many blocks of 512 bytes for each file, as if the disk were full then: a write says so, or writes a part.
async fn start_on_disk_of(house: &House, blocks: u32) -> (Child, SocketAddr, JoinHandle<String>) {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\""), REDIRECT]);
    start_with(house, command, "10s").await
}

/// Clicks until the connection breaks; tells which clicks were answered.
async fn visit(addr: SocketAddr, visitor: usize, answered: Arc<AtomicUsize>) -> Vec<String> {
    let mut seen = Vec::new();
    let Ok(mut browser) = Browser::connect(addr).await else { return seen };
    for number in 0.. {
        let name = format!("{visitor}-{number}");
        match browser.send("GET", &format!("/abc?n={name}"), &[]).await {
            Ok(answer) => assert_eq!(answer.status, 302),
            Err(_) => break,
        }
        answered.fetch_add(1, Ordering::Relaxed);
        seen.push(name);
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn every_click_that_was_answered_survives_a_kill() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut answered_names = Vec::new();

    for round in 1..=2 {
        let (mut child, addr) = start(&house).await;
        let answered = Arc::new(AtomicUsize::new(0));
        let visits: Vec<_> = (0..VISITORS)
            .map(|visitor| tokio::spawn(visit(addr, round * 100 + visitor, answered.clone())))
            .collect();
        until(LIMIT, async || (answered.load(Ordering::Relaxed) >= 1000).then_some(())).await;
        child.kill().await.expect("it can be killed");
        for visit in visits {
            answered_names.extend(visit.await.expect("no panic"));
        }
    }
    let (mut child, _) = start(&house).await;

    // clicks whose answer the kill cut off are on the stream too: counting would not tell
    until(LIMIT, async || {
        let clicks = house.clicks_when(answered_names.len()).await;
        let number = |click: &Click| click.destination_url.split_once("&n=").map(|(_, name)| name.to_owned());
        let arrived: BTreeSet<_> = clicks.iter().filter_map(number).collect();
        answered_names.iter().all(|name| arrived.contains(name)).then_some(())
    })
    .await;
    child.kill().await.expect("it can be killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_that_is_asked_to_end_says_what_it_could_not_ship_and_what_to_do() {
    let house = House::new().await;
    house.link("abc", options()).await;
    house.nats.kill().await;
    let (mut child, addr, said) = start_with(&house, Command::new(REDIRECT), "100ms").await;
    let mut browser = Browser::connect(addr).await.expect("it listens");
    for _ in 0..7 {
        assert_eq!(browser.send("GET", "/abc", &[]).await.expect("an answer").status, 302);
    }
    drop(browser);

    let said = ended(&mut child, said).await;

    let dir = house.settings().redirect.spool.dir.display().to_string();
    let advice = format!(
        "7 clicks wait in the spool: start a redirect with this directory again, or run \
                          `clickwire spool ship --dir {dir}`"
    );
    assert!(said.contains(&advice), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_disk_takes_no_more_visitors_are_sent_on_and_their_clicks_arrive() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let (mut child, addr, said) = start_on_disk_of(&house, 1).await;
    let mut browser = Browser::connect(addr).await.expect("it listens");

    for _ in 0..60 {
        assert_eq!(browser.send("GET", "/abc", &[]).await.expect("an answer").status, 302);
    }

    assert_eq!(house.clicks_when(60).await.len(), 60);
    drop(browser);
    let said = ended(&mut child, said).await;
    assert!(said.contains("clicks are not spooled"), "{said}");
    assert!(said.contains("clicks are spooled again"), "{said}");
    assert!(!said.contains("clicks are lost: neither"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_that_starts_on_a_full_disk_sends_visitors_on_and_their_clicks_arrive() {
    let house = House::new().await;
    house.link("abc", options()).await;
    // no byte gets into a file
    let (mut child, addr, said) = start_on_disk_of(&house, 0).await;
    let mut browser = Browser::connect(addr).await.expect("it listens");

    for _ in 0..20 {
        assert_eq!(browser.send("GET", "/abc", &[]).await.expect("an answer").status, 302);
    }

    assert_eq!(house.clicks_when(20).await.len(), 20);
    drop(browser);
    let said = ended(&mut child, said).await;
    assert!(said.contains("clicks are not spooled"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clicks_that_find_no_room_leave_no_files_behind() {
    let house = House::new().await;
    house.link("abc", options()).await;
    // room for what a file begins with, and for no click
    let (mut child, addr, said) = start_on_disk_of(&house, 1).await;
    let mut browser = Browser::connect(addr).await.expect("it listens");

    let path = format!("/abc?n={}", "n".repeat(3000));
    for _ in 0..20 {
        assert_eq!(browser.send("GET", &path, &[]).await.expect("an answer").status, 302);
    }

    assert_eq!(house.clicks_when(20).await.len(), 20);
    assert_eq!(house.spool_files("spool").len(), 1);
    drop(browser);
    ended(&mut child, said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_ask_nothing_leave_the_spool_its_files() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 150; exec \"$0\"", REDIRECT]);
    // so that there is to be another file again and again
    command.env("CLICKWIRE__REDIRECT__SPOOL__SEGMENT_AGE_MAX", "20ms");
    let (mut child, addr, said) = start_with(&house, command, "10s").await;
    let mut browser = Browser::connect(addr).await.expect("it listens");
    assert_eq!(browser.send("GET", "/abc", &[]).await.expect("an answer").status, 302);

    let idle = futures::future::join_all((0..200).map(|_| Browser::connect(addr))).await;
    let files = || std::fs::read_dir(house.settings().redirect.spool.dir).expect("the spool").count();
    let (mut clicks, before) = (1, files());
    while files() < before + 10 {
        assert_eq!(browser.send("GET", "/abc", &[]).await.expect("an answer").status, 302);
        clicks += 1;
    }

    assert_eq!(house.clicks_when(clicks).await.len(), clicks);
    drop((browser, idle));
    let said = ended(&mut child, said).await;
    assert!(said.contains("redirect.connections_max is more than this process may open"), "{said}");
    assert!(!said.contains("clicks are not spooled"), "{said}");
}

/// Asks it to end, and waits until it has; returns what it said.
async fn ended(child: &mut Child, said: JoinHandle<String>) -> String {
    let pid = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill runs").success());
    let status = tokio::time::timeout(LIMIT, child.wait()).await.expect("it ends").expect("ours to ask");
    assert!(status.success(), "{status}");
    said.await.expect("no panic")
}
