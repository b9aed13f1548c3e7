//! A process of a spool, run by hand, and the clicks that come to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bus::{Message as _, Outgoing};
use bytes::Bytes;
use model::{Click, ClickId};
use prometheus::Registry;

use super::super::commit::Owed;
use super::super::cursor::Position;
use super::super::{Confirmer, Direct, Opened, Shipper, Spool, segment};
use super::disk::Disk;
use crate::metrics::Metrics;
use crate::settings::SpoolSettings;

/// What a process holds in memory.
pub(super) struct Process {
    pub spool: Arc<Spool>,
    pub shipper: Shipper,
    pub confirmer: Confirmer,
    _direct: Direct,
    /// Of the thread that commits.
    pub owed: Owed,
    /// What the shipper has read, and the stream has not confirmed.
    pub pending: Vec<(Bytes, Position)>,
    pub bytes_at_start: u64,
}

/// Every click, in the order in which they are written.
#[derive(Default)]
pub(super) struct Clicks {
    count: usize,
    pub numbers: HashMap<ClickId, usize>,
}

impl Clicks {
    /// New clicks as records.
    pub(super) fn records(&mut self, count: usize, seed: u32) -> (Vec<u8>, Vec<ClickId>) {
        let (mut records, mut ids) = (Vec::new(), Vec::new());
        for _ in 0..count {
            self.count += 1;
            let (id, number) = (ClickId::generate(), self.count);
            // many end with zeros, as if they had not been written; some the stream will not take
            let filler = if number.is_multiple_of(3) { 0 } else { 7 };
            let message = Outgoing {
                subject: "clickwire.clicks.raw.w.00".into(),
                id: id.to_string(),
                schema: Click::SCHEMA,
                payload: Bytes::from(vec![filler; number * 37 % 160]),
                traceparent: None,
            };
            segment::encode(&message, seed, &mut records).expect("short enough");
            self.numbers.insert(id, number);
            ids.push(id);
        }
        (records, ids)
    }
}

impl Process {
    pub(super) fn start(settings: &SpoolSettings, disk: &Arc<Disk>) -> Self {
        let metrics = Metrics::register(&Registry::new()).expect("metrics");
        let opened = Spool::open_with(settings, &metrics, disk.flush()).expect("it opens");
        let Opened { spool, shipper, confirmer, direct } = opened;
        spool.commits.open();
        let bytes_at_start = spool.writer().files.bytes();
        let (owed, pending) = (Owed::default(), Vec::new());
        Self { spool, shipper, confirmer, _direct: direct, owed, pending, bytes_at_start }
    }

    /// Commits what was handed over, as the thread does that waits for it.
    pub(super) fn commit(&mut self) {
        let batches = self.spool.commits.next(Some(Duration::ZERO)).expect("it is open");
        self.spool.commit(batches, &mut Vec::new(), &mut self.owed);
    }

    /// Every file with how much of it is known to have been written.
    pub(super) fn files(&self) -> BTreeMap<u64, u64> {
        let writer = self.spool.writer();
        let (mut files, mut next) = (BTreeMap::new(), 0);
        while let Some((number, bytes)) = writer.files.from(next) {
            files.insert(number, bytes);
            next = number + 1;
        }
        files
    }
}
