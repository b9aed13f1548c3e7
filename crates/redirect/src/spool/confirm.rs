//! Lets go of a file when the database holds all of its clicks, and publishes again what it does not get to hold.
//!
//! That a stream has taken a click is not the end of its way: a broker may lose what it acknowledged. So a file whose
//! clicks have all been shipped stays until each of them stands in `clicks`, or in quarantine. They are asked for in
//! batches; only those that are missing are remembered. What is still missing after `confirm_after`, although nobody
//! is behind, is published again under its id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{Bus, ConsumerName, Outgoing, PublishError};
use chrono::{DateTime, Utc};
use model::ClickId;
use store::{Pool, confirmation};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::evidence::{Evidence, Missing, ReadError};
use super::{DAMAGED, Spool, UNCONFIRMED};
use crate::settings::SpoolSettings;

/// Clicks that are asked for at once.
const ASK_MAX: usize = 1000;

/// Files whose clicks are being asked for; the others wait for their turn, oldest first.
const IN_HAND_MAX: usize = 64;

/// Missing clicks that are remembered, of all files together. No further file is read while there are more.
const MISSING_MAX: usize = 65_536;

/// Pauses between two questions for the same clicks: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Pause while the database or the broker is away.
const AWAY: Duration = Duration::from_secs(2);

/// A consumer that has more than this to handle is behind: what is missing may be among it.
const BEHIND_MAX: u64 = 10_000;

/// Asks for the clicks of files that have been shipped.
#[derive(Debug)]
pub struct Confirmer {
    spool: Arc<Spool>,
    confirm_after: Duration,
    unconfirmed_age_max: chrono::Duration,
    window_max: usize,
    in_hand: BTreeMap<u64, InHand>,
    is_away: bool,
    is_held_up: bool,
}

/// A file whose clicks are being asked for.
#[derive(Debug)]
struct InHand {
    evidence: Evidence,
    missing: Vec<Missing>,
    /// When its clicks were last published, as far as this process knows.
    published_at: Instant,
    /// How often what was missing has been published again.
    rounds: u32,
    /// Where in the file the next such round goes on, if one was interrupted.
    publish_from: u64,
    ask_at: Instant,
    pause: Duration,
}

