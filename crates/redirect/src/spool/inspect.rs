//! A spool looked at from outside, whether a process uses it or not. Changes nothing in it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::contents::Contents;
use super::cursor::Cursor;
use super::segment::{HEADER_BYTES, OpenError};
use super::{DAMAGED, LOCK_FILE, UNCONFIRMED, files};

/// What is in a spool's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Whether a process uses it: then the rest is of the moment.
    pub is_held: bool,
    /// How many files there are.
    pub files: u64,
    /// What the stream has taken and the database may not hold yet.
    pub shipped: Contents,
    /// What the stream has not taken.
    pub unshipped: Contents,
    /// Files that were put aside.
    pub put_aside: Vec<PutAside>,
}

/// A file that was put aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PutAside {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// Looks at the spool in a directory.
///
/// # Errors
/// When the directory or a file in it cannot be read.
pub fn inspect(dir: &Path) -> io::Result<Inspection> {
    let mut inspection = Inspection {
        is_held: is_held(dir)?,
        files: 0,
        shipped: Contents::default(),
        unshipped: Contents::default(),
        put_aside: Vec::new(),
    };
    let (_, shipped) = Cursor::open(dir)?;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let bytes = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            // the process that uses it has just let it go
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if path.extension().is_some_and(|found| found == DAMAGED || found == UNCONFIRMED) {
            inspection.put_aside.push(PutAside { path, bytes });
            continue;
        }
        let Some(number) = files::number(&path) else { continue };
        let border = match number.cmp(&shipped.segment) {
            std::cmp::Ordering::Less => u64::MAX,
            std::cmp::Ordering::Equal => shipped.offset,
            std::cmp::Ordering::Greater => 0,
        };
        inspection.add(&path, bytes, border)?;
    }
    inspection.put_aside.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(inspection)
}

impl Inspection {
    /// Counts a file that the stream has taken up to `border`.
    fn add(&mut self, path: &Path, bytes: u64, border: u64) -> io::Result<()> {
        let parts = files::written(path, bytes).and_then(|end| {
            let border = border.clamp(HEADER_BYTES, end.max(HEADER_BYTES));
            Ok((Contents::of(path, HEADER_BYTES, border)?, Contents::of(path, border, end)?))
        });
        match parts {
            Ok((shipped, unshipped)) => {
                self.shipped.add(&shipped);
                self.unshipped.add(&unshipped);
            }
            Err(OpenError::Header) => self.unshipped.damaged_bytes += bytes,
            Err(OpenError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(OpenError::Io(error)) => return Err(error),
        }
        self.files += 1;
        Ok(())
    }
}

fn is_held(dir: &Path) -> io::Result<bool> {
    let lock = match File::open(dir.join(LOCK_FILE)) {
        Ok(lock) => lock,
        // nobody has ever used it, or it is not there
        Err(error) if error.kind() == io::ErrorKind::NotFound => return fs::metadata(dir).map(|_| false),
        Err(error) => return Err(error),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(fs::TryLockError::WouldBlock) => Ok(true),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}
