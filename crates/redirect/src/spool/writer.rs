//! The writing end of a spool: one file grows, and is closed when it is full or old enough.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use super::cursor::Position;
use super::files::Files;
use super::segment;
use super::spare::Spare;
use crate::settings::SyncMode;

/// The smallest file that is filled with zeros beforehand.
const SPARE_BYTES_MIN: u64 = 1024 * 1024;

/// How large a spool may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// A file is closed before it exceeds this.
    pub segment_bytes_max: u64,
    /// All files together.
    pub bytes_max: u64,
}

/// Why clicks could not be appended.
#[derive(Debug, thiserror::Error)]
pub(super) enum AppendError {
    /// The limit is reached.
    #[error("the spool has reached redirect.spool.bytes_max")]
    Full,
    /// The disk is full, or broken.
    #[error("failed to write to the spool")]
    Io(#[from] io::Error),
}

/// Owns the files of a spool, and the one that grows.
#[derive(Debug)]
pub(super) struct Writer {
    /// What there is.
    pub files: Files,
    /// Held open: with no descriptor left a file could be made and its name not be flushed.
    dir: Arc<File>,
    sizes: Sizes,
    seed: u32,
    active: Option<Active>,
    number_next: u64,
    sync: SyncMode,
    /// What has to be flushed: files with new bytes, each with its number, and the directory when it has a new name.
    /// Nothing when the system decides when to flush: nobody would take it from here.
    unsynced: Vec<(Option<u64>, Arc<File>)>,
    is_dirty: bool,
    /// A file that is ready to be the next.
    spare: Option<Spare>,
    /// How much the last file held when it was closed.
    closed_bytes: u64,
    /// How much room was asked for last.
    asked_bytes: u64,
}

#[derive(Debug)]
struct Active {
    number: u64,
    file: Arc<File>,
    bytes: u64,
    /// When its first click came.
    since: Option<Instant>,
    /// Whether zeros stand behind what was written.
    is_zero_filled: bool,
}

impl Writer {
    /// Finds the files that are there. The next one is numbered after them and after `shipped`.
    /// What an earlier process wrote is never appended to: its end may be torn.
    pub(super) fn open(
        dir: &Path,
        sizes: Sizes,
        sync: SyncMode,
        seed: u32,
        shipped: Position,
    ) -> io::Result<Self> {
        let files = Files::open(dir, shipped)?;
        let number_next = files.last().unwrap_or(0).max(shipped.segment) + 1;
        Ok(Self {
            files,
            dir: Arc::new(File::open(dir)?),
            sizes,
            seed,
            active: None,
            number_next,
            sync,
            unsynced: Vec::new(),
            is_dirty: false,
            spare: None,
            closed_bytes: 0,
            asked_bytes: 0,
        })
    }

    /// Appends whole records with one write.
    pub(super) fn append(&mut self, records: &[u8], clicks: u64) -> Result<(), AppendError> {
        let length = records.len() as u64;
        self.asked_bytes = length;
        self.write(records)?;
        let active = self.active.as_mut().expect("write() has written to it");
        active.bytes += length;
        if active.since.is_none() {
            active.since = Some(Instant::now());
        }
        self.files.grow(active.number, length, clicks);
        if !self.is_dirty {
            let (number, file) = (active.number, active.file.clone());
            self.note_unsynced(Some(number), file);
        }
        Ok(())
    }

    /// Finds out, without a click, whether there is room again for as much as was asked for last. What it writes is zeros behind
    /// the clicks, which the next ones overwrite.
    pub(super) fn try_again(&mut self) -> Result<(), AppendError> {
        let blank = vec![0; usize::try_from(self.asked_bytes).unwrap_or_default()];
        self.write(&blank)?;
        if let Some(active) = &mut self.active {
            active.is_zero_filled = true;
        }
        Ok(())
    }

    /// Writes behind the clicks of a file that has room, which is begun if there is none.
    fn write(&mut self, bytes: &[u8]) -> Result<(), AppendError> {
        let length = bytes.len() as u64;
        if self.files.bytes() + length > self.sizes.bytes_max {
            return Err(AppendError::Full);
        }
        let fits = |active: &Active| {
            active.bytes + length <= self.sizes.segment_bytes_max || active.bytes == segment::HEADER_BYTES
        };
        if !self.active.as_ref().is_some_and(fits) {
            self.begin_segment()?;
        }
        let active = self.active.as_ref().expect("begin_segment() made it");
        if let Err(error) = active.file.write_all_at(bytes, active.bytes) {
            // half a record at the end would only cost a warning at the next start, but the space may be needed
            let cut = active.file.set_len(active.bytes);
            if let Err(error) = &cut {
                warn!(error = %error, "failed to cut a torn record off");
            }
            // a file that holds nothing is taken again: otherwise each attempt would leave one behind
            if cut.is_err() || active.bytes > segment::HEADER_BYTES {
                self.close();
            }
            return Err(error.into());
        }
        Ok(())
    }

