//! The published address ranges of a provider in front of us, in a file that an operator exchanges when they change.
//!
//! A header of one address says nothing of who wrote it. It is believed of the trusted proxies, and of who connects from these
//! ranges: anybody else could send it.

use std::fs;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metrics::Metrics;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Largest file.
const BYTES_MAX: u64 = 64 * 1024;

/// Most ranges: each visitor's address is compared with all of them.
const RANGES_MAX: usize = 1000;

/// Address ranges. Clones see the same file.
#[derive(Debug, Clone)]
pub struct ProviderRanges(Arc<ArcSwap<Vec<IpNet>>>);

/// Why a file cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum RangesError {
    /// It is not there, or not readable.
    #[error("failed to read {0}")]
    Read(PathBuf, #[source] io::Error),
    /// It is larger than [`BYTES_MAX`], or has more than [`RANGES_MAX`] ranges.
    #[error("{0} is too large: at most {BYTES_MAX} bytes and {RANGES_MAX} ranges")]
    TooLarge(PathBuf),
    /// A line is neither a range nor a comment.
    #[error("line {line} of {path} is not a range like 192.0.2.0/24")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// It has no range: nobody would be believed.
    #[error("{0} has no ranges")]
    Empty(PathBuf),
}

/// Tells whether a file was exchanged: one that was renamed into place may have its date from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified_at: SystemTime,
    size_bytes: u64,
    inode: u64,
}

/// Looks for another content of the file.
pub struct Follower {
    path: PathBuf,
    stamp: Option<Stamp>,
    ranges: ProviderRanges,
    metrics: Metrics,
}

impl ProviderRanges {
    /// Reads a file: one range or address a line, `#` begins a comment.
    ///
    /// # Errors
    /// [`RangesError`]
    pub fn read(path: &Path) -> Result<Self, RangesError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(read(path)?))))
    }

    /// What keeps them up to date with the file that they were read from.
    pub fn follower(&self, path: PathBuf, metrics: Metrics) -> Follower {
        // what is read at the first look may be what was read before: no harm
        Follower { path, stamp: None, ranges: self.clone(), metrics }
    }

    /// Whether an address is in one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.load().iter().any(|range| range.contains(&address))
    }

    /// As they are now.
    pub fn ranges(&self) -> Vec<IpNet> {
        self.0.load().to_vec()
    }
}

impl Follower {
    /// Looks at the file every few seconds until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.look();
            if stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none() {
                return;
            }
        }
    }

    /// Takes a changed file that can serve. One that cannot leaves what served before.
    fn look(&mut self) {
        // a file that is away for a moment, or for good, is no other content
        let Some(stamp) = stamp(&self.path) else { return };
        if self.stamp.replace(stamp) == Some(stamp) {
            return;
        }
        match read(&self.path) {
            Ok(ranges) if ranges == **self.ranges.0.load() => {}
            Ok(ranges) => {
                info!(ranges = ranges.len(), path = %self.path.display(), "the provider's ranges have changed");
                self.ranges.0.store(Arc::new(ranges));
            }
            Err(error) => {
                self.metrics.broken_ranges.inc();
                let error: &dyn std::error::Error = &error;
                warn!(error, "the changed file of the provider's ranges cannot serve: its old content does");
            }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp { modified_at: metadata.modified().ok()?, size_bytes: metadata.len(), inode: metadata.ino() })
}

fn read(path: &Path) -> Result<Vec<IpNet>, RangesError> {
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| RangesError::Read(path.to_owned(), error))?;
    let mut file = file.take(BYTES_MAX + 1);
    file.read_to_string(&mut text).map_err(|error| RangesError::Read(path.to_owned(), error))?;
    if text.len() as u64 > BYTES_MAX {
        return Err(RangesError::TooLarge(path.to_owned()));
    }
    let mut ranges = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
        if line.is_empty() {
            continue;
        }
        let range = line.parse::<IpNet>().or_else(|_| line.parse::<IpAddr>().map(IpNet::from));
        ranges.push(range.map_err(|_| RangesError::Line { path: path.to_owned(), line: number + 1 })?);
    }
    match ranges.len() {
        0 => Err(RangesError::Empty(path.to_owned())),
        1..=RANGES_MAX => Ok(ranges),
        _ => Err(RangesError::TooLarge(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(ranges: &ProviderRanges, address: &str) -> bool {
        ranges.contain(address.parse().expect("an address"))
    }

    fn metrics() -> Metrics {
        Metrics::register(&prometheus::Registry::new()).expect("a registry of its own")
    }

    #[test]
    fn a_file_of_ranges_is_read_by_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ranges");
        fs::write(&path, "# published\n173.245.48.0/20\n\n  2400:cb00::/32 # v6\r\n192.0.2.7\n")
            .expect("written");

        let ranges = ProviderRanges::read(&path).expect("it can serve");

        assert!(has(&ranges, "173.245.50.1") && has(&ranges, "2400:cb00::1") && has(&ranges, "192.0.2.7"));
        assert!(!has(&ranges, "192.0.2.8") && !has(&ranges, "2400:cb01::1"));
        for (text, told) in [
            ("173.245.48.0/20\ncloud\n", "line 2 of "),
            ("1.2.3.0/33", "line 1 of "),
            ("# nothing\n", "has no ranges"),
            (&"1.2.3.4\n".repeat(RANGES_MAX + 1), "is too large"),
            (&"#".repeat(64 * 1024 + 1), "is too large"),
        ] {
            fs::write(&path, text).expect("written");
            let error = ProviderRanges::read(&path).expect_err(told).to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_changed_file_serves_and_a_broken_one_leaves_what_served() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ranges");
        fs::write(&path, "192.0.2.0/24\n").expect("written");
        let ranges = ProviderRanges::read(&path).expect("it can serve");
        let metrics = metrics();
        let mut follower = ranges.follower(path.clone(), metrics.clone());
        follower.look();

        fs::write(&path, "198.51.100.0/24 # moved\n").expect("written");
        follower.look();
        assert!(has(&ranges, "198.51.100.1") && !has(&ranges, "192.0.2.1"));
        assert_eq!(metrics.broken_ranges.get(), 0);

        fs::write(&path, "<html>not found</html>\n").expect("written");
        follower.look();
        follower.look();
        assert!(has(&ranges, "198.51.100.1"));
        assert_eq!(metrics.broken_ranges.get(), 1);

        fs::remove_file(&path).expect("removed");
        follower.look();
        assert!(has(&ranges, "198.51.100.1"));
    }
}
