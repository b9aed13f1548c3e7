//! No answer before its flush, and one flush for all that wait: with a flush that is held.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::mpsc;
use std::time::Duration;

use actix_web::rt;
use bus::{Message, Outgoing};
use bytes::Bytes;
use model::Click;
use prometheus::Registry;
use tokio::sync::mpsc as events;

use super::*;
use crate::metrics::Metrics;
use crate::settings::{Settings, SpoolSettings, SyncMode};
use crate::spool::segment::{HEADER_BYTES, SegmentFile};
use crate::spool::{Appender, Opened};

/// A disk whose flushes are told of and wait until they are let go.
struct Disk {
    is_held: Arc<AtomicBool>,
    is_broken: Arc<AtomicBool>,
    flushes: Arc<AtomicU32>,
    begun: events::UnboundedReceiver<()>,
    go_on: mpsc::Sender<()>,
}

fn disk() -> (Disk, Flush) {
    let (begin, begun) = events::unbounded_channel();
    let (go_on, gone_on) = mpsc::channel();
    let gone_on = Mutex::new(gone_on);
    let (is_held, is_broken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let flushes = Arc::new(AtomicU32::new(0));
    let disk = Disk { is_held, is_broken, flushes, begun, go_on };
    let (is_held, is_broken, flushes) = (disk.is_held.clone(), disk.is_broken.clone(), disk.flushes.clone());
    let flush = move |_: &File| {
        flushes.fetch_add(1, Ordering::SeqCst);
        if is_held.load(Ordering::SeqCst) {
            begin.send(()).expect("the test looks");
            gone_on.lock().expect("no panic").recv().expect("the test goes on");
        }
        match is_broken.load(Ordering::SeqCst) {
            true => Err(io::Error::other("the disk is broken")),
            false => Ok(()),
        }
    };
    (disk, Flush(Arc::new(flush)))
}

fn settings(dir: &std::path::Path, sync: SyncMode) -> SpoolSettings {
    let settings: Settings =
        service::settings::load_from(Settings::DEFAULTS, None, []).expect("the defaults are valid");
    SpoolSettings { dir: dir.to_path_buf(), sync, ..settings.redirect.spool }
}

fn message(number: u32) -> Outgoing {
    Outgoing {
        subject: "s".into(),
        id: format!("clk_{number}"),
        schema: Click::SCHEMA,
        payload: Bytes::from_static(b"click"),
        traceparent: None,
    }
}

/// Visitors whose clicks are appended, and how many have been answered.
struct Visitors {
    appender: Rc<Appender>,
    answered: Rc<Cell<u32>>,
}

impl Visitors {
    fn click(&self, count: u32) {
        for number in 0..count {
            let (appended, answered) =
                (self.appender.append(&message(number), Instant::now()), self.answered.clone());
            rt::spawn(async move {
                appended.await;
                answered.set(answered.get() + 1);
            });
        }
    }

    async fn answered(&self, count: u32) {
        while self.answered.get() < count {
            rt::task::yield_now().await;
        }
    }

    /// Everything that can run has run.
    async fn settled(&self) {
        for _ in 0..100 {
            rt::task::yield_now().await;
        }
    }
}

fn clicks_on_disk(spool: &Spool) -> usize {
    clicks_in(spool, 1)
}

fn clicks_in(spool: &Spool, number: u64) -> usize {
    let (path, end) = spool.file_of(number).expect("a file of this number");
    let file = SegmentFile::open(&path).expect("a spool file");
    file.read(HEADER_BYTES, end, usize::MAX).expect("readable").bodies.len()
}

/// Runs the test with the committing thread at work and nothing left to flush.
fn with_spool(test: impl AsyncFnOnce(Arc<Spool>, Visitors, Disk)) {
    rt::System::new().block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let (disk, flush) = disk();
        let metrics = Metrics::register(&Registry::new()).expect("metrics");
        let Opened { spool, .. } =
            Spool::open_with(&settings(dir.path(), SyncMode::Always), &metrics, flush).expect("it opens");
        spool.flush();
        disk.flushes.store(0, Ordering::SeqCst);
        let stop = CancellationToken::new();
        let commits = rt::spawn({
            let (spool, stop) = (spool.clone(), stop.clone());
            async move { spool.commit_until(&stop).await }
        });
        let visitors = Visitors { appender: Appender::new(spool.clone()), answered: Rc::default() };
        // until the thread runs, each worker flushes by itself
        while !spool.commits.queue().is_open {
            rt::task::yield_now().await;
        }
        test(spool, visitors, disk).await;
        stop.cancel();
        commits.await.expect("no panic");
    });
}

