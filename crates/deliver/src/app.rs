//! Puts the service together, runs it, and ends it in order.

mod beside;
#[cfg(test)]
pub(crate) mod parts;
mod shared;
mod verify;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bus::{Bus, Consumer, ConsumerMetrics, ConsumerName, Limits};
use service::ops::Ops;
use service::telemetry::Traces;
use store::Pool;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use webhook::Site;

use crate::alerts::Alerts;
use crate::attempter::Attempter;
use crate::courier::Courier;
use crate::dispatch::{self, Dispatcher};
use crate::endpoints::Endpoints;
use crate::fetch_notices::FetchNotices;
use crate::health::Health;
use crate::lanes::Lanes;
use crate::metrics::Metrics;
use crate::own_events::{self, OwnEvents};
use crate::recorder::{Recorder, Recording};
use crate::sender::Sender;
use crate::settings::{DeliverSettings, Settings};
use crate::sparing::Sparing;
use crate::test_requests::Tester;
use crate::tidying::Tidying;
use shared::Shared;
use verify::verify;

/// How often the table of endpoints may fail to be refreshed before we are not ready.
const REFRESHES_MISSED_MAX: u32 = 4;

/// The service, ready to run.
pub struct App {
    settings: DeliverSettings,
    bus: Bus,
    pool: Pool,
    consumer: Consumer,
    dispatcher: Arc<Dispatcher>,
    own_consumer: Consumer,
    own_events: Arc<OwnEvents>,
    alerts: Arc<Alerts>,
    courier: Arc<Courier>,
    tidying: Arc<Tidying>,
    recording: Recording,
    health: Arc<Health>,
    tester: Tester,
    /// Its own ops port, unless it shares another's.
    ops: Option<(TcpListener, Ops)>,
}

impl App {
    /// The service with an ops port of its own.
    ///
    /// # Errors
    /// What is wrong with a setting, a key, the CA store or the ops address.
    pub async fn build(settings: Settings) -> anyhow::Result<Self> {
        let addr = settings.deliver.ops_addr;
        let listener = TcpListener::bind(addr)
            .with_context(|| format!("deliver.ops_addr: failed to listen on {addr}"))?;
        let ops = Ops::new();
        let app = Self::build_with(settings, ops.clone()).await?;
        Ok(Self { ops: Some((listener, ops)), ..app })
    }

    /// The service as a part of a process whose ops port is served elsewhere.
    ///
    /// # Errors
    /// What is wrong with a setting, a key or the CA store.
    pub async fn build_with(settings: Settings, ops: Ops) -> anyhow::Result<Self> {
        settings.validate()?;
        service::tls::install_provider();
        let deliver = settings.deliver;
        let site = Site::new(&settings.api.public_url);
        let keyring = settings.sealing.resolve(|path| std::fs::read_to_string(path))?;
        let metrics = Metrics::register(ops.registry()).context("failed to register metrics")?;
        let consumer_metrics =
            ConsumerMetrics::register(ops.registry(), "deliver").context("failed to register metrics")?;
        let watched = service::expiry::Watched {
            nats_creds: settings.nats.creds.clone(),
            nats_servers: settings.nats.servers(),
            database_servers: settings.database.encrypted_servers(),
        };
        ops.watch_expiry("deliver", watched)?;
        let pool = Pool::through_indexes(&settings.database)?;
        let bus = Bus::connect(&settings.nats, "deliver").await?;
        let sender = Sender::new(&deliver.send())?.with_traces(Traces::new(&settings.telemetry));

        let lanes = Lanes::new(deliver.in_flight_max, deliver.max_in_flight);
        let endpoints =
            Endpoints::new(pool.clone(), keyring, lanes.clone(), deliver.endpoints_max, metrics.clone());
        let endpoints = Arc::new(endpoints.with_site(site).held_to(deliver.ownership));
        let health = Arc::new(Health::default());
        let attempter =
            Attempter::new(sender.clone(), Arc::clone(&health), metrics.clone(), deliver.retry_after_max);
        let (tasks, work) = (TaskTracker::new(), Arc::new(Notify::new()));
        let (recorder, recording) =
            Recorder::new(pool.clone(), deliver.lease, Arc::clone(&work), metrics.clone());
        let shared = Shared {
            endpoints: Arc::clone(&endpoints),
            attempter: Arc::new(attempter),
            recorder,
            notices: Arc::new(FetchNotices { bus: bus.clone(), tasks: tasks.clone() }),
            pool: pool.clone(),
            tasks,
            work,
            metrics,
        };
        let alerts = Arc::new(shared.alerts(deliver.alert_pause));
        let (consumer, own_consumer) = consumers(&bus, &deliver, consumer_metrics);
        ops.check("deliver", consumer.progress());
        ops.check("deliver-events", own_consumer.progress());
        let (table, max_age) = (Arc::clone(&endpoints), deliver.endpoints_refresh * REFRESHES_MISSED_MAX);
        ops.check("endpoints", move || table.check_age(max_age));
        Ok(Self {
            bus,
            pool,
            consumer,
            dispatcher: Arc::new(shared.dispatcher(deliver.patience)),
            own_consumer,
            own_events: Arc::new(shared.own_events(&alerts)),
            alerts,
            courier: Arc::new(shared.courier(lanes, &deliver)),
            tidying: Arc::new(shared.tidying(deliver.pause_hold)),
            recording,
            health,
            tester: Tester { endpoints, sender, sparing: Sparing::default() },
            settings: deliver,
            ops: None,
        })
    }

