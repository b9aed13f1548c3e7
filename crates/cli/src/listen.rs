//! `clickwire listen`: a subscriber to try things with. It does what a good subscriber does: it verifies, recognises
//! duplicates, and answers quickly.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Mutex;

use actix_web::web::{Bytes, Data, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use model::secret::{SigningSecret, SigningSecretError};
use serde_json::Value;
use webhook::asymmetric::{self, PublicKey, PublicKeyError};
use webhook::signature::{
    self, ID_HEADER, SIGNATURE_HEADER, Signed, TIMESTAMP_HEADER, TOLERANCE, VerifyError,
};

use crate::out;

/// Longest body that is read.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Ids that are remembered to recognise duplicates.
const IDS_MAX: usize = 10_000;

/// Receive webhooks: verify each one and show what it tells
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where to receive them
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    addr: SocketAddr,

    /// Secret of the endpoint (whsec_…) or public key of its v1a signatures (whpk_…), several while it is exchanged; without
    /// one nothing is verified
    #[arg(long = "secret", value_name = "SECRET")]
    secrets: Vec<Key>,

    /// Share of webhooks to refuse with 500, from 0 to 1, to see them come again
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    fail_rate: f64,

    /// One line a webhook, without its body
    #[arg(long)]
    brief: bool,
}

/// What a webhook is verified with.
#[derive(Debug, Clone)]
enum Key {
    Secret(SigningSecret),
    Public(PublicKey),
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("whpk_") {
            return text.parse().map(Self::Public).map_err(|error: PublicKeyError| error.to_string());
        }
        text.parse().map(Self::Secret).map_err(|error: SigningSecretError| error.to_string())
    }
}

impl Key {
    fn verify(&self, signed: &Signed<'_>, now: DateTime<Utc>) -> Result<(), VerifyError> {
        match self {
            Self::Secret(secret) => signature::verify(secret, signed, now, TOLERANCE),
            Self::Public(key) => asymmetric::verify(key, signed, now, TOLERANCE),
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "must be a number from 0 to 1".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("must be from 0 to 1".to_owned()) }
}

struct Receiver {
    options: Options,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    /// Whether the id is new.
    fn add(&mut self, id: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > IDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let stop = service::shutdown::on_signal()?;
    let addr = options.addr;
    let has_secret = !options.secrets.is_empty();
    let receiver = Data::new(Receiver { options, seen: Mutex::default() });
    let app = move || {
        App::new()
            .app_data(receiver.clone())
            .app_data(PayloadConfig::new(BODY_BYTES_MAX))
            .default_service(web::route().guard(actix_web::guard::Post()).to(receive))
    };
    let server = HttpServer::new(app)
        .workers(1)
        .disable_signals()
        .shutdown_timeout(1)
        .bind(addr)
        .with_context(|| format!("cannot listen on {addr}"))?;
    let bound = server.addrs().first().copied().unwrap_or(addr);
    let server = server.run();
    let handle = server.handle();
    let server = tokio::spawn(server);
    out::line(&format!("waiting for webhooks on http://{bound}/"));
    if !has_secret {
        out::line("without --secret nothing is verified; a new endpoint's secret stands in the API's answer");
    }
    stop.cancelled().await;
    handle.stop(true).await;
    server.await??;
    Ok(ExitCode::SUCCESS)
}

async fn receive(request: HttpRequest, body: Bytes, receiver: Data<Receiver>) -> HttpResponse {
    let options = &receiver.options;
    let header =
        |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let id = header(ID_HEADER);
    let signed =
        Signed { id, timestamp: header(TIMESTAMP_HEADER), signature: header(SIGNATURE_HEADER), body: &body };
    let (word, is_accepted) = judge(&options.secrets, &signed);
    let fails = is_accepted && options.fail_rate > 0.0 && rand::random::<f64>() < options.fail_rate;
    let is_new = fails || receiver.seen.lock().expect("adding an id does not panic").add(id);

    let event: Option<Value> = serde_json::from_slice(&body).ok();
    let mut line = format!("{}  {word}", Utc::now().format("%H:%M:%S%.3f"));
    line.push_str(
        &event.as_ref().map_or_else(|| format!("  {} bytes that are no JSON", body.len()), describe),
    );
    if !is_new {
        line.push_str("  (a duplicate: this id came before)");
    }
    if fails {
        line.push_str("  (answered with 500, as --fail-rate asks)");
    }
    out::line(&line);
    if !options.brief
        && let Some(event) = &event
    {
        out::line(&serde_json::to_string_pretty(event).expect("it was JSON before"));
    }
    match (is_accepted, fails) {
        (false, _) => HttpResponse::Unauthorized().body("the signature does not verify\n"),
        (true, true) => HttpResponse::InternalServerError().body("refused by --fail-rate\n"),
        (true, false) => HttpResponse::Ok().body("ok\n"),
    }
}

/// What stands in the line, and whether the webhook is taken.
fn judge(secrets: &[Key], signed: &Signed<'_>) -> (String, bool) {
    if secrets.is_empty() {
        return ("unchecked".to_owned(), true);
    }
    let now = Utc::now();
    let results: Vec<_> = secrets.iter().map(|key| key.verify(signed, now)).collect();
    match results
        .iter()
        .find_map(|result| result.as_ref().err())
        .filter(|_| results.iter().all(Result::is_err))
    {
        None => ("verified".to_owned(), true),
        Some(error) => (format!("REFUSED ({error})"), false),
    }
}

/// The line's part that tells of the click: place, device, verdict, who, and the id.
fn describe(event: &Value) -> String {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let join =
        |parts: &[Option<&str>], by: &str| parts.iter().flatten().copied().collect::<Vec<_>>().join(by);
    let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };

    // other formats name it otherwise, and a message for Slack is a sentence
    let event_type = text("/type").or_else(|| text("/event")).or_else(|| text("/text"));
    let mut parts = vec![event_type.unwrap_or("no type").to_owned()];
    if event.pointer("/data/click_id").is_some() {
        let place = join(&[text("/data/location/city"), text("/data/location/country_name")], ", ");
        parts.push(or(place, "place unknown"));
        let device = join(&[text("/data/device/brand"), text("/data/device/model")], " ");
        let device = or(device, text("/data/device/type").unwrap_or("device unknown"));
        let os = join(&[text("/data/device/os"), text("/data/device/os_version")], " ");
        parts.push(join(
            &[Some(&device), Some(os.as_str()).filter(|os| !os.is_empty()), text("/data/device/browser")],
            ", ",
        ));
        parts.push(text("/data/automation/verdict").unwrap_or("unknown").to_owned());
        for (name, pointer) in [("campaign", "/data/campaign_id"), ("contact", "/data/contact_id")] {
            parts.extend(text(pointer).map(|id| format!("{name} {id}")));
        }
        parts.extend(text("/data/link/tracked_url").map(str::to_owned));
    }
    if event.pointer("/data/test") == Some(&Value::Bool(true)) {
        parts.push("a test".to_owned());
    }
    parts.push(text("/id").or_else(|| text("/request_id")).unwrap_or("no id").to_owned());
    parts.iter().map(|part| format!("  {part}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_tells_place_device_and_verdict() {
        let event = json!({
            "id": "evt_1", "type": "link.clicked",
            "data": {
                "click_id": "clk_1", "contact_id": "cont_9", "campaign_id": null, "test": false,
                "link": { "tracked_url": "http://localhost:8080/abc" },
                "location": { "city": "Linköping", "country_name": "Sweden" },
                "device": { "type": "mobile", "brand": "Apple", "model": "iPhone", "os": "iOS", "os_version": "18.1",
                            "browser": "Mobile Safari" },
                "automation": { "verdict": "human" }
            }
        });

        assert_eq!(
            describe(&event),
            "  link.clicked  Linköping, Sweden  Apple iPhone, iOS 18.1, Mobile Safari  human  contact cont_9  \
             http://localhost:8080/abc  evt_1"
        );
    }

    #[test]
    fn a_line_tells_what_is_not_known() {
        let event = json!({ "id": "evt_1", "type": "link.clicked", "data": {
            "click_id": "clk_1", "location": { "city": null }, "device": { "type": null }, "test": true } });

        assert_eq!(describe(&event), "  link.clicked  place unknown  device unknown  unknown  a test  evt_1");
        assert_eq!(describe(&json!([])), "  no type  no id");
        let request = json!({ "data": { "host": "crm.example.com" }, "event": "endpoint.disabled", "request_id": "evt_1" });
        assert_eq!(describe(&request), "  endpoint.disabled  evt_1");
    }

    #[test]
    fn any_of_several_secrets_verifies_and_none_refuses() {
        let (old, new) = (SigningSecret::generate(), SigningSecret::generate());
        let timestamp = Utc::now().timestamp();
        let value = signature::sign(std::slice::from_ref(&new), "evt_1", timestamp, b"{}");
        let timestamp = timestamp.to_string();
        let signed = Signed { id: "evt_1", timestamp: &timestamp, signature: &value, body: b"{}" };

        let [old, new] = [old, new].map(Key::Secret);
        assert_eq!(judge(&[old.clone(), new], &signed), ("verified".to_owned(), true));
        assert!(!judge(&[old], &signed).1);
        assert_eq!(judge(&[], &signed), ("unchecked".to_owned(), true));
    }

    #[test]
    fn a_public_key_verifies_what_its_private_half_signed_and_nothing_else() {
        let keyring = webhook::Keyring::new(&webhook::sealing::generate_key(), &[]).expect("a keyring");
        let key = || {
            let (workspace, endpoint) = (model::WorkspaceId::generate(), model::EndpointId::generate());
            let sealed = asymmetric::SigningKey::generate_sealed(&keyring, workspace, endpoint);
            asymmetric::SigningKey::open(&keyring, workspace, endpoint, &sealed).expect("it opens")
        };
        let (own, other) = (key(), key());
        let timestamp = Utc::now().timestamp();
        let mut value = signature::sign(&[SigningSecret::generate()], "evt_1", timestamp, b"{}");
        asymmetric::append(std::slice::from_ref(&own), "evt_1", timestamp, b"{}", &mut value);
        let timestamp = timestamp.to_string();
        let signed = Signed { id: "evt_1", timestamp: &timestamp, signature: &value, body: b"{}" };
        let read = |key: &asymmetric::SigningKey| -> Key { key.public().to_string().parse().expect("a key") };

        assert_eq!(judge(&[read(&own)], &signed), ("verified".to_owned(), true));
        assert!(!judge(&[read(&other)], &signed).1);
        assert!("whpk_short".parse::<Key>().is_err());
    }

    #[test]
    fn ids_are_remembered_up_to_a_limit() {
        let mut seen = Seen::default();

        assert!(seen.add("a"));
        assert!(!seen.add("a"));
        for number in 0..IDS_MAX {
            assert!(seen.add(&number.to_string()));
        }
        assert!(seen.add("a"));
        assert_eq!(seen.ids.len(), IDS_MAX);
    }
}
