//! Newer data about User-Agents: taken into use while clicks flow, refused when it is broken.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use enrich::look_up::LookUp;
use enrich::metrics::Metrics;
use enrich::settings::EnrichSettings;
use model::automation::Verdict;
use model::click::Request;
use testkit::until;
use tokio_util::sync::CancellationToken;

use crate::given;

const UNKNOWN_PROGRAM: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Thing) Chrome/126.0.0.0 Safari/537.36";

const CRAWLERS: &str = r#"[{"pattern": "Googlebot"}, {"pattern": "Thing"}]"#;

fn open(dir: &Path, metrics: &Arc<Metrics>) -> LookUp {
    let settings = EnrichSettings { agents_dir: Some(dir.to_owned()), ..given::settings() };
    LookUp::open(&settings, Arc::clone(metrics)).expect("look-ups")
}

fn request(agent: &str) -> Request {
    Request { method: "GET".into(), user_agent: Some(agent.into()), ..Request::default() }
}

fn verdict(look_up: &LookUp) -> Verdict {
    look_up.tell(&request(UNKNOWN_PROGRAM)).1.verdict
}

#[tokio::test]
async fn newer_lists_are_taken_into_use_while_clicks_flow() {
    let dir = tempfile::tempdir().expect("a folder");
    let look_up = Arc::new(open(dir.path(), &given::metrics()));
    let stop = CancellationToken::new();
    let watching = tokio::spawn(Arc::clone(&look_up).watch_agents(Duration::from_millis(20), stop.clone()));
    let becomes = |wanted: Verdict| {
        let look_up = Arc::clone(&look_up);
        until(Duration::from_secs(60), move || {
            let is = verdict(&look_up) == wanted;
            async move { is.then_some(()) }
        })
    };
    assert_eq!(verdict(&look_up), Verdict::Human);

    fs::write(dir.path().join("new"), CRAWLERS).expect("a write");
    fs::rename(dir.path().join("new"), dir.path().join("crawler-user-agents.json")).expect("a rename");
    becomes(Verdict::Automated).await;

    fs::remove_file(dir.path().join("crawler-user-agents.json")).expect("a removal");
    becomes(Verdict::Human).await;

    stop.cancel();
    watching.await.expect("watching ends");
}

#[test]
fn a_broken_file_leaves_in_use_what_was_used_before_and_is_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let metrics = given::metrics();
    let list = dir.path().join("crawler-user-agents.json");
    fs::write(&list, CRAWLERS).expect("a write");
    let look_up = open(dir.path(), &metrics);
    assert_eq!(verdict(&look_up), Verdict::Automated);

    for broken in ["", "[", "[]", r#"[{"pattern": "("}]"#, r#"[{"pattern": "Mozilla"}]"#] {
        let before = metrics.agent_broken_files_total.get();
        fs::write(&list, broken).expect("a write");

        assert!(!look_up.refresh_agents(), "{broken}");
        assert_eq!(verdict(&look_up), Verdict::Automated, "{broken}");
        assert_eq!(metrics.agent_broken_files_total.get(), before + 1, "{broken}");
    }
    assert!(!look_up.refresh_agents(), "what has not changed is not read again");
    assert_eq!(metrics.agent_broken_files_total.get(), 5);
}

#[test]
fn a_newer_table_names_newer_phones_and_a_broken_one_no_fewer() {
    let dir = tempfile::tempdir().expect("a folder");
    let metrics = given::metrics();
    let table = dir.path().join("android-devices.tsv");
    fs::write(&table, "<html>not found</html>").expect("a write");
    fs::write(dir.path().join("uap-core.json"), "{}").expect("a write");
    let look_up = open(dir.path(), &metrics);
    let phone = request(
        "Mozilla/5.0 (Linux; Android 19; ZQZ-77) AppleWebKit/537.36 Chrome/199.0 Mobile Safari/537.36",
    );
    assert_eq!(look_up.tell(&phone).0.brand, None);
    assert_eq!(look_up.tell(&request(given::IPHONE)).0.os.as_deref(), Some("iOS"));
    assert_eq!(metrics.agent_broken_files_total.get(), 1);

    fs::remove_file(dir.path().join("uap-core.json")).expect("a removal");
    fs::write(&table, "model\tbrand\tmarketing_name\nZQZ-77\tAcme\tFold 9\n").expect("a write");

    assert!(look_up.refresh_agents());
    let device = look_up.tell(&phone).0;
    assert_eq!((device.brand.as_deref(), device.model_name.as_deref()), (Some("Acme"), Some("Fold 9")));
}

#[test]
fn what_was_read_is_remembered_and_counted() {
    let metrics = given::metrics();
    let look_up = LookUp::open(&given::settings(), Arc::clone(&metrics)).expect("look-ups");
    let count = |result| metrics.agent_lookups_total.with_label_values(&[result]).get();

    let first = look_up.tell(&request(given::IPHONE));
    let second = look_up.tell(&request(given::IPHONE));

    assert_eq!(first, second);
    assert_eq!((count("read"), count("remembered")), (1, 1));
}
