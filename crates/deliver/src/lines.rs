//! Takes on what goes next of endpoints that are sent to in order: looks at the heads of their lines, and leases what
//! [`order`] picks.
//!
//! A line is kept by what stands in the table, not by who looks: whatever is not the head is never leased, and a head that is in
//! somebody's hands or failed keeps its place. That one courier alone looks at an endpoint spares them each other's work; when
//! he dies, another goes on with the same heads.

use std::collections::HashMap;
use std::sync::Mutex;

use chrono::{DateTime, Utc};
use model::EndpointId;
use store::leases::Leased;
use store::lines::{self, LineKey, Wanted};
use store::{Connection, QueryResult};
use uuid::Uuid;

use crate::endpoint::Endpoint;
use crate::order;

/// Most lines of one endpoint that one step looks at. Of more the next step looks at the next.
const LINES_MAX: usize = 128;

/// Where the look at each endpoint goes on that has more lines than one look shows.
#[derive(Debug, Default)]
pub struct Lines {
    after: Mutex<HashMap<EndpointId, LineKey>>,
}

impl Lines {
    /// Leases what goes next of these endpoints, of each at most so much.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn lease(
        &self,
        conn: &mut Connection,
        wanted: &[(&Endpoint, usize)],
        leased_by: Uuid,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> QueryResult<Vec<Leased>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<Wanted> = wanted.iter().map(|(endpoint, _)| self.wanted(endpoint)).collect();
        let lines_max = i64::try_from(LINES_MAX).unwrap_or(i64::MAX);
        let heads = lines::heads(conn, &asked, lines_max).await?;
        let mut next = Vec::new();
        for (endpoint, quota) in wanted {
            let found = heads.get(&endpoint.id);
            next.extend(found.map(|heads| order::next(heads, *quota, now)).unwrap_or_default());
            self.go_on(endpoint.id, found.map(|heads| order::after(heads, LINES_MAX)).unwrap_or_default());
        }
        lines::lease(conn, &next, leased_by, now, until).await
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