/// Why nothing can be found out at the moment.
#[derive(Debug, thiserror::Error)]
pub(super) enum Away {
    #[error(transparent)]
    Pool(#[from] store::PoolError),
    #[error("failed to ask the database for clicks")]
    Query(#[from] store::QueryError),
    #[error(transparent)]
    Bus(#[from] bus::PendingError),
    #[error(transparent)]
    Publish(#[from] bus::PublishError),
    #[error("failed to read the spool")]
    Read(#[from] ReadError),
}

impl Away {
    /// Whether clicks can be confirmed all the same.
    fn is_of_broker(&self) -> bool {
        matches!(self, Self::Bus(_) | Self::Publish(_))
    }
}

/// Where clicks come to rest, and the broker that brings them there.
pub(super) trait Outside: Sync {
    /// Which of these clicks the database holds.
    fn held(&self, ids: &[ClickId]) -> impl Future<Output = Result<BTreeSet<ClickId>, Away>> + Send;

    /// Whether a click that is missing may only be waiting for its turn.
    fn is_behind(&self) -> impl Future<Output = Result<bool, Away>> + Send;

    /// Publishes; tells what became of each message, in the same order.
    fn publish_all(
        &self,
        messages: Vec<Outgoing>,
    ) -> impl Future<Output = Vec<Result<(), PublishError>>> + Send;
}

/// The servers that the settings name.
struct Servers {
    pool: Pool,
    bus: Bus,
}

impl Outside for Servers {
    async fn held(&self, ids: &[ClickId]) -> Result<BTreeSet<ClickId>, Away> {
        let mut conn = self.pool.get().await?;
        Ok(confirmation::held(&mut conn, ids).await?)
    }

    async fn is_behind(&self) -> Result<bool, Away> {
        for consumer in [ConsumerName::Enrich, ConsumerName::Record] {
            if self.bus.pending(consumer).await? > BEHIND_MAX {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<(), PublishError>> {
        self.bus.publisher().publish_all(messages).await
    }
}

/// What may be asked of the broker while files are looked at in turn: once, if it does not do it.
struct Broker<'a, O> {
    outside: &'a O,
    may_publish: Option<bool>,
}

impl<O: Outside> Broker<'_, O> {
    /// Whether what is missing has been lost, and may be published again.
    async fn may_publish(&mut self) -> Result<bool, Away> {
        if self.may_publish.is_none() {
            self.may_publish = Some(false);
            self.may_publish = Some(!self.outside.is_behind().await?);
        }
        Ok(self.may_publish == Some(true))
    }
}

impl Confirmer {
    pub(super) fn new(spool: Arc<Spool>, settings: &SpoolSettings) -> Self {
        Self {
            spool,
            confirm_after: settings.confirm_after,
            unconfirmed_age_max: chrono::Duration::from_std(settings.unconfirmed_age_max)
                .unwrap_or(chrono::Duration::MAX),
            window_max: settings.window_max,
            in_hand: BTreeMap::new(),
            is_away: false,
            is_held_up: false,
        }
    }

    /// Confirms until `stop`. What is not confirmed by then is asked for by the next process.
    pub async fn run(mut self, pool: Pool, bus: Bus, stop: CancellationToken) {
        let servers = Servers { pool, bus };
        stop.run_until_cancelled(async {
            loop {
                self.take_up();
                let result = self.look(&servers, Instant::now()).await;
                self.set_away(result.as_ref().err());
                let pause = if result.is_err() { AWAY } else { self.until_next() };
                tokio::select! {
                    () = self.spool.closed.notified(), if result.is_ok() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
        })
        .await;
    }

    /// Takes files into hand that have been shipped; forgets those that are gone.
    pub(super) fn take_up(&mut self) {
        let writer = self.spool.writer();
        let shipped: BTreeMap<u64, u64> = writer.shipped().take(IN_HAND_MAX).collect();
        self.in_hand.retain(|number, _| shipped.contains_key(number));
        for (number, end) in shipped {
            self.in_hand.entry(number).or_insert_with(|| InHand::new(writer.files.path(number), end));
        }
    }

    /// Asks for the clicks of the files in hand whose turn it is at `now`.
    pub(super) async fn look(&mut self, outside: &impl Outside, now: Instant) -> Result<(), Away> {
        let due: Vec<u64> =
            self.in_hand.iter().filter(|(_, file)| file.ask_at <= now).map(|(number, _)| *number).collect();
        let mut broker = Broker { outside, may_publish: None };
        for number in due {
            match self.look_at(number, &mut broker).await {
                Err(Away::Read(error)) => self.pass_over(number, &error),
                // this file waits for its next turn; those of which nothing is missing need no broker
                Err(error) if error.is_of_broker() => {
                    broker.may_publish = Some(false);
                    self.set_held_up(Some(&error));
                }
                result => result?,
            }
            if let Some(file) = self.in_hand.get_mut(&number) {
                file.ask_at = Instant::now() + file.pause;
                file.pause = (file.pause * 2).min(PAUSES.1);
            }
        }
        Ok(())
    }

    async fn look_at<O: Outside>(&mut self, number: u64, broker: &mut Broker<'_, O>) -> Result<(), Away> {
        self.ask(number, broker.outside).await?;
        let Some(file) = self.in_hand.get(&number) else { return Ok(()) };
        if file.is_confirmed() {
            self.in_hand.remove(&number);
            self.spool.remove(number);
        } else if file.published_at.elapsed() >= self.confirm_after && broker.may_publish().await? {
            self.give_another_chance(number, broker.outside).await?;
        }
        Ok(())
    }

    /// Asks for what is missing of a file, and reads on in it as long as not too much is.
    async fn ask(&mut self, number: u64, outside: &impl Outside) -> Result<(), Away> {
        let elsewhere: usize = self
            .in_hand
            .iter()
            .filter(|(other, _)| **other != number)
            .map(|(_, file)| file.missing.len())
            .sum();
        let Some(file) = self.in_hand.get_mut(&number) else { return Ok(()) };
        let mut asked = 0;
        loop {
            while asked < file.missing.len() {
                let end = file.missing.len().min(asked + ASK_MAX);
                let still = still_missing(outside, &file.missing[asked..end]).await?;
                self.spool.note_confirmed(number, (end - asked - still.len()) as u64);
                file.missing.splice(asked..end, still.iter().copied());
                asked += still.len();
            }
            if file.evidence.is_read() || elsewhere + asked >= MISSING_MAX {
                return Ok(());
            }
            // missing until it has been found, whatever interrupts us
            file.missing.extend(file.evidence.read(ASK_MAX).await?);
            if let Some(total) = file.evidence.total() {
                self.spool.writer().files.note_clicks(number, total);
            }
        }
    }

    /// A file that cannot be read must not keep the others.
    fn pass_over(&mut self, number: u64, error: &ReadError) {
        let cause: &dyn std::error::Error = error;
        warn!(
            spool.segment = number,
            error = cause,
            "clicks of a spool file cannot be confirmed: it cannot be read"
        );
        if !error.is_lasting() {
            return;
        }
        self.in_hand.remove(&number);
        if let Err(error) = self.spool.put_aside(number, DAMAGED) {
            warn!(spool.segment = number, error = %error, "failed to put a damaged spool file aside");
        }
    }

    /// Publishes what is missing of a file again; if that has not helped for very long, the file is put aside.
    async fn give_another_chance(&mut self, number: u64, outside: &impl Outside) -> Result<(), Away> {
        let Some(file) = self.in_hand.get_mut(&number) else { return Ok(()) };
        let is_too_old = file.oldest().is_some_and(|oldest| Utc::now() - oldest > self.unconfirmed_age_max);
        if file.rounds > 0 && is_too_old {
            let clicks = file.missing.len();
            self.in_hand.remove(&number);
            return self.put_aside(number, clicks).map_err(|error| Away::Read(error.into()));
        }
        let is_owed = |missing: &&Missing| missing.offset >= file.publish_from;
        let owed: Vec<Missing> = file.missing.iter().filter(is_owed).copied().collect();
        for window in owed.chunks(self.window_max) {
            let messages: Vec<Outgoing> = file.evidence.messages(window).await?;
            let ids: Vec<String> = messages.iter().map(|message| message.id.clone()).collect();
            let mut failure = None;
            for (id, result) in ids.into_iter().zip(outside.publish_all(messages).await) {
                match result {
                    Ok(()) => self.spool.metrics.clicks_republished.inc(),
                    // the shipper has counted it as lost
                    Err(refusal) if refusal.is_permanent() => {
                        file.missing.retain(|missing| missing.id.to_string() != id);
                    }
                    Err(refusal) => failure = Some(refusal),
                }
            }
            if let Some(failure) = failure {
                self.spool.metrics.publish_failures.inc();
                return Err(failure.into());
            }
            file.publish_from = window.last().map_or(0, |last| last.offset + 1);
        }
        warn!(
            spool.segment = number,
            clicks = owed.len(),
            "clicks that the database does not hold were published again"
        );
        file.publish_from = 0;
        file.published_at = Instant::now();
        file.rounds += 1;
        file.pause = PAUSES.0;
        self.set_held_up(None);
        Ok(())
    }

    fn put_aside(&self, number: u64, clicks: usize) -> std::io::Result<()> {
        let aside = self.spool.put_aside(number, UNCONFIRMED)?;
        self.spool.metrics.clicks_put_aside.inc_by(clicks as u64);
        error!(
            path = %aside.display(),
            clicks,
            "clicks never reached the database, although they were published again: their file was put aside"
        );
        Ok(())
    }

    fn until_next(&self) -> Duration {
        let next = self.in_hand.values().map(|file| file.ask_at).min();
        next.map_or(PAUSES.1, |next| next.saturating_duration_since(Instant::now()))
    }

    /// One line when it begins and one when it ends.
    fn set_away(&mut self, failure: Option<&Away>) {
        match (self.is_away, failure) {
            (false, Some(failure)) => {
                let failure: &dyn std::error::Error = failure;
                warn!(error = failure, "clicks are not confirmed at the moment: the spool keeps them");
            }
            (true, None) => info!("clicks are confirmed again"),
            _ => {}
        }
        self.is_away = failure.is_some();
    }

    /// One line when it begins and one when it ends.
    fn set_held_up(&mut self, failure: Option<&Away>) {
        match (self.is_held_up, failure) {
            (false, Some(failure)) => {
                let failure: &dyn std::error::Error = failure;
                warn!(
                    error = failure,
                    "clicks that the database does not hold cannot be published again at the moment"
                );
            }
            (true, None) => info!("clicks are published again where the database does not hold them"),
            _ => {}
        }
        self.is_held_up = failure.is_some();
    }
}

impl InHand {
    fn new(path: std::path::PathBuf, end: u64) -> Self {
        let now = Instant::now();
        Self {
            evidence: Evidence::new(path, end),
            missing: Vec::new(),
            published_at: now,
            rounds: 0,
            publish_from: 0,
            ask_at: now,
            pause: PAUSES.0,
        }
    }

    fn is_confirmed(&self) -> bool {
        self.evidence.is_read() && self.missing.is_empty()
    }

    fn oldest(&self) -> Option<DateTime<Utc>> {
        self.missing.iter().map(|missing| missing.id.timestamp()).min()
    }
}

async fn still_missing(outside: &impl Outside, clicks: &[Missing]) -> Result<Vec<Missing>, Away> {
    if clicks.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<ClickId> = clicks.iter().map(|click| click.id).collect();
    let held = outside.held(&ids).await?;
    Ok(clicks.iter().filter(|click| !held.contains(&click.id)).copied().collect())
}
