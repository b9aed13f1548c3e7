//! Every way in which a request may not verify is told apart from the others.

use model::{EndpointId, WorkspaceId};

use super::*;
use crate::Keyring;
use crate::asymmetric::{SigningKey, append};
use crate::sealing::generate_key;
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
        known: Known { live: vec![secret], sent: Some(BODY.as_bytes().to_vec()), ..Known::default() },
    }
}

impl Case {
    fn pasted(&self) -> Pasted<'_> {
        Pasted {
            id: &self.id,
            timestamp: &self.timestamp,
            signature: &self.signature,
            body: &self.body,
            secret: self.secret.as_deref(),
        }
    }

    fn check(&self) -> Vec<Found> {
        check(&self.pasted(), &self.known, DateTime::from_timestamp(NOW, 0).expect("a moment"))
    }

    fn rulings(&self) -> Vec<Ruling> {
        each_signature(&self.pasted(), &self.known).into_iter().map(|judged| judged.ruling).collect()
    }
}

fn key() -> SigningKey {
    let keyring = Keyring::new(&generate_key(), &[]).expect("a keyring");
    let (workspace, endpoint) = (WorkspaceId::generate(), EndpointId::generate());
    let sealed = SigningKey::generate_sealed(&keyring, workspace, endpoint);
    SigningKey::open(&keyring, workspace, endpoint, &sealed).expect("it opens")
}

fn asymmetric(key: SigningKey) -> String {
    let mut value = String::new();
    append(&[key], "evt_1", NOW, BODY.as_bytes(), &mut value);
    value
}

/// A request that verifies in both versions, and the asymmetric signature alone.
fn signed_twice() -> (Case, String) {
    let (mut case, key) = (good(), key());
    case.known.keys.push(key.public());
    case.known.signs_v1a = true;
    let v1a = asymmetric(key);
    case.signature = format!("{} {v1a}", case.signature);
    (case, v1a)
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
        (format!("v1a,{value}"), SignatureFault::Asymmetric),
        (format!("v2,{value}"), SignatureFault::Version),
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
        ("whpk_abc", SecretFault::PublicKey),
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

#[test]
fn each_signature_is_judged_by_itself() {
    let (mut case, v1a) = signed_twice();
    let v1 = case.signature.trim_end_matches(&v1a).trim_end().to_owned();
    assert_eq!(case.check(), [Found::Matches]);
    assert_eq!(case.rulings(), [Ruling::Right, Ruling::Right]);

    case.signature = format!("{} v1,AAAA v2,AAAA {v1} {}", asymmetric(key()), v1a);
    let judged = each_signature(&case.pasted(), &case.known);
    let versions: Vec<Option<Version>> = judged.iter().map(|judged| judged.version).collect();
    let (v1_version, v1a_version) = (Some(Version::V1), Some(Version::V1a));
    assert_eq!(versions, [v1a_version, v1_version, None, v1_version, v1a_version]);
    let expected = [Ruling::Wrong, Ruling::Malformed, Ruling::Unknown, Ruling::Right, Ruling::Right];
    assert_eq!(case.rulings(), expected);

    case.body = b"{}".to_vec();
    assert_eq!(case.rulings()[3..], [Ruling::OtherBody, Ruling::OtherBody]);
    case.timestamp = "soon".to_owned();
    assert!(case.rulings().is_empty());
}

#[test]
fn what_a_secret_or_key_made_that_has_ended_is_told_apart() {
    let (mut case, _) = signed_twice();
    case.known.ended = std::mem::take(&mut case.known.live);
    case.known.keys_ended = std::mem::take(&mut case.known.keys);

    assert_eq!(case.rulings(), [Ruling::Ended, Ruling::Ended]);
    assert_eq!(case.check(), [Found::SecretEnded]);
    case.secret = Some(case.known.keys_ended[0].to_string());
    assert_eq!(case.check(), [Found::KeyEnded]);
}

#[test]
fn who_typed_a_public_key_is_told_of_asymmetric_signatures_alone() {
    let (mut case, v1a) = signed_twice();
    let v1 = case.signature.trim_end_matches(&v1a).trim_end().to_owned();
    case.secret = Some(case.known.keys[0].to_string());
    assert_eq!(case.check(), [Found::Matches]);
    let alone =
        Case { signature: v1a.clone(), known: case.known.clone(), secret: case.secret.clone(), ..good() };
    assert_eq!(alone.check(), [Found::Matches]);

    case.signature = format!("v1,{} {v1a}", STANDARD.encode([7_u8; 32]));
    assert_eq!(case.check(), [Found::Matches]);
    case.signature = v1;
    assert_eq!(case.check(), [Found::OneVersion(OneVersion::AsymmetricMissing)]);
    case.known.signs_v1a = false;
    assert_eq!(case.check(), [Found::OneVersion(OneVersion::AsymmetricNotChosen)]);

    let (case, _) = signed_twice();
    let case = Case { secret: Some(key().public().to_string()), ..case };
    assert_eq!(case.check(), [Found::KeyForeign]);
    let case = Case { body: b"{}".to_vec(), secret: Some(case.known.keys[0].to_string()), ..case };
    assert_eq!(case.check(), [Found::BodyOther]);
}

#[test]
fn a_header_with_one_version_of_two_is_told_with_which() {
    let (mut case, v1a) = signed_twice();
    let v1 = case.signature.trim_end_matches(&v1a).trim_end().to_owned();

    case.signature = v1.clone();
    assert_eq!(case.check(), [Found::Matches, Found::OneVersion(OneVersion::Symmetric)]);
    case.secret = Some(case.known.live[0].reveal());
    assert_eq!(case.check(), [Found::Matches]);
    case.signature = v1a.clone();
    assert_eq!(case.check(), [Found::OneVersion(OneVersion::Asymmetric)]);
    case.secret = None;
    assert_eq!(case.check(), [Found::Matches, Found::OneVersion(OneVersion::Asymmetric)]);

    case.signature = format!("{v1} {}", asymmetric(key()));
    assert_eq!(case.check(), [Found::Matches, Found::VersionWrong(Version::V1a)]);
    case.signature = format!("v1,{} {v1a}", STANDARD.encode([7_u8; 32]));
    assert_eq!(case.check(), [Found::Matches, Found::VersionWrong(Version::V1)]);
}
