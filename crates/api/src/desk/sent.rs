//! What was sent: the bytes of a delivery, its signature, and how to send the same by hand.

use chrono::{DateTime, Utc};
use serde_json::Value;

use bus::{DecodeError, Message as _};
use model::event_type::{self, LINK_CLICKED};
use model::secret::SigningSecret;
use model::{EndpointId, EnrichedClick, EventId};
use store::delivery_log::{self, LoggedAttempt, LoggedDelivery};
use store::{deliveries, secrets};
use webhook::asymmetric::{self, PublicKey, SigningKey};
use webhook::checkup::{self, Found, Judged, Known, Pasted};
use webhook::shape::content_type;
use webhook::signature::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign};
use webhook::{Shape, Site};

use super::{endpoints, now, signing_keys};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// Secrets that have ended and are still recognised.
const ENDED_MAX: i64 = 10;

/// Headers that are made anew for each attempt.
const OF_ATTEMPT: [&str; 3] = [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER];

/// Headers that `curl` sets itself.
const OF_CURL: [&str; 4] = ["host", "content-length", "accept", "connection"];

/// The bytes that a delivery carries, as `deliver` sends them; `None` when its click is kept no more. Those of a success at
/// first try are rendered again, in the shape that its endpoint has now.
///
/// # Errors
/// When the database is away, or holds an event that cannot be read.
pub async fn body(
    shared: &Shared,
    caller: &Caller,
    delivery: &LoggedDelivery,
) -> Result<Option<Vec<u8>>, ApiError> {
    let mut conn = shared.pool.get().await?;
    if let Some(kept) = delivery_log::body(&mut conn, caller.workspace_id, delivery.id).await? {
        return Ok(Some(numbered(delivery, kept)));
    }
    let Some(click_id) = delivery.click_id else { return Ok(None) };
    let Some(event) = deliveries::recorded_event(&mut conn, click_id).await? else { return Ok(None) };
    let stored = store::endpoints::payload(&mut conn, caller.workspace_id, delivery.endpoint_id).await?;
    let shape = Shape::stored(stored.as_ref()).unwrap_or_default();
    let site = Site::new(&shared.settings.public_url);
    let body = rendered(&delivery.event_type, delivery.event_id, &event, &shape, &site).map_err(|error| {
        ApiError::Internal(anyhow::Error::new(error).context(format!("failed to read click {click_id}")))
    })?;
    Ok(body.map(|body| numbered(delivery, body)))
}

/// The bytes of a delivery that are not kept, from the recorded event of its click, in the shape that its endpoint has now;
/// `None` when it had no such revision.
///
/// # Errors
/// When the event cannot be read.
pub(super) fn rendered(
    event_type: &str,
    event_id: EventId,
    recorded: &[u8],
    shape: &Shape,
    site: &Site,
) -> Result<Option<Vec<u8>>, DecodeError> {
    let click = EnrichedClick::decode(recorded)?;
    let event_type = event_type::known(event_type).unwrap_or(LINK_CLICKED);
    Ok(shape.again(event_type, &click, event_id.revision(), site))
}

/// As it is sent where the endpoint counts what it is owed: with its number.
fn numbered(delivery: &LoggedDelivery, body: Vec<u8>) -> Vec<u8> {
    match delivery.sequence {
        Some(sequence) => webhook::numbering::numbered(body, sequence),
        None => body,
    }
}

/// What a receiver pasted that it cannot verify.
pub struct Received {
    /// `webhook-id`, or nothing.
    pub id: String,
    /// `webhook-timestamp`, or nothing.
    pub timestamp: String,
    /// `webhook-signature`, or nothing.
    pub signature: String,
    /// The body.
    pub body: Vec<u8>,
    /// The secret or public key it uses; never kept, logged or answered.
    pub secret: Option<SigningText>,
}

/// A secret as it was typed. It has no `Debug`.
pub struct SigningText(pub String);

/// What was found out about a request.
pub struct CheckedRequest {
    /// What is wrong with it.
    pub found: Vec<Found>,
    /// What each of its signatures is worth.
    pub signatures: Vec<Judged>,
}

