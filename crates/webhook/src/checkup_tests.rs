//! Every way in which a request may not verify is told apart from the others.

use super::*;
use crate::signature::sign;

const BODY: &str = r#"{"id":"evt_1","data":{"city":"Linköping","score":0}}"#;
const NOW: i64 = 1_764_000_000;

struct Case {
    known: Known,
    id: String,
    timestamp: String,
    signature: String,
    body: Vec<u8>,
    secret: Option<String>,
}

/// A request that verifies.
fn good() -> Case {
    let secret = SigningSecret::generate();
    Case {
        signature: sign(std::slice::from_ref(&secret), "evt_1", NOW, BODY.as_bytes()),
        id: "evt_1".to_owned(),
        timestamp: NOW.to_string(),
        body: BODY.as_bytes().to_vec(),
        secret: None,
        known: Known { live: vec![secret], ended: Vec::new(), sent: Some(BODY.as_bytes().to_vec()) },
    }
}

impl Case {
    fn check(&self) -> Vec<Found> {
        let pasted = Pasted {
            id: &self.id,
            timestamp: &self.timestamp,
            signature: &self.signature,
            body: &self.body,
            secret: self.secret.as_deref(),
        };
        check(&pasted, &self.known, DateTime::from_timestamp(NOW, 0).expect("a moment"))
    }
}

#[test]
fn a_request_as_it_was_sent_matches_with_and_without_the_secret() {
    let mut case = good();
    assert_eq!(case.check(), [Found::Matches]);

    case.secret = Some(format!(" {} ", case.known.live[0].reveal()));
    assert_eq!(case.check(), [Found::Matches]);

    case.body.extend(b"\r\n");
    assert_eq!(case.check(), [Found::Matches, Found::BodyTrimmed]);
}

#[test]
fn headers_that_are_missing_are_named() {
    let case = Case { id: String::new(), signature: String::new(), ..good() };
    assert_eq!(case.check(), [Found::HeaderMissing(ID_HEADER), Found::HeaderMissing(SIGNATURE_HEADER)]);
}

#[test]
fn malformed_headers_are_told_with_how() {
    for (timestamp, is_millis) in [("2026-11-24T12:00:00Z", false), ("1764000000000", true)] {
        let case = Case { timestamp: timestamp.to_owned(), ..good() };
        assert_eq!(case.check(), [Found::TimestampMalformed(is_millis)]);
    }
    let good_signature = good().signature;
    let value = good_signature.trim_start_matches("v1,");
    let hex: String =
        STANDARD.decode(value).expect("base64").iter().map(|byte| format!("{byte:02x}")).collect();
    for (signature, fault) in [
        (value.to_owned(), SignatureFault::Version),
        (format!("v1a,{value}"), SignatureFault::Version),
        (hex.clone(), SignatureFault::Hex),
        (format!("sha256={hex}"), SignatureFault::Hex),
        (format!("v1,{hex}"), SignatureFault::Hex),
        (format!("v1,{value},v1,{value}"), SignatureFault::Separator),
        ("v1,AAAA".to_owned(), SignatureFault::Base64),
    ] {
        let case = Case { signature: signature.clone(), ..good() };
        assert_eq!(case.check(), [Found::SignatureMalformed(fault)], "{signature}");
    }
}

#[test]
fn a_clock_that_is_wrong_is_told_beside_a_signature_that_matches() {
    let at = |seconds: i64| {
        let case = good();
        let signature = sign(&case.known.live, "evt_1", seconds, BODY.as_bytes());
        Case { timestamp: seconds.to_string(), signature, ..case }.check()
    };

    assert_eq!(at(NOW - 300), [Found::Matches]);
    assert_eq!(at(NOW - 301), [Found::TooOld(301), Found::Matches]);
    assert_eq!(at(NOW + 4000), [Found::TooNew(4000), Found::Matches]);
}

#[test]
fn a_secret_that_is_none_is_told_with_how() {
    for (secret, fault) in [
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretFault::Prefix),
        ("whsec_abc", SecretFault::Base64),
        ("whsec_***", SecretFault::Base64),
    ] {
        let case = Case { secret: Some(secret.to_owned()), ..good() };
        assert_eq!(case.check(), [Found::SecretMalformed(fault), Found::Matches], "{secret}");
    }
}

#[test]
fn another_secret_and_one_that_has_ended_are_told_apart() {
    let old = SigningSecret::generate();
    let mut case = Case { secret: Some(SigningSecret::generate().reveal()), ..good() };
    case.known.ended.push(old.clone());
    assert_eq!(case.check(), [Found::SecretForeign]);

    case.secret = Some(old.reveal());
    assert_eq!(case.check(), [Found::SecretEnded]);

    case.secret = None;
    case.signature = sign(&[old], "evt_1", NOW, BODY.as_bytes());
    assert_eq!(case.check(), [Found::SecretEnded]);
}

#[test]
fn a_key_that_was_not_decoded_is_recognised() {
    let case = good();
    let text = case.known.live[0].reveal();
    for key in [text.as_str(), text.trim_start_matches("whsec_")] {
        let digest = digest_with(key.as_bytes(), "evt_1", &case.timestamp, BODY.as_bytes());
        let signature = format!("v1,{}", STANDARD.encode(digest));
        let case = Case { known: case.known.clone(), signature, ..good() };
        assert_eq!(case.check(), [Found::SecretNotDecoded]);
    }
}

#[test]
fn a_body_that_was_written_again_is_told_apart_from_another_one() {
    let written_again = r#"{ "id": "evt_1", "data": { "score": 0, "city": "Link\u00f6ping" } }"#;
    let case = Case { body: written_again.into(), ..good() };
    assert_eq!(case.check(), [Found::BodyReserialised]);

    let case = Case { body: r#"{"id":"evt_1","data":{}}"#.into(), ..good() };
    assert_eq!(case.check(), [Found::BodyOther]);

    let case = Case { body: "city=Link".into(), ..good() };
    assert_eq!(case.check(), [Found::BodyOther]);
}

#[test]
fn what_nobody_sent_is_told() {
    let mut case = Case { id: "evt_2".to_owned(), ..good() };
    case.known.sent = None;
    assert_eq!(case.check(), [Found::IdUnknown, Found::NoMatch]);
}

#[test]
fn several_signatures_are_as_good_as_one() {
    let mut case = good();
    case.known.live.insert(0, SigningSecret::generate());
    case.signature = sign(&case.known.live, "evt_1", NOW, BODY.as_bytes());
    assert_eq!(case.check(), [Found::Matches, Found::Several(2)]);
}
