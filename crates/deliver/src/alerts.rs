//! Alerts: what the alert URL of a workspace is told, and how seldom of dead deliveries.
//!
//! An alert is a delivery like another: same lane, signature, retries and log. Most are made when their event is
//! ([`own_events`](crate::own_events)). Dead deliveries come in floods: they are counted for each endpoint, and one alert tells of
//! all that were counted since the one before. What is counted within the pause is told when it is over.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use model::event_type::{DELIVERY_DEAD, LINK_CLICKED};
use model::{DeliveryId, EventId};
use serde_json::{Map, Value, json};
use store::alerts::{self, Dead};
use store::deliveries::{self, NewDelivery, Owed};
use store::{AsyncConnection as _, Connection, Pool, subscriptions};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;
use webhook::OwnEvent;

use crate::endpoint::Endpoint;
use crate::endpoints::{EndpointTable, Endpoints};
use crate::metrics::Metrics;

/// Most endpoints whose dead deliveries are told of in one statement.
const TOLD_MAX: i64 = 100;

/// Looks within the pause between two alerts, and the shortest and longest time between two looks.
const LOOKS: u32 = 10;
const LOOK_MIN: Duration = Duration::from_secs(1);
const LOOK_MAX: Duration = Duration::from_secs(15);

/// Tells alert URLs of dead deliveries.
pub struct Alerts {
    /// Who is the alert URL of whom.
    pub endpoints: Arc<Endpoints>,
    /// Counts, and takes the alerts.
    pub pool: Pool,
    /// Tells the courier that there is work.
    pub work: Arc<Notify>,
    /// Counts.
    pub metrics: Metrics,
    /// Of one endpoint's dead deliveries no alert tells more often.
    pub pause: Duration,
    /// Dead deliveries were counted.
    pub counted: Notify,
}

impl Alerts {
    /// Looks again and again until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let look = (self.pause / LOOKS).clamp(LOOK_MIN, LOOK_MAX);
        // the first of an endpoint is told at once, more when the pause is over
        let next = || tokio::time::timeout(look, self.counted.notified());
        while stop.run_until_cancelled(next()).await.is_some() {
            if let Err(error) = self.look().await {
                warn!(error = format!("{error:#}"), "failed to alert of dead deliveries");
            }
        }
    }

    /// Makes the alerts that are due; tells how many.
    ///
    /// # Errors
    /// When the database is away: what was counted stays counted.
    pub async fn look(&self) -> anyhow::Result<usize> {
        let mut conn = self.pool.get().await?;
        let version = subscriptions::version(&mut conn).await?;
        drop(conn);
        let table = self.endpoints.at_least(version).await?;
        let now = Utc::now();
        let mut conn = self.pool.get().await?;
        let made = conn.transaction::<_, anyhow::Error, _>(async |conn| {
            let rows = self.claim(conn, &table, now).await?;
            Ok(deliveries::insert(conn, &rows, &[], Uuid::nil(), now).await?.len())
        });
        let made = made.await?;
        drop(conn);
        if made > 0 {
            self.metrics.told(made);
            self.work.notify_one();
        }
        Ok(made)
    }

    /// The alerts that are due now. Belongs into the transaction that stores them.
    async fn claim(
        &self,
        conn: &mut Connection,
        table: &EndpointTable,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Vec<NewDelivery>> {
        let pause = TimeDelta::from_std(self.pause).context("the pause between alerts is too long")?;
        let claimed = alerts::claim_dead(conn, pause, now, TOLD_MAX).await?;
        let rows = |dead: &Dead| {
            let event = event(dead, now);
            let wanting = table.wanting(dead.workspace_id, DELIVERY_DEAD, now);
            wanting
                .filter(|endpoint| endpoint.alert_format.is_some() && endpoint.id != dead.endpoint_id)
                .map(|endpoint| row(endpoint, &event, DELIVERY_DEAD))
                .collect::<Vec<_>>()
        };
        Ok(claimed.iter().flat_map(rows).collect())
    }
}

/// A delivery of an event of ours, in the shape that the endpoint reads.
pub fn row(endpoint: &Endpoint, event: &OwnEvent, event_type: &'static str) -> NewDelivery {
    NewDelivery {
        // made at the event's moment: both live in the event's partition
        id: DeliveryId::generate_at(event.id.timestamp()),
        workspace_id: endpoint.workspace_id,
        owed: Owed { endpoint_id: endpoint.id, event_id: event.id },
        event_type,
        click_id: None,
        told_revision: 0,
        progress: endpoint.untried(Utc::now(), Some(endpoint.body_of(event))),
        leased_until: None,
        line: endpoint.line(event.occurred_at, None),
    }
}

/// Tells of all that was counted, by the newest of them: an event of its own, since it stands for many.
fn event(dead: &Dead, now: DateTime<Utc>) -> OwnEvent {
    let newest = dead.newest.as_ref();
    let data: [(&str, Value); 9] = [
        ("delivery_id", json!(newest.map(|newest| newest.delivery_id))),
        ("endpoint_id", json!(dead.endpoint_id)),
        ("host", json!(dead.host)),
        ("event_id", json!(newest.map(|newest| newest.event_id))),
        ("event_type", json!(LINK_CLICKED)),
        ("attempts", json!(newest.map(|newest| newest.attempts))),
        ("last_status", json!(newest.and_then(|newest| newest.last_status))),
        ("last_error", json!(newest.and_then(|newest| newest.last_error.as_deref()))),
        ("deliveries", json!(dead.deliveries)),
    ];
    OwnEvent {
        id: EventId::generate(),
        workspace_id: dead.workspace_id,
        event_type: DELIVERY_DEAD.to_owned(),
        occurred_at: now,
        data: data.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>(),
    }
}
