//! "Verify my signature": what a receiver got is pasted, and what is wrong with it is said. No secret is shown again.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{get, post};
use askama::Template;

use webhook::checkup::{Found, Judged, OneVersion, Ruling, SecretFault, SignatureFault, Version};

use super::form::Form;
use super::view::{Chip, Layout, html_with};
use super::webhook_stats::span;
use super::{PageError, PageResult, Signed};
use crate::app::Shared;
use crate::auth::Scope;
use crate::desk::endpoints;
use crate::desk::signature_check::{self, Received, SigningText};
use crate::v1::endpoints::endpoint_id;

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config.service(show).service(check);
}

/// One thing that was found, in sentences.
struct FoundText {
    is_fault: bool,
    text: String,
    fix: &'static str,
}

/// One signature of the header.
struct SignatureText {
    chip: Chip,
    version: &'static str,
    text: &'static str,
}

#[derive(Template)]
#[template(path = "verify.html")]
struct VerifyPage {
    layout: Layout,
    endpoint_id: String,
    url: String,
    headers: String,
    body: String,
    found: Vec<FoundText>,
    is_good: bool,
    /// The signatures of the header, in their order.
    signatures: Vec<SignatureText>,
}

#[get("/settings/webhooks/{id}/verify")]
async fn show(signed: Signed, id: Path<String>, shared: Data<Shared>) -> PageResult {
    Ok(html_with(StatusCode::OK, &blank(&signed, &shared, &id).await?))
}

#[post("/settings/webhooks/{id}/verify")]
async fn check(signed: Signed, form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    let mut page = blank(&signed, &shared, &id).await?;
    page.headers = form.text("headers").unwrap_or_default().to_owned();
    // white space around a body is part of it
    page.body = form.all("body").first().copied().unwrap_or_default().to_owned();
    let received = Received {
        id: header(&page.headers, "webhook-id"),
        timestamp: header(&page.headers, "webhook-timestamp"),
        signature: header(&page.headers, "webhook-signature"),
        body: page.body.clone().into_bytes(),
        secret: form.text("secret").map(|typed| SigningText(typed.to_owned())),
    };
    let checked = signature_check::check(&shared, &signed.caller, endpoint_id(&id)?, &received).await?;
    page.is_good = !checked.found.iter().any(Found::is_fault);
    page.found = checked.found.iter().map(told).collect();
    page.signatures = checked.signatures.into_iter().map(judged).collect();
    Ok(html_with(StatusCode::OK, &page))
}

async fn blank(signed: &Signed, shared: &Shared, id: &str) -> Result<VerifyPage, PageError> {
    signed.caller.require(Scope::EndpointsRead)?;
    signed.caller.require(Scope::DeliveriesRead)?;
    let endpoint = endpoints::find(shared, &signed.caller, endpoint_id(id)?).await?;
    Ok(VerifyPage {
        layout: signed.layout("webhooks"),
        endpoint_id: endpoint.id.to_string(),
        url: endpoint.options.url.to_string(),
        headers: String::new(),
        body: String::new(),
        found: Vec::new(),
        is_good: false,
        signatures: Vec::new(),
    })
}

/// The value of a header among lines as programs print them: `name: value`, also with quotes and commas around.
fn header(lines: &str, name: &str) -> String {
    let around = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',');
    let value = lines.lines().find_map(|line| {
        let line = line.trim_start_matches(around);
        let rest = line.get(name.len()..).filter(|_| line[..name.len()].eq_ignore_ascii_case(name))?;
        let rest = rest.trim_start_matches(around);
        rest.strip_prefix("=>").or_else(|| rest.strip_prefix(':')).or_else(|| rest.strip_prefix('='))
    });
    value.map(|value| value.trim_matches(around).to_owned()).unwrap_or_default()
}

