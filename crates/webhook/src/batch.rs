//! The body of a batch: the bodies of several events, each as it would stand alone, in one.

use chrono::{DateTime, Utc};
use model::BatchId;
use serde::Serialize;

use crate::envelope::Timestamp;

/// The type of a batch, in its body and in `clickwire-event-type`. Nobody chooses it: what is in it was chosen.
pub const BATCH: &str = "batch";

#[derive(Serialize)]
struct Envelope {
    id: BatchId,
    #[serde(rename = "type")]
    event_type: &'static str,
    /// When the batch was made.
    timestamp: Timestamp,
    data: [(); 0],
}

/// The body of a batch that was made at `made_at`; `events` are bodies of JSON, in the order in which they stand in it.
pub fn body<'a>(id: BatchId, made_at: DateTime<Utc>, events: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let envelope = Envelope { id, event_type: BATCH, timestamp: Timestamp(made_at), data: [] };
    let mut body = serde_json::to_vec(&envelope).expect("keys are strings");
    let end = body.split_off(body.len() - END_BYTES);
    let mut is_first = true;
    for event in events {
        if !is_first {
            body.push(b',');
        }
        is_first = false;
        body.extend_from_slice(event);
    }
    body.extend_from_slice(&end);
    body
}

/// `]}`
const END_BYTES: usize = 2;

/// How long the body of a batch is beside the events in it and the commas between them.
pub fn envelope_bytes() -> usize {
    body(BatchId::generate(), DateTime::UNIX_EPOCH, []).len()
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_batch_has_its_events_as_they_would_stand_alone() {
        let id = BatchId::generate();
        let made_at = Utc.with_ymd_and_hms(2026, 11, 23, 14, 0, 0).unwrap();
        let events: [&[u8]; 2] = [br#"{"id":"evt_1","type":"link.clicked"}"#, br#"{"id":"evt_2"}"#];

        let bytes = body(id, made_at, events);

        let read: Value = serde_json::from_slice(&bytes).expect("JSON");
        let expected = json!({
            "id": id,
            "type": "batch",
            "timestamp": "2026-11-23T14:00:00.000Z",
            "data": [{"id": "evt_1", "type": "link.clicked"}, {"id": "evt_2"}],
        });
        assert_eq!(read, expected);
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert!(events.iter().all(|event| text.contains(std::str::from_utf8(event).expect("UTF-8"))));
        assert_eq!(text.len(), envelope_bytes() + events[0].len() + 1 + events[1].len());
    }
}