/// Says what is wrong with a request that its receiver cannot verify.
///
/// # Errors
/// When there is no such endpoint, or the database is away.
pub async fn check(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    received: &Received,
) -> Result<CheckedRequest, ApiError> {
    let endpoint = endpoints::find(shared, caller, id).await?;
    let now = now();
    let mut known = known(shared, caller, id, now).await?;
    known.signs_v1a = endpoint.options.signs_v1a;
    if let Ok(event_id) = received.id.parse::<EventId>() {
        let mut conn = shared.pool.get().await?;
        let delivery = delivery_log::of_event(&mut conn, caller.workspace_id, id, event_id).await?;
        drop(conn);
        if let Some(delivery) = delivery {
            known.sent = body(shared, caller, &delivery).await?;
        }
    }
    let pasted = Pasted {
        id: &received.id,
        timestamp: &received.timestamp,
        signature: &received.signature,
        body: &received.body,
        secret: received.secret.as_ref().map(|secret| secret.0.as_str()),
    };
    let found = checkup::check(&pasted, &known, now);
    Ok(CheckedRequest { found, signatures: checkup::each_signature(&pasted, &known) })
}

/// The secrets of an endpoint and their keys, to compare with: nobody is shown a secret.
async fn known(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    now: DateTime<Utc>,
) -> Result<Known, ApiError> {
    let mut conn = shared.pool.get().await?;
    let live = secrets::list_live(&mut conn, caller.workspace_id, id, now).await?;
    let ended = secrets::list_ended(&mut conn, caller.workspace_id, id, now, ENDED_MAX).await?;
    // one that was sealed with a key that is gone is passed over
    let open = |kept: &[secrets::Secret]| -> Vec<SigningSecret> {
        kept.iter()
            .filter_map(|kept| shared.keyring.open_secret(caller.workspace_id, id, &kept.sealed).ok())
            .collect()
    };
    // also of an endpoint that signs with none any more: what it was sent before is still judged
    let public = |kept: &[secrets::Secret]| -> Vec<PublicKey> {
        let sealed = kept.iter().filter_map(|kept| kept.key_sealed.as_deref());
        sealed
            .filter_map(|sealed| SigningKey::open(&shared.keyring, caller.workspace_id, id, sealed).ok())
            .map(|key| key.public())
            .collect()
    };
    Ok(Known {
        live: open(&live),
        ended: open(&ended),
        keys: public(&live),
        keys_ended: public(&ended),
        ..Known::default()
    })
}