fn told(found: &Found) -> FoundText {
    let (text, fix): (String, &'static str) = match found {
        Found::Matches => ("The signature matches.".to_owned(), ""),
        Found::Several(count) => (
            format!("There are {count} signatures of one version, one for each secret that signs now."),
            "Split webhook-signature at spaces and accept the request when any of them matches.",
        ),
        Found::OneVersion(one) => one_version_told(*one),
        Found::VersionWrong(version) => version_wrong_told(*version),
        Found::BodyTrimmed => (
            "White space around the body is not part of it, and was left away here.".to_owned(),
            "Make sure that your program does not add a line break before it verifies.",
        ),
        Found::HeaderMissing(name) => (
            format!("The header {name} is missing."),
            "Paste all three headers. If your program did not get it, see what stands between: some proxies drop headers they do not know.",
        ),
        Found::TimestampMalformed(is_millis) => (
            "webhook-timestamp is not a number of seconds.".to_owned(),
            if *is_millis {
                "These are milliseconds: take the header as it came, ten digits."
            } else {
                "Take the header as it came: seconds since 1970, ten digits."
            },
        ),
        Found::SignatureMalformed(fault) => signature_told(*fault),
        Found::TooOld(seconds) => (
            format!("It was sent {} ago: receivers refuse what is older than five minutes.", ago(*seconds)),
            "If this was just sent, the clock of your machine is fast: let it keep time (NTP). If it is an old request, that is how it should be: use a new one.",
        ),
        Found::TooNew(seconds) => (
            format!("Its time is {} ahead of the clock here.", ago(*seconds)),
            "Take webhook-timestamp as it came. If it did come so, the clock of the machine that runs Clickwire is wrong.",
        ),
        Found::SecretMalformed(fault) => secret_told(*fault),
        Found::SecretForeign => (
            "The secret that you typed is not the one this was signed with; one of this webhook's is."
                .to_owned(),
            "Copy the secret from the page of this webhook: each webhook has its own.",
        ),
        Found::SecretEnded => (
            "That secret has ended: it was rotated or revoked.".to_owned(),
            "Copy the newest secret from the page of this webhook into your program.",
        ),
        Found::KeyForeign => (
            "The public key that you typed is not the one for this signature; one of this webhook's is."
                .to_owned(),
            "Copy the public key from the page of this webhook: each webhook has its own.",
        ),
        Found::KeyEnded => (
            "That public key has ended with its secret, which was rotated or revoked.".to_owned(),
            "Copy the newest public key from the page of this webhook into your program.",
        ),
        Found::SecretNotDecoded => (
            "This signature was made with the text of the secret as its key.".to_owned(),
            "Take away whsec_ and decode the rest as base64: those bytes are the key.",
        ),
        Found::BodyReserialised => (
            "The body says the same as what was sent, but in other bytes: it was parsed and written again."
                .to_owned(),
            "Verify the raw bytes of the body before anything parses it. In many frameworks that needs an option or a middleware.",
        ),
        Found::BodyOther => (
            "The body is not the one that was sent under this webhook-id.".to_owned(),
            "Paste the body of the same request as the headers, whole and as it came.",
        ),
        Found::IdUnknown => (
            "Nothing was sent to this webhook under that webhook-id (tests are not kept).".to_owned(),
            "Check that the request was for this webhook, and paste the headers of a real delivery.",
        ),
        Found::NoMatch => (
            "No secret or key of this webhook made this signature.".to_owned(),
            "The headers may be of another request or another webhook, or something on the way changed them.",
        ),
    };
    FoundText { is_fault: found.is_fault(), text, fix }
}

fn signature_told(fault: SignatureFault) -> (String, &'static str) {
    let (text, fix) = match fault {
        SignatureFault::Version => (
            "webhook-signature has no signature that begins with v1, or v1a,.",
            "Take the whole header as it came: v1, and base64, several of them with a space between.",
        ),
        SignatureFault::Asymmetric => (
            "What follows v1a, is not the base64 of 64 bytes, and there is no v1.",
            "Take the header whole: v1 stands before v1a, with a space between.",
        ),
        SignatureFault::Hex => (
            "webhook-signature is hexadecimal.",
            "Compare in base64: the HMAC's 32 bytes as base64, not as hexadecimal digits.",
        ),
        SignatureFault::Base64 => (
            "What follows v1, is not the base64 of 32 bytes.",
            "Take the header whole: it ends with =. Web frameworks that split headers at commas cut it.",
        ),
        SignatureFault::Separator => (
            "The signatures in webhook-signature are not separated by one space.",
            "Take the header as it came; something on the way joined or changed it.",
        ),
    };
    (text.to_owned(), fix)
}

