//! What a stretch of a spool holds, for people.

use std::path::Path;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use model::ClickId;
use serde::Serialize;

use super::Spool;
use super::cursor::Position;
use super::segment::{self, HEADER_BYTES, OpenError, SegmentFile};

/// Records that are read at once.
const READ_AT_ONCE: usize = 4096;

/// How much is read to say what is left when a redirect ends: it is to end soon.
const LEFT_BYTES_READ_MAX: u64 = 256 * 1024 * 1024;

/// Clicks of a stretch of a spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// How many.
    pub clicks: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Bytes that belong to no click.
    pub damaged_bytes: u64,
    /// When the oldest happened.
    pub oldest: Option<DateTime<Utc>>,
    /// When the newest happened.
    pub newest: Option<DateTime<Utc>>,
}

impl Contents {
    /// Reads a file from `start` to `end`.
    pub(super) fn of(path: &Path, start: u64, end: u64) -> Result<Self, OpenError> {
        let (mut contents, mut offset) = (Self::default(), start.max(HEADER_BYTES));
        if offset >= end {
            return Ok(contents);
        }
        let file = SegmentFile::open(path)?;
        while offset < end {
            let scan = file.read(offset, end, READ_AT_ONCE)?;
            if scan.consumed == 0 {
                break;
            }
            offset += scan.consumed as u64;
            let moments = scan.bodies.iter().filter_map(|(body, _)| moment(body));
            contents.add(&Self {
                clicks: scan.bodies.len() as u64,
                bytes: (scan.consumed - scan.damaged) as u64,
                damaged_bytes: scan.damaged as u64,
                oldest: moments.clone().min(),
                newest: moments.max(),
            });
        }
        Ok(contents)
    }

    /// Adds what another stretch holds.
    pub(super) fn add(&mut self, other: &Self) {
        self.clicks += other.clicks;
        self.bytes += other.bytes;
        self.damaged_bytes += other.damaged_bytes;
        self.oldest = self.oldest.into_iter().chain(other.oldest).min();
        self.newest = self.newest.max(other.newest);
    }
}

/// When the click of a body happened.
pub(super) fn moment(body: &Bytes) -> Option<DateTime<Utc>> {
    segment::id(body).parse().ok().map(ClickId::timestamp)
}

/// What the stream has not taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// How many clicks, at least.
    pub clicks: u64,
    /// Whether there are no more.
    pub is_counted: bool,
    /// Bytes that they take.
    pub bytes: u64,
}

impl Spool {
    /// What is left from this place on.
    pub(super) fn left(&self, place: Position) -> Left {
        let mut left = Left { clicks: 0, is_counted: true, bytes: self.writer().files.bytes_after(place) };
        let (mut number, mut read) = (place.segment, 0);
        loop {
            let (path, end) = {
                let writer = self.writer();
                let Some((found, end)) = writer.files.from(number) else { return left };
                number = found + 1;
                (writer.files.path(found), end)
            };
            let start = if number == place.segment + 1 { place.offset } else { 0 };
            read += end - start.min(end);
            if read > LEFT_BYTES_READ_MAX {
                return Left { is_counted: false, ..left };
            }
            match Contents::of(&path, start, end) {
                Ok(contents) => left.clicks += contents.clicks,
                Err(_) => left.is_counted = false,
            }
        }
    }
}
