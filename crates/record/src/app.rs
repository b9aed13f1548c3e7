//! Puts the service together and runs it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::{Bus, Consumer, ConsumerMetrics, ConsumerName};
use service::ops::Ops;
use service::parts::ended;
use store::Pool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::erasures;
use crate::first_clicks;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::partitions;
use crate::quarantine::QuarantineKeeper;
use crate::recorder::Recorder;
use crate::rollups::{AUDIT_EVERY, Rollups};
use crate::room;
use crate::settings::{RecordSettings, Settings};

/// Pause before an absent database is asked for its tables again.
const VERIFY_PAUSE: Duration = Duration::from_secs(2);

/// The service, ready to run.
pub struct App {
    bus: Bus,
    pool: Pool,
    settings: RecordSettings,
    metrics: Metrics,
    clicks: Consumer,
    quarantine: Consumer,
    /// Its own ops port, unless it shares another's.
    ops: Option<(TcpListener, Ops)>,
}

impl App {
    /// The service with an ops port of its own.
    ///
    /// # Errors
    /// What is wrong with a setting or the ops address.
    pub async fn build(settings: Settings) -> anyhow::Result<Self> {
        let addr = settings.record.ops_addr;
        let listener = TcpListener::bind(addr)
            .with_context(|| format!("record.ops_addr: failed to listen on {addr}"))?;
        let ops = Ops::new();
        let app = Self::build_with(settings, ops.clone()).await?;
        Ok(Self { ops: Some((listener, ops)), ..app })
    }

    /// The service as a part of a process whose ops port is served elsewhere.
    ///
    /// # Errors
    /// What is wrong with a setting.
    pub async fn build_with(settings: Settings, ops: Ops) -> anyhow::Result<Self> {
        settings.validate()?;
        let metrics = Metrics::register(ops.registry()).context("failed to register metrics")?;
        let consumer_metrics =
            ConsumerMetrics::register(ops.registry(), "record").context("failed to register metrics")?;
        let watched = service::expiry::Watched {
            nats_creds: settings.nats.creds.clone(),
            nats_servers: settings.nats.servers(),
            database_servers: settings.database.encrypted_servers(),
        };
        ops.watch_expiry("record", watched)?;
        let pool = Pool::connect(&settings.database)?;
        let bus = Bus::connect(&settings.nats, "record").await?;
        let consumer = |name| Consumer::new(&bus, name, settings.record.limits(), consumer_metrics.clone());
        let (clicks, quarantine) = (consumer(ConsumerName::Record), consumer(ConsumerName::Quarantine));
        ops.check("record", clicks.progress());
        ops.check("quarantine", quarantine.progress());
        Ok(Self { bus, pool, settings: settings.record, metrics, clicks, quarantine, ops: None })
    }

    /// Where the ops port listens, when it is this service's own.
    pub fn ops_addr(&self) -> Option<SocketAddr> {
        self.ops.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Records until `stop`, then drains.
    ///
    /// # Errors
    /// When the streams are missing, the broker is too old, or a part ended by itself.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        // when one part ends, the others do
        let stop_all = stop.child_token();
        let _guard = stop_all.clone().drop_guard();
        let mut parts: JoinSet<anyhow::Result<()>> = JoinSet::new();
        if let Some((listener, ops)) = self.ops.take() {
            let stop = stop_all.clone();
            parts.spawn(async move { ops.serve(listener, stop).await.context("the ops port failed") });
        }
        // the outbox and the partitions need no stream that `setup` has not made: they begin with the consumers
        self.bus.wait_verified(&stop_all).await?;
        verify_tables(&self.pool, &stop_all).await?;
        self.spawn_parts(&mut parts, &stop_all);
        while let Some(ended) = parts.join_next().await {
            let by_itself = !stop_all.is_cancelled();
            stop_all.cancel();
            ended.context("a part panicked")??;
            anyhow::ensure!(!by_itself, "a part ended by itself");
        }
        info!("record has stopped");
        Ok(())
    }

    /// Begins everything that records, counts and tidies up; none of it ends before `stop`.
    fn spawn_parts(self, parts: &mut JoinSet<anyhow::Result<()>>, stop: &CancellationToken) {
        let Self { bus, pool, settings, metrics, clicks, quarantine, ops: _ } = self;
        let recorder =
            Arc::new(Recorder::new(pool.clone(), bus.clone(), settings.retry_delay, metrics.clone()));
        let keeper = Arc::new(QuarantineKeeper::new(pool.clone(), settings.retry_delay, metrics.clone()));
        let rollups =
            Rollups::new(pool.clone(), settings.rollup_pause, settings.rollups_kept_days, metrics.clone());
        let outbox = Outbox::new(pool.clone(), bus.publisher(), settings.outbox_batch_max, metrics);
        let range = partitions::Range {
            days_ahead: settings.partitions_days_ahead,
            days_kept: settings.deliveries_kept_days,
            attempts_kept: settings.attempts_kept_days,
            clicks_kept: settings.clicks_kept_days,
            rollups_kept: settings.rollups_kept_days,
        };
        parts.spawn({
            let stop = stop.clone();
            async move { clicks.run(recorder, stop).await.context("the consumer of clicks ended") }
        });
        parts.spawn({
            let stop = stop.clone();
            async move { quarantine.run(keeper, stop).await.context("the consumer of the quarantine ended") }
        });
        parts.spawn(ended(outbox.run(settings.outbox_poll, stop.clone())));
        parts.spawn(ended(partitions::keep(pool.clone(), settings.partitions_every, range, stop.clone())));
        parts.spawn(ended(erasures::work(pool.clone(), bus.clone(), stop.clone())));
        parts.spawn(ended(first_clicks::forget_old(pool, stop.clone())));
        parts.spawn(ended(rollups.run(AUDIT_EVERY, stop.clone())));
        parts.spawn(ended(room::keep(bus, settings.room_every, stop.clone())));
    }
}

/// Waits for an absent database; what only an operator can mend is an error.
async fn verify_tables(pool: &Pool, stop: &CancellationToken) -> anyhow::Result<()> {
    loop {
        let Some(result) = stop.run_until_cancelled(ask_tables(pool)).await else { return Ok(()) };
        match result {
            Ok(()) => return Ok(()),
            Err(error) if matches!(error.downcast_ref(), Some(store::VerifyError::Pending { .. })) => {
                return Err(error);
            }
            Err(error) => {
                warn!(error = format!("{error:#}"), "the database is away, waiting for it");
                stop.run_until_cancelled(tokio::time::sleep(VERIFY_PAUSE)).await;
            }
        }
    }
}

async fn ask_tables(pool: &Pool) -> anyhow::Result<()> {
    let mut conn = pool.get().await?;
    Ok(store::verify(&mut conn).await?)
}
