//! How far a spool has been shipped, kept in a file of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;

const FILE: &str = "cursor";

/// A place in a spool: everything before it has been confirmed by the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// Number of the file.
    pub segment: u64,
    /// Byte in it.
    pub offset: u64,
}

/// The file that remembers a [`Position`].
///
/// It is replaced by renaming and not flushed: one that is lost or behind means that clicks are shipped again,
/// which their ids make harmless.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    saved: Position,
}

impl Cursor {
    /// Reads the cursor of a spool. Without one, or with one that is damaged, the spool is shipped from its beginning.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, Position)> {
        let path = dir.join(FILE);
        let saved = match fs::read_to_string(&path) {
            Ok(text) => parse(&text).unwrap_or_else(|| {
                warn!(path = %path.display(), "the cursor is damaged: the spool is shipped from its beginning");
                Position::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Position::default(),
            Err(error) => return Err(error),
        };
        Ok((Self { path, saved }, saved))
    }

    /// Whether this position is the one in the file.
    pub(super) fn is_saved(&self, position: Position) -> bool {
        self.saved == position
    }

    /// Remembers a position.
    pub(super) fn save(&mut self, position: Position) -> io::Result<()> {
        if position == self.saved {
            return Ok(());
        }
        let new = self.path.with_extension("new");
        fs::write(&new, format!("{} {}\n", position.segment, position.offset))?;
        fs::rename(&new, &self.path)?;
        self.saved = position;
        Ok(())
    }
}

fn parse(text: &str) -> Option<Position> {
    let (segment, offset) = text.strip_suffix('\n')?.split_once(' ')?;
    Some(Position { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_remembered() {
        let dir = tempfile::tempdir().expect("a directory");
        let position = Position { segment: 3, offset: 1234 };

        Cursor::open(dir.path()).expect("open").0.save(position).expect("save");

        assert_eq!(Cursor::open(dir.path()).expect("open").1, position);
    }

    #[test]
    fn a_damaged_cursor_is_the_beginning() {
        let dir = tempfile::tempdir().expect("a directory");
        for damaged in ["", "3", "3 12", "3 x\n", "\0\0\0\0"] {
            fs::write(dir.path().join(FILE), damaged).expect("write");

            assert_eq!(Cursor::open(dir.path()).expect("open").1, Position::default(), "{damaged:?}");
        }
    }
}
