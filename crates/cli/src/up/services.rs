//! The five services in this process, with one ops port for all.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use service::ops::Ops;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::layers::Layers;

use super::addresses::Addresses;

/// A start that takes longer says what it waits for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pause between two looks at readiness while starting.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Running services.
pub(super) struct Services {
    ops: Ops,
    tasks: Mutex<JoinSet<anyhow::Result<()>>>,
}

impl Services {
    /// Builds and starts them, those at the end of a click's way first.
    pub(super) async fn start(
        layers: &Layers,
        ours: &toml::Table,
        addresses: &Addresses,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let ops = Ops::new();
        let listener = TcpListener::bind(addresses.ops)
            .with_context(|| format!("cannot listen on {} for health and metrics", addresses.ops))?;
        let mut tasks = JoinSet::new();
        macro_rules! start {
            ($($service:ident)+) => {$(
                let name = stringify!($service);
                let settings: $service::Settings = layers.load($service::Settings::DEFAULTS, ours)?;
                settings.validate()?;
                let app = $service::App::build_with(settings, ops.clone())
                    .await
                    .with_context(|| format!("{name} cannot start"))?;
                let token = stop.clone();
                tasks.spawn(async move { app.run(token).await.with_context(|| format!("{name} failed")) });
            )+};
        }
        start!(record deliver enrich api redirect);
        let serving = ops.clone().serve(listener, stop);
        tasks.spawn(async move { serving.await.context("health and metrics failed") });
        Ok(Self { ops, tasks: Mutex::new(tasks) })
    }

    /// Waits until every readiness check passes.
    pub(super) async fn ready(&self) {
        let mut asked_at = Instant::now();
        loop {
            let readiness = self.ops.readiness();
            if readiness.ready {
                return;
            }
            if asked_at.elapsed() > PATIENCE {
                asked_at = Instant::now();
                warn!(waiting_for = readiness.failing(), "not ready yet");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until one of them ends by itself, which is a fault.
    pub(super) async fn ended(&self) -> anyhow::Result<()> {
        match self.tasks.lock().await.join_next().await {
            Some(Ok(Ok(()))) => Err(anyhow!("a service ended by itself")),
            Some(Ok(Err(error))) => Err(error),
            Some(Err(panic)) => Err(anyhow!(panic).context("a service panicked")),
            None => Ok(()),
        }
    }

    /// Waits until all have ended, after they were told to stop.
    pub(super) async fn drain(self) -> anyhow::Result<()> {
        let mut tasks = self.tasks.into_inner();
        let mut result = Ok(());
        while let Some(ended) = tasks.join_next().await {
            let ended = ended.map_err(|panic| anyhow!(panic).context("a service panicked")).flatten();
            result = result.and(ended);
        }
        result
    }
}
