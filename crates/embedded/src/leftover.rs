//! What an earlier run left behind: a lock that says whether it still runs, and servers that outlived it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::error::EmbeddedError;

/// How long a leftover may take to finish before it is killed, and then to be gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two looks at a process that is not our child.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Holds a directory for this process; the system lets go of it when the process ends.
#[derive(Debug)]
pub(crate) struct DirLock(#[expect(dead_code, reason = "held, not used")] File);

impl DirLock {
    pub(crate) fn take(dir: &Path) -> Result<Self, EmbeddedError> {
        let path = dir.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(EmbeddedError::file(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(EmbeddedError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(source)) => Err(EmbeddedError::File { path, source }),
        }
    }
}

/// A process as the next run will recognise it. The id alone would not do: ids are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trace {
    pid: i32,
    /// In clock ticks since the machine started; the 22nd field of `/proc/<pid>/stat`.
    started: u64,
}

impl Trace {
    /// The process with this id, if there is one that runs.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // the name in parentheses may contain anything, also parentheses
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        let is_dead = matches!(fields.next()?, "Z" | "X");
        let started = fields.nth(18)?.parse().ok()?;
        (!is_dead).then_some(Self { pid, started })
    }

    pub(crate) fn is_running(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Writes it where the next run looks.
    pub(crate) fn save(self, path: &Path) -> Result<(), EmbeddedError> {
        let text = serde_json::to_string(&self).expect("two numbers can be written");
        fs::write(path, text).map_err(EmbeddedError::file(path))
    }

    fn load(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Asks it to finish; kills it when it does not.
    pub(crate) async fn stop(self, ask: Signal) -> Result<(), EmbeddedError> {
        tracing::warn!(process.id = self.pid, "stopping a server that an earlier run left behind");
        for signal in [ask, Signal::KILL] {
            let Some(pid) = Pid::from_raw(self.pid) else { return Ok(()) };
            if !self.is_running() {
                return Ok(());
            }
            // fails when it has just ended, which the loop sees
            let _ = rustix::process::kill_process(pid, signal);
            // a frozen process hears nothing else
            let _ = rustix::process::kill_process(pid, Signal::CONT);
            let asked_at = Instant::now();
            while asked_at.elapsed() < PATIENCE {
                if !self.is_running() {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Err(EmbeddedError::Leftover { pid: self.pid })
    }
}

/// Stops what the pid file of an earlier run names, if it still runs.
pub(crate) async fn stop_recorded(pid_file: &Path, ask: Signal) -> Result<(), EmbeddedError> {
    if let Some(trace) = Trace::load(pid_file).filter(|trace| trace.is_running()) {
        trace.stop(ask).await?;
    }
    Ok(())
}

/// Stops the PostgreSQL that a `postmaster.pid` names.
///
/// PostgreSQL copes with such a file of a process that is gone, and must: it also finds in it whether
/// children of that process are still writing. But it refuses to start when the id was given to another program
/// in the meantime, as happens in containers; only then is the file removed.
pub(crate) async fn clear_postmaster(data: &Path, ask: Signal) -> Result<(), EmbeddedError> {
    let path = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
    match pid.and_then(Trace::of) {
        Some(trace) if works_in(trace.pid, data) => trace.stop(ask).await,
        Some(_) => fs::remove_file(&path).map_err(EmbeddedError::file(path)),
        None => Ok(()),
    }
}

/// Whether a process has this working directory; a postmaster's is its data directory.
fn works_in(pid: i32, dir: &Path) -> bool {
    let real = |path: PathBuf| fs::canonicalize(path).ok();
    let works_in = real(format!("/proc/{pid}/cwd").into());
    works_in.is_some() && works_in == real(dir.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_once() {
        let dir = tempfile::tempdir().unwrap();

        let held = DirLock::take(dir.path()).unwrap();

        assert!(matches!(DirLock::take(dir.path()), Err(EmbeddedError::InUse { .. })));
        drop(held);
        DirLock::take(dir.path()).unwrap();
    }

    #[test]
    fn a_process_is_recognised_by_id_and_start() {
        let ours = Trace::of(std::process::id().try_into().unwrap()).unwrap();

        assert!(ours.is_running());
        assert!(!Trace { started: ours.started + 1, ..ours }.is_running());
    }
}
