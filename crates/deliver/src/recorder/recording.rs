//! Results of what was in hand: gathered, and stored many at a time.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use store::{Connection, batches, leases};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::in_hand::{pairs, remove};
use super::{GivenBack, Recorder, Result};

/// Most results in one statement.
const RESULTS_MAX: usize = 256;

/// So long results for which nobody waits are gathered before they are stored.
const GATHER_MAX: Duration = Duration::from_millis(10);

/// Pause before results are stored again when that failed.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// The end that stores results; run it with [`Recording::run`].
pub struct Recording {
    recorder: Arc<Recorder>,
    results: mpsc::UnboundedReceiver<Result>,
}

impl Recording {
    pub(super) fn new(recorder: Arc<Recorder>, results: mpsc::UnboundedReceiver<Result>) -> Self {
        Self { recorder, results }
    }

    /// Stores results as they come, and with them all that came meanwhile; ends when nobody can send any more
    /// or, with nothing left, when `finish` says so.
    pub async fn run(mut self, finish: CancellationToken) {
        let mut results = Vec::with_capacity(RESULTS_MAX);
        loop {
            tokio::select! {
                biased;
                received = self.results.recv_many(&mut results, RESULTS_MAX) => if received == 0 { return },
                () = finish.cancelled() => return,
            }
            // who has nothing to wait for any more goes on
            let _ = tokio::time::timeout(GATHER_MAX, self.gather(&mut results, &finish)).await;
            while let Err(error) = self.store(&mut results).await {
                self.recorder.metrics.store_failures.inc();
                warn!(
                    error = format!("{error:#}"),
                    results = results.len(),
                    "failed to store results; trying again"
                );
                tokio::time::sleep(STORE_PAUSE).await;
            }
        }
    }

    /// Takes more results, until one is awaited or it is the end.
    async fn gather(&mut self, results: &mut Vec<Result>, finish: &CancellationToken) {
        while results.len() < RESULTS_MAX && !results.iter().any(Result::is_awaited) {
            let room = RESULTS_MAX - results.len();
            tokio::select! {
                biased;
                received = self.results.recv_many(results, room) => if received == 0 { return },
                () = finish.cancelled() => return,
            }
        }
    }

    /// Stores results. What is stored leaves the list at once: when something after it fails, it is not stored again over what a
    /// courier has leased since.
    async fn store(&self, results: &mut Vec<Result>) -> anyhow::Result<()> {
        let mut conn = self.recorder.pool.get().await?;
        self.store_attempted(&mut conn, results).await?;
        if results.is_empty() {
            return Ok(());
        }
        let _alone = self.recorder.changing.lock().await;
        // a courier may lease what is given back at once, and takes it in hand then
        let given_back = self.recorder.let_go(results);
        let stored = self.give_back(&mut conn, results, &given_back).await;
        if stored.is_err() {
            results.retain_mut(|result| self.recorder.take_again(result, &given_back));
        }
        stored
    }

    async fn store_attempted(&self, conn: &mut Connection, results: &mut Vec<Result>) -> anyhow::Result<()> {
        let (mut finished, mut attempts) = (Vec::new(), Vec::new());
        let (mut ended, mut attempts_of_batches) = (Vec::new(), Vec::new());
        for result in &*results {
            match result {
                Result::Attempted(attempted) => {
                    finished.push(attempted.finished.clone());
                    attempts.extend(attempted.attempt.clone());
                }
                Result::AttemptedBatch(attempted) => {
                    ended.push(attempted.0.clone());
                    attempts_of_batches.push(attempted.1.clone());
                }
                Result::NotTried(_) | Result::NotTriedInLine(_) | Result::NotTriedBatch(_) => {}
            }
        }
        let (recorder, now) = (&self.recorder, Utc::now());
        if !finished.is_empty() {
            let stored = leases::finish(conn, &finished, &attempts, recorder.leased_by, now).await?;
            recorder.metrics.leases_lost.inc_by((finished.len() - stored.len()) as u64);
            remove(&mut recorder.in_hand(), finished.iter().map(|f| &f.id));
            self.stored(results, |result| matches!(result, Result::Attempted(_)));
        }
        if !ended.is_empty() {
            let stored = batches::finish(conn, &ended, &attempts_of_batches, recorder.leased_by, now).await?;
            recorder.metrics.leases_lost.inc_by((ended.len() - stored.len()) as u64);
            remove(&mut recorder.batches_in_hand(), ended.iter().map(|batch| &batch.id));
            self.stored(results, |result| matches!(result, Result::AttemptedBatch(_)));
        }
        Ok(())
    }

    async fn give_back(
        &self,
        conn: &mut Connection,
        results: &mut Vec<Result>,
        GivenBack { deliveries, batches }: &GivenBack,
    ) -> anyhow::Result<()> {
        let leased_by = self.recorder.leased_by;
        if !deliveries.is_empty() {
            leases::release(conn, &pairs(deliveries), leased_by).await?;
        }
        self.stored(results, |result| !matches!(result, Result::NotTriedBatch(_)));
        if !batches.is_empty() {
            batches::release(conn, &pairs(batches), leased_by).await?;
        }
        self.stored(results, |result| matches!(result, Result::NotTriedBatch(_)));
        Ok(())
    }

    /// These leave the list, and whoever waits for one of them goes on.
    fn stored(&self, results: &mut Vec<Result>, is_one: impl Fn(&Result) -> bool) {
        if results.iter().any(|result| is_one(result) && result.is_awaited()) {
            self.recorder.work.notify_one();
        }
        results.retain(|result| !is_one(result));
    }
}

#[cfg(test)]
impl Recording {
    /// Stores the results that there are; when that fails, what is left of them is stored the next time.
    pub(crate) async fn store_what_came(&mut self) -> anyhow::Result<()> {
        let mut results = Vec::new();
        while let Ok(result) = self.results.try_recv() {
            results.push(result);
        }
        let stored = self.store(&mut results).await;
        results.into_iter().for_each(|left| self.recorder.send(left));
        stored
    }
}
