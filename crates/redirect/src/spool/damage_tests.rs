//! Whatever happens to the disk: of several files with cuts, flipped bits and blank ends, every intact record is read in
//! order, no damaged one is, and nothing panics.

use std::fs;
use std::sync::Arc;

use bus::{Message, Outgoing};
use bytes::Bytes;
use model::Click;
use prometheus::Registry;
use proptest::prelude::*;
use proptest::sample::Index;

use super::backlog::{Backlog, Unreadable};
use super::commit::Flush;
use super::cursor::Position;
use super::segment::{self, HEADER_BYTES};
use super::{DAMAGED, Opened, Spool, files};
use crate::metrics::Metrics;
use crate::settings::{Settings, SpoolSettings, SyncMode};

/// Records that are read at once.
const READ_AT_ONCE: usize = 5;

/// A file, and what is done to it.
#[derive(Debug, Clone)]
struct Case {
    payloads: Vec<Vec<u8>>,
    seed: u32,
    blank: usize,
    cut: Option<Index>,
    flips: Vec<(Index, u8)>,
}

/// A file's bytes before and after, and where its records stand.
struct Written {
    whole: Vec<u8>,
    damaged: Vec<u8>,
    records: Vec<std::ops::Range<usize>>,
}

fn case() -> impl Strategy<Value = Case> {
    // many zeros, as if the tail had not been written or the record ended with them
    let byte = prop_oneof![Just(0_u8), any::<u8>()];
    let payloads = proptest::collection::vec(proptest::collection::vec(byte, 0..120), 0..12);
    let flips = proptest::collection::vec((any::<Index>(), 0_u8..8), 0..4);
    let blank = prop_oneof![Just(0_usize), 0_usize..20, Just(10_000)];
    (payloads, any::<u32>(), blank, proptest::option::of(any::<Index>()), flips)
        .prop_map(|(payloads, seed, blank, cut, flips)| Case { payloads, seed, blank, cut, flips })
}

fn written(case: &Case, name: usize) -> Written {
    let mut whole = segment::header(case.seed).to_vec();
    let mut records = Vec::new();
    for (number, payload) in case.payloads.iter().enumerate() {
        let message = Outgoing {
            subject: "clickwire.clicks.raw.w.00".into(),
            id: format!("clk_{name}_{number}"),
            schema: Click::SCHEMA,
            payload: Bytes::copy_from_slice(payload),
            traceparent: None,
        };
        let start = whole.len();
        segment::encode(&message, case.seed, &mut whole).expect("short enough");
        records.push(start..whole.len());
    }
    whole.resize(whole.len() + case.blank, 0);
    let mut damaged = whole.clone();
    if let Some(cut) = &case.cut {
        damaged.truncate(cut.index(whole.len() + 1));
    }
    for (at, bit) in &case.flips {
        if !damaged.is_empty() {
            let at = at.index(damaged.len());
            damaged[at] ^= 1 << bit;
        }
    }
    Written { whole, damaged, records }
}

impl Written {
    /// The records that a reader must find, as long as the file can be recognised.
    fn intact(&self) -> Vec<Bytes> {
        let header = HEADER_BYTES as usize;
        if self.damaged.get(..header) != self.whole.get(..header) {
            return Vec::new();
        }
        let is_intact = |range: &&std::ops::Range<usize>| {
            self.damaged.get((*range).clone()) == Some(&self.whole[(*range).clone()])
        };
        let body =
            |range: &std::ops::Range<usize>| Bytes::copy_from_slice(&self.whole[range.start + 8..range.end]);
        self.records.iter().filter(is_intact).map(body).collect()
    }
}

fn open(dir: &std::path::Path) -> Arc<Spool> {
    let settings: Settings =
        service::settings::load_from(Settings::DEFAULTS, None, []).expect("the defaults are valid");
    let settings = SpoolSettings { dir: dir.to_path_buf(), sync: SyncMode::Os, ..settings.redirect.spool };
    let metrics = Metrics::register(&Registry::new()).expect("metrics");
    let Opened { spool, .. } = Spool::open_with(&settings, &metrics, Flush::default()).expect("it opens");
    spool
}

