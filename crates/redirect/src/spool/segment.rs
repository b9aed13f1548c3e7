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

use bus::{Message, Outgoing, Parts};
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
pub(super) fn encode(message: &impl Parts, seed: u32, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let start = out.len();
    let encoded = encode_from(start, message, seed, out);
    if encoded.is_err() {
        out.truncate(start);
    }
    encoded
}

fn encode_from(start: usize, message: &impl Parts, seed: u32, out: &mut Vec<u8>) -> Result<(), TooLong> {
    out.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
    append_text(out, |out| message.append_subject(out))?;
    append_text(out, |out| message.append_id(out))?;
    let traceparent = message.traceparent().unwrap_or_default();
    append_text(out, |out| out.extend_from_slice(traceparent.as_bytes()))?;
    message.append_payload(out);

    let body = start + RECORD_HEADER_BYTES;
    let length = out.len() - body;
    if length > BODY_BYTES_MAX {
        return Err(TooLong);
    }
    let length = u32::try_from(length).expect("BODY_BYTES_MAX fits").to_le_bytes();
    let checksum = checksum(seed, length, &out[body..]);
    out[start..start + 4].copy_from_slice(&length);
    out[start + 4..body].copy_from_slice(&checksum.to_le_bytes());
    Ok(())
}

/// Appends a text behind its length, which is known once it is written.
fn append_text(out: &mut Vec<u8>, append: impl FnOnce(&mut Vec<u8>)) -> Result<(), TooLong> {
    let start = out.len() + 2;
    out.extend_from_slice(&[0; 2]);
    append(out);
    let length = u16::try_from(out.len() - start).map_err(|_| TooLong)?;
    out[start - 2..start].copy_from_slice(&length.to_le_bytes());
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

/// The id of a body that [`scan`] found, without the rest.
pub(super) fn id(body: &[u8]) -> &str {
    parts(body).expect("scan() passes over what is not a message").0[1]
}

/// Where the record of a body began that [`scan`] found, from where it ended.
pub(super) fn record_start(body: &Bytes, end: usize) -> usize {
    end - body.len() - RECORD_HEADER_BYTES
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
/// What is damaged is passed over, up to the next intact record: a flipped bit costs one click, not a file. Zeros
/// at the end are no damage: a file may have been filled with them beforehand.
pub(super) fn scan(bytes: &Bytes, seed: u32, is_end: bool, bodies_max: usize) -> Scan {
    let mut scan = Scan::default();
    let blank_from = if is_end { bytes.len() - zeros_at_end(bytes) } else { bytes.len() };
    while scan.consumed < bytes.len() && scan.bodies.len() < bodies_max {
        match record(&bytes[scan.consumed..], seed) {
            Record::Intact(body) => {
                let start = scan.consumed;
                scan.consumed += body.end;
                scan.bodies.push((bytes.slice(start + body.start..start + body.end), scan.consumed));
            }
            Record::Incomplete if !is_end => break,
            Record::Incomplete | Record::Damaged if scan.consumed >= blank_from => {
                scan.consumed = bytes.len();
            }
            Record::Incomplete | Record::Damaged => {
                scan.consumed += 1;
                scan.damaged += 1;
            }
        }
    }
    scan
}

fn zeros_at_end(bytes: &[u8]) -> usize {
    bytes.iter().rev().take_while(|byte| **byte == 0).count()
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

    /// How much of a file of `length` bytes has been written: without the zeros that it was filled with beforehand, or
    /// with fewer of them than a record begins with.
    pub(super) fn written(&self, length: u64) -> io::Result<u64> {
        let filled = zeros_begin(&self.file, length)?;
        if length - filled < RECORD_HEADER_BYTES as u64 {
            return Ok(length);
        }
        // the last record may end with zeros of its own
        let mut end = HEADER_BYTES;
        while end < filled {
            let scan = self.read(end, length, usize::MAX)?;
            let last = scan.bodies.iter().rev().map(|(_, end)| *end).next();
            match last {
                Some(last) if end + scan.consumed as u64 >= filled => {
                    return Ok(filled.max(end + last as u64));
                }
                _ if scan.consumed == 0 => break,
                _ => end += scan.consumed as u64,
            }
        }
        Ok(filled.max(HEADER_BYTES))
    }

    /// Reads the one record that begins at `offset`; `None` when there is no intact one.
    pub(super) fn read_one(&self, offset: u64) -> io::Result<Option<Bytes>> {
        let mut head = [0; RECORD_HEADER_BYTES];
        self.file.read_exact_at(&mut head, offset)?;
        let body_bytes = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if body_bytes > BODY_BYTES_MAX {
            return Ok(None);
        }
        let end = offset + (RECORD_HEADER_BYTES + body_bytes) as u64;
        let scan = self.read(offset, end, 1)?;
        let is_first =
            |(body, end): (Bytes, usize)| (end == body.len() + RECORD_HEADER_BYTES).then_some(body);
        Ok(scan.bodies.into_iter().next().and_then(is_first))
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

/// Whether there is nothing but zeros in a file of `length` bytes.
pub(super) fn is_blank(path: &Path, length: u64) -> io::Result<bool> {
    Ok(zeros_begin(&File::open(path)?, length)? == 0)
}

/// Where the zeros begin that a file of `length` bytes ends with.
fn zeros_begin(file: &File, length: u64) -> io::Result<u64> {
    let mut end = length;
    while end > 0 {
        // most files do not end with zeros at all
        let start = if end == length { end.saturating_sub(4096) } else { end.saturating_sub(READ_BYTES) };
        let mut bytes = vec![0; usize::try_from(end - start).expect("READ_BYTES fits")];
        file.read_exact_at(&mut bytes, start)?;
        let zeros = zeros_at_end(&bytes);
        if zeros < bytes.len() {
            return Ok(end - zeros as u64);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
