//! Asymmetric signatures, checked by the samples that subscribers start from (`deploy/receivers/v1a`).

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, Received, ScratchDir, Subscriber};

use crate::stack::Stack;
use crate::verifiers::headers;

#[path = "../../../../deploy/receivers/v1a/verify.rs"]
mod sample;

/// Which samples of other languages are run too: `python,node,go`. Python's needs a package from a registry, which the
/// ordinary tests do not.
const SAMPLES: &str = "CLICKWIRE_TEST_V1A";

/// How a sample ends that has refused a request; whatever else goes wrong ends otherwise.
const REFUSED: i32 = 3;

#[tokio::test]
async fn the_samples_in_four_languages_verify_v1a_and_refuse_what_was_changed() {
    let stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let endpoint = stack.endpoint(&subscriber, json!({"signatures": ["v1", "v1a"]})).await;
    let link = stack.link(json!({"tags": ["frühling", "🌱"]})).await;
    let path = format!("/.well-known/clickwire-webhook-keys?endpoint_id={}", endpoint.id);
    let (_, keys) = stack.api(Method::GET, &path, Value::Null).await;
    let key = keys["keys"][0]["whpk"].as_str().expect("a key").to_owned();

    stack.click(&link).await;

    let request = subscriber.received(1).await.remove(0);
    let changed = Received { body: [&request.body[..], b" "].concat(), ..request.clone() };
    let foreign = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    let accepts = |key: &str, request: &Received| sample::verify(&[key], &headers(request), &request.body);
    let by_rust = [accepts(&key, &request), accepts(&key, &changed), accepts(foreign, &request)];
    assert_eq!(by_rust, [true, false, false]);
    // whoever knows `v1` alone is not disturbed by what stands behind it
    let webhook = standardwebhooks::Webhook::new(&endpoint.secret).expect("a secret");
    webhook.verify(&request.body, &headers(&request)).expect("v1 verifies");
    let dir = ScratchDir::new("v1a");
    for sample in Sample::wanted(dir.path()) {
        let by = [(&key[..], &request), (&key[..], &changed), (foreign, &request)]
            .map(|(key, request)| sample.accepts(key, request));
        assert_eq!(by, [true, false, false], "{sample:?}");
    }
}

/// A sample of another language, ready to run.
#[derive(Debug)]
struct Sample(Vec<PathBuf>);

impl Sample {
    fn wanted(dir: &Path) -> Vec<Self> {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/receivers/v1a");
        let wanted = std::env::var(SAMPLES).unwrap_or_default();
        let sample = |name: &str| match name {
            "python" => Self(vec![python(dir), samples.join("verify.py")]),
            "node" => Self(vec!["node".into(), samples.join("verify.mjs")]),
            "go" => Self(vec!["go".into(), "run".into(), samples.join("verify.go")]),
            other => panic!("{SAMPLES} names {other}; there are python, node and go"),
        };
        wanted.split(',').filter(|name| !name.is_empty()).map(sample).collect()
    }

    fn accepts(&self, key: &str, request: &Received) -> bool {
        let headers: serde_json::Map<String, Value> =
            request.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let body = std::str::from_utf8(&request.body).expect("UTF-8");
        let given = json!({"public_keys": [key], "headers": headers, "body": body}).to_string();
        let mut command = Command::new(&self.0[0]);
        let command = command.args(&self.0[1..]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        child.stdin.take().expect("a pipe").write_all(given.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        // `go run` ends with 1 and says how the program ended
        let is_refused = output.status.code() == Some(REFUSED) || said.contains("exit status 3");
        assert!(output.status.success() || is_refused, "{self:?}: {said}");
        !is_refused
    }
}

/// A Python with PyPI's cryptography, in an environment of its own.
fn python(dir: &Path) -> PathBuf {
    let (venv, python) = (dir.join("venv"), dir.join("venv/bin/python"));
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "cryptography"]));
    python
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("the program is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
