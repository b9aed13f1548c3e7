//! The writing end of a spool: one file grows, full ones wait until they are let go.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::segment;

/// What the name of a spool file ends with; before it stands its number, with zeros in front.
const EXTENSION: &str = "spool";

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

/// Owns the files of a spool: how many bytes of records each holds, and which one grows.
#[derive(Debug)]
pub(super) struct Writer {
    dir: PathBuf,
    sizes: Sizes,
    seed: u32,
    /// Every file by its number, with how much of it has been written.
    segments: BTreeMap<u64, u64>,
    bytes: u64,
    active: Option<Active>,
    number_next: u64,
    /// What `sync` has to flush: files with new bytes, and the directory when it has a new name.
    unsynced: Vec<Arc<File>>,
    is_dirty: bool,
}

#[derive(Debug)]
struct Active {
    number: u64,
    file: Arc<File>,
    bytes: u64,
}

impl Writer {
    /// Finds the files that are there and begins a new one, numbered after them and not below `number_min`.
    /// What an earlier process wrote is never appended to: its end may be torn.
    pub(super) fn open(dir: &Path, sizes: Sizes, seed: u32, number_min: u64) -> io::Result<Self> {
        let mut segments = BTreeMap::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if let Some(number) = number(&entry.path()) {
                segments.insert(number, entry.metadata()?.len());
            }
        }
        let number_next = segments.keys().last().map_or(1, |last| last + 1).max(number_min);
        let bytes = segments.values().sum();
        let dir = dir.to_path_buf();
        let (active, unsynced) = (None, Vec::new());
        let mut writer =
            Self { dir, sizes, seed, segments, bytes, active, number_next, unsynced, is_dirty: false };
        // a directory that cannot be written to shows now, not with the first click
        writer.begin_segment()?;
        Ok(writer)
    }

    /// Appends whole records with one write.
    pub(super) fn append(&mut self, records: &[u8]) -> Result<(), AppendError> {
        let length = records.len() as u64;
        if self.bytes + length > self.sizes.bytes_max {
            return Err(AppendError::Full);
        }
        let fits = |active: &Active| {
            active.bytes + length <= self.sizes.segment_bytes_max || active.bytes == segment::HEADER_BYTES
        };
        if !self.active.as_ref().is_some_and(fits) {
            self.begin_segment()?;
        }
        let active = self.active.as_mut().expect("begin_segment() made it");
        if let Err(error) = (&*active.file).write_all(records) {
            // half a record at the end would only cost a warning at the next start, but the space may be needed
            if let Err(error) = active.file.set_len(active.bytes) {
                warn!(error = %error, "failed to cut a torn record off");
            }
            self.active = None;
            return Err(error.into());
        }
        active.bytes += length;
        self.segments.insert(active.number, active.bytes);
        self.bytes += length;
        if !self.is_dirty {
            self.is_dirty = true;
            self.unsynced.push(active.file.clone());
        }
        Ok(())
    }

    /// The first file numbered `number` or higher, and how much of it has been written.
    pub(super) fn segment_from(&self, number: u64) -> Option<(u64, u64)> {
        self.segments.range(number..).next().map(|(number, bytes)| (*number, *bytes))
    }

    /// Removes a file that is not the growing one.
    pub(super) fn remove(&mut self, number: u64) -> io::Result<()> {
        if self.active.as_ref().is_some_and(|active| active.number == number) {
            return Ok(());
        }
        self.forget(number);
        fs::remove_file(self.path(number))
    }

    /// Counts a file no longer; it stays where it is.
    pub(super) fn forget(&mut self, number: u64) {
        self.bytes -= self.segments.remove(&number).unwrap_or(0);
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the next records would make the spool larger than three quarters of its limit.
    pub(super) fn is_crowded(&self) -> bool {
        self.bytes > self.sizes.bytes_max / 4 * 3
    }

    /// Bytes of records at and after a place in a file.
    pub(super) fn bytes_after(&self, number: u64, offset: u64) -> u64 {
        let later: u64 = self
            .segments
            .range(number + 1..)
            .map(|(_, bytes)| bytes.saturating_sub(segment::HEADER_BYTES))
            .sum();
        let here = self
            .segments
            .get(&number)
            .map_or(0, |bytes| bytes.saturating_sub(offset.max(segment::HEADER_BYTES)));
        later + here
    }

    /// Takes what is to be flushed; the caller does it, without holding up those who append.
    pub(super) fn take_unsynced(&mut self) -> Vec<Arc<File>> {
        self.is_dirty = false;
        std::mem::take(&mut self.unsynced)
    }

    /// Where a file is.
    pub(super) fn path(&self, number: u64) -> PathBuf {
        path(&self.dir, number)
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        self.active = None;
        let number = self.number_next;
        let path = self.path(number);
        let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        if let Err(error) = (&file).write_all(&segment::header(self.seed)) {
            // the next attempt takes the same number
            fs::remove_file(&path)?;
            return Err(error);
        }
        self.number_next += 1;
        let bytes = segment::HEADER_BYTES;
        let file = Arc::new(file);
        self.segments.insert(number, bytes);
        self.bytes += bytes;
        self.unsynced.push(Arc::new(File::open(&self.dir)?));
        self.unsynced.push(file.clone());
        self.is_dirty = true;
        self.active = Some(Active { number, file, bytes });
        Ok(())
    }
}

