//! A spool with what is around it, what is known of its clicks, and each step as it happens. [`truth`] is what must be true.

mod truth;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use model::ClickId;
use proptest::sample::Index;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::super::commit::Submitted;
use super::super::files;
use super::super::segment;
use super::super::spare::Spare;
use super::disk::{Disk, Fate};
use super::outside::{Answer, Found, Servers};
use super::process::{Clicks, Process};
use super::{LostCursor, Step};
use crate::settings::{SpoolSettings, SyncMode};

const SEGMENT_BYTES_MAX: u64 = 700;
const BYTES_MAX: u64 = 4000;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(24 * 3600);

pub(super) struct World {
    settings: SpoolSettings,
    disk: Arc<Disk>,
    servers: Servers,
    runtime: Runtime,
    process: Option<Process>,
    clicks: Clicks,
    /// Clicks that were answered for and must come to rest.
    owed: BTreeSet<ClickId>,
    /// Those of them that no loss of power may take.
    flushed: BTreeSet<ClickId>,
    /// Those that the next flush makes so.
    unflushed: BTreeSet<ClickId>,
    /// What may be written in this step.
    writable: BTreeSet<ClickId>,
    /// Which click has ever stood in which file.
    places: BTreeSet<(u64, ClickId)>,
    /// Which clicks were published, and the last of them.
    published: BTreeSet<ClickId>,
    published_last: usize,
    /// Clicks that stood in two files when power was lost: of the first, later ones may be left.
    unordered: BTreeSet<ClickId>,
    /// The number of the last file that was made.
    file_last: u64,
    /// What keeps the next file from being made.
    obstacle: Option<PathBuf>,
    cursor_before: Option<Vec<u8>>,
    _dir: TempDir,
}

