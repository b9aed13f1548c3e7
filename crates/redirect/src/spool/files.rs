//! The files of a spool: what each holds, how far they have been shipped, and which may go.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::cursor::Position;
use super::segment::{self, HEADER_BYTES, OpenError, SegmentFile};

/// What the name of a spool file ends with; before it stands its number, with zeros in front.
pub(super) const EXTENSION: &str = "spool";

/// What is known of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    /// How much of it has been written.
    bytes: u64,
    /// Clicks in it; `None` when an earlier process wrote it and nobody has counted them yet.
    clicks: Option<u64>,
    /// Clicks of it that stand in the database.
    confirmed: u64,
}

/// Every file of a spool by its number.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
    held: BTreeMap<u64, Held>,
    bytes: u64,
    shipped: Position,
}

impl Files {
    /// Finds the files that are there; those before `shipped` have been taken by the stream. Zeros that nobody has
    /// come to overwrite are cut off.
    pub(super) fn open(dir: &Path, shipped: Position) -> io::Result<Self> {
        let mut files = Self { dir: dir.to_path_buf(), held: BTreeMap::new(), bytes: 0, shipped };
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if let Some(number) = number(&entry.path()) {
                let held = Held { bytes: cut(&entry.path(), entry.metadata()?.len())?, ..Held::default() };
                files.bytes += held.bytes;
                files.held.insert(number, held);
            }
        }
        Ok(files)
    }

    /// Where the file of this number is.
    pub(super) fn path(&self, number: u64) -> PathBuf {
        path(&self.dir, number)
    }

    /// Where all of them are.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.held.keys().map(|number| self.path(*number)).collect()
    }

    /// Those numbered `number` or higher, oldest first, each with how much of it has been written.
    pub(super) fn all_from(&self, number: u64) -> impl Iterator<Item = (u64, u64)> {
        self.held.range(number..).map(|(number, held)| (*number, held.bytes))
    }

    /// The highest number, if there is a file.
    pub(super) fn last(&self) -> Option<u64> {
        self.held.keys().last().copied()
    }

    /// The first file numbered `number` or higher, and how much of it has been written.
    pub(super) fn from(&self, number: u64) -> Option<(u64, u64)> {
        self.held.range(number..).next().map(|(number, held)| (*number, held.bytes))
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of records at and after a place.
    pub(super) fn bytes_after(&self, place: Position) -> u64 {
        let later =
            self.held.range(place.segment + 1..).map(|(_, held)| held.bytes.saturating_sub(HEADER_BYTES));
        let here = self.held.get(&place.segment);
        let here = here.map_or(0, |held| held.bytes.saturating_sub(place.offset.max(HEADER_BYTES)));
        later.sum::<u64>() + here
    }

    /// Bytes that the stream has not taken.
    pub(super) fn unshipped_bytes(&self) -> u64 {
        self.bytes_after(self.shipped)
    }

    /// A file has grown by this, or is new.
    pub(super) fn grow(&mut self, number: u64, bytes: u64, clicks: u64) {
        let held = self.held.entry(number).or_insert(Held { clicks: Some(0), ..Held::default() });
        held.bytes += bytes;
        held.clicks = held.clicks.map(|before| before + clicks);
        self.bytes += bytes;
    }

    /// A file is known to hold so many clicks.
    pub(super) fn note_clicks(&mut self, number: u64, clicks: u64) {
        if let Some(held) = self.held.get_mut(&number) {
            held.clicks = Some(clicks);
        }
    }

    /// So many more of a file's clicks stand in the database.
    pub(super) fn note_confirmed(&mut self, number: u64, clicks: u64) {
        if let Some(held) = self.held.get_mut(&number) {
            held.confirmed += clicks;
        }
    }

    /// Clicks of a file that are not known to stand in the database; `None` when they have not been counted.
    pub(super) fn unconfirmed(&self, number: u64) -> Option<u64> {
        let held = self.held.get(&number)?;
        held.clicks.map(|clicks| clicks.saturating_sub(held.confirmed))
    }

    /// The same of all files, as far as they have been counted.
    pub(super) fn all_unconfirmed(&self) -> u64 {
        self.held.keys().filter_map(|number| self.unconfirmed(*number)).sum()
    }

    /// How far the stream has taken them.
    pub(super) fn shipped(&self) -> Position {
        self.shipped
    }

    /// The stream has taken what is before this place.
    pub(super) fn note_shipped(&mut self, place: Position) {
        self.shipped = place;
    }

    /// The files that the stream has taken to their ends, oldest first.
    pub(super) fn wholly_shipped(&self) -> impl Iterator<Item = (u64, u64)> {
        let Position { segment, offset } = self.shipped;
        self.held
            .range(..=segment)
            .filter(move |(number, held)| **number < segment || held.bytes <= offset)
            .map(|(number, held)| (*number, held.bytes))
    }

    /// Counts a file no longer, and tells where it is.
    pub(super) fn forget(&mut self, number: u64) -> PathBuf {
        self.bytes -= self.held.remove(&number).unwrap_or_default().bytes;
        self.path(number)
    }
}

