//! Takes on what goes next of endpoints that are sent to in order: looks at the heads of their lines, and leases what
//! [`order`] picks.
//!
//! A line is kept by what stands in the table, not by who looks: nothing is leased but a head and what is right behind it, and a
//! head that is in somebody's hands or failed keeps its place. That one courier alone looks at an endpoint spares them each
//! other's work; when he dies, another goes on with the same heads.

use std::collections::HashMap;
use std::sync::Mutex;

use model::{DeliveryId, EndpointId};
use store::leases::Leased;
use store::lines::{self, LineKey, Sight, Wanted};
use store::{Connection, QueryResult};

use crate::batching::Lease;
use crate::endpoint::Endpoint;
use crate::order::{self, Run};

/// Most lines of one endpoint that one step looks at. Of more the next step looks at the next.
const LINES_MAX: usize = 128;

/// Most deliveries of the line of one link that are leased at a time: the other lines are waiting too.
const RUN_OF_LINK_MAX: usize = 8;

/// Most deliveries of a strict order that are leased at a time.
const RUN_OF_STRICT_MAX: usize = 64;

/// What was leased in order.
#[derive(Debug, Default)]
pub struct InLine {
    /// What was picked, line by line.
    pub runs: Vec<Run>,
    /// What of it was leased.
    pub leased: Vec<Leased>,
}

/// Where the look at each endpoint goes on that has more lines than one look shows.
#[derive(Debug, Default)]
pub struct Lines {
    after: Mutex<HashMap<EndpointId, LineKey>>,
}

impl Lines {
    /// Leases what goes next of these endpoints, of each in at most so many lines, and hardly more than `room` of all.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn lease(
        &self,
        conn: &mut Connection,
        wanted: &[(&Endpoint, usize)],
        room: usize,
        lease: Lease,
    ) -> QueryResult<InLine> {
        if wanted.is_empty() {
            return Ok(InLine::default());
        }
        let asked: Vec<Wanted> = wanted.iter().map(|(endpoint, _)| self.wanted(endpoint)).collect();
        let heads = lines::heads(conn, &asked, sight(wanted, room)).await?;
        let mut runs = Vec::new();
        for (endpoint, quota) in wanted {
            let found = heads.get(&endpoint.id);
            let next = found.map(|heads| order::next(heads, *quota, lease.now)).unwrap_or_default();
            // of who has a rate no more is taken on than it allows
            let most = if endpoint.lane.is_rated() { 1 } else { usize::MAX };
            runs.extend(next.into_iter().map(|run| run.into_iter().take(most).collect::<Run>()));
            self.go_on(endpoint.id, found.map(|heads| order::after(heads, LINES_MAX)).unwrap_or_default());
        }
        let ids: Vec<DeliveryId> = runs.iter().flatten().copied().collect();
        let leased = lines::lease(conn, &ids, lease.by, lease.now, lease.until).await?;
        Ok(InLine { runs, leased })
    }

    fn wanted(&self, endpoint: &Endpoint) -> Wanted {
        Wanted {
            endpoint_id: endpoint.id,
            is_strict: endpoint.ordering.is_strict(),
            after: self.after().get(&endpoint.id).copied().unwrap_or_default(),
        }
    }

    /// Only who has many lines stands in the map.
    fn go_on(&self, endpoint_id: EndpointId, after: LineKey) {
        if after == LineKey::default() {
            self.after().remove(&endpoint_id);
        } else {
            self.after().insert(endpoint_id, after);
        }
    }

    fn after(&self) -> std::sync::MutexGuard<'_, HashMap<EndpointId, LineKey>> {
        self.after.lock().expect("nobody panics with this in hand")
    }
}

/// How far to look, so that the runs of all together are as long as there is room for.
fn sight(wanted: &[(&Endpoint, usize)], room: usize) -> Sight {
    let lines: usize = wanted.iter().map(|(_, quota)| *quota).sum();
    let of_each = room / lines.max(1);
    Sight {
        lines: LINES_MAX,
        of_line: of_each.clamp(1, RUN_OF_LINK_MAX),
        of_strict: of_each.clamp(1, RUN_OF_STRICT_MAX),
    }
}