proptest! {
    #[test]
    fn of_damaged_files_every_intact_record_is_read_and_no_other(cases in proptest::collection::vec(case(), 1..4)) {
        let dir = tempfile::tempdir().expect("a directory");
        let mut intact = Vec::new();
        for (name, case) in cases.iter().enumerate() {
            let written = written(case, name);
            fs::write(files::path(dir.path(), name as u64 + 1), &written.damaged).expect("written");
            intact.extend(written.intact());
        }

        let mut backlog = Backlog::new(open(dir.path()), Position::default());
        let mut read = Vec::new();
        loop {
            let window = backlog.next(READ_AT_ONCE).expect("readable");
            if window.records.is_empty() {
                break;
            }
            read.extend(window.records.into_iter().map(|(body, _)| body));
        }

        prop_assert_eq!(read, intact);
    }
}

/// Three clicks in a file of its own.
fn three(name: usize) -> Written {
    let payloads = vec![vec![1; 30]; 3];
    written(&Case { payloads, seed: 5, blank: 0, cut: None, flips: Vec::new() }, name)
}

/// A spool of files with three clicks each; those clicks.
fn three_each(dir: &std::path::Path, files: usize) -> (Arc<Spool>, Vec<Vec<Bytes>>) {
    let all: Vec<_> = (0..files).map(three).collect();
    for (name, file) in all.iter().enumerate() {
        fs::write(files::path(dir, name as u64 + 1), &file.whole).expect("written");
    }
    (open(dir), all.iter().map(Written::intact).collect())
}

fn read_on(backlog: &mut Backlog) -> Result<Vec<Bytes>, Unreadable> {
    Ok(backlog.next(READ_AT_ONCE)?.records.into_iter().map(|(body, _)| body).collect())
}

#[test]
fn a_file_that_is_gone_or_cut_off_keeps_no_other_from_being_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let (spool, clicks) = three_each(dir.path(), 4);
    fs::remove_file(files::path(dir.path(), 2)).expect("removed");
    fs::write(files::path(dir.path(), 3), "CWSP").expect("written");

    let mut backlog = Backlog::new(spool.clone(), Position::default());

    assert_eq!(read_on(&mut backlog).expect("readable"), clicks[0]);
    assert_eq!(read_on(&mut backlog).expect("readable"), clicks[3]);
    assert!(spool.metrics.spool_damaged_bytes.get() > 0);
    assert!(files::path(dir.path(), 3).with_extension(DAMAGED).exists());
}

#[test]
fn a_file_that_cannot_be_read_is_tried_again_and_then_put_aside() {
    let dir = tempfile::tempdir().expect("a directory");
    // the system refuses to read it, whoever asks
    fs::create_dir(files::path(dir.path(), 5)).expect("made");
    let (spool, clicks) = three_each(dir.path(), 1);

    let mut backlog = Backlog::new(spool.clone(), Position { segment: 5, offset: 0 });
    for _ in 1..3 {
        let failure = read_on(&mut backlog).expect_err("it cannot be read");
        assert_eq!(failure.path, files::path(dir.path(), 5));
        assert_eq!(spool.metrics.spool_damaged_bytes.get(), 0);
    }

    assert!(read_on(&mut backlog).expect("passed over").is_empty());
    assert!(spool.metrics.spool_damaged_bytes.get() > 0);
    assert!(files::path(dir.path(), 5).with_extension(DAMAGED).exists());
    assert_eq!(read_on(&mut Backlog::new(spool, Position::default())).expect("readable"), clicks[0]);
}

#[test]
fn when_the_growing_file_is_taken_away_clicks_go_to_another() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = open(dir.path());
    let (growing, _) = spool.writer().files.from(0).expect("a file");
    spool.append(three(0).whole[HEADER_BYTES as usize..].to_vec(), 3);
    fs::remove_file(files::path(dir.path(), growing)).expect("removed");
    let mut backlog = Backlog::new(spool.clone(), Position::default());
    assert!(read_on(&mut backlog).expect("passed over").is_empty());

    spool.append(three(1).whole[HEADER_BYTES as usize..].to_vec(), 3);

    let (next, end) = spool.writer().files.from(0).expect("a file");
    assert!(
        next > growing && fs::metadata(files::path(dir.path(), next)).is_ok_and(|file| file.len() == end)
    );
}