/// Cuts a file of `length` bytes to what has been written to it, and tells how much that is.
fn cut(path: &Path, length: u64) -> io::Result<u64> {
    let written = match written(path, length) {
        Ok(written) => written,
        // who reads it will put it aside
        Err(OpenError::Header | OpenError::Io(_)) => length,
    };
    if written < length {
        OpenOptions::new().write(true).open(path)?.set_len(written)?;
    }
    Ok(written)
}

/// How much has been written to a file of `length` bytes: one that ends with zeros was filled with them beforehand.
pub(super) fn written(path: &Path, length: u64) -> Result<u64, OpenError> {
    if length <= HEADER_BYTES {
        return Ok(length);
    }
    match SegmentFile::open(path) {
        Ok(file) => Ok(file.written(length)?),
        // the loss of power came before its first flush
        Err(OpenError::Header) if segment::is_blank(path, length)? => Ok(0),
        Err(error) => Err(error),
    }
}

/// Where the file of a number is in a spool's directory.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016}.{EXTENSION}"))
}

/// The number of a spool file; `None` for what is not one.
pub(super) fn number(path: &Path) -> Option<u64> {
    if path.extension()? != EXTENSION {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(bytes: &[u64]) -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().expect("a directory");
        let mut files = Files::open(dir.path(), Position::default()).expect("open");
        for (number, bytes) in (1..).zip(bytes) {
            files.grow(number, *bytes, 10);
        }
        (dir, files)
    }

    #[test]
    fn a_file_is_wholly_shipped_at_its_end_and_not_before() {
        let (_dir, mut files) = files(&[100, 200, 300]);
        let shipped = |files: &Files| files.wholly_shipped().map(|(number, _)| number).collect::<Vec<_>>();

        assert!(shipped(&files).is_empty());
        files.note_shipped(Position { segment: 2, offset: 199 });
        assert_eq!(shipped(&files), [1]);
        files.note_shipped(Position { segment: 2, offset: 200 });
        assert_eq!(shipped(&files), [1, 2]);
        assert_eq!(files.bytes_after(Position { segment: 2, offset: 150 }), 50 + 300 - HEADER_BYTES);
    }

    #[test]
    fn clicks_are_unconfirmed_until_they_are_confirmed_or_their_file_is_gone() {
        let (_dir, mut files) = files(&[100, 200]);

        files.note_confirmed(1, 4);
        assert_eq!((files.unconfirmed(1), files.all_unconfirmed()), (Some(6), 16));
        files.forget(2);

        assert_eq!((files.unconfirmed(2), files.all_unconfirmed(), files.bytes()), (None, 6, 100));
    }

    #[test]
    fn what_an_earlier_process_wrote_is_not_counted_before_it_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(path(dir.path(), 7), [1; 50]).expect("write");
        fs::write(dir.path().join("cursor"), "7 50\n").expect("write");

        let mut files = Files::open(dir.path(), Position::default()).expect("open");

        assert_eq!((files.from(0), files.unconfirmed(7)), (Some((7, 50)), None));
        files.note_clicks(7, 3);
        assert_eq!(files.unconfirmed(7), Some(3));
    }
}
