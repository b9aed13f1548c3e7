//! Tells whoever fetches events that there are some: `api` lets requests wait for them.
//!
//! Only endpoints that nothing is sent to are told of, so that the others cost nothing here. A notice may be lost: who waits
//! looks now and then.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bus::{Bus, Changed, Table};
use model::{EndpointId, WorkspaceId};
use tokio_util::task::TaskTracker;

use crate::endpoint::Endpoint;

/// Sends notices.
pub struct FetchNotices {
    /// Carries them.
    pub bus: Bus,
    /// Those that are under way.
    pub tasks: TaskTracker,
}

impl FetchNotices {
    /// Tells that deliveries to these endpoints were stored. Nobody waits for it.
    pub fn tell<'a>(&self, endpoints: impl Iterator<Item = &'a Arc<Endpoint>>) {
        let mut fetching: HashMap<WorkspaceId, BTreeSet<EndpointId>> = HashMap::new();
        for endpoint in endpoints.filter(|endpoint| endpoint.is_pulled()) {
            fetching.entry(endpoint.workspace_id).or_default().insert(endpoint.id);
        }
        if fetching.is_empty() {
            return;
        }
        let bus = self.bus.clone();
        self.tasks.spawn(async move {
            for (workspace_id, ids) in fetching {
                let keys = ids.iter().map(ToString::to_string).collect();
                bus.notify(&Changed { table: Table::Deliveries, workspace_id, keys }).await;
            }
        });
    }
}