    /// Where the ops port listens, when it is this service's own.
    pub fn ops_addr(&self) -> Option<SocketAddr> {
        self.ops.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Delivers until `stop`, then drains: finishes what is in hand, hands back what cannot be finished in time.
    ///
    /// # Errors
    /// When tables or streams are missing, or a part ended by itself.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        // what stands beside the work ends after it, also when the work fails
        let aside = CancellationToken::new();
        let _guard = aside.clone().drop_guard();
        let mut beside = JoinSet::new();
        if let Some((listener, ops)) = self.ops.take() {
            let aside = aside.clone();
            beside.spawn(async move { ops.serve(listener, aside).await.context("the ops port failed") });
        }
        verify(&self.pool, &self.bus, &stop).await?;
        if stop.is_cancelled() {
            return Ok(());
        }
        let finish = CancellationToken::new();
        self.spawn_beside(&mut beside, &aside);
        let recording = tokio::spawn(self.recording.run(finish.clone()));

        let courier = Arc::clone(&self.courier);
        let (stop_of_work, dispatcher) = (stop.child_token(), Arc::clone(&self.dispatcher));
        let work = async {
            let consumer = self.consumer.run(dispatcher, stop_of_work.clone());
            let own_events = self.own_consumer.run(self.own_events, stop_of_work.clone());
            let stopped_at = async {
                stop_of_work.cancelled().await;
                Instant::now()
            };
            let (consumed, own_events, (), stopped_at) =
                tokio::join!(consumer, own_events, courier.run(stop_of_work.clone()), stopped_at);
            consumed.and(own_events).context("a consumer ended").map(|()| stopped_at)
        };
        let result = tokio::select! {
            result = work => result,
            Some(ended) = beside.join_next() => match ended {
                Ok(Ok(())) => Err(anyhow!("a part of the service ended by itself")),
                Ok(Err(error)) => Err(error),
                Err(error) => Err(error).context("a part of the service failed"),
            },
        };
        let stopped_at = result.as_ref().copied().unwrap_or_else(|_| Instant::now());
        drain(&self.courier, recording, finish, stopped_at + self.settings.drain_timeout).await;
        if let Err(error) = self.health.write(&self.pool).await {
            warn!(
                error = format!("{error:#}"),
                "what was learned about endpoints in the last second is lost"
            );
        }
        info!("deliver has stopped");
        result.map(|_| ())
    }
}

/// The consumer of clicks, and that of our own events.
fn consumers(bus: &Bus, settings: &DeliverSettings, metrics: ConsumerMetrics) -> (Consumer, Consumer) {
    let limits = Limits {
        batch_max: settings.batch_max,
        batches_max: settings.batches_max,
        gather: Duration::ZERO,
        handle_timeout: dispatch::HANDLE_TIMEOUT,
        drain_timeout: settings.drain_timeout,
    };
    let own_limits =
        Limits { batch_max: own_events::BATCH_MAX, batches_max: own_events::BATCHES_MAX, ..limits };
    let clicks = Consumer::new(bus, ConsumerName::Deliver, limits, metrics.clone());
    let own_events = Consumer::new(bus, ConsumerName::DeliverEvents, own_limits, metrics);
    (clicks, own_events)
}

/// Finishes what is in flight; what is not finished in time is handed back.
async fn drain(courier: &Courier, recording: JoinHandle<()>, finish: CancellationToken, deadline: Instant) {
    courier.runner.tasks.close();
    let in_time = async {
        courier.runner.tasks.wait().await;
        finish.cancel();
        recording.await
    };
    match tokio::time::timeout_at(deadline, in_time).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "storing results failed"),
        Err(_) => warn!("requests were still in flight when time was up"),
    }
    finish.cancel();
    if let Err(error) = courier.runner.recorder.give_back_all().await {
        warn!(error = format!("{error:#}"), "leases could not be given back; they end by themselves");
    }
    if let Err(error) = courier.let_go().await {
        warn!(error = format!("{error:#}"), "endpoints could not be let go; others wait for them a little");
    }
}
