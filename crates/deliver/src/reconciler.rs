//! Finds what was lost between ENRICHED and us: clicks that are recorded, are owed to somebody, and have no delivery.
//!
//! `record` reads the same stream and writes every click down. Each minute the clicks that it has written since the last look
//! and that nobody has a delivery of are matched again; what is owed gets a row, and the courier sends it. Usually those are
//! clicks that nobody wants. A click is given a minute to come the usual way, and while we are behind nothing is looked for.
//! Several replicas may look: a delivery is made once.
//!
//! What an endpoint's filter kept back looks like what was lost, once the filter lets it through. So nothing is made up for that was
//! clicked before the endpoint's last change, be it of its description alone: whoever changes it right after something was lost
//! has to replay what is missing.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, ConsumerName, Message as _};
use chrono::{DateTime, Utc};
use model::event_type::LINK_CLICKED;
use model::{DeliveryId, EnrichedClick, EventId};
use store::Pool;
use store::deliveries::{self, NewDelivery, Owed};
use store::untold::{self, Place};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use uuid::Uuid;

use crate::endpoint::Endpoint;
use crate::endpoints::{EndpointTable, Endpoints};
use crate::metrics::Metrics;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(60);

/// How long a click may be on its way.
const ON_ITS_WAY: chrono::Duration = chrono::Duration::seconds(60);

/// How far the first look goes back.
const LOOK_BACK: chrono::Duration = chrono::Duration::hours(1);

/// Whoever has more messages to handle is behind: what is missing may be among them.
const BEHIND_MAX: u64 = 100;

/// Most clicks that are looked at at a time; their events come with them.
const PAGE: i64 = 500;

/// Looks for what is owed and has no delivery.
pub struct Reconciler {
    /// Who wants what.
    pub endpoints: Arc<Endpoints>,
    /// Holds clicks and deliveries.
    pub pool: Pool,
    /// Knows whether we are behind.
    pub bus: Bus,
    /// Tells the courier that there is work.
    pub work: Arc<Notify>,
    /// Counts.
    pub metrics: Metrics,
}

impl Reconciler {
    /// Looks again and again until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let mut place = Place::beginning(Utc::now() - LOOK_BACK);
        while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
            if let Err(error) = self.look(&mut place, Utc::now()).await {
                warn!(error = format!("{error:#}"), "failed to look for clicks that were lost on the way");
            }
        }
    }

    /// Looks at what was recorded after `place`, and moves it; tells how many deliveries it made.
    ///
    /// # Errors
    /// When the database or the broker is away. What was looked at until then need not be looked at again.
    pub async fn look(&self, place: &mut Place, now: DateTime<Utc>) -> anyhow::Result<usize> {
        if self.bus.pending(ConsumerName::Deliver).await? > BEHIND_MAX {
            return Ok(0);
        }
        let (table, until) = (self.endpoints.current(), now - ON_ITS_WAY);
        let (workspaces, mut made) = (table.workspaces(), 0);
        if workspaces.is_empty() {
            return Ok(0);
        }
        let mut conn = self.pool.get().await?;
        loop {
            let page = untold::page(&mut conn, &workspaces, *place, until, PAGE).await?;
            let Some(last) = page.last().map(|untold| untold.place) else { break };
            let new: Vec<NewDelivery> =
                page.iter().flat_map(|untold| owed(&table, &untold.event, now)).collect();
            if !new.is_empty() {
                made += deliveries::insert(&mut conn, &new, &[], Uuid::nil(), now).await?.len();
            }
            *place = last;
        }
        *place = Place::beginning(until.max(place.recorded_at));
        if made > 0 {
            warn!(deliveries = made, "clicks were recorded and had not come to us; they are delivered now");
            self.metrics.reconciled.inc_by(made as u64);
            self.work.notify_one();
        }
        Ok(made)
    }
}

/// The deliveries that a recorded click calls for, to endpoints that were then what they are now: first tellings, of what is known
/// of it by now.
fn owed(table: &EndpointTable, event: &[u8], now: DateTime<Utc>) -> Vec<NewDelivery> {
    let click = match EnrichedClick::decode(event) {
        Ok(click) => click,
        Err(error) => {
            error!(%error, "a recorded click cannot be read");
            return Vec::new();
        }
    };
    let new = |endpoint: &Arc<Endpoint>| NewDelivery {
        id: DeliveryId::generate_at(click.event_id.timestamp()),
        workspace_id: endpoint.workspace_id,
        owed: Owed { endpoint_id: endpoint.id, event_id: EventId::of_click(click.click.id, 0) },
        event_type: LINK_CLICKED,
        click_id: Some(click.click.id),
        told_revision: click.event_id.revision(),
        // the courier renders the body from the recorded click
        progress: endpoint
            .untried(endpoint.settled_at(&click, now).unwrap_or_else(|| click.event_id.timestamp()), None),
        leased_until: None,
        line: endpoint.line_of(&click),
    };
    let is_missing = |endpoint: &&Arc<Endpoint>| endpoint.was_as_now(click.click.clicked_at);
    table.matching(&click).filter(is_missing).map(new).collect()
}
