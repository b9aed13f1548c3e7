//! Events of our own as webhooks: `endpoint.disabled`, `delivery.dead`, … to the endpoints that chose them.
//!
//! They are few, so each is a row at once, and the courier sends it. Who is told:
//! - the endpoints of the workspace that chose the type, as long as they are owed anything; filters are about clicks;
//! - never the endpoint that the event tells of: it would hear of its own failures by what fails; of a checkpoint it alone;
//! - nobody, of a delivery that was not of a click: the webhook about it could fail in turn, without end;
//! - of an endpoint's dead deliveries once an hour, and the alert URL as [`alerts`](crate::alerts) says. On EVENTS each is told.
//!
//! An event is done when its rows are stored. One that comes again meets its rows, and nothing is owed twice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bus::{Event, Handler, Verdict, Verdicts};
use chrono::Utc;
use model::EndpointId;
use model::event_type::{self, DELIVERY_DEAD, ENDPOINT_CHECKPOINT};
use serde_json::Value;
use store::deliveries::{self, NewDelivery};
use store::{AsyncConnection as _, Pool, endpoint_life, subscriptions};
use tokio::sync::Notify;
use tracing::warn;
use uuid::Uuid;
use webhook::OwnEvent;

use crate::alerts::{self, Alerts};
use crate::endpoint::Endpoint;
use crate::endpoints::Endpoints;
use crate::fetch_notices::FetchNotices;
use crate::metrics::Metrics;

/// Messages of one batch.
pub const BATCH_MAX: usize = 64;

/// Batches at a time: events are few.
pub const BATCHES_MAX: usize = 1;

/// When a batch that could not be stored comes again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Makes deliveries of our own events.
pub struct OwnEvents {
    /// Who wants what.
    pub endpoints: Arc<Endpoints>,
    /// Counts dead deliveries for the alert URL.
    pub alerts: Arc<Alerts>,
    /// Takes the deliveries.
    pub pool: Pool,
    /// Tells the courier that there is work.
    pub work: Arc<Notify>,
    /// Tells who fetches events that there are some.
    pub notices: Arc<FetchNotices>,
    /// Counts.
    pub metrics: Metrics,
}

/// An event and who is told of it.
struct Told {
    event: OwnEvent,
    event_type: &'static str,
    endpoints: Vec<Arc<Endpoint>>,
}

impl Handler for OwnEvents {
    type Message = Event;

    async fn handle(&self, batch: &[Event]) -> Verdicts {
        let events: Vec<Option<OwnEvent>> = batch.iter().map(read).collect();
        let stored = match self.deliver(events.iter().flatten()).await {
            Ok(()) => Verdict::Done,
            Err(error) => {
                warn!(error = format!("{error:#}"), events = batch.len(), "making webhooks of events failed");
                Verdict::Retry(RETRY_DELAY)
            }
        };
        let verdict = |event: &Option<OwnEvent>| match event {
            Some(_) => stored,
            None => Verdict::Reject("the data of the event is not a JSON object"),
        };
        Verdicts::each(events.iter().map(verdict).collect())
    }
}

fn read(event: &Event) -> Option<OwnEvent> {
    let Ok(Value::Object(data)) = serde_json::from_str(&event.data) else { return None };
    Some(OwnEvent {
        id: event.id,
        workspace_id: event.workspace_id,
        event_type: event.event_type.clone(),
        occurred_at: event.occurred_at,
        data,
    })
}

impl OwnEvents {
    async fn deliver(&self, events: impl Iterator<Item = &OwnEvent>) -> anyhow::Result<()> {
        let mut conn = self.pool.get().await?;
        let version = subscriptions::version(&mut conn).await?;
        drop(conn);
        let table = self.endpoints.at_least(version).await?;
        let told = |event: &OwnEvent| {
            let event_type = event_type::known(&event.event_type)?;
            if event.tells_of_own_event() {
                return None;
            }
            let of = event.endpoint_id();
            let wanting = table.wanting(event.workspace_id, event_type, event.occurred_at);
            // a checkpoint is for whom it tells of, and for nobody else
            let is_told = |id: EndpointId| (Some(id) == of) == (event_type == ENDPOINT_CHECKPOINT);
            let endpoints: Vec<_> = wanting.filter(|endpoint| is_told(endpoint.id)).cloned().collect();
            (!endpoints.is_empty()).then(|| Told { event: event.clone(), event_type, endpoints })
        };
        let told: Vec<Told> = events.filter_map(told).collect();
        if told.is_empty() {
            return Ok(());
        }
        self.store(told).await?;
        self.work.notify_one();
        Ok(())
    }

    /// Webhooks in one transaction: who is told of dead deliveries is told, or not taken for told. What alerts are to tell of is
    /// counted after it: twice if the events come again, but not missed.
    async fn store(&self, told: Vec<Told>) -> anyhow::Result<()> {
        let now = Utc::now();
        let of_webhooks = told.iter().filter(|told| told.webhooks().next().is_some());
        let dead: HashSet<EndpointId> = of_webhooks.filter_map(Told::of_dead).collect();
        let mut counted: HashMap<EndpointId, u64> = HashMap::new();
        for (endpoint_id, deliveries) in told.iter().filter_map(Told::counted) {
            *counted.entry(endpoint_id).or_default() += deliveries;
        }
        let mut conn = self.pool.get().await?;
        let stored = conn.transaction::<_, anyhow::Error, _>(async |conn| {
            let mut due: HashMap<EndpointId, bool> = HashMap::new();
            for endpoint_id in endpoint_life::claim_dead(conn, &dead, now).await? {
                due.insert(endpoint_id, true);
            }
            let is_due = |told: &&Told| match told.of_dead() {
                Some(_) if told.webhooks().next().is_none() => false,
                // the first of the batch is told, the others are of the same hour
                Some(endpoint_id) => due.insert(endpoint_id, false) == Some(true),
                None => true,
            };
            let rows: Vec<NewDelivery> = told.iter().filter(is_due).flat_map(Told::rows).collect();
            Ok(deliveries::insert(conn, &rows, &[], Uuid::nil(), now).await?)
        });
        let stored = stored.await?;
        self.metrics.told(stored.len());
        self.notices.tell(told.iter().flat_map(|told| &told.endpoints));
        if !counted.is_empty() {
            store::alerts::count_dead(&mut conn, &counted, now).await?;
            self.alerts.counted.notify_one();
        }
        Ok(())
    }
}

impl Told {
    /// The endpoint of the dead delivery that this tells of.
    fn of_dead(&self) -> Option<EndpointId> {
        if self.event_type == DELIVERY_DEAD { self.event.endpoint_id() } else { None }
    }

    /// How many dead deliveries of which endpoint the alert URL is to be told of.
    fn counted(&self) -> Option<(EndpointId, u64)> {
        let is_alerted = self.endpoints.iter().any(|endpoint| endpoint.alert_format.is_some());
        let deliveries = self.event.data.get("deliveries").and_then(Value::as_u64).unwrap_or(1);
        self.of_dead().filter(|_| is_alerted).map(|endpoint_id| (endpoint_id, deliveries))
    }

    fn webhooks(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.iter().filter(|endpoint| endpoint.alert_format.is_none())
    }

    /// What each is told now; of dead deliveries the alert URL is told in another way.
    fn rows(&self) -> impl Iterator<Item = NewDelivery> {
        let is_dead = self.of_dead().is_some();
        let told = self.endpoints.iter().filter(move |endpoint| !is_dead || endpoint.alert_format.is_none());
        told.map(|endpoint| alerts::row(endpoint, &self.event, self.event_type))
    }
}
