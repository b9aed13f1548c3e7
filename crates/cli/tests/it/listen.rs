//! `listen` takes what is signed with its secret, and nothing else.

use chrono::Utc;
use model::secret::SigningSecret;
use reqwest::StatusCode;
use testkit::until;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use webhook::signature;

use crate::command::{Clickwire, LIMIT};

const BODY: &str = r#"{"id":"evt_1","type":"link.clicked","data":{"click_id":"clk_1",
    "location":{"city":"Linköping","country_name":"Sweden"},"device":{"brand":"Apple","model":"iPhone"},
    "automation":{"verdict":"human"}}}"#;

struct Listening {
    _clickwire: Clickwire,
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    url: String,
}

async fn listen(more: &[&str]) -> Listening {
    let clickwire = Clickwire::new();
    let arguments = [&["listen", "--addr", "127.0.0.1:0", "--brief"], more].concat();
    let mut child = clickwire.command(&arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(LIMIT, lines.next_line()).await.unwrap().unwrap().unwrap();
    let url = line.strip_prefix("waiting for webhooks on ").unwrap().to_owned();
    Listening { _clickwire: clickwire, _child: child, lines, url }
}

impl Listening {
    async fn post(&mut self, secret: &SigningSecret) -> (StatusCode, String) {
        service::tls::install_provider();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let timestamp = Utc::now().timestamp();
        let value = signature::sign(std::slice::from_ref(secret), "evt_1", timestamp, BODY.as_bytes());
        let answer = until(LIMIT, || async {
            let request = client.post(&self.url).body(BODY);
            let request = request.header("webhook-id", "evt_1").header("webhook-timestamp", timestamp);
            request.header("webhook-signature", &value).send().await.ok()
        })
        .await;
        let line = tokio::time::timeout(LIMIT, self.lines.next_line()).await.unwrap().unwrap().unwrap();
        (answer.status(), line)
    }
}

#[tokio::test]
async fn a_webhook_is_verified_and_shown_with_place_and_device() {
    let secret = SigningSecret::generate();
    let mut listening = listen(&["--secret", &secret.reveal()]).await;

    let (status, line) = listening.post(&secret).await;
    let (again, duplicate) = listening.post(&secret).await;
    let (refused, other) = listening.post(&SigningSecret::generate()).await;

    assert_eq!((status, again, refused), (StatusCode::OK, StatusCode::OK, StatusCode::UNAUTHORIZED));
    assert!(
        line.ends_with("  verified  link.clicked  Linköping, Sweden  Apple iPhone  human  evt_1"),
        "{line}"
    );
    assert!(duplicate.ends_with("(a duplicate: this id came before)"), "{duplicate}");
    assert!(other.contains("REFUSED (no signature matches"), "{other}");
}

#[tokio::test]
async fn a_share_of_webhooks_can_be_refused_on_purpose() {
    let secret = SigningSecret::generate();
    let mut listening = listen(&["--secret", &secret.reveal(), "--fail-rate", "1"]).await;

    let (status, line) = listening.post(&secret).await;

    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(line.contains("  verified  ") && line.ends_with("as --fail-rate asks)"), "{line}");
}
