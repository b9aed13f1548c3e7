//! Who wants what: every endpoint that is owed events, in memory, ready to be sent to.
//!
//! The table is replaced as a whole. It knows the counter of changes (`endpoint_changes`) it is as new as;
//! who has seen a higher one asks for a newer table before matching, so that no click misses an endpoint that
//! was saved before it. Change notices and age keep the table new without being asked; what is as new as it can be is
//! not loaded again, so that a hundred thousand endpoints cost nothing while nobody changes one. Lanes outlive a reload, unless
//! their endpoint is at another server then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use bus::{Bus, Change, Table};
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use model::ownership::OwnershipCheck;
use model::{EndpointId, EnrichedClick, WorkspaceId};
use store::Pool;
use store::subscriptions::{self, Subscription};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};
use webhook::{Keyring, Site};

use crate::endpoint::Endpoint;
use crate::lanes::Lanes;
use crate::metrics::Metrics;
use crate::rate::Rate;

/// Pauses that are read in at a reload; those beyond are learned from answers again.
const PAUSED_MAX: i64 = 10_000;

/// All endpoints at one version.
#[derive(Debug, Default)]
pub struct EndpointTable {
    version: i64,
    /// When it becomes old without a change: a secret ends.
    valid_until: Option<DateTime<Utc>>,
    by_id: HashMap<EndpointId, Arc<Endpoint>>,
    by_workspace: HashMap<WorkspaceId, Vec<Arc<Endpoint>>>,
}

impl EndpointTable {
    /// The counter of changes that this table is at least as new as.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// Those who have endpoints.
    pub fn workspaces(&self) -> Vec<WorkspaceId> {
        self.by_workspace.keys().copied().collect()
    }

    /// An endpoint, if it is owed anything.
    pub fn get(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.by_id.get(&id)
    }

    /// Everyone of whom is counted what they are owed.
    pub fn counted(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.by_id.values().filter(|endpoint| endpoint.is_counted())
    }

    /// Everyone who is sent to in order now: not while paused, when what waits is held up by nothing that failed.
    pub fn sent_in_order(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.by_id.values().filter(|endpoint| endpoint.ordering.is_kept() && endpoint.is_sendable())
    }

    /// Everyone of a workspace who is owed anything.
    pub fn of_workspace(&self, workspace_id: WorkspaceId) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.by_workspace.get(&workspace_id).into_iter().flatten()
    }

    /// Who is owed this click, if nobody was told of it.
    pub fn matching<'a>(&'a self, click: &'a EnrichedClick) -> impl Iterator<Item = &'a Arc<Endpoint>> {
        self.of_workspace(click.click.workspace_id).filter(|endpoint| endpoint.wants(click))
    }

    /// Who is owed an event of this type in a workspace.
    pub fn wanting(
        &self,
        workspace_id: WorkspaceId,
        event_type: &str,
        occurred_at: DateTime<Utc>,
    ) -> impl Iterator<Item = &Arc<Endpoint>> {
        let own = self.of_workspace(workspace_id);
        own.filter(move |endpoint| endpoint.wants_event(event_type, occurred_at))
    }

    fn pause(&self, paused: impl IntoIterator<Item = (EndpointId, DateTime<Utc>)>) {
        for (endpoint_id, until) in paused {
            if let Some(endpoint) = self.get(endpoint_id) {
                endpoint.lane.pause(until);
            }
        }
    }

    fn insert(&mut self, endpoint: Arc<Endpoint>) {
        self.by_workspace.entry(endpoint.workspace_id).or_default().push(Arc::clone(&endpoint));
        self.by_id.insert(endpoint.id, endpoint);
    }
}

/// The table, and how it is kept new.
pub struct Endpoints {
    table: RwLock<Arc<EndpointTable>>,
    /// One reload at a time; those who wait look again whether they still need theirs.
    reload: tokio::sync::Mutex<()>,
    loaded_at: Mutex<Option<Instant>>,
    pool: Pool,
    keyring: Keyring,
    lanes: Lanes,
    endpoints_max: usize,
    ownership: OwnershipCheck,
    metrics: Metrics,
    site: Site,
}

