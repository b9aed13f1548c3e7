//! The format of a spool file, and how it is read whatever has happened to the disk.
//!
//! ```text
//! file    magic "CWSPOOL1" | seed u32 | CRC-32 of the seed       then records, one after the other
//! record  length of the body u32 | CRC-32 u32 | body             the CRC covers length and body
//! body    subject, id, traceparent (each: length u16, text)      then the payload
//! ```
//!
//! Numbers are little-endian. The CRC of a record starts from the seed, which is random: bytes that a visitor
//! chose (a header may hold anything) can never pass for a record when a damaged file is searched for the next
//! intact one. Version 1 holds clicks only, so that the schema of a message is known without being written.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bus::{Message, Outgoing};
use bytes::Bytes;
use crc32fast::Hasher;
use model::Click;

/// First bytes of every spool file; the digit is the version of the format.
const MAGIC: &[u8; 8] = b"CWSPOOL1";

/// Bytes before the first record.
pub(super) const HEADER_BYTES: u64 = 16;

/// Bytes before the body of a record.
const RECORD_HEADER_BYTES: usize = 8;

/// Three empty texts: no body is shorter.
const BODY_BYTES_MIN: usize = 6;

/// Longest body: above what the stream takes, and a bound for what a damaged length can ask for.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// How much is read at once: more than one record, so that every reading gets on.
const READ_BYTES: u64 = 1024 * 1024;

/// A message that cannot stand in a spool file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is longer than {BODY_BYTES_MAX} bytes")]
pub(super) struct TooLong;

/// The first bytes of a file whose records start from `seed`.
pub(super) fn header(seed: u32) -> [u8; HEADER_BYTES as usize] {
    let mut bytes = [0; HEADER_BYTES as usize];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&seed.to_le_bytes());
    bytes[12..].copy_from_slice(&crc32fast::hash(&seed.to_le_bytes()).to_le_bytes());
    bytes
}

/// Appends a message to `out` as a record.
pub(super) fn encode(message: &Outgoing, seed: u32, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let start = out.len();
    out.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
    let texts = [message.subject.as_str(), &message.id, message.traceparent.as_deref().unwrap_or_default()];
    for text in texts {
        let Ok(length) = u16::try_from(text.len()) else {
            out.truncate(start);
            return Err(TooLong);
        };
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(&message.payload);

    let body = start + RECORD_HEADER_BYTES;
    let length = out.len() - body;
    if length > BODY_BYTES_MAX {
        out.truncate(start);
        return Err(TooLong);
    }
    let length = u32::try_from(length).expect("BODY_BYTES_MAX fits").to_le_bytes();
    let checksum = checksum(seed, length, &out[body..]);
    out[start..start + 4].copy_from_slice(&length);
    out[start + 4..body].copy_from_slice(&checksum.to_le_bytes());
    Ok(())
}

/// The message of a body that [`scan`] found.
pub(super) fn decode(body: &Bytes) -> Outgoing {
    let (texts, payload) = parts(body).expect("scan() passes over what is not a message");
    let [subject, id, traceparent] = texts.map(str::to_owned);
    Outgoing {
        subject,
        id,
        schema: Click::SCHEMA,
        payload: body.slice(payload..),
        traceparent: Some(traceparent).filter(|text| !text.is_empty()),
    }
}

/// Subject, id and traceparent, and where the payload begins.
fn parts(body: &[u8]) -> Option<([&str; 3], usize)> {
    let (mut texts, mut at) = ([""; 3], 0);
    for text in &mut texts {
        let (length, rest) = body.get(at..)?.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_le_bytes(*length));
        *text = std::str::from_utf8(rest.get(..length)?).ok()?;
        at += 2 + length;
    }
    Some((texts, at))
}

/// What a stretch of a file holds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The bodies of its intact records, each with where the record ends, counted from the stretch's beginning.
    pub bodies: Vec<(Bytes, usize)>,
    /// How far it was read.
    pub consumed: usize,
    /// Bytes in it that belong to no intact record.
    pub damaged: usize,
}

/// Reads up to `bodies_max` records from a stretch of a file that begins at one. `is_end`: no byte follows it.
///
/// What is damaged is passed over, up to the next intact record: a flipped bit costs one click, not a file.
pub(super) fn scan(bytes: &Bytes, seed: u32, is_end: bool, bodies_max: usize) -> Scan {
    let mut scan = Scan::default();
    while scan.consumed < bytes.len() && scan.bodies.len() < bodies_max {
        match record(&bytes[scan.consumed..], seed) {
            Record::Intact(body) => {
                let start = scan.consumed;
                scan.consumed += body.end;
                scan.bodies.push((bytes.slice(start + body.start..start + body.end), scan.consumed));
            }
            Record::Incomplete if !is_end => break,
            Record::Incomplete | Record::Damaged => {
                scan.consumed += 1;
                scan.damaged += 1;
            }
        }
    }
    scan
}

enum Record {
    Intact(Range<usize>),
    Incomplete,
    Damaged,
}

fn record(bytes: &[u8], seed: u32) -> Record {
    let Some((&[l0, l1, l2, l3, c0, c1, c2, c3], rest)) = bytes.split_first_chunk::<RECORD_HEADER_BYTES>()
    else {
        return Record::Incomplete;
    };
    let length = [l0, l1, l2, l3];
    let body_bytes = u32::from_le_bytes(length) as usize;
    if !(BODY_BYTES_MIN..=BODY_BYTES_MAX).contains(&body_bytes) {
        return Record::Damaged;
    }
    let Some(body) = rest.get(..body_bytes) else { return Record::Incomplete };
    let is_intact = checksum(seed, length, body) == u32::from_le_bytes([c0, c1, c2, c3]);
    // one damage in 2^32 has the right checksum
    if !is_intact || parts(body).is_none() {
        return Record::Damaged;
    }
    Record::Intact(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + body_bytes)
}

fn checksum(seed: u32, length: [u8; 4], body: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(seed);
    hasher.update(&length);
    hasher.update(body);
    hasher.finalize()
}

/// A spool file that is being read.
#[derive(Debug)]
pub(super) struct SegmentFile {
    file: File,
    seed: u32,
}

/// Why a spool file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The system refused.
    #[error("failed to open it")]
    Io(#[from] io::Error),
    /// It does not begin as a spool file, so that its seed is not known.
    #[error("its header is damaged, or it is of another version")]
    Header,
}

impl SegmentFile {
    /// Opens a file that has at least [`HEADER_BYTES`].
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let file = File::open(path)?;
        let mut bytes = [0; HEADER_BYTES as usize];
        file.read_exact_at(&mut bytes, 0)?;
        let seed = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if bytes == header(seed) { Ok(Self { file, seed }) } else { Err(OpenError::Header) }
    }

    /// Reads up to `bodies_max` records from `offset` on; of the file, `end` bytes have been written.
    pub(super) fn read(&self, offset: u64, end: u64, bodies_max: usize) -> io::Result<Scan> {
        let length = end.saturating_sub(offset).min(READ_BYTES);
        let mut bytes = vec![0; usize::try_from(length).expect("READ_BYTES fits")];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // the file may have become shorter than it was told: then this is its end
        let is_end = filled < bytes.len() || offset + length >= end;
        bytes.truncate(filled);
        Ok(scan(&Bytes::from(bytes), self.seed, is_end, bodies_max))
    }
}

#[cfg(test)]
mod tests {
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
    fn zeros_are_not_records() {
        let scan = scan(&vec![0; 4096].into(), SEED, true, usize::MAX);

        assert!(scan.bodies.is_empty());
        assert_eq!((scan.damaged, scan.consumed), (4096, 4096));
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
}