impl World {
    pub(super) fn new(sync: SyncMode) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = SpoolSettings {
            dir: dir.path().to_path_buf(),
            sync,
            sync_interval: LONG,
            segment_bytes_max: SEGMENT_BYTES_MAX,
            segment_age_max: LONG,
            bytes_max: BYTES_MAX,
            window_max: 3,
            confirm_after: Duration::ZERO,
            unconfirmed_age_max: LONG,
            direct_max: 10,
        };
        let mut world = Self {
            disk: Disk::new(dir.path()),
            settings,
            servers: Servers::default(),
            runtime: Builder::new_current_thread().build().expect("a runtime"),
            process: None,
            clicks: Clicks::default(),
            owed: BTreeSet::new(),
            flushed: BTreeSet::new(),
            unflushed: BTreeSet::new(),
            writable: BTreeSet::new(),
            places: BTreeSet::new(),
            published: BTreeSet::new(),
            published_last: 0,
            unordered: BTreeSet::new(),
            file_last: 0,
            obstacle: None,
            cursor_before: None,
            _dir: dir,
        };
        world.start();
        world
    }

    /// Lets it happen.
    pub(super) fn take(&mut self, step: &Step) {
        self.writable = self.unflushed.clone();
        match step {
            Step::Append(batches) => self.append(batches),
            Step::Flush => self.flush(),
            Step::FailFlushes(count) => self.disk.fail(*count),
            Step::FillDisk(is_full) => self.fill_disk(*is_full),
            Step::Close => self.close(),
            Step::MakeSpare => self.make_spare(),
            Step::Ship(answers) => _ = self.ship(answers),
            Step::SaveCursor => self.save_cursor(),
            Step::LoseStream => self.servers.lose_stream(),
            Step::Record(clicks) => self.servers.record(*clicks),
            Step::Confirm { answers, is_behind, is_database_away } => {
                self.confirm(answers, *is_behind, *is_database_away);
            }
            Step::MakeRoom => self.make_room(),
            Step::Kill(torn) => self.kill(torn.as_ref()),
            Step::LosePower { fates, cursor } => self.lose_power(fates, *cursor),
        }
        let last = self.process().spool.writer().files.last();
        self.file_last = self.file_last.max(last.unwrap_or(0));
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    fn process_mut(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    fn start(&mut self) {
        let process = self.process.insert(Process::start(&self.settings, &self.disk));
        self.file_last = process.spool.writer().files.last().expect("one was begun");
    }

    /// Everything in memory is gone.
    fn end(&mut self) {
        self.process = None;
        self.fill_disk(false);
    }

    fn append(&mut self, batches: &[usize]) {
        if self.settings.sync == SyncMode::Always {
            return self.append_and_flush(batches);
        }
        for count in batches {
            let process = self.process.as_ref().expect("it runs");
            let before = process.spool.metrics.clicks_spooled.get();
            let (records, ids) = self.clicks.records(*count, process.spool.seed);
            process.spool.append(records, ids.len() as u64);
            let is_written = process.spool.metrics.clicks_spooled.get() > before;
            self.answer(ids, is_written);
        }
    }

    /// The batches of several workers share a write and a flush.
    fn append_and_flush(&mut self, batches: &[usize]) {
        let process = self.process.as_mut().expect("it runs");
        let before = process.spool.metrics.clicks_spooled.get();
        let (mut all, mut waiting) = (Vec::new(), Vec::new());
        for (worker, count) in batches.iter().enumerate() {
            let (records, ids) = self.clicks.records(*count, process.spool.seed);
            match process.spool.commits.submit(worker, 0, records, ids.len() as u64) {
                Submitted::New(flushed) => waiting.push(flushed),
                other => panic!("nothing of this worker waits: {other:?}"),
            }
            all.extend(ids);
        }
        process.commit();
        assert!(waiting.iter_mut().all(|flushed| flushed.try_recv().is_ok()), "somebody still waits");
        let is_written = process.spool.metrics.clicks_spooled.get() > before;
        let is_flushed = !process.owed.is_any();
        self.answer(all, is_written);
        if is_flushed {
            self.flushed.append(&mut self.unflushed);
        }
    }

    /// Visitors are answered. What the spool did not take is published directly, while the broker lives.
    fn answer(&mut self, ids: Vec<ClickId>, is_written: bool) {
        if is_written {
            self.owed.extend(&ids);
            self.unflushed.extend(&ids);
            self.writable.extend(ids);
        }
    }

    fn flush(&mut self) {
        let process = self.process.as_mut().expect("it runs");
        match self.settings.sync {
            SyncMode::Os => {}
            SyncMode::Interval => {
                let is_flushed = process.spool.flush();
                let flushed = std::mem::take(&mut self.unflushed);
                self.flushed.extend(flushed.into_iter().filter(|_| is_flushed));
            }
            SyncMode::Always => {
                process.owed.end_pause();
                process.commit();
                if !process.owed.is_any() {
                    self.flushed.append(&mut self.unflushed);
                }
            }
        }
    }

    fn fill_disk(&mut self, is_full: bool) {
        if let Some(obstacle) = self.obstacle.take() {
            fs::remove_dir(obstacle).expect("it is there");
        }
        if is_full {
            let path = files::path(&self.settings.dir, self.file_last + 1);
            fs::create_dir(&path).expect("no file of this number");
            self.process().spool.writer().close();
            self.obstacle = Some(path);
        }
    }

    fn close(&mut self) {
        self.process().spool.writer().close_if_older(Duration::ZERO);
    }

    fn make_spare(&mut self) {
        let spool = &self.process().spool;
        let wanted = spool.writer().spare_wanted();
        if let Some(bytes) = wanted.filter(|_| self.settings.sync == SyncMode::Always) {
            let spare = Spare::make(&self.settings.dir, bytes).expect("a file of zeros");
            self.disk.note_flushed(&spare.file);
            spool.writer().give_spare(spare);
        }
    }

    /// Tells whether there was anything to publish.
    fn ship(&mut self, answers: &[Answer]) -> bool {
        let process = self.process.as_mut().expect("it runs");
        if process.pending.is_empty() {
            let window = self.runtime.block_on(process.shipper.read_on()).expect("readable");
            process.pending = window.records;
        }
        let published = std::mem::take(&mut process.pending);
        let is_any = !published.is_empty();
        let mut results = Vec::with_capacity(published.len());
        for ((body, _), answer) in published.iter().zip(answers.iter().cycle()) {
            let message = segment::decode(body);
            let id: ClickId = message.id.parse().expect("a click");
            if self.published.insert(id) {
                let number = self.clicks.numbers[&id];
                let is_in_order = number > self.published_last || self.unordered.contains(&id);
                assert!(is_in_order, "click {number} after {}", self.published_last);
                self.published_last = self.published_last.max(number);
            }
            results.push(self.servers.publish(&message, *answer));
        }
        (process.pending, _) = process.shipper.answered(published, results);
        self.owed.retain(|id| !self.servers.refused.contains(id));
        is_any
    }

    fn save_cursor(&mut self) {
        self.cursor_before = fs::read(self.cursor()).ok();
        self.process_mut().shipper.save_cursor();
    }

    fn cursor(&self) -> PathBuf {
        self.settings.dir.join("cursor")
    }

    fn confirm(&mut self, answers: &[Answer], is_behind: bool, is_database_away: bool) {
        let confirmer = &mut self.process.as_mut().expect("it runs").confirmer;
        let servers = Mutex::new(&mut self.servers);
        let found = Found { servers, answers: answers.to_vec(), is_behind, is_database_away };
        confirmer.take_up();
        // everybody's turn
        let looked = self.runtime.block_on(confirmer.look(&found, Instant::now() + LONG));
        assert!(looked.is_ok() || is_database_away, "{looked:?}");
    }

    fn make_room(&mut self) {
        let before = self.on_disk();
        let is_crowded = self.process().spool.writer().is_crowded();
        self.process().spool.make_room();
        for id in before.difference(&self.on_disk()) {
            let is_shipped = self.servers.taken.contains(id) || self.servers.refused.contains(id);
            assert!(is_crowded && is_shipped, "click {} gave way", self.clicks.numbers[id]);
            self.owed.remove(id);
        }
    }

    fn kill(&mut self, torn: Option<&(usize, Index)>) {
        if let Some((count, cut)) = torn {
            self.tear(*count, *cut);
        }
        self.end();
        let is_failing = self.disk.is_failing();
        self.start();
        // with `Always` it is what the disk has refused: nobody knows of it any more
        let mut unflushed = std::mem::take(&mut self.unflushed);
        if self.settings.sync == SyncMode::Interval && !is_failing {
            self.flushed.append(&mut unflushed);
        }
    }

    /// The process ends in the middle of a write: nobody was answered.
    fn tear(&mut self, count: usize, cut: Index) {
        let process = self.process.as_ref().expect("it runs");
        let Some((number, bytes)) = process.files().pop_last() else { return };
        if !process.spool.writer().is_active(number) {
            return;
        }
        let (records, ids) = self.clicks.records(count, process.spool.seed);
        let path = files::path(&self.settings.dir, number);
        let file = OpenOptions::new().write(true).open(path).expect("it is there");
        file.write_all_at(&records[..cut.index(records.len() + 1)], bytes).expect("it is written");
        self.writable.extend(ids);
    }

    fn lose_power(&mut self, fates: &[Fate], cursor: LostCursor) {
        self.end();
        self.disk.lose_power(fates);
        match (cursor, self.cursor_before.take()) {
            (LostCursor::AsSaved, _) => {}
            (LostCursor::AsSavedBefore, Some(before)) => {
                fs::write(self.cursor(), before).expect("it is written");
            }
            (LostCursor::Damaged, _) => fs::write(self.cursor(), "\0\0\0").expect("it is written"),
            // it may never have been there
            (LostCursor::AsSavedBefore | LostCursor::Missing, _) => _ = fs::remove_file(self.cursor()),
        }
        self.owed.retain(|id| self.flushed.contains(id));
        self.unflushed.clear();
        self.note_twice_written();
        self.start();
    }

    /// What was written again because a flush had failed may be left of its first file with holes between.
    fn note_twice_written(&mut self) {
        let mut seen = BTreeSet::new();
        let twice = self.places.iter().map(|(_, id)| *id).filter(|id| !seen.insert(*id));
        self.unordered.extend(twice);
    }
}