    /// Begins a file, although none is needed yet.
    pub(super) fn begin_segment(&mut self) -> io::Result<()> {
        self.close();
        let number = self.number_next;
        let path = self.files.path(number);
        let spare =
            self.spare.take().and_then(|spare| fs::rename(&spare.path, &path).ok().map(|()| spare.file));
        let is_zero_filled = spare.is_some();
        let file = match spare {
            Some(file) => file,
            None => OpenOptions::new().write(true).create_new(true).open(&path)?,
        };
        if let Err(error) = file.write_all_at(&segment::header(self.seed), 0) {
            // the next attempt takes the same number, unless the file stays
            if fs::remove_file(&path).is_err() {
                self.number_next += 1;
            }
            return Err(error);
        }
        self.number_next += 1;
        let bytes = segment::HEADER_BYTES;
        let file = Arc::new(file);
        self.files.grow(number, bytes, 0);
        self.note_unsynced(None, self.dir.clone());
        self.note_unsynced(Some(number), file.clone());
        self.active = Some(Active { number, file, bytes, since: None, is_zero_filled });
        Ok(())
    }

    /// Closes the growing file; the next clicks begin another.
    pub(super) fn close(&mut self) {
        let Some(active) = self.active.take() else { return };
        self.closed_bytes = active.bytes;
        if active.is_zero_filled
            && let Err(error) = active.file.set_len(active.bytes)
        {
            warn!(spool.segment = active.number, error = %error, "failed to cut off the blank end of a spool file");
        }
    }

    /// How large a spare file should be, when there is none. As there is twice the room that the last file took, few
    /// clicks do not cost many zeros.
    pub(super) fn spare_wanted(&self) -> Option<u64> {
        let bytes = (2 * self.closed_bytes).max(SPARE_BYTES_MIN).min(self.sizes.segment_bytes_max);
        self.spare.is_none().then_some(bytes)
    }

    /// The next file is this.
    pub(super) fn give_spare(&mut self, spare: Spare) {
        self.spare = Some(spare);
    }

    /// Closes the growing file if its first click came as long ago as this; tells whether it did.
    pub(super) fn close_if_older(&mut self, age: Duration) -> bool {
        let is_old = |active: &Active| active.since.is_some_and(|since| since.elapsed() >= age);
        let closes = self.active.as_ref().is_some_and(is_old);
        if closes {
            self.close();
        }
        closes
    }

    /// Whether this is the file that grows.
    pub(super) fn is_active(&self, number: u64) -> bool {
        self.active.as_ref().is_some_and(|active| active.number == number)
    }

    /// The closed files that the stream has taken to their ends, oldest first, each with how much it holds.
    pub(super) fn shipped(&self) -> impl Iterator<Item = (u64, u64)> {
        self.files.wholly_shipped().filter(|(number, _)| !self.is_active(*number))
    }

    /// The files numbered `number` or higher that grow no more, oldest first, each with how much it holds.
    pub(super) fn closed_from(&self, number: u64) -> impl Iterator<Item = (u64, u64)> {
        self.files.all_from(number).filter(|(number, _)| !self.is_active(*number))
    }

    /// Whether the spool is larger than three quarters of its limit.
    pub(super) fn is_crowded(&self) -> bool {
        self.files.bytes() > self.sizes.bytes_max / 4 * 3
    }

    /// Counts a file no longer, and tells where it is: it is going to be removed or renamed. Nothing more is appended to it.
    pub(super) fn forget(&mut self, number: u64) -> PathBuf {
        if self.is_active(number) {
            self.close();
        }
        // an open file keeps its room on the disk
        self.unsynced.retain(|(unsynced, _)| *unsynced != Some(number));
        self.files.forget(number)
    }

    fn note_unsynced(&mut self, number: Option<u64>, file: Arc<File>) {
        if self.sync != SyncMode::Os {
            self.unsynced.push((number, file));
            self.is_dirty = true;
        }
    }

    /// Whether there is something to flush.
    pub(super) fn is_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// Takes what is to be flushed; the caller does it, without holding up those who append.
    pub(super) fn take_unsynced(&mut self) -> Vec<Arc<File>> {
        self.is_dirty = false;
        std::mem::take(&mut self.unsynced).into_iter().map(|(_, file)| file).collect()
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
