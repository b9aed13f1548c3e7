//! Messages that nobody of us wrote: whatever is decoded keeps to the limits and is written back as it was read, and what is
//! not is refused by the name of its field.

use bytes::Bytes;
use chrono::TimeDelta;
use model::{EventId, OrphanId, WorkspaceId};
use proptest::prelude::*;
use proptest::sample::Index;
use testkit::given;

use super::*;

/// One step away from a sound message.
#[derive(Debug, Clone)]
enum Mutation {
    Set(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    /// What stands behind a place stands there twice.
    Double(Index),
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let one = prop_oneof![
        6 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        1 => any::<Index>().prop_map(Mutation::Cut),
        2 => (any::<Index>(), prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        1 => any::<Index>().prop_map(Mutation::Double),
    ];
    prop::collection::vec(one, 0..5)
}

fn mutated(mut bytes: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations {
        let (Mutation::Set(at, _) | Mutation::Cut(at) | Mutation::Insert(at, _) | Mutation::Double(at)) =
            mutation;
        let at = at.index(bytes.len() + 1);
        match mutation {
            Mutation::Set(_, byte) => bytes.iter_mut().skip(at).take(1).for_each(|place| *place = *byte),
            Mutation::Cut(_) => bytes.truncate(at),
            Mutation::Insert(_, more) => drop(bytes.splice(at..at, more.iter().copied())),
            Mutation::Double(_) => bytes.extend_from_within(at..),
        }
    }
    bytes
}

/// Reads, and writes what was read twice over; `None` when it is refused, by the name of a field if it is a message at all.
fn read<T>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> Result<Option<T>, TestCaseError> {
    let message = match decode(bytes) {
        Ok(message) => message,
        Err(DecodeError::Protobuf(_)) => return Ok(None),
        Err(error) => {
            prop_assert!(error.to_string().starts_with("field `"), "{error}");
            return Ok(None);
        }
    };
    let written = encode(&message);
    let again = decode(&written).map(|message| encode(&message));
    prop_assert!(again.is_ok_and(|again| again == written), "it changes when it is read again");
    Ok(Some(message))
}

fn check_click(click: &Click) -> Result<(), TestCaseError> {
    let request = &click.request;
    prop_assert!(request.headers.len() <= KEPT_HEADERS.len());
    prop_assert!(request.headers.iter().all(|(n, v)| n.len().max(v.len()) <= HEADER_BYTES_MAX));
    prop_assert!(request.user_agent.iter().all(|text| text.len() <= USER_AGENT_BYTES_MAX));
    prop_assert!(request.referrer.iter().all(|text| text.len() <= REFERRER_BYTES_MAX));
    Ok(())
}

/// Reads bytes as every message that there is.
fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Some(click) = read(bytes, decode_click, encode_click)? {
        check_click(&click)?;
    }
    if let Some(enriched) = read(bytes, decode_enriched, encode_enriched)? {
        check_click(&enriched.click)?;
        prop_assert!(enriched.automation.score <= 100);
    }
    if let Some(orphan) = read(bytes, decode_orphan, encode_orphan)? {
        prop_assert!(orphan.path.len() <= PATH_BYTES_MAX);
        prop_assert!(orphan.user_agent.iter().all(|text| text.len() <= USER_AGENT_BYTES_MAX));
        prop_assert!(orphan.referrer.iter().all(|text| text.len() <= REFERRER_BYTES_MAX));
    }
    if let Some(event) = read(bytes, decode_event, encode_event)? {
        prop_assert!(!event.event_type.is_empty());
    }
    if let Some(message) = read(bytes, decode_quarantined, encode_quarantined)? {
        prop_assert!(!message.stream.is_empty());
    }
    Ok(())
}

/// A message of each kind, some with texts that are longer than what is kept.
fn sound() -> impl Strategy<Value = Vec<u8>> {
    let (mut click, enriched) = (given::click(), given::enriched_click());
    let occurred_at = click.clicked_at + TimeDelta::nanoseconds(1);
    let orphan = Orphan {
        id: OrphanId::generate(),
        workspace_id: Some(click.workspace_id),
        link_id: Some(click.link.id),
        occurred_at,
        reason: OrphanReason::UnknownSlug,
        host: "go.example.com".into(),
        path: "/é".repeat(PATH_BYTES_MAX),
        method: "GET".into(),
        user_agent: Some("a".into()),
        referrer: None,
    };
    let event = Event {
        id: EventId::generate(),
        workspace_id: WorkspaceId::generate(),
        event_type: "endpoint.disabled".into(),
        occurred_at,
        data: "{}".into(),
    };
    let quarantined = Quarantined {
        stream: "CLICKS".into(),
        stream_sequence: 7,
        message_id: Some("clk_x".into()),
        consumer: "enrich".into(),
        subject: "clickwire.clicks.raw.x.00".into(),
        reason: "field `link` is missing".into(),
        payload: Bytes::from_static(b"\xff"),
        quarantined_at: occurred_at,
    };
    let short = encode_click(&click);
    click.request.user_agent = Some("é".repeat(USER_AGENT_BYTES_MAX));
    click.request.headers = vec![("accept".into(), "ü".repeat(HEADER_BYTES_MAX)); 2 * KEPT_HEADERS.len()];
    prop::sample::select(vec![
        short,
        encode_click(&click),
        encode_enriched(&enriched),
        encode_orphan(&orphan),
        encode_event(&event),
        encode_quarantined(&quarantined),
    ])
}

proptest! {
    #[test]
    fn what_is_decoded_of_changed_messages_keeps_to_the_limits(sound in sound(), changes in mutations()) {
        check(&mutated(sound, &changes))?;
    }

    #[test]
    fn what_is_decoded_of_any_bytes_keeps_to_the_limits(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&bytes)?;
    }
}
