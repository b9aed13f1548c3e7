//! Notices that rows have changed, for caches. They travel over core NATS and can be lost: a cache also refreshes by
//! age, and entirely after every [`Change::Reconnected`].

use std::time::Duration;

use async_nats::Subscriber;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use model::WorkspaceId;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::connect::Bus;
use crate::topology;

/// Keys in one notice; with more, the notice says "all of the workspace".
const KEYS_MAX: usize = 1000;

/// Pause before subscribing again when that failed.
const SUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);

/// A key of [`Table::Links`]: what a workspace's recipients' links are signed with has changed. No link has it, so that a
/// release that does not know it passes over it.
pub const MINTING_KEYS: &str = "/minting-keys";

/// A table that caches follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// Links; a key is `host/slug`, or [`MINTING_KEYS`].
    Links,
    /// A workspace's settings; no keys.
    Settings,
    /// Endpoints; a key is an endpoint's id.
    Endpoints,
    /// Deliveries that endpoints fetch; a key is such an endpoint's id.
    Deliveries,
}

impl Table {
    /// The word in the subject.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Links => "links",
            Self::Settings => "settings",
            Self::Endpoints => "endpoints",
            Self::Deliveries => "deliveries",
        }
    }
}

/// Rows that have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Where.
    pub table: Table,
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// Which; none means all of the workspace.
    pub keys: Vec<String>,
}

/// What a cache hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// These rows have changed.
    Row(Changed),
    /// Notices may have been lost: everything may have changed. Comes first, when the broker is reached, and after each
    /// interruption.
    Reconnected,
}

/// The body of a notice; table and workspace stand in the subject.
#[derive(Deserialize, Serialize)]
struct Notice {
    keys: Vec<String>,
}

impl Bus {
    /// Tells every cache that rows have changed. Best effort: when the notice cannot be sent, caches learn by age.
    pub async fn notify(&self, changed: &Changed) {
        let keys = if changed.keys.len() > KEYS_MAX { Vec::new() } else { changed.keys.clone() };
        let body = serde_json::to_vec(&Notice { keys }).expect("texts can be written as JSON");
        let subject = topology::changed_subject(changed.table, changed.workspace_id);
        if !self.is_connected() {
            debug!(table = changed.table.as_str(), "not connected; a change is not announced");
            return;
        }
        let send = async {
            self.client().publish(subject, body.into()).await.map_err(|error| error.to_string())?;
            self.client().flush().await.map_err(|error| error.to_string())
        };
        match tokio::time::timeout(self.settings().request_timeout, send).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(%error, table = changed.table.as_str(), "a change could not be announced")
            }
            Err(_) => warn!(table = changed.table.as_str(), "a change could not be announced in time"),
        }
    }

    /// Follows a table. The stream never ends; it starts with [`Change::Reconnected`].
    pub fn changes(&self, table: Table) -> impl Stream<Item = Change> + Send + Unpin + 'static {
        let following =
            Following { bus: self.clone(), table, interruptions: self.interruptions(), subscription: None };
        let changes = futures::stream::unfold(following, |mut following| async {
            let change = following.next().await;
            Some((change, following))
        });
        Box::pin(changes)
    }
}

struct Following {
    bus: Bus,
    table: Table,
    interruptions: watch::Receiver<u64>,
    subscription: Option<Subscriber>,
}

impl Following {
    async fn next(&mut self) -> Change {
        loop {
            let Some(subscription) = &mut self.subscription else {
                // the first connection is no interruption: what is met before it is asked for again once, not twice
                let _ = self.interruptions.wait_for(|connections| *connections > 0).await;
                match self.bus.client().subscribe(topology::changes_subject(self.table)).await {
                    Ok(subscription) => {
                        self.subscription = Some(subscription);
                        self.until_subscribed().await;
                        return Change::Reconnected;
                    }
                    Err(error) => {
                        warn!(%error, table = self.table.as_str(), "failed to follow changes");
                        tokio::time::sleep(SUBSCRIBE_PAUSE).await;
                        continue;
                    }
                }
            };
            tokio::select! {
                Ok(()) = self.interruptions.changed() => {
                    self.until_subscribed().await;
                    return Change::Reconnected;
                }
                message = subscription.next() => match message {
                    Some(message) => match read(self.table, &message) {
                        Some(changed) => return Change::Row(changed),
                        None => warn!(subject = %message.subject, "a notice of a change is unreadable"),
                    },
                    None => self.subscription = None,
                },
            }
        }
    }

    /// Waits until the broker has seen the subscription: what changes from then on is heard.
    async fn until_subscribed(&self) {
        // the broker takes what one connection sends in order, and answers at once that nobody listens there;
        // a flush would only say that the subscription has left this process
        let nobody = self.bus.client().request(topology::NOBODY_SUBJECT, Bytes::new());
        // when the broker is away, its return is an interruption, and tells the cache again
        let _ = tokio::time::timeout(self.bus.settings().request_timeout, nobody).await;
    }
}

fn read(table: Table, message: &async_nats::Message) -> Option<Changed> {
    let workspace_id = message.subject.rsplit('.').next()?.parse().ok()?;
    let notice: Notice = serde_json::from_slice(&message.payload).ok()?;
    Some(Changed { table, workspace_id, keys: notice.keys })
}
