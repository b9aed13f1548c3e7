//! Puts the service together and runs it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::{Bus, Consumer, ConsumerMetrics, ConsumerName, Limits};
use service::ops::Ops;
use service::parts::ended;
use service::telemetry::Traces;
use store::Pool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::enricher::Enricher;
use crate::first_clicks::FirstClicks;
use crate::look_up::LookUp;
use crate::metrics::Metrics;
use crate::settings::{EnrichSettings, Settings};
use crate::visitor::VisitorKeys;

/// The service, ready to run: rules are compiled and location files read.
pub struct App {
    bus: Bus,
    consumer: Consumer,
    enricher: Enricher,
    look_up: Arc<LookUp>,
    geo_poll: Duration,
    agents_poll: Duration,
    /// Its own ops port, unless it shares another's.
    ops: Option<(TcpListener, Ops)>,
}

impl App {
    /// The service with an ops port of its own.
    ///
    /// # Errors
    /// What is wrong with a setting, a file or the ops address.
    pub async fn build(settings: Settings) -> anyhow::Result<Self> {
        let addr = settings.enrich.ops_addr;
        let listener = TcpListener::bind(addr)
            .with_context(|| format!("enrich.ops_addr: failed to listen on {addr}"))?;
        let ops = Ops::new();
        let app = Self::build_with(settings, ops.clone()).await?;
        Ok(Self { ops: Some((listener, ops)), ..app })
    }

    /// The service as a part of a process whose ops port is served elsewhere.
    ///
    /// # Errors
    /// What is wrong with a setting or a file.
    pub async fn build_with(settings: Settings, ops: Ops) -> anyhow::Result<Self> {
        settings.validate()?;
        let enrich = settings.enrich;
        let metrics = Arc::new(Metrics::register(ops.registry()).context("failed to register metrics")?);
        let consumer_metrics =
            ConsumerMetrics::register(ops.registry(), "enrich").context("failed to register metrics")?;
        let watched = service::expiry::Watched {
            nats_creds: settings.nats.creds.clone(),
            nats_servers: settings.nats.servers(),
            database_servers: settings.database.encrypted_servers(),
        };
        ops.watch_expiry("enrich", watched)?;
        let pool = Pool::connect(&settings.database)?;
        let bus = Bus::connect(&settings.nats, "enrich").await?;
        let look_up = Arc::new(open(&enrich, &metrics).await?);
        let first_clicks = FirstClicks::new(pool, enrich.first_click_timeout, enrich.first_click_pause);
        let enricher =
            Enricher::new(Arc::clone(&look_up), visitors(&enrich), first_clicks, bus.clone(), metrics)
                .with_traces(Traces::new(&settings.telemetry));
        let limits = Limits {
            batch_max: enrich.batch_max,
            batches_max: enrich.batches_max,
            gather: Duration::ZERO,
            handle_timeout: enrich.batch_timeout,
            drain_timeout: enrich.drain_timeout,
        };
        let consumer = Consumer::new(&bus, ConsumerName::Enrich, limits, consumer_metrics);
        ops.check("enrich", consumer.progress());
        Ok(Self {
            bus,
            consumer,
            enricher,
            look_up,
            geo_poll: enrich.geo_poll,
            agents_poll: enrich.agents_poll,
            ops: None,
        })
    }

    /// Where the ops port listens, when it is this service's own.
    pub fn ops_addr(&self) -> Option<SocketAddr> {
        self.ops.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Enriches until `stop`, then drains.
    ///
    /// # Errors
    /// When the streams are missing, the broker is too old, or a part ended by itself.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        // what stands beside the work ends after it, also when the work fails
        let aside = CancellationToken::new();
        let _guard = aside.clone().drop_guard();
        let mut beside: JoinSet<anyhow::Result<()>> = JoinSet::new();
        let geo = Arc::clone(self.look_up.geo());
        beside.spawn(ended(geo.watch(self.geo_poll, aside.clone())));
        beside.spawn(ended(self.look_up.watch_agents(self.agents_poll, aside.clone())));
        if let Some((listener, ops)) = self.ops {
            let serving = ops.serve(listener, aside.clone());
            beside.spawn(async move { serving.await.context("failed to serve the ops port") });
        }
        let work = async {
            self.bus.wait_verified(&stop).await?;
            let enricher = Arc::new(self.enricher);
            tokio::select! {
                ended = self.consumer.run(Arc::clone(&enricher), stop.clone()) => ended.context("the consumer ended"),
                () = enricher.forget_old() => Ok(()),
            }
        };
        tokio::select! {
            result = work => result?,
            Some(ended) = beside.join_next() => {
                ended.context("a part of enrich panicked")??;
                anyhow::bail!("a part of enrich ended by itself");
            }
        }
        aside.cancel();
        while let Some(ended) = beside.join_next().await {
            ended.context("a part of enrich panicked")??;
        }
        info!("enrich has stopped");
        Ok(())
    }
}

async fn open(settings: &EnrichSettings, metrics: &Arc<Metrics>) -> anyhow::Result<LookUp> {
    let (settings, metrics) = (settings.clone(), Arc::clone(metrics));
    tokio::task::spawn_blocking(move || LookUp::open(&settings, metrics))
        .await
        .context("opening the data failed")?
}

fn visitors(settings: &EnrichSettings) -> VisitorKeys {
    VisitorKeys::new(settings.visitor_secret.as_ref().map(|secret| secret.bytes()).unwrap_or_default())
}
