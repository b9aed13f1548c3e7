//! The challenge by which an endpoint shows that it wants what is sent to it: a random text that is posted to it, and that it
//! gives back. Whoever only takes or repeats what comes does not.

use chrono::{DateTime, Utc};
use model::EventId;
use serde::Serialize;
use serde_json::Value;

use crate::envelope::Envelope;

/// The type of the event that carries the challenge. Nobody subscribes to it.
pub const ENDPOINT_VERIFICATION: &str = "endpoint.verification";

#[derive(Serialize)]
struct Data<'a> {
    challenge: &'a str,
}

/// The body that carries a challenge.
pub fn body(id: EventId, challenge: &str, now: DateTime<Utc>) -> Vec<u8> {
    let envelope = Envelope::new(id, ENDPOINT_VERIFICATION, now, Data { challenge });
    serde_json::to_vec(&envelope).expect("keys are strings, and a Vec takes every byte")
}

/// Whether an answer gives the challenge back: as `{"challenge": "…"}`, or as plain text and nothing else. The body that came
/// with it is no such answer, so that a server which repeats everything has agreed to nothing.
pub fn is_echoed(challenge: &str, answer: &str) -> bool {
    let answer = answer.trim();
    let in_json = || {
        let answer: Value = serde_json::from_str(answer).ok()?;
        Some(answer.get("challenge")?.as_str()? == challenge)
    };
    answer == challenge || in_json().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_challenge_itself_is_an_answer() {
        for answer in ["abc", " abc\n", r#"{"challenge": "abc"}"#, r#"{"ok": true, "challenge": "abc"}"#] {
            assert!(is_echoed("abc", answer), "{answer}");
        }
        for answer in [
            "",
            "ok",
            "abcd",
            "ABC",
            r#""abc""#,
            r#"{"challenge": "abcd"}"#,
            r#"{"challenge": null}"#,
            r#"["abc"]"#,
        ] {
            assert!(!is_echoed("abc", answer), "{answer}");
        }
    }

    #[test]
    fn who_repeats_what_came_gives_nothing_back() {
        let sent = body(EventId::generate(), "abc", Utc::now());

        let text = String::from_utf8(sent).expect("UTF-8");
        assert!(!is_echoed("abc", &text));
        let sent: Value = serde_json::from_str(&text).expect("JSON");
        let told = (sent["type"].as_str(), sent["data"]["challenge"].as_str());
        assert_eq!(told, (Some(ENDPOINT_VERIFICATION), Some("abc")));
    }
}