#[test]
fn no_answer_comes_before_its_flush_and_those_who_wait_share_one() {
    with_spool(async |spool, visitors, mut disk| {
        disk.is_held.store(true, Ordering::SeqCst);

        visitors.click(3);
        disk.begun.recv().await.expect("a flush begins");
        visitors.click(20);
        visitors.settled().await;
        assert_eq!((visitors.answered.get(), clicks_on_disk(&spool)), (0, 3));

        disk.go_on.send(()).expect("it is waited for");
        disk.begun.recv().await.expect("a second flush begins");
        visitors.answered(3).await;
        visitors.settled().await;
        assert_eq!((visitors.answered.get(), clicks_on_disk(&spool)), (3, 23));

        disk.go_on.send(()).expect("it is waited for");
        visitors.answered(23).await;
        assert_eq!(disk.flushes.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn workers_share_a_flush() {
    with_spool(async |spool, visitors, mut disk| {
        let others = Visitors { appender: Appender::new(spool.clone()), answered: Rc::default() };
        disk.is_held.store(true, Ordering::SeqCst);

        visitors.click(1);
        disk.begun.recv().await.expect("a flush begins");
        visitors.click(2);
        others.click(4);
        visitors.settled().await;
        disk.go_on.send(()).expect("it is waited for");
        disk.begun.recv().await.expect("a second flush begins");
        disk.go_on.send(()).expect("it is waited for");

        visitors.answered(3).await;
        others.answered(4).await;
        assert_eq!(disk.flushes.load(Ordering::SeqCst), 2);
        assert_eq!(clicks_on_disk(&spool), 7);
    });
}

#[test]
fn a_flush_that_fails_is_counted_and_the_visitor_is_answered() {
    with_spool(async |spool, visitors, disk| {
        disk.is_broken.store(true, Ordering::SeqCst);
        visitors.click(2);
        visitors.answered(2).await;
        assert!(spool.metrics.spool_sync_failures.get() > 0);

        // nothing more is written to the file that could not be flushed
        disk.is_broken.store(false, Ordering::SeqCst);
        visitors.click(2);
        visitors.answered(4).await;
        assert_eq!(clicks_on_disk(&spool), 2);
        assert_eq!(spool.metrics.clicks_spooled.get(), 4);
    });
}

#[test]
fn what_a_flush_did_not_take_is_in_the_file_whose_flush_succeeds() {
    with_spool(async |spool, visitors, disk| {
        disk.is_broken.store(true, Ordering::SeqCst);
        visitors.click(2);
        visitors.answered(2).await;
        // without further clicks
        while spool.metrics.spool_sync_failures.get() < 2 {
            rt::task::yield_now().await;
        }
        visitors.click(3);
        visitors.answered(5).await;

        disk.is_broken.store(false, Ordering::SeqCst);
        while spool.is_unflushed.load(Ordering::SeqCst) {
            rt::task::yield_now().await;
        }

        let last = spool.writer().files.last().expect("a file");
        assert!(last >= 3);
        assert_eq!(clicks_in(&spool, last), 5);
        assert_eq!(spool.metrics.clicks_spooled.get(), 5);
        visitors.click(1);
        visitors.answered(6).await;
        assert_eq!(clicks_in(&spool, last), 6);
    });
}

#[test]
fn files_are_filled_with_zeros_beforehand_and_cut_when_they_are_closed() {
    with_spool(async |spool, visitors, _disk| {
        let stop = CancellationToken::new();
        let spares = rt::spawn({
            let (spool, stop) = (spool.clone(), stop.clone());
            async move { spool.keep_spare(&stop).await }
        });
        while spool.writer().spare_wanted().is_some() {
            rt::task::yield_now().await;
        }
        spool.writer().close();
        visitors.click(1);
        visitors.answered(1).await;

        let (path, end) = spool.file_of(2).expect("the second file");
        let length = || std::fs::metadata(&path).expect("a file").len();
        assert!(length() >= 1024 * 1024 && end < 1024, "{end} of {}", length());
        spool.writer().close();
        assert_eq!(length(), end);
        stop.cancel();
        spares.await.expect("no panic");
    });
}

#[test]
fn what_a_process_did_not_get_to_flush_the_next_one_flushes_at_its_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = settings(dir.path(), SyncMode::Interval);
    let metrics = || Metrics::register(&Registry::new()).expect("metrics");
    let (disk_of_first, flush) = disk();
    let Opened { spool, .. } = Spool::open_with(&settings, &metrics(), flush).expect("it opens");
    let mut records = Vec::new();
    crate::spool::segment::encode(&message(1), spool.seed, &mut records).expect("short enough");
    spool.append(records, 1);
    drop(spool);
    assert_eq!(disk_of_first.flushes.load(Ordering::SeqCst), 0);

    let (disk, flush) = disk();
    let _opened = Spool::open_with(&settings, &metrics(), flush).expect("it opens");

    // the file, and the directory that names it
    assert_eq!(disk.flushes.load(Ordering::SeqCst), 2);
}

#[test]
fn with_an_interval_flushes_come_by_themselves_and_no_answer_waits_for_one() {
    rt::System::new().block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut disk, flush) = disk();
        let metrics = Metrics::register(&Registry::new()).expect("metrics");
        let settings = settings(dir.path(), SyncMode::Interval);
        let Opened { spool, .. } = Spool::open_with(&settings, &metrics, flush).expect("it opens");
        spool.flush();
        disk.is_held.store(true, Ordering::SeqCst);
        let stop = CancellationToken::new();
        let syncing = rt::spawn(spool.clone().keep_synced(Duration::from_millis(1), stop.clone()));
        let visitors = Visitors { appender: Appender::new(spool), answered: Rc::default() };

        visitors.click(1);
        disk.begun.recv().await.expect("a flush");
        visitors.click(3);
        visitors.answered(4).await;

        disk.is_held.store(false, Ordering::SeqCst);
        disk.go_on.send(()).expect("the flush waits");
        stop.cancel();
        syncing.await.expect("no panic");
    });
}