/// Where the file of a number is in a spool's directory.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016}.{EXTENSION}"))
}

fn number(path: &Path) -> Option<u64> {
    if path.extension()? != EXTENSION {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes { segment_bytes_max: 1000, bytes_max: 3000 };

    #[test]
    fn a_full_file_is_followed_by_another() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut writer = Writer::open(dir.path(), SIZES, 7, 0).expect("open");

        for _ in 0..3 {
            writer.append(&[1; 600]).expect("append");
        }

        assert_eq!(writer.segment_from(0), Some((1, 616)));
        assert_eq!(writer.segment_from(2), Some((2, 616)));
        assert_eq!(writer.segment_from(3), Some((3, 616)));
        assert_eq!(writer.bytes(), 3 * 616);
        assert_eq!(writer.bytes_after(2, 116), 500 + 600);
    }

    #[test]
    fn the_limit_is_kept_until_a_file_is_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut writer = Writer::open(dir.path(), SIZES, 7, 0).expect("open");
        for _ in 0..4 {
            writer.append(&[1; 600]).expect("append");
        }
        assert!(writer.is_crowded());

        assert!(matches!(writer.append(&[1; 600]), Err(AppendError::Full)));
        writer.remove(1).expect("remove");

        writer.append(&[1; 600]).expect("append");
        assert!(!path(dir.path(), 1).exists());
    }

    #[test]
    fn the_growing_file_is_not_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut writer = Writer::open(dir.path(), SIZES, 7, 0).expect("open");

        writer.remove(1).expect("nothing to do");

        assert!(path(dir.path(), 1).exists());
    }

    #[test]
    fn what_an_earlier_process_wrote_is_counted_and_not_appended_to() {
        let dir = tempfile::tempdir().expect("a directory");
        Writer::open(dir.path(), SIZES, 7, 0).expect("open").append(&[1; 100]).expect("append");

        let mut writer = Writer::open(dir.path(), SIZES, 8, 0).expect("open");
        writer.append(&[1; 50]).expect("append");

        assert_eq!(writer.segment_from(0), Some((1, 116)));
        assert_eq!(writer.segment_from(2), Some((2, 66)));
    }

    #[test]
    fn a_number_that_the_cursor_has_passed_is_not_used_again() {
        let dir = tempfile::tempdir().expect("a directory");

        let writer = Writer::open(dir.path(), SIZES, 7, 41).expect("open");

        assert_eq!(writer.segment_from(0), Some((41, 16)));
    }
}
