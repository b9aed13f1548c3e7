//! Files full of zeros, made before they are needed: a flush that need not note a file's new length takes the disk about
//! two thirds of the time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Spool;

/// What a spare file is called until it is used.
const NAME: &str = "spare";

/// Zeros that are written at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Pause after one could not be made.
const PAUSE: Duration = Duration::from_secs(30);

/// A file of zeros, flushed.
#[derive(Debug)]
pub(super) struct Spare {
    /// To be renamed.
    pub path: PathBuf,
    /// Open for writing.
    pub file: File,
}

impl Spare {
    /// Makes one of this size.
    pub(super) fn make(dir: &Path, bytes: u64) -> io::Result<Self> {
        let path = dir.join(NAME);
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
        let filled = fill(&file, bytes).and_then(|()| file.sync_all());
        if let Err(error) = filled {
            // the room may be needed
            fs::remove_file(&path)?;
            return Err(error);
        }
        Ok(Self { path, file })
    }

    /// Removes what an earlier process left.
    pub(super) fn remove_leftover(dir: &Path) -> io::Result<()> {
        match fs::remove_file(dir.join(NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let piece = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        file.write_all(&zeros[..piece])?;
        left -= piece as u64;
    }
    Ok(())
}

impl Spool {
    /// Has a spare file ready whenever the last one was taken, until `stop`.
    pub(super) async fn keep_spare(self: Arc<Self>, stop: &CancellationToken) {
        let mut has_failed = false;
        loop {
            let wanted = self.writer().spare_wanted();
            if let Some(bytes) = wanted {
                let dir = self.dir.clone();
                let made = tokio::task::spawn_blocking(move || Spare::make(&dir, bytes)).await;
                match made.map_err(io::Error::other).flatten() {
                    Ok(spare) => self.writer().give_spare(spare),
                    Err(error) => {
                        if !has_failed {
                            has_failed = true;
                            warn!(error = %error, "no file can be made ready for the spool: flushes take longer");
                        }
                        stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
                    }
                }
            }
            if stop.run_until_cancelled(self.spare_taken.notified()).await.is_none() {
                return;
            }
        }
    }
}