impl Endpoints {
    /// An empty table, older than every version.
    pub fn new(pool: Pool, keyring: Keyring, lanes: Lanes, endpoints_max: usize, metrics: Metrics) -> Self {
        Self {
            table: RwLock::default(),
            reload: tokio::sync::Mutex::default(),
            loaded_at: Mutex::default(),
            pool,
            keyring,
            lanes,
            endpoints_max,
            ownership: OwnershipCheck::Off,
            metrics,
            site: Site::default(),
        }
    }

    /// Says where we are, for bodies that tell of it.
    pub fn with_site(self, site: Site) -> Self {
        Self { site, ..self }
    }

    /// The same with what it takes until an endpoint gets as much as it bears.
    #[must_use]
    pub fn held_to(self, ownership: OwnershipCheck) -> Self {
        Self { ownership, ..self }
    }

    /// Whether an endpoint is tested once a second, because a test asks somebody who has not shown that they want more: the endpoint
    /// itself, or its token server, whose owner nobody has asked. Each test asks for a token anew, to show what happens now.
    pub fn is_unproven(&self, endpoint: &Endpoint) -> bool {
        self.ownership == OwnershipCheck::Required && (!endpoint.is_verified() || endpoint.tokens.is_some())
    }

    /// The table as it is.
    pub fn current(&self) -> Arc<EndpointTable> {
        Arc::clone(&self.table.read().expect("nobody panics with the table in hand"))
    }

