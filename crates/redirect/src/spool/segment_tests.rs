//! The format: what is written is read, and what is damaged is not.

use super::*;
use proptest::prelude::*;

const SEED: u32 = 0x5eed_1e55;

fn message(number: usize, payload: &[u8]) -> Outgoing {
    Outgoing {
        subject: format!("clickwire.clicks.raw.w.{:02}", number % 16),
        id: format!("clk_{number}"),
        schema: Click::SCHEMA,
        payload: Bytes::copy_from_slice(payload),
        traceparent: number.is_multiple_of(2).then(|| format!("00-{number:032x}-{number:016x}-01")),
    }
}

fn encoded(payloads: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for (number, payload) in payloads.iter().enumerate() {
        encode(&message(number, payload), SEED, &mut bytes).expect("short enough");
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn ids(scan: &Scan) -> Vec<String> {
    scan.bodies.iter().map(|(body, _)| decode(body).id).collect()
}

fn ids_of(numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers.map(|number| format!("clk_{number}")).collect()
}

#[test]
fn a_message_reads_back_as_it_was_written() {
    let (bytes, ends) = encoded(&[b"one".to_vec(), b"two".to_vec()]);

    let scan = scan(&bytes.into(), SEED, true, usize::MAX);

    let messages: Vec<_> = scan.bodies.iter().map(|(body, _)| decode(body)).collect();
    assert_eq!(messages[0].subject, "clickwire.clicks.raw.w.00");
    assert_eq!(messages[0].id, "clk_0");
    assert_eq!(messages[0].traceparent.as_deref(), message(0, b"").traceparent.as_deref());
    assert_eq!(messages[0].payload.as_ref(), b"one");
    assert_eq!(messages[1].traceparent, None);
    assert_eq!(scan.bodies.iter().map(|(_, end)| *end).collect::<Vec<_>>(), ends);
    assert_eq!((scan.damaged, scan.consumed), (0, ends[1]));
}

#[test]
fn a_message_that_is_too_long_leaves_nothing_behind() {
    let mut bytes = Vec::new();

    assert_eq!(encode(&message(0, &vec![0; BODY_BYTES_MAX]), SEED, &mut bytes), Err(TooLong));
    let long_id = Outgoing { id: "x".repeat(70_000), ..message(0, b"") };
    assert_eq!(encode(&long_id, SEED, &mut bytes), Err(TooLong));

    assert!(bytes.is_empty());
}

#[test]
fn zeros_are_not_records_and_at_the_end_not_damage() {
    let blank = scan(&vec![0; 4096].into(), SEED, true, usize::MAX);
    let hole = scan(&[vec![0; 4096], vec![7]].concat().into(), SEED, true, usize::MAX);

    assert!(blank.bodies.is_empty() && hole.bodies.is_empty());
    assert_eq!((blank.damaged, blank.consumed), (0, 4096));
    assert_eq!((hole.damaged, hole.consumed), (4097, 4097));
}

#[test]
fn a_file_holds_what_was_written_to_it_and_not_the_zeros_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x");
    let (records, _) = encoded(&[b"one".to_vec(), vec![0; 40]]);
    for blank in [0, 1, 7, 8, 9, 4096, 3 * 1024 * 1024] {
        let bytes = [header(SEED).as_slice(), &records, &vec![0; blank]].concat();
        std::fs::write(&path, &bytes).expect("write");
        let file = SegmentFile::open(&path).expect("open");

        let written = file.written(bytes.len() as u64).expect("readable");

        assert!(written >= HEADER_BYTES + records.len() as u64, "{blank}");
        assert!(written < HEADER_BYTES + records.len() as u64 + RECORD_HEADER_BYTES as u64, "{blank}");
        let scan = file.read(HEADER_BYTES, written, usize::MAX).expect("readable");
        assert_eq!((ids(&scan), scan.damaged), (ids_of(0..2), 0), "{blank}");
    }
}

#[test]
fn a_record_that_a_visitor_forged_is_not_found_when_the_one_around_it_is_damaged() {
    let mut forged = Vec::new();
    encode(&message(9, b"forged"), 0, &mut forged).expect("short enough");
    let (mut bytes, ends) = encoded(&[forged, b"after".to_vec()]);
    bytes[5] ^= 1;

    let scan = scan(&bytes.into(), SEED, true, usize::MAX);

    assert_eq!(ids(&scan), ["clk_1"]);
    assert_eq!(scan.damaged, ends[0]);
}

#[test]
fn a_file_whose_header_is_damaged_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x");
    for damaged in 0..HEADER_BYTES as usize {
        let mut bytes = header(SEED);
        bytes[damaged] ^= 1;
        std::fs::write(&path, bytes).expect("write");

        assert!(matches!(SegmentFile::open(&path), Err(OpenError::Header)), "byte {damaged}");
    }
}

#[test]
fn a_file_is_read_in_pieces_to_its_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x");
    let payloads = vec![vec![7; 100_000]; 40];
    let (records, _) = encoded(&payloads);
    let bytes = [header(SEED).as_slice(), &records].concat();
    std::fs::write(&path, &bytes).expect("write");
    let file = SegmentFile::open(&path).expect("open");

    let (mut offset, mut found) = (HEADER_BYTES, Vec::new());
    while offset < bytes.len() as u64 {
        let scan = file.read(offset, bytes.len() as u64, 7).expect("read");
        assert!(scan.consumed > 0);
        offset += scan.consumed as u64;
        found.extend(ids(&scan));
    }

    assert_eq!(found, ids_of(0..40));
}

proptest! {
    #[test]
    fn every_record_before_a_cut_is_read(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20),
        cut in any::<proptest::sample::Index>(),
    ) {
        let (mut bytes, ends) = encoded(&payloads);
        let cut = cut.index(bytes.len() + 1);
        bytes.truncate(cut);

        let scan = scan(&bytes.into(), SEED, true, usize::MAX);

        let intact = ends.iter().filter(|end| **end <= cut).count();
        prop_assert_eq!(ids(&scan), ids_of(0..intact));
        prop_assert_eq!(scan.consumed, cut);
    }

    #[test]
    fn a_flipped_bit_costs_the_record_it_is_in_and_no_other(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20),
        at in any::<proptest::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let (mut bytes, ends) = encoded(&payloads);
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;

        let scan = scan(&bytes.into(), SEED, true, usize::MAX);

        let damaged = ends.iter().filter(|end| **end <= at).count();
        prop_assert_eq!(ids(&scan), ids_of((0..ends.len()).filter(|number| *number != damaged)));
        prop_assert!(scan.damaged > 0);
    }

    #[test]
    fn rubbish_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2000), is_end: bool) {
        let length = bytes.len();

        let scan = scan(&bytes.into(), SEED, is_end, usize::MAX);

        prop_assert!(scan.bodies.is_empty());
        prop_assert!(scan.consumed <= length);
        prop_assert!(!is_end || scan.consumed == length);
    }
}
