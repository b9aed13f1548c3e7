//! Reads a spool in order, while it grows.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tracing::{error, warn};

use super::cursor::Position;
use super::segment::{HEADER_BYTES, OpenError, SegmentFile};
use super::{DAMAGED, Spool};

/// Clicks that follow each other.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Each body, with the place behind it.
    pub records: Vec<(Bytes, Position)>,
}

/// The part of a spool that has not been read yet.
#[derive(Debug)]
pub(super) struct Backlog {
    spool: Arc<Spool>,
    position: Position,
    open: Option<(u64, SegmentFile)>,
}

impl Backlog {
    /// What comes after `position`.
    pub(super) fn new(spool: Arc<Spool>, position: Position) -> Self {
        Self { spool, position, open: None }
    }

    /// How far it has been read.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// The next clicks, at most `records_max`; none when everything has been read.
    pub(super) fn next(&mut self, records_max: usize) -> io::Result<Window> {
        while let Some((number, end)) = self.unread() {
            let start = self.position.offset;
            let Some(file) = self.file(number, end)? else { continue };
            let scan = file.read(start, end, records_max)?;
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

    /// The file of this number; `None` when it cannot be read as a spool file and was put aside.
    fn file(&mut self, number: u64, end: u64) -> io::Result<Option<&SegmentFile>> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
            let path = self.spool.writer().files.path(number);
            let file = match SegmentFile::open(&path) {
                Ok(file) => file,
                Err(OpenError::Io(error)) => return Err(error),
                Err(damage @ OpenError::Header) => {
                    self.spool.metrics.spool_damaged_bytes.inc_by(end);
                    let aside = self.spool.put_aside(number, DAMAGED)?;
                    error!(path = %aside.display(), error = %damage, "a spool file was put aside: its clicks are lost unless someone reads it");
                    return Ok(None);
                }
            };
            self.open = Some((number, file));
        }
        Ok(self.open.as_ref().map(|(_, file)| file))
    }
}
