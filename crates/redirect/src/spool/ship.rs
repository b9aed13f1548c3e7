//! Ships a spool that no redirect uses.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use bus::Publisher;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;

use super::commit::Flush;
use super::contents::Left;
use super::cursor::Position;
use super::{OpenError, Opened, Spool, UNCONFIRMED, files};
use crate::metrics::Metrics;
use crate::settings::{SpoolSettings, SyncMode};

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Clicks that are published before the stream has taken the first.
const WINDOW_MAX: usize = 1024;

/// Longer than any shipping takes; what ends it is that nothing goes on.
const FOREVER: Duration = Duration::from_secs(30 * 24 * 3600);

/// Why a spool cannot be shipped.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// There is no such directory.
    #[error("there is no spool in {}", .0.display())]
    Missing(std::path::PathBuf),
    /// It is in use, or cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Metrics that exist twice.
    #[error("failed to count what is shipped")]
    Metrics(#[from] prometheus::Error),
}

/// What became of a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shipped {
    /// Clicks that the stream has taken.
    pub clicks: u64,
    /// Clicks that the stream will never take.
    pub refused: u64,
    /// What it has not taken.
    pub left: Left,
}

/// Publishes what the stream has not taken yet; with `all`, everything that is there, also what was put aside because
/// the database did not get to hold it. Gives up when nothing was taken for as long as `patience`. `progress` is told
/// now and then how many clicks were taken and how many bytes are left.
///
/// The files stay: the next redirect that uses the directory lets them go when the database holds their clicks.
///
/// # Errors
/// [`ShipError`] names the directory.
pub async fn ship(
    dir: &Path,
    publisher: Publisher,
    all: bool,
    patience: Duration,
    mut progress: impl FnMut(u64, u64),
) -> Result<Shipped, ShipError> {
    if !dir.is_dir() {
        return Err(ShipError::Missing(dir.to_path_buf()));
    }
    let metrics = Metrics::register(&Registry::new())?;
    let Opened { spool, shipper, .. } =
        Spool::assemble(&settings(dir), &metrics, Flush::default(), |dir, position| {
            if all {
                bring_back(dir)?;
                *position = Position::default();
            }
            Ok(())
        })?;
    let stop = CancellationToken::new();
    stop.cancel();
    let run = shipper.run(publisher, stop, FOREVER);
    tokio::pin!(run);
    let (mut taken, mut taken_at) = (0, Instant::now());
    while taken_at.elapsed() < patience {
        tokio::select! {
            _ = &mut run => break,
            () = tokio::time::sleep(TELL_EVERY) => {}
        }
        let now = metrics.clicks_shipped.get() + metrics.clicks_lost.get();
        if now > taken {
            (taken, taken_at) = (now, Instant::now());
        }
        progress(metrics.clicks_shipped.get(), spool.writer().files.unshipped_bytes());
    }
    let shipped = spool.writer().files.shipped();
    let left = spool.left(shipped);
    Ok(Shipped { clicks: metrics.clicks_shipped.get(), refused: metrics.clicks_lost.get(), left })
}

fn settings(dir: &Path) -> SpoolSettings {
    SpoolSettings {
        dir: dir.to_path_buf(),
        sync: SyncMode::Os,
        sync_interval: FOREVER,
        segment_bytes_max: u64::MAX,
        segment_age_max: FOREVER,
        bytes_max: u64::MAX,
        window_max: WINDOW_MAX,
        confirm_after: FOREVER,
        unconfirmed_age_max: FOREVER,
        direct_max: 1,
    }
}

fn bring_back(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == UNCONFIRMED) {
            let back = path.with_extension(files::EXTENSION);
            if files::number(&back).is_some() {
                fs::rename(&path, back)?;
            }
        }
    }
    Ok(())
}
