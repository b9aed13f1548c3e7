//! Reads a spool in order, while it grows.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;
use tracing::{error, warn};

use super::cursor::Position;
use super::segment::{HEADER_BYTES, OpenError, Scan, SegmentFile};
use super::{DAMAGED, Spool};

/// How often a file is tried before it is put aside: a disk may need a moment.
const ATTEMPTS: u32 = 3;

/// Clicks that follow each other.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Each body, with the place behind it.
    pub records: Vec<(Bytes, Position)>,
}

/// A file that cannot be read at the moment.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {}", path.display())]
pub(super) struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// The part of a spool that has not been read yet.
#[derive(Debug)]
pub(super) struct Backlog {
    spool: Arc<Spool>,
    position: Position,
    open: Option<(u64, SegmentFile)>,
    /// Attempts to read the file at hand that failed.
    failures: u32,
}

impl Backlog {
    /// What comes after `position`.
    pub(super) fn new(spool: Arc<Spool>, position: Position) -> Self {
        Self { spool, position, open: None, failures: 0 }
    }

    /// How far it has been read.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// The next clicks, at most `records_max`; none when everything has been read. A file that will never be readable
    /// is passed over.
    pub(super) fn next(&mut self, records_max: usize) -> Result<Window, Unreadable> {
        while let Some((number, end)) = self.unread() {
            let start = self.position.offset;
            let scan = match self.scan(number, end, records_max) {
                Ok(scan) => scan,
                Err(failure) => {
                    self.pass_over(number, end, failure)?;
                    continue;
                }
            };
            self.failures = 0;
            if scan.damaged > 0 {
                self.spool.metrics.spool_damaged_bytes.inc_by(scan.damaged as u64);
                warn!(
                    spool.segment = number,
                    spool.offset = start,
                    bytes = scan.damaged,
                    "a part of the spool is torn or damaged and was passed over"
                );
            }
            let place = |end: usize| Position { segment: number, offset: start + end as u64 };
            // a file that became shorter than it was must not be read for ever
            self.position = if scan.consumed == 0 {
                Position { segment: number, offset: end }
            } else {
                place(scan.consumed)
            };
            let mut records: Vec<_> = scan.bodies.into_iter().map(|(body, end)| (body, place(end))).collect();
            if let Some((_, last)) = records.last_mut() {
                *last = self.position;
                return Ok(Window { records });
            }
        }
        Ok(Window::default())
    }

    /// Moves to the file that has something to read; its number, and how much of it has been written.
    fn unread(&mut self) -> Option<(u64, u64)> {
        let writer = self.spool.writer();
        loop {
            let (number, end) = writer.files.from(self.position.segment)?;
            if number > self.position.segment {
                self.position = Position { segment: number, offset: 0 };
            }
            self.position.offset = self.position.offset.max(HEADER_BYTES);
            if self.position.offset < end {
                return Some((number, end));
            }
            // the last file may still grow: the place to wait is in it
            writer.files.from(number + 1)?;
            self.position = Position { segment: number + 1, offset: 0 };
        }
    }

    fn scan(&mut self, number: u64, end: u64, records_max: usize) -> Result<Scan, OpenError> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
            self.open = None;
            let path = self.spool.writer().files.path(number);
            self.open = Some((number, SegmentFile::open(&path)?));
        }
        let (_, file) = self.open.as_ref().expect("it has just been opened");
        Ok(file.read(self.position.offset, end, records_max)?)
    }

    /// Puts a file aside that cannot be read, so that it does not keep the others; fails while that may pass.
    fn pass_over(&mut self, number: u64, end: u64, failure: OpenError) -> Result<(), Unreadable> {
        self.open = None;
        let path = self.spool.writer().files.path(number);
        match failure {
            OpenError::Io(source) if may_pass(&source, self.failures + 1) => {
                self.failures += 1;
                return Err(Unreadable { path, source });
            }
            _ => self.failures = 0,
        }
        let bytes = end - self.position.offset;
        self.spool.metrics.spool_damaged_bytes.inc_by(bytes);
        let (path, is_aside) = match self.spool.put_aside(number, DAMAGED) {
            Ok(aside) => (aside, true),
            // it is gone, or stays where it is until the next start
            Err(_) => (path, false),
        };
        let cause: &dyn std::error::Error = &failure;
        error!(
            path = %path.display(),
            bytes,
            is_aside,
            error = cause,
            "a spool file cannot be read and was passed over: its clicks are lost unless someone reads it"
        );
        Ok(())
    }
}

/// Whether a file can perhaps be read later, after so many attempts.
fn may_pass(failure: &io::Error, attempts: u32) -> bool {
    match failure.kind() {
        // it is gone, or was cut off before its first record
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => false,
        io::ErrorKind::OutOfMemory => true,
        _ => {
            let is_ours = matches!(Errno::from_io_error(failure), Some(Errno::MFILE | Errno::NFILE));
            is_ours || attempts < ATTEMPTS
        }
    }
}