fn secret_told(fault: SecretFault) -> (String, &'static str) {
    let (text, fix) = match fault {
        SecretFault::Prefix => (
            "That is neither a signing secret nor a public key: it does not begin with whsec_ or whpk_.",
            "Copy it whole, with whsec_ or whpk_ in front. An API key (cw_…) is something else.",
        ),
        SecretFault::Base64 => (
            "That is not a whole signing secret: what follows whsec_ is not base64 of 24 to 64 bytes.",
            "Copy it again: a character is missing or too many. One click on the secret selects it whole.",
        ),
        SecretFault::PublicKey => (
            "That is not a whole public key: what follows whpk_ is not base64 of 32 bytes.",
            "Copy it again: a character is missing or too many. One click on the key selects it whole.",
        ),
    };
    (text.to_owned(), fix)
}

/// Of two versions of signatures this one is wrong.
fn version_wrong_told(version: Version) -> (String, &'static str) {
    let (text, fix) = match version {
        Version::V1 => (
            "No v1 signature was made with a secret of this webhook, though a v1a signature was made with its key.",
            "Take webhook-signature whole and as it came. Whoever verifies with the public key needs v1a alone.",
        ),
        Version::V1a => (
            "No v1a signature was made with a key of this webhook, though a v1 signature was made with its secret.",
            "Take webhook-signature whole and as it came. Whoever verifies with the secret needs v1 alone.",
        ),
    };
    (text.to_owned(), fix)
}

/// A header with one of the two versions.
fn one_version_told(one: OneVersion) -> (String, &'static str) {
    let (text, fix) = match one {
        OneVersion::Asymmetric => (
            "webhook-signature has v1a alone. It is sent with v1 before it.",
            "To verify with the secret, take the header whole: something cut it at a space. To verify v1a, use the public key.",
        ),
        OneVersion::Symmetric => (
            "webhook-signature has v1 alone, though this webhook has v1a signatures as well.",
            "To verify with the secret, v1 is enough. For v1a, take the header whole; requests from before v1a was chosen have none.",
        ),
        OneVersion::AsymmetricMissing => (
            "A public key verifies v1a, and webhook-signature has v1 alone, though this webhook has v1a signatures as well.",
            "Take the header whole: v1a stands behind v1, after a space. Requests from before v1a was chosen have none.",
        ),
        OneVersion::AsymmetricNotChosen => (
            "A public key verifies v1a, and this webhook's requests carry v1 alone.",
            "Choose the signature that a public key checks in the form of this webhook, or verify v1 with the secret.",
        ),
    };
    (text.to_owned(), fix)
}

/// What a signature is worth, in words.
fn judged(judged: Judged) -> SignatureText {
    let (kind, worth, text) = match judged.ruling {
        Ruling::Right => ("good", "Right", ""),
        Ruling::Ended => ("bad", "Ended", "Its secret signs no more: it was rotated or revoked."),
        Ruling::OtherBody => {
            ("bad", "Other body", "It is right for the body that was sent, not for this one.")
        }
        Ruling::Wrong => {
            ("bad", "Wrong", "No secret or key of this webhook made it for this id, time and body.")
        }
        Ruling::Malformed => ("bad", "Malformed", "It is shorter or longer than signatures of its version."),
        Ruling::Unknown => ("plain", "Unknown", "Programs pass over what is neither v1 nor v1a."),
    };
    let version = judged.version.map_or("?", Version::as_str);
    SignatureText { chip: Chip { kind, text: worth }, version, text }
}

fn ago(seconds: u64) -> String {
    span(i64::try_from(seconds).unwrap_or(i64::MAX / 1000).saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_as_programs_print_them() {
        for lines in [
            "Host: x\r\nWebhook-Id: evt_1\r\n",
            "  'webhook-id': 'evt_1',",
            "\"webhook-id\" : \"evt_1\"",
            "webhook-id = evt_1",
            "'webhook-id' => 'evt_1'",
        ] {
            assert_eq!(header(lines, "webhook-id"), "evt_1", "{lines}");
        }
        assert_eq!(header("webhook-ids: evt_1\nö", "webhook-id"), "");
        assert_eq!(header("webhook-signature: v1,AAA= v1,BBB=", "webhook-signature"), "v1,AAA= v1,BBB=");
    }
}
