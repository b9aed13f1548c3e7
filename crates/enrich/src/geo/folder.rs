//! The folder that an operator keeps location files in, and what of it serves.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use tracing::warn;

use super::file::{GeoFile, GeoFileError};
use crate::metrics::Metrics;

/// Most files of a folder that are looked at, first by name.
const FILES_MAX: usize = 16;

/// Largest file that is read into memory.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// The files of a folder, remembered with the moment of their last change.
pub struct Folder {
    dir: PathBuf,
    entries: BTreeMap<PathBuf, Entry>,
    looked: bool,
}

struct Entry {
    stamp: Stamp,
    /// What serves under this name: of an earlier change, when the latest is broken.
    file: Option<Arc<GeoFile>>,
}

/// Tells whether a file was exchanged.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified_at: SystemTime,
    size_bytes: u64,
    /// Archives may give every release the same date: a file that was renamed into place is another inode.
    inode: u64,
}

impl Folder {
    /// A folder that was not looked at yet.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, entries: BTreeMap::new(), looked: false }
    }

    /// Opens what is new or changed, and returns what serves now; `None` when that is what served before.
    pub fn refresh(&mut self, metrics: &Metrics) -> Option<Vec<Arc<GeoFile>>> {
        let first_look = !std::mem::replace(&mut self.looked, true);
        let stamps = match list(&self.dir) {
            Ok(stamps) => stamps,
            // what serves goes on serving: the folder may be back at the next look
            Err(error) => {
                if first_look {
                    warn!(geo.dir = %self.dir.display(), %error, "the folder of location files cannot be read");
                }
                return None;
            }
        };
        let count = self.entries.len();
        self.entries.retain(|path, _| stamps.contains_key(path));
        let mut has_changed = count != self.entries.len();
        let is_known = |path: &Path, stamp| self.entries.get(path).is_some_and(|entry| entry.stamp == stamp);
        let new: Vec<(PathBuf, Stamp)> =
            stamps.into_iter().filter(|(path, stamp)| !is_known(path, *stamp)).collect();
        let opened = open_all(&new);
        for ((path, stamp), opened) in new.into_iter().zip(opened) {
            has_changed |= self.take(path, stamp, opened, metrics);
        }
        has_changed.then(|| self.entries.values().filter_map(|entry| entry.file.clone()).collect())
    }

    /// Keeps what was opened, and says whether something else serves now.
    fn take(
        &mut self,
        path: PathBuf,
        stamp: Stamp,
        opened: Result<GeoFile, GeoFileError>,
        metrics: &Metrics,
    ) -> bool {
        let shown = path.display().to_string();
        let entry = self.entries.entry(path).or_insert(Entry { stamp, file: None });
        entry.stamp = stamp;
        match opened {
            Ok(file) => {
                entry.file = Some(Arc::new(file));
                true
            }
            // who fetches all that a maker has gets such files too
            Err(error @ GeoFileError::OtherType { .. }) if entry.file.is_none() => {
                warn!(geo.file = shown, %error, "a file is left aside");
                false
            }
            Err(error) => {
                metrics.geo_broken_files_total.inc();
                let error = format!("{:#}", anyhow::Error::from(error));
                match entry.file {
                    Some(_) => {
                        warn!(geo.file = shown, error, "the changed file cannot serve: its old content does")
                    }
                    None => warn!(geo.file = shown, error, "the file cannot serve"),
                }
                false
            }
        }
    }
}

fn list(dir: &Path) -> io::Result<BTreeMap<PathBuf, Stamp>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "mmdb"))
        .collect();
    paths.sort();
    paths.truncate(FILES_MAX);
    // a file that vanished since the listing is as good as not listed
    Ok(paths.into_iter().filter_map(|path| Some((path.clone(), stamp(&path)?))).collect())
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp { modified_at: metadata.modified().ok()?, size_bytes: metadata.len(), inode: metadata.ino() })
}

/// Opens these files, each on a thread of its own: to read and verify one of all cities keeps a core busy for half a second.
fn open_all(files: &[(PathBuf, Stamp)]) -> Vec<Result<GeoFile, GeoFileError>> {
    thread::scope(|scope| {
        let opening: Vec<_> = files.iter().map(|(path, _)| scope.spawn(|| open(path))).collect();
        let opened =
            opening.into_iter().map(|opening| opening.join().unwrap_or_else(|panic| resume_unwind(panic)));
        opened.collect()
    })
}

fn open(path: &Path) -> Result<GeoFile, GeoFileError> {
    let bytes = fs::metadata(path)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(GeoFileError::TooLarge { bytes, max: FILE_BYTES_MAX });
    }
    GeoFile::open(fs::read(path)?.into())
}
