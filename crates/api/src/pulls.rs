//! Who waits for events that they fetch, how many may, and what wakes them: the notices of `deliver`.

use std::sync::Arc;

use bus::{Bus, Change, Table};
use futures::StreamExt as _;
use model::{EndpointId, WorkspaceId};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use crate::at_once::{AtOnce, Full, Running};
use crate::error::ApiError;

/// Notices that who waits may be behind; with more they look, whatever the notices said.
const NOTICES_MAX: usize = 256;

/// When who may not wait may try again, in seconds.
const RETRY_AFTER: u64 = 5;

/// The requests of this process that wait for events.
pub struct Pulls {
    waiting: AtOnce,
    notices: broadcast::Sender<Arc<Change>>,
    /// Ends every wait.
    pub stop: CancellationToken,
}

/// What one of them hears.
pub struct Notices(broadcast::Receiver<Arc<Change>>);

impl Pulls {
    /// Nobody waits yet. So many at a time, and so many of one workspace.
    pub fn new(waiting_max: usize, workspace_waiting_max: usize) -> Self {
        Self {
            waiting: AtOnce::new(waiting_max, workspace_waiting_max),
            notices: broadcast::Sender::new(NOTICES_MAX),
            stop: CancellationToken::new(),
        }
    }

    /// A place to wait in.
    ///
    /// # Errors
    /// When as many wait as may.
    pub fn begin(&self, workspace_id: WorkspaceId) -> Result<Running, ApiError> {
        self.waiting.begin(workspace_id).map_err(|full| match full {
            Full::Everywhere => {
                ApiError::Busy("as many requests wait for events as may: try again in a moment")
            }
            Full::Workspace => ApiError::RateLimited { retry_after: RETRY_AFTER },
        })
    }

    /// What is heard from now on.
    pub fn hear(&self) -> Notices {
        Notices(self.notices.subscribe())
    }

    /// Ends every wait: the process stops.
    pub fn end(&self) {
        self.stop.cancel();
    }
}

impl Notices {
    /// Waits until there may be something new for this endpoint.
    pub async fn of(&mut self, workspace_id: WorkspaceId, endpoint_id: EndpointId) {
        let endpoint = endpoint_id.to_string();
        loop {
            match self.0.recv().await {
                Ok(change) if !is_about(&change, workspace_id, &endpoint) => {}
                Ok(_) | Err(RecvError::Lagged(_)) => return,
                // the process ends, and the wait with it
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

fn is_about(change: &Change, workspace_id: WorkspaceId, endpoint: &str) -> bool {
    match change {
        Change::Reconnected => true,
        Change::Row(changed) => {
            changed.workspace_id == workspace_id
                && (changed.keys.is_empty() || changed.keys.iter().any(|key| key == endpoint))
        }
    }
}

/// Passes notices on until the process stops.
pub async fn follow(pulls: &Pulls, bus: &Bus) {
    let mut changes = bus.changes(Table::Deliveries);
    while let Some(Some(change)) = pulls.stop.run_until_cancelled(changes.next()).await {
        // nobody waits: nobody is to be woken
        let _ = pulls.notices.send(Arc::new(change));
    }
}

#[cfg(test)]
mod tests {
    use bus::Changed;

    use super::*;

    #[tokio::test]
    async fn who_waits_is_woken_by_what_is_theirs_and_by_nothing_else() {
        let pulls = Pulls::new(1, 1);
        let (own, other) = (WorkspaceId::generate(), WorkspaceId::generate());
        let [endpoint, neighbour] = [(); 2].map(|()| EndpointId::generate());
        let row = |workspace_id, keys: &[EndpointId]| {
            let keys = keys.iter().map(ToString::to_string).collect();
            Arc::new(Change::Row(Changed { table: Table::Deliveries, workspace_id, keys }))
        };
        let is_woken_by = async |change: Arc<Change>| {
            let mut notices = pulls.hear();
            pulls.notices.send(change).expect("somebody hears");
            futures::poll!(Box::pin(notices.of(own, endpoint))).is_ready()
        };

        assert!(is_woken_by(row(own, &[neighbour, endpoint])).await);
        assert!(is_woken_by(row(own, &[])).await);
        assert!(is_woken_by(Arc::new(Change::Reconnected)).await);
        assert!(!is_woken_by(row(own, &[neighbour])).await);
        assert!(!is_woken_by(row(other, &[endpoint])).await);
    }

    #[test]
    fn a_workspace_has_its_share_of_those_who_wait() {
        let pulls = Pulls::new(2, 1);
        let [one, two, three] = [(); 3].map(|()| WorkspaceId::generate());

        let places = [pulls.begin(one), pulls.begin(two)];

        assert!(matches!(pulls.begin(one), Err(ApiError::Busy(_))));
        drop(places);
        let _place = pulls.begin(one).expect("free");
        assert!(matches!(pulls.begin(one), Err(ApiError::RateLimited { .. })));
        assert!(pulls.begin(three).is_ok());
    }
}