/// The three headers of an attempt, and whether they verify with a stored secret.
pub struct CheckedSignature {
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`.
    pub timestamp: String,
    /// `webhook-signature`.
    pub signature: String,
    /// Whether they verify.
    pub verifies: bool,
    /// Whether these are the headers that were kept. Of a success at first try none are: they are made again, from the
    /// moment of its attempt.
    pub is_kept: bool,
}

/// Checks what an attempt sent against the stored secrets; `None` before there was one, or when its body is gone.
///
/// # Errors
/// When the database is away.
pub async fn check_attempt(
    shared: &Shared,
    caller: &Caller,
    delivery: &LoggedDelivery,
    attempt: &LoggedAttempt,
) -> Result<Option<CheckedSignature>, ApiError> {
    let Some(body) = body(shared, caller, delivery).await? else { return Ok(None) };
    let at = attempt.started_at;
    let known = known(shared, caller, delivery.endpoint_id, at).await?;
    let kept = |name: &str| header(&attempt.request_headers, name);
    let (id, timestamp, signature, is_kept) = match (kept(TIMESTAMP_HEADER), kept(SIGNATURE_HEADER)) {
        (Some(timestamp), Some(signature)) => {
            (kept(ID_HEADER).unwrap_or_default(), timestamp, signature, true)
        }
        _ => {
            let id = delivery.event_id.to_string();
            let signature =
                signature(shared, caller, delivery.endpoint_id, &known.live, &id, at, &body).await?;
            (id, at.timestamp().to_string(), signature, false)
        }
    };
    let pasted = Pasted { id: &id, timestamp: &timestamp, signature: &signature, body: &body, secret: None };
    let verifies = checkup::check(&pasted, &known, at).contains(&Found::Matches);
    Ok(Some(CheckedSignature { id, timestamp, signature, verifies, is_kept }))
}

/// The value of `webhook-signature`, as `deliver` makes it at that moment.
async fn signature(
    shared: &Shared,
    caller: &Caller,
    endpoint_id: EndpointId,
    live: &[SigningSecret],
    id: &str,
    at: DateTime<Utc>,
    body: &[u8],
) -> Result<String, ApiError> {
    let mut value = sign(live, id, at.timestamp(), body);
    let keys = signing_keys::open_live(shared, caller, endpoint_id, at).await?;
    asymmetric::append(&keys, id, at.timestamp(), body, &mut value);
    Ok(value)
}

/// The value of a header that is kept as a pair.
fn header(headers: &Value, name: &str) -> Option<String> {
    pairs(headers).into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Headers that are kept as pairs of name and value.
pub fn pairs(headers: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match headers {
        Value::Array(pairs) => {
            pairs.iter().filter_map(|pair| Some((text(pair.get(0)?), text(pair.get(1)?)))).collect()
        }
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        _ => Vec::new(),
    }
}

/// A command that sends the body of a delivery again, signed now: receivers refuse what is older than five minutes.
///
/// # Errors
/// When the endpoint or the body is gone, or the database is away.
pub async fn curl(
    shared: &Shared,
    caller: &Caller,
    delivery: &LoggedDelivery,
    attempt: Option<&LoggedAttempt>,
) -> Result<Option<String>, ApiError> {
    let Some(body) = body(shared, caller, delivery).await? else { return Ok(None) };
    let endpoint = endpoints::find(shared, caller, delivery.endpoint_id).await?;
    let now = now();
    let live = known(shared, caller, endpoint.id, now).await?.live;
    let id = delivery.event_id.to_string();
    let mut headers = vec![("content-type".to_owned(), content_type(&body).to_owned())];
    let kept = attempt.map(|attempt| pairs(&attempt.request_headers)).unwrap_or_default();
    let is_ours = |name: &str| {
        OF_ATTEMPT.iter().chain(&OF_CURL).chain(&["content-type"]).any(|own| name.eq_ignore_ascii_case(own))
    };
    headers.extend(kept.into_iter().filter(|(name, _)| !is_ours(name)));
    headers.push((ID_HEADER.to_owned(), id.clone()));
    headers.push((TIMESTAMP_HEADER.to_owned(), now.timestamp().to_string()));
    let signature = signature(shared, caller, endpoint.id, &live, &id, now, &body).await?;
    headers.push((SIGNATURE_HEADER.to_owned(), signature));
    Ok(Some(command(endpoint.options.url.as_str(), &headers, &String::from_utf8_lossy(&body))))
}

/// `curl` with these headers and this body. Whatever they hold, the shell reads each as one word.
fn command(url: &str, headers: &[(String, String)], body: &str) -> String {
    let mut command = format!("curl --globoff --include --request POST {}", quoted(url));
    for (name, value) in headers {
        // curl leaves a header with nothing after its colon out
        let line = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
        command.push_str(&format!(" \\\n  --header {}", quoted(&line)));
    }
    command.push_str(&format!(" \\\n  --data-raw {}", quoted(body)));
    command
}

/// In single quotes a POSIX shell takes everything as it is but the quote itself.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words that a shell makes of a command after `curl`.
    fn words(command: &str) -> Vec<String> {
        let script = format!("curl() {{ for word; do printf '%s\\0' \"$word\"; done; }}\n{command}\n");
        let output = std::process::Command::new("sh").arg("-c").arg(script).output().expect("a shell");
        assert!(output.status.success(), "{command}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn a_shell_reads_each_hostile_part_as_one_word() {
        let hostile = "it's `id` $(id) ${HOME} \\ \"quoted\" ; rm -rf / & | < > * ? ! # \n--next";
        let headers = [("x-note".to_owned(), hostile.to_owned()), ("x-empty".to_owned(), String::new())];

        let words = words(&command(&format!("https://example.com/?a={hostile}"), &headers, hostile));

        let expected = [
            "--globoff",
            "--include",
            "--request",
            "POST",
            &format!("https://example.com/?a={hostile}"),
            "--header",
            &format!("x-note: {hostile}"),
            "--header",
            "x-empty;",
            "--data-raw",
            hostile,
        ];
        assert_eq!(words, expected);
    }
}
