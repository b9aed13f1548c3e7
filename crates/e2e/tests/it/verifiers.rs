//! Signatures, checked by the verifiers that subscribers use.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use standardwebhooks::Webhook;
use testkit::{Answer, Received, ScratchDir, Subscriber};

use crate::stack::Stack;

/// Which verifiers of other languages are fetched and asked too: `python,npm`. They come from package registries,
/// which the ordinary tests do not need.
const VERIFIERS: &str = "CLICKWIRE_TEST_VERIFIERS";

const PYTHON: &str = r#"
import json, sys
from standardwebhooks import Webhook
given = json.load(sys.stdin)
Webhook(given["secret"]).verify(given["body"], given["headers"])
try:
    Webhook(given["secret"]).verify(given["body"] + " ", given["headers"])
except Exception:
    sys.exit(0)
sys.exit("accepted a changed body")
"#;

const NODE: &str = r#"
const { Webhook } = require("standardwebhooks");
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
const webhook = new Webhook(given.secret);
webhook.verify(given.body, given.headers);
try { webhook.verify(given.body + " ", given.headers); } catch { process.exit(0); }
console.error("accepted a changed body");
process.exit(1);
"#;

#[tokio::test]
async fn the_reference_verifiers_accept_our_signatures() {
    let stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let endpoint = stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({"tags": ["frühling", "🌱"]})).await;

    stack.click(&link).await;

    let requests = subscriber.received(1).await;
    let request = &requests[0];
    let webhook = Webhook::new(&endpoint.secret).unwrap();
    webhook.verify(&request.body, &headers(request)).unwrap();
    assert!(webhook.verify(&[&request.body[..], b" "].concat(), &headers(request)).is_err());
    let wanted = std::env::var(VERIFIERS).unwrap_or_default();
    for verifier in wanted.split(',').filter(|name| !name.is_empty()) {
        let dir = ScratchDir::new("verifier");
        let command = match verifier {
            "python" => python(dir.path()),
            "npm" => node(dir.path()),
            other => panic!("{VERIFIERS} names {other}; there are python and npm"),
        };
        ask(command, &endpoint.secret, request);
    }
}

/// The headers, as verifiers want them.
pub fn headers(request: &Received) -> HeaderMap {
    let pair = |(name, value): &(String, String)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    };
    request.headers.iter().filter_map(pair).collect()
}

/// PyPI's standardwebhooks in an environment of its own.
fn python(dir: &Path) -> Command {
    run(Command::new("python3").args(["-m", "venv"]).arg(dir.join("venv")));
    let python = dir.join("venv/bin/python");
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "standardwebhooks"]));
    let mut command = Command::new(python);
    command.args(["-c", PYTHON]);
    command
}

/// npm's standardwebhooks in a folder of its own.
fn node(dir: &Path) -> Command {
    run(Command::new("npm").args(["install", "--silent", "--no-save", "standardwebhooks"]).current_dir(dir));
    let mut command = Command::new("node");
    command.args(["-e", NODE]).current_dir(dir);
    command
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("the program is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn ask(mut command: Command, secret: &str, request: &Received) {
    let headers: serde_json::Map<String, serde_json::Value> =
        request.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let body = String::from_utf8(request.body.clone()).expect("UTF-8");
    let given = json!({"secret": secret, "headers": headers, "body": body}).to_string();
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(given.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
