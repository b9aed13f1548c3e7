//! Puts the service together, runs it, and ends it in order.

#[cfg(test)]
pub(crate) mod parts;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bus::{Bus, Changed, Consumer, ConsumerMetrics, ConsumerName, Limits, Table, VerifyError};
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
use crate::batching::Batches;
use crate::checkpointer::Checkpointer;
use crate::courier::Courier;
use crate::dispatch::{self, Dispatcher};
use crate::endpoints::Endpoints;
use crate::fetch_notices::FetchNotices;
use crate::health::Health;
use crate::lanes::Lanes;
use crate::life::Life;
use crate::lines::Lines;
use crate::matching::Matching;
use crate::metrics::Metrics;
use crate::own_events::{self, OwnEvents};
use crate::reconciler::Reconciler;
use crate::recorder::{Recorder, Recording};
use crate::replayer::Replayer;
use crate::runs::Runner;
use crate::sender::Sender;
use crate::settings::{DeliverSettings, Settings};
use crate::sparing::Sparing;
use crate::test_requests::Tester;
use crate::tidying::Tidying;

/// Pause before an absent broker or database is asked again.
const VERIFY_PAUSE: Duration = Duration::from_secs(2);

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
        settings.validate().map_err(|error| anyhow!(error))?;
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
        let bus = Bus::connect(&settings.nats, "clickwire-deliver").await?;
        let sender = Sender::new(&deliver.send())?.with_traces(Traces::new(&settings.telemetry));

        let lanes = Lanes::new(deliver.in_flight_max, deliver.max_in_flight);
        let endpoints =
            Endpoints::new(pool.clone(), keyring, lanes.clone(), deliver.endpoints_max, metrics.clone());
        let endpoints = Arc::new(endpoints.with_site(site).held_to(deliver.ownership));
        let health = Arc::new(Health::default());
        let attempter =
            Attempter::new(sender.clone(), Arc::clone(&health), metrics.clone(), deliver.retry_after_max);
        let attempter = Arc::new(attempter);
        let (tasks, work) = (TaskTracker::new(), Arc::new(Notify::new()));
        let notices = Arc::new(FetchNotices { bus: bus.clone(), tasks: tasks.clone() });
        let (recorder, recording) =
            Recorder::new(pool.clone(), deliver.lease, Arc::clone(&work), metrics.clone());
        let dispatcher = Dispatcher {
            matching: Matching {
                endpoints: Arc::clone(&endpoints),
                pool: pool.clone(),
                metrics: metrics.clone(),
            },
            attempter: Arc::clone(&attempter),
            recorder: Arc::clone(&recorder),
            pool: pool.clone(),
            patience: deliver.patience,
            tasks: tasks.clone(),
            work: Arc::clone(&work),
            notices: Arc::clone(&notices),
            metrics: metrics.clone(),
            in_hand: Mutex::default(),
            at_once: dispatch::at_once(),
            begin_max: dispatch::BEGIN_MAX,
        };
        let alerts = Arc::new(Alerts {
            endpoints: Arc::clone(&endpoints),
            pool: pool.clone(),
            work: Arc::clone(&work),
            metrics: metrics.clone(),
            pause: deliver.alert_pause,
            counted: Notify::new(),
        });
        let own_events = OwnEvents {
            endpoints: Arc::clone(&endpoints),
            alerts: Arc::clone(&alerts),
            pool: pool.clone(),
            work: Arc::clone(&work),
            notices,
            metrics: metrics.clone(),
        };
        let tidying = Tidying {
            endpoints: Arc::clone(&endpoints),
            pool: pool.clone(),
            pause_hold: deliver.pause_hold,
            work: Arc::clone(&work),
            metrics: metrics.clone(),
        };
        let runner = Runner {
            endpoints: Arc::clone(&endpoints),
            attempter,
            recorder,
            pool: pool.clone(),
            patience: deliver.patience,
            tasks,
            work: Arc::clone(&work),
            metrics: metrics.clone(),
        };
        let courier = Courier {
            endpoints: Arc::clone(&endpoints),
            lanes,
            runner,
            pool: pool.clone(),
            poll_interval: deliver.poll_interval,
            work,
            round: Mutex::default(),
            batches: Batches::default(),
            lines: Lines::default(),
            metrics,
        };
        let limits = Limits {
            batch_max: deliver.batch_max,
            batches_max: deliver.batches_max,
            handle_timeout: dispatch::HANDLE_TIMEOUT,
            drain_timeout: deliver.drain_timeout,
        };
        let consumer = Consumer::new(&bus, ConsumerName::Deliver, limits, consumer_metrics.clone());
        ops.check("deliver", consumer.progress());
        let own_limits =
            Limits { batch_max: own_events::BATCH_MAX, batches_max: own_events::BATCHES_MAX, ..limits };
        let own_consumer = Consumer::new(&bus, ConsumerName::DeliverEvents, own_limits, consumer_metrics);
        ops.check("deliver-events", own_consumer.progress());
        let (table, max_age) = (Arc::clone(&endpoints), deliver.endpoints_refresh * REFRESHES_MISSED_MAX);
        ops.check("endpoints", move || table.check_age(max_age));
        Ok(Self {
            bus,
            pool,
            consumer,
            dispatcher: Arc::new(dispatcher),
            own_consumer,
            own_events: Arc::new(own_events),
            alerts,
            courier: Arc::new(courier),
            tidying: Arc::new(tidying),
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

    /// Everything that runs beside the two lanes; none of it ends before `aside`.
    fn spawn_beside(&self, beside: &mut JoinSet<anyhow::Result<()>>, aside: &CancellationToken) {
        let endpoints = Arc::clone(&self.courier.endpoints);
        let (bus, max_age, stop) = (self.bus.clone(), self.settings.endpoints_refresh, aside.clone());
        beside.spawn(ended(async move { endpoints.follow(bus, max_age, stop).await }));
        let recorder = Arc::clone(&self.dispatcher.recorder);
        beside.spawn(ended(async move { recorder.renew().await }));
        let (tidying, stop) = (Arc::clone(&self.tidying), aside.clone());
        beside.spawn(ended(async move { tidying.run(stop).await }));
        let (alerts, stop) = (Arc::clone(&self.alerts), aside.clone());
        beside.spawn(ended(async move { alerts.run(stop).await }));
        let replayer = Replayer {
            pool: self.pool.clone(),
            work: Arc::clone(&self.courier.work),
            metrics: self.courier.metrics.clone(),
        };
        let stop = aside.clone();
        beside.spawn(ended(async move { replayer.run(stop).await }));
        let checkpointer =
            Checkpointer { endpoints: Arc::clone(&self.courier.endpoints), pool: self.pool.clone() };
        let stop = aside.clone();
        beside.spawn(ended(async move { checkpointer.run(stop).await }));
        let reconciler = Reconciler {
            endpoints: Arc::clone(&self.courier.endpoints),
            pool: self.pool.clone(),
            bus: self.bus.clone(),
            work: Arc::clone(&self.courier.work),
            metrics: self.courier.metrics.clone(),
        };
        let stop = aside.clone();
        beside.spawn(ended(async move { reconciler.run(stop).await }));
        let (tester, bus, stop) = (self.tester.clone(), self.bus.clone(), aside.clone());
        beside.spawn(ended(async move {
            let answer = |request| {
                let tester = tester.clone();
                async move { tester.answer(request).await }
            };
            bus.serve_tests(answer, stop).await;
        }));
        let (health, pool, bus) = (Arc::clone(&self.health), self.pool.clone(), self.bus.clone());
        let (endpoints, stop) = (Arc::clone(&self.courier.endpoints), aside.clone());
        let life = Life::new(pool.clone(), self.settings.auto_disable());
        let metrics = self.courier.metrics.clone();
        beside.spawn(ended(async move {
            tell_health(&health, life, &pool, &bus, &endpoints, &metrics, stop).await;
        }));
    }
}

/// A part that ends when it is told to.
async fn ended(part: impl Future<Output = ()>) -> anyhow::Result<()> {
    part.await;
    Ok(())
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

/// Writes down what was learned about endpoints, and tells everybody when one was disabled.
async fn tell_health(
    health: &Health,
    mut life: Life,
    pool: &Pool,
    bus: &Bus,
    endpoints: &Endpoints,
    metrics: &Metrics,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = health.due() => {}
        }
        let mut disabled = match health.write(pool).await {
            Ok(disabled) => disabled,
            Err(error) => {
                warn!(error = format!("{error:#}"), "failed to write down the health of endpoints");
                tokio::time::sleep(VERIFY_PAUSE).await;
                continue;
            }
        };
        match life.look_if_due().await {
            Ok(failing) => disabled.extend(failing),
            Err(error) => warn!(error = format!("{error:#}"), "failed to look after endpoints"),
        }
        metrics.endpoints_disabled.inc_by(disabled.len() as u64);
        for (workspace_id, endpoint_id) in &disabled {
            info!(%endpoint_id, "an endpoint is gone or has only failed, and was disabled");
            let keys = vec![endpoint_id.to_string()];
            bus.notify(&Changed { table: Table::Endpoints, workspace_id: *workspace_id, keys }).await;
        }
        if !disabled.is_empty()
            && let Err(error) = endpoints.refresh().await
        {
            warn!(error = format!("{error:#}"), "failed to load the endpoints again");
        }
    }
}

