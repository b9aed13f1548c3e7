//! What runs beside the two lanes.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Changed, Table};
use service::parts::ended;
use store::Pool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::App;
use crate::checkpointer::Checkpointer;
use crate::endpoints::Endpoints;
use crate::health::Health;
use crate::life::Life;
use crate::metrics::Metrics;
use crate::reconciler::Reconciler;
use crate::replayer::Replayer;

/// Pause after the database did not take what was learned about endpoints.
const HEALTH_PAUSE: Duration = Duration::from_secs(2);

impl App {
    /// Everything that runs beside the two lanes; none of it ends before `aside`.
    pub(super) fn spawn_beside(&self, beside: &mut JoinSet<anyhow::Result<()>>, aside: &CancellationToken) {
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
                tokio::time::sleep(HEALTH_PAUSE).await;
                continue;
            }
        };
        match life.look_if_due().await {
            Ok(failing) => disabled.extend(failing),
            Err(error) => warn!(error = format!("{error:#}"), "failed to look after endpoints"),
        }
        metrics.endpoints_disabled.inc_by(disabled.len() as u64);
        for (workspace_id, endpoint_id) in &disabled {
            info!(endpoint.id = %endpoint_id, "an endpoint is gone or has only failed, and was disabled");
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