    /// A table at least as new as `version`.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn at_least(&self, version: i64) -> anyhow::Result<Arc<EndpointTable>> {
        if self.current().version < version {
            let _only = self.reload.lock().await;
            if self.current().version < version {
                self.replace().await?;
            }
        }
        Ok(self.current())
    }

    /// Loads the table again, if it is not what would be loaded.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn refresh(&self) -> anyhow::Result<()> {
        let _only = self.reload.lock().await;
        let (now, current) = (Utc::now(), self.current());
        let is_valid = self.is_loaded() && current.valid_until.is_none_or(|until| now < until);
        let mut conn = self.pool.get().await?;
        if !is_valid || subscriptions::version(&mut conn).await? != current.version {
            drop(conn);
            return self.replace().await;
        }
        let paused = store::endpoint_state::paused(&mut conn, now, PAUSED_MAX).await?;
        drop(conn);
        current.pause(paused);
        self.loaded();
        Ok(())
    }

    /// One endpoint of a workspace as it is in the database, whatever its state; its secrets opened.
    ///
    /// # Errors
    /// When the database is away or something does not open.
    pub async fn find(&self, workspace_id: WorkspaceId, id: EndpointId) -> anyhow::Result<Option<Endpoint>> {
        let mut conn = self.pool.get().await?;
        let found = subscriptions::find(&mut conn, workspace_id, id, Utc::now()).await?;
        drop(conn);
        let opened = found
            .map(|source| Endpoint::open(source, &self.keyring, self.lanes.lane(None, None)))
            .transpose()?;
        Ok(opened.map(|endpoint| endpoint.at(&self.site)))
    }

    /// Keeps the table new until `stop`: by change notices, by age, and after every reconnect.
    pub async fn follow(&self, bus: Bus, max_age: Duration, stop: CancellationToken) {
        let mut changes = bus.changes(Table::Endpoints);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                change = changes.next() => match change {
                    Some(Change::Row(_) | Change::Reconnected) => {}
                    None => stop.cancelled().await,
                },
                () = tokio::time::sleep(max_age) => {}
            }
            if let Err(error) = self.refresh().await {
                warn!(error = format!("{error:#}"), "failed to load the endpoints again");
            }
        }
    }

    /// Whether the table is not older than it may be, for readiness.
    ///
    /// # Errors
    /// How old it is.
    pub fn check_age(&self, max_age: Duration) -> Result<(), String> {
        match *self.loaded_at.lock().expect("nobody panics with this in hand") {
            Some(at) if at.elapsed() <= max_age => Ok(()),
            Some(at) => Err(format!("the endpoints were loaded {} s ago", at.elapsed().as_secs())),
            None => Err("the endpoints have not been loaded".to_owned()),
        }
    }

    async fn replace(&self) -> anyhow::Result<()> {
        let now = Utc::now();
        let limit = i64::try_from(self.endpoints_max).unwrap_or(i64::MAX);
        let mut conn = self.pool.get().await?;
        let found = subscriptions::load(&mut conn, now, limit).await?;
        let paused = store::endpoint_state::paused(&mut conn, now, PAUSED_MAX).await?;
        drop(conn);
        if found.subscriptions.len() >= self.endpoints_max {
            error!(limit, "`deliver.endpoints_max` is reached: endpoints beyond it get nothing");
        }
        for (endpoint_id, error) in &found.unreadable {
            error!(endpoint.id = %endpoint_id, error, "an endpoint could not be read and gets nothing");
        }
        let old = self.current();
        let (version, valid_until) = (found.version, found.valid_until);
        let mut table = EndpointTable { version, valid_until, ..EndpointTable::default() };
        for source in found.subscriptions {
            if let Some(endpoint) = self.endpoint(source, &old) {
                table.insert(endpoint);
            }
        }
        table.pause(paused);
        debug!(version = table.version, endpoints = table.by_id.len(), "loaded the endpoints");
        self.metrics.endpoints.set(i64::try_from(table.by_id.len()).unwrap_or(i64::MAX));
        *self.table.write().expect("nobody panics with the table in hand") = Arc::new(table);
        self.loaded();
        Ok(())
    }

    fn is_loaded(&self) -> bool {
        self.loaded_at.lock().expect("nobody panics with this in hand").is_some()
    }

    fn loaded(&self) {
        *self.loaded_at.lock().expect("nobody panics with this in hand") = Some(Instant::now());
    }

    /// The endpoint with the lane it had, unless it is at another server now, which asked for no pause and failed at nothing. One that
    /// does not open still matches, so that its deliveries wait as rows.
    fn endpoint(&self, source: Subscription, old: &EndpointTable) -> Option<Arc<Endpoint>> {
        let slots = source.max_in_flight.and_then(|slots| usize::try_from(slots).ok());
        let own = source.rate_per_second.map(|per_second| Rate { per_second, burst: source.rate_burst });
        let is_unproven = self.ownership == OwnershipCheck::Required && source.verified_at.is_none();
        let rate = if is_unproven { Some(Rate::UNPROVEN) } else { own };
        let before = old.get(source.endpoint_id);
        let is_moved = before.is_some_and(|before| !before.url.stays_at_server(&source.url));
        let known = before.filter(|known| !is_moved && self.lanes.fits(&known.lane, slots, rate));
        if let Some(known) = known.filter(|known| known.is_of(&source)) {
            return Some(Arc::clone(known));
        }
        let lane = known.map_or_else(|| self.lanes.lane(slots, rate), |known| Arc::clone(&known.lane));
        if is_moved {
            // its rate holds wherever it is: moving it to and fro begins no second burst
            lane.was_used_until(Utc::now());
        }
        let endpoint_id = source.endpoint_id;
        let opened = Endpoint::open(source.clone(), &self.keyring, Arc::clone(&lane)).or_else(|error| {
            error!(
                endpoint.id = %endpoint_id,
                error = format!("{error:#}"),
                "nothing can be sent to an endpoint; its deliveries wait"
            );
            Endpoint::unopened(source, lane)
        });
        opened
            .inspect_err(|error| {
                error!(endpoint.id = %endpoint_id, error = format!("{error:#}"), "an endpoint gets nothing");
            })
            .ok()
            .map(|endpoint| Arc::new(endpoint.at(&self.site)))
    }
}
