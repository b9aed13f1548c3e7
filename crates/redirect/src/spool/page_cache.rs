//! Keeps a spool that grows from filling the machine's memory: files that wait for long (for the broker, or for the
//! database) are written out and leave the page cache, which then takes the next clicks.
//!
//! The newest files stay, as they are read once more soon: to be shipped and confirmed. What has left is read from the disk.
//! Without this a spool of gigabytes would push out what databases on the same machine keep in memory, and each click would
//! need new pages, which cost more to get than to fill.

use std::fs::File;
use std::io;

use rustix::fs::{Advice, fadvise};
use tracing::debug;

use super::Spool;
use crate::settings::SyncMode;

/// How much of the newest closed files stays in the page cache.
const CACHED_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// How far the files of a spool have left the page cache, by their numbers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageCache {
    /// Files below are being written out, or have been.
    written_below: u64,
    /// Files below have left.
    left_below: u64,
}

/// What is to be done with files, oldest first.
#[derive(Debug, Default, PartialEq, Eq)]
struct Step {
    write: Vec<u64>,
    leave: Vec<u64>,
}

impl PageCache {
    /// Files below need no more steps.
    fn first(&self) -> u64 {
        self.left_below
    }

    /// The next step for `closed` files, those from [`PageCache::first`] on, oldest first, each with its size. Pages leave only
    /// once they are clean, so a file that is written out in this step leaves in a later one.
    fn step(&mut self, closed: &[(u64, u64)]) -> Step {
        let mut newer_bytes = 0;
        let stays = |(_, bytes): &&(u64, u64)| {
            newer_bytes += bytes;
            newer_bytes <= CACHED_BYTES_MAX
        };
        let stay = closed.iter().rev().take_while(stays).count().max(1).min(closed.len());
        let leaving = closed[..closed.len() - stay].iter().map(|(number, _)| *number);
        let leave: Vec<_> =
            leaving.filter(|number| (self.left_below..self.written_below).contains(number)).collect();
        let write: Vec<_> =
            closed.iter().map(|(number, _)| *number).filter(|number| *number >= self.written_below).collect();
        self.left_below = leave.last().map_or(self.left_below, |last| last + 1);
        self.written_below = write.last().map_or(self.written_below, |last| last + 1);
        Step { write, leave }
    }
}

impl Spool {
    /// Has files written out that were closed since, and those leave the page cache that are no longer among the newest.
    pub(super) fn leave_page_cache(&self, page_cache: &mut PageCache) {
        let closed: Vec<_> = self.writer().closed_from(page_cache.first()).collect();
        let Step { write, leave } = page_cache.step(&closed);
        // in the other modes they have been flushed as they grew
        let write = write.into_iter().filter(|_| self.sync == SyncMode::Os);
        for number in write.chain(leave) {
            let Some((path, _)) = self.file_of(number) else { continue };
            // of a file with dirty pages this begins to write them, and what is clean leaves
            if let Err(error) = File::open(&path).and_then(|file| unneeded(&file)) {
                debug!(path = %path.display(), error = %error, "a spool file stays in the page cache");
            }
        }
    }
}

fn unneeded(file: &File) -> io::Result<()> {
    Ok(fadvise(file, 0, None, Advice::DontNeed)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: u64 = CACHED_BYTES_MAX / 2;

    fn files(numbers: std::ops::RangeInclusive<u64>) -> Vec<(u64, u64)> {
        numbers.map(|number| (number, FILE)).collect()
    }

    #[test]
    fn files_are_written_out_when_they_are_closed_and_leave_when_they_are_not_among_the_newest() {
        let mut cache = PageCache::default();

        assert_eq!(cache.step(&files(1..=2)), Step { write: vec![1, 2], leave: vec![] });
        assert_eq!(cache.step(&files(1..=2)), Step::default());
        assert_eq!(cache.step(&files(1..=3)), Step { write: vec![3], leave: vec![1] });
        assert_eq!(cache.step(&files(1..=3)), Step::default());
    }

    #[test]
    fn a_file_that_was_just_closed_is_not_clean_yet_and_leaves_later() {
        let mut cache = PageCache::default();

        assert_eq!(cache.step(&files(7..=10)), Step { write: vec![7, 8, 9, 10], leave: vec![] });
        assert_eq!(cache.step(&files(7..=10)), Step { write: vec![], leave: vec![7, 8] });
    }

    #[test]
    fn files_that_are_removed_need_no_step_and_the_newest_stays_however_large_it_is() {
        let mut cache = PageCache::default();

        cache.step(&files(1..=2));
        assert_eq!(cache.step(&files(4..=4)), Step { write: vec![4], leave: vec![] });
        let large = [(5, CACHED_BYTES_MAX + 1), (6, CACHED_BYTES_MAX + 1)];
        assert_eq!(cache.step(&large[..1]), Step { write: vec![5], leave: vec![] });
        assert_eq!(cache.step(&large[..1]), Step::default());
        assert_eq!(cache.step(&large), Step { write: vec![6], leave: vec![5] });
    }
}
