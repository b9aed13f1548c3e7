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

/// How a program ends that has refused a request; whatever else goes wrong ends otherwise.
const REFUSED: i32 = 3;

const PYTHON: &str = r#"
import json, sys
from standardwebhooks import Webhook
given = json.load(sys.stdin)
try:
    Webhook(given["secret"]).verify(given["body"], given["headers"])
except Exception as error:
    sys.exit(3 if type(error).__name__ == "WebhookVerificationError" else repr(error))
"#;

const NODE: &str = r#"
const { Webhook, WebhookVerificationError } = require("standardwebhooks");
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
try {
    new Webhook(given.secret).verify(given.body, given.headers);
} catch (error) {
    if (error instanceof WebhookVerificationError) process.exit(3);
    throw error;
}
"#;

#[tokio::test]
async fn the_reference_verifiers_accept_our_signatures() {
    let stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let endpoint = stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({"tags": ["frühling", "🌱"]})).await;

    stack.click(&link).await;

    let request = subscriber.received(1).await.remove(0);
    let changed = Received { body: [&request.body[..], b" "].concat(), ..request.clone() };
    let webhook = Webhook::new(&endpoint.secret).unwrap();
    webhook.verify(&request.body, &headers(&request)).unwrap();
    assert!(webhook.verify(&changed.body, &headers(&changed)).is_err());
    for verifier in Verifier::wanted() {
        assert!(verifier.accepts(&endpoint.secret, &request), "{verifier:?}");
        assert!(!verifier.accepts(&endpoint.secret, &changed), "{verifier:?}");
    }
}

/// A verifier of another language, fetched and ready.
#[derive(Debug)]
pub struct Verifier {
    language: Language,
    dir: ScratchDir,
}

#[derive(Debug, Clone, Copy)]
enum Language {
    Python,
    Node,
}

impl Verifier {
    /// Those that [`VERIFIERS`] names.
    pub fn wanted() -> Vec<Self> {
        let wanted = std::env::var(VERIFIERS).unwrap_or_default();
        let verifier = |name: &str| {
            let dir = ScratchDir::new("verifier");
            let language = match name {
                "python" => fetch_python(dir.path()),
                "npm" => fetch_node(dir.path()),
                other => panic!("{VERIFIERS} names {other}; there are python and npm"),
            };
            Self { language, dir }
        };
        wanted.split(',').filter(|name| !name.is_empty()).map(verifier).collect()
    }

    /// Whether it accepts a request with this secret.
    pub fn accepts(&self, secret: &str, request: &Received) -> bool {
        let headers: serde_json::Map<String, serde_json::Value> =
            request.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let body = String::from_utf8(request.body.clone()).expect("UTF-8");
        let given = json!({"secret": secret, "headers": headers, "body": body}).to_string();
        let mut command = self.command();
        let command = command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        child.stdin.take().expect("a pipe").write_all(given.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let is_refused = output.status.code() == Some(REFUSED);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || is_refused, "{command:?}: {said}");
        !is_refused
    }

    fn command(&self) -> Command {
        let dir = self.dir.path();
        match self.language {
            Language::Python => {
                let mut command = Command::new(dir.join("venv/bin/python"));
                command.args(["-c", PYTHON]);
                command
            }
            Language::Node => {
                let mut command = Command::new("node");
                command.args(["-e", NODE]).current_dir(dir);
                command
            }
        }
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
fn fetch_python(dir: &Path) -> Language {
    run(Command::new("python3").args(["-m", "venv"]).arg(dir.join("venv")));
    let install = ["-m", "pip", "install", "--quiet", "standardwebhooks"];
    run(Command::new(dir.join("venv/bin/python")).args(install));
    Language::Python
}

/// npm's standardwebhooks in a folder of its own.
fn fetch_node(dir: &Path) -> Language {
    run(Command::new("npm").args(["install", "--silent", "--no-save", "standardwebhooks"]).current_dir(dir));
    Language::Node
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("the program is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
