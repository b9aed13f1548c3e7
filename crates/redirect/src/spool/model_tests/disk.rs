//! What a loss of power leaves of a spool: what was flushed, and of everything else whatever the case says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::commit::Flush;
use super::super::files;

/// What becomes of a file when the power is lost.
#[derive(Debug, Clone)]
pub(super) struct Fate {
    /// Its name, if it is not flushed, is as it was changed.
    is_renamed: bool,
    /// Of its bytes that were not flushed these are as they were before.
    lost: (Index, Index),
    /// They are the last ones.
    is_tail: bool,
    /// Its length is as it was changed, although bytes at its end are not.
    is_as_long: bool,
}

pub(super) fn fate() -> impl Strategy<Value = Fate> {
    (any::<bool>(), any::<(Index, Index)>(), any::<bool>(), any::<bool>())
        .prop_map(|(is_renamed, lost, is_tail, is_as_long)| Fate { is_renamed, lost, is_tail, is_as_long })
}

impl Fate {
    /// What is left of a file that was written like this, and of which that had been flushed.
    fn left(&self, written: &[u8], flushed: &[u8]) -> Vec<u8> {
        let length = written.len();
        let (one, other) = (self.lost.0.index(length + 1), self.lost.1.index(length + 1));
        let start = one.min(other);
        let end = if self.is_tail { length } else { one.max(other) };
        let mut left = written.to_vec();
        for (at, byte) in left.iter_mut().enumerate().take(end).skip(start) {
            *byte = flushed.get(at).copied().unwrap_or(0);
        }
        if !self.is_as_long {
            if end == length {
                left.truncate(start.max(flushed.len()));
            }
            left.extend(flushed.iter().skip(length));
        }
        left
    }
}

/// The disk that a spool's directory is on.
#[derive(Debug)]
pub(super) struct Disk {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// So many flushes will fail.
    failures: u32,
    /// The spool files that the directory had when it was flushed, by name; files by their inodes.
    names: BTreeMap<String, u64>,
    files: HashMap<u64, Flushed>,
}

/// A file that was flushed.
#[derive(Debug)]
struct Flushed {
    bytes: Vec<u8>,
    /// After a flush that failed the system has forgotten what is to be flushed.
    has_failed: bool,
    /// Held open, so that no other file gets its inode.
    _file: File,
}

impl Flushed {
    fn nothing_of(path: &Path) -> Self {
        Self { bytes: Vec::new(), has_failed: false, _file: File::open(path).expect("it is there") }
    }
}

impl Disk {
    pub(super) fn new(dir: &Path) -> Arc<Self> {
        Arc::new(Self { dir: dir.to_path_buf(), state: Mutex::default() })
    }

    /// What flushes to this disk.
    pub(super) fn flush(self: &Arc<Self>) -> Flush {
        let disk = Arc::clone(self);
        Flush(Arc::new(move |file: &File| disk.flush_file(file)))
    }

    /// The next so many flushes of a file fail.
    pub(super) fn fail(&self, flushes: u32) {
        self.state().failures = flushes;
    }

    /// Whether the next flush fails.
    pub(super) fn is_failing(&self) -> bool {
        self.state().failures > 0
    }

    /// A file was flushed past us.
    pub(super) fn note_flushed(&self, file: &File) {
        self.keep(file, false).expect("nothing fails");
    }

    fn flush_file(&self, file: &File) -> io::Result<()> {
        let fails = {
            let mut state = self.state();
            let fails = state.failures > 0;
            state.failures = state.failures.saturating_sub(1);
            fails
        };
        self.keep(file, fails)
    }

    /// Keeps what a file holds, or the directory, unless that fails.
    fn keep(&self, file: &File, fails: bool) -> io::Result<()> {
        let (metadata, mut state) = (file.metadata()?, self.state());
        let broken = || io::Error::other("the disk is broken");
        if metadata.is_dir() {
            if fails {
                return Err(broken());
            }
            state.names = self.names();
            for (name, inode) in state.names.clone() {
                let nothing = || Flushed::nothing_of(&self.dir.join(name));
                state.files.entry(inode).or_insert_with(nothing);
            }
            return Ok(());
        }
        // whatever it is called by now; what was removed is flushed for nobody
        let Some(path) = self.path(metadata.ino()) else { return Ok(()) };
        let flushed = state.files.entry(metadata.ino()).or_insert_with(|| Flushed::nothing_of(&path));
        if fails {
            flushed.has_failed = true;
            return Err(broken());
        }
        if !flushed.has_failed {
            flushed.bytes = fs::read(&path)?;
        }
        Ok(())
    }

    /// Leaves what a loss of power leaves; no process has anything open. The fates are those of the files in turn.
    pub(super) fn lose_power(&self, fates: &[Fate]) {
        let (mut state, now) = (self.state(), self.names());
        let read =
            |(name, inode): (&String, &u64)| (*inode, fs::read(self.dir.join(name)).expect("it is there"));
        let written: HashMap<u64, Vec<u8>> = now.iter().map(read).collect();
        let names: BTreeSet<String> = now.keys().chain(state.names.keys()).cloned().collect();
        let mut left = BTreeMap::new();
        for (name, fate) in names.into_iter().zip(fates.iter().cycle()) {
            let found = if fate.is_renamed { now.get(&name) } else { state.names.get(&name) };
            let Some(inode) = found else { continue };
            let flushed = state.files.get(inode).map_or(&[][..], |flushed| &flushed.bytes[..]);
            let written = written.get(inode).map_or(flushed, |written| &written[..]);
            left.insert(name, fate.left(written, flushed));
        }
        for name in now.keys() {
            fs::remove_file(self.dir.join(name)).expect("it is there");
        }
        *state = State::default();
        for (name, bytes) in left {
            let path = self.dir.join(&name);
            fs::write(&path, &bytes).expect("it is written");
            let inode = fs::metadata(&path).expect("it is there").ino();
            state.names.insert(name, inode);
            state.files.insert(inode, Flushed { bytes, ..Flushed::nothing_of(&path) });
        }
    }

    /// The spool files that there are.
    fn names(&self) -> BTreeMap<String, u64> {
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(&self.dir).expect("a directory") {
            let entry = entry.expect("an entry");
            let metadata = entry.metadata().expect("it is there");
            if metadata.is_file() && files::number(&entry.path()).is_some() {
                let name = entry.file_name().into_string().expect("our names are texts");
                names.insert(name, metadata.ino());
            }
        }
        names
    }

    fn path(&self, inode: u64) -> Option<PathBuf> {
        let is_it = |entry: &fs::DirEntry| entry.metadata().is_ok_and(|metadata| metadata.ino() == inode);
        let mut entries = fs::read_dir(&self.dir).expect("a directory").map(|entry| entry.expect("an entry"));
        entries.find(is_it).map(|entry| entry.path())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with this in hand")
    }
}