/// Waits for an absent database and an absent broker; what only an operator can mend is an error.
async fn verify(pool: &Pool, bus: &Bus, stop: &CancellationToken) -> anyhow::Result<()> {
    loop {
        let Some(result) = stop.run_until_cancelled(verify_once(pool, bus)).await else { return Ok(()) };
        let Some(absent) = result? else { return Ok(()) };
        let of_broker = absent.downcast_ref::<VerifyError>();
        let awaited = of_broker.map_or("the database is away, waiting for it", VerifyError::awaited);
        warn!(error = format!("{absent:#}"), "{awaited}");
        stop.run_until_cancelled(tokio::time::sleep(VERIFY_PAUSE)).await;
    }
}

/// What is away, if anything is.
async fn verify_once(pool: &Pool, bus: &Bus) -> anyhow::Result<Option<anyhow::Error>> {
    let mut conn = match pool.get().await {
        Ok(conn) => conn,
        Err(error) => return Ok(Some(error.into())),
    };
    match store::verify(&mut conn).await {
        Err(error @ store::VerifyError::Pending { .. }) => return Err(error.into()),
        Err(error) => return Ok(Some(error.into())),
        Ok(()) => {}
    }
    drop(conn);
    match bus.verify().await {
        Ok(()) => Ok(None),
        Err(error) if error.is_awaited() => Ok(Some(error.into())),
        Err(error) => Err(error.into()),
    }
}
