//! What must be true of the spool, after every step and in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use model::ClickId;

use super::super::outside::Answer;
use super::{BYTES_MAX, World};
use crate::spool::cursor::Position;
use crate::spool::files;
use crate::spool::segment::{self, HEADER_BYTES, SegmentFile};

/// More rounds than it takes until everything has come to rest.
const ROUNDS_MAX: usize = 100;

impl World {
    /// What is true after every step.
    pub(in super::super) fn check(&mut self) {
        let records = self.records();
        let on_disk = self.on_disk();
        for id in &self.owed {
            let is_kept = on_disk.contains(id) || self.servers.database.contains(id);
            assert!(is_kept, "click {} is neither in the spool nor in the database", self.clicks.numbers[id]);
        }
        let shipped = self.process().spool.writer().files.shipped();
        for (end, id) in &records {
            let number = self.clicks.numbers[id];
            let is_done = self.servers.taken.contains(id) || self.servers.refused.contains(id);
            assert!(*end > shipped || is_done, "click {number} counts as shipped and is not");
            let is_known = self.places.contains(&(end.segment, *id)) || self.writable.contains(id);
            assert!(is_known, "click {number} has come back in file {}", end.segment);
        }
        self.places.extend(records.iter().map(|(end, id)| (end.segment, *id)));
        self.check_sizes();
    }

    /// What it counts is what there is, and that is bounded.
    fn check_sizes(&self) {
        let process = self.process();
        let (known, mut found) = (process.files(), BTreeMap::new());
        for (number, path) in self.paths() {
            found.insert(number, fs::metadata(path).expect("it is there").len());
        }
        assert_eq!(known.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
        for (number, bytes) in &known {
            let is_grown = process.spool.writer().is_active(*number) && found[number] >= *bytes;
            assert!(
                is_grown || found[number] == *bytes,
                "file {number}: {} and {bytes} bytes",
                found[number]
            );
        }
        // a file that begins has a header, which nobody asked room for
        let most = process.bytes_at_start.max(BYTES_MAX) + HEADER_BYTES;
        assert!(process.spool.writer().files.bytes() <= most);
    }

    /// Everything works again: what is owed comes to rest, and nothing is left behind.
    pub(in super::super) fn come_to_rest(&mut self) {
        self.fill_disk(false);
        self.disk.fail(0);
        for _ in 0..ROUNDS_MAX {
            self.writable = self.unflushed.clone();
            self.flush();
            while self.ship(&[Answer::Taken]) {}
            self.servers.record(usize::MAX);
            self.close();
            self.confirm(&[Answer::Taken], false, false);
            self.check();
            if self.is_at_rest() {
                break;
            }
        }
        assert!(self.is_at_rest(), "files are left: {:?}", self.process().files());
        let missing: Vec<usize> = self
            .owed
            .iter()
            .filter(|id| !self.servers.database.contains(id))
            .map(|id| self.clicks.numbers[id])
            .collect();
        assert!(missing.is_empty(), "clicks {missing:?} were answered for");
        self.flush();
        assert!(!self.process().owed.is_any(), "a flush that failed was never made good");
    }

    fn is_at_rest(&self) -> bool {
        let process = self.process();
        let is_active = |number: &u64| process.spool.writer().is_active(*number);
        process.pending.is_empty() && process.files().keys().all(is_active)
    }

    /// Every spool file, by its number.
    fn paths(&self) -> Vec<(u64, PathBuf)> {
        let entries = fs::read_dir(&self.settings.dir).expect("a directory");
        let paths = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file());
        paths.filter_map(|path| Some((files::number(&path)?, path))).collect()
    }

    pub(super) fn on_disk(&self) -> BTreeSet<ClickId> {
        self.records().into_iter().map(|(_, id)| id).collect()
    }

    /// Every click that can be read of the spool, with where its record ends.
    fn records(&self) -> Vec<(Position, ClickId)> {
        let mut records = Vec::new();
        for (number, path) in self.paths() {
            let length = fs::metadata(&path).expect("it is there").len();
            // cut off within its header, or that was never flushed
            let Ok(file) = SegmentFile::open(&path) else { continue };
            let scan = file.read(HEADER_BYTES, length, usize::MAX).expect("readable");
            for (body, end) in scan.bodies {
                let id = segment::id(&body).parse().expect("a click");
                records.push((Position { segment: number, offset: HEADER_BYTES + end as u64 }, id));
            }
        }
        records
    }
}
