//! Links in memory, in front of PostgreSQL.
//!
//! A link is found by host and slug. A link that changes is looked up again after a notice from the bus; where notices
//! may have been missed, and with age, every link is. With the database away, a link that was seen is served as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_web::http::header::HeaderValue;
use bus::{Bus, Change, Table};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use quick_cache::Equivalent;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use url::Url;

use model::click::ClickedLink;
use model::link::tracked_url;
use model::{Host, Link, Slug};
use store::Pool;

use crate::cache::{Bounds, Cache, Entry, Source, Unavailable};
use crate::metrics::Metrics;
use crate::pages;
use crate::settings::{LinksSettings, RedirectSettings};

/// How long it is remembered that there is no such link: one that was just made is found soon.
const REFRESH_ABSENT: Duration = Duration::from_secs(2);

/// Hosts that are remembered with `links.any_host`; they are few.
const HOSTS_MAX: usize = 1000;

/// A link, and what its visitors are sent that does not depend on them.
#[derive(Debug)]
pub struct Route {
    /// The link.
    pub link: Link,
    /// The link as its clicks tell of it.
    pub clicked: ClickedLink,
    /// Where it leads, unless the visitor brings a query.
    pub location: HeaderValue,
    /// The page of that redirect.
    pub body: Bytes,
}

/// Finds links. Clones share one memory.
#[derive(Clone)]
pub struct Links {
    inner: Arc<Inner>,
}

struct Inner {
    routes: Arc<Cache<RouteKey, Route>>,
    /// Which domain a host stands for; empty without `links.any_host`.
    hosts: Arc<Cache<Box<str>, Host>>,
    any_host: bool,
    public_url: Url,
    database: Database,
    runtime: Handle,
    metrics: Metrics,
}

/// Where links are looked up that are not in memory. Clones share what is known of its state.
#[derive(Clone)]
struct Database {
    pool: Pool,
    timeout: Duration,
    is_away: Arc<AtomicBool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RouteKey {
    host: Box<str>,
    slug: Box<str>,
}

/// A [`RouteKey`] that owns nothing; it hashes alike.
#[derive(Hash)]
struct RouteRef<'a> {
    host: &'a str,
    slug: &'a str,
}

impl Equivalent<RouteKey> for RouteRef<'_> {
    fn equivalent(&self, key: &RouteKey) -> bool {
        *self.slug == *key.slug && *self.host == *key.host
    }
}

/// Why PostgreSQL did not answer.
#[derive(Debug, thiserror::Error)]
enum LookupError {
    #[error("failed to get a connection")]
    Pool(#[from] store::PoolError),
    #[error("failed to look a link up")]
    Query(#[from] store::QueryError),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl Links {
    /// An empty memory. Look-ups run on `runtime`.
    pub fn new(
        shared: &LinksSettings,
        own: &RedirectSettings,
        pool: Pool,
        runtime: Handle,
        metrics: &Metrics,
    ) -> Self {
        let bounds = Bounds {
            entries_max: own.cached_links_max,
            refresh: shared.refresh,
            refresh_absent: REFRESH_ABSENT,
        };
        let inner = Inner {
            routes: Cache::new(bounds),
            hosts: Cache::new(Bounds { entries_max: HOSTS_MAX, ..bounds }),
            any_host: shared.any_host,
            public_url: shared.public_url.clone(),
            database: Database { pool, timeout: own.lookup_timeout, is_away: Arc::default() },
            runtime,
            metrics: metrics.clone(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What stands under this host and slug, both in their comparable form.
    ///
    /// # Errors
    /// [`Unavailable`] when it was never seen and the database is away.
    pub async fn find(&self, host: &str, slug: &str, now: Instant) -> Result<Arc<Entry<Route>>, Unavailable> {
        if !self.inner.any_host {
            return self.inner.route(host, slug, now).await;
        }
        let serving = self.inner.serving_host(host, now).await?;
        let host = serving.value.as_ref().map_or(host, Host::as_str);
        self.inner.route(host, slug, now).await
    }

    /// Follows the notices of the bus until `stop`.
    pub async fn follow_changes(self, bus: Bus, stop: CancellationToken) {
        let changes = futures::stream::select(bus.changes(Table::Links), bus.changes(Table::Settings));
        self.follow(changes, stop).await;
    }

    async fn follow(self, mut changes: impl Stream<Item = Change> + Unpin, stop: CancellationToken) {
        while let Some(Some(change)) = stop.run_until_cancelled(changes.next()).await {
            self.note(&change);
        }
    }

    fn note(&self, change: &Change) {
        let routes = &self.inner.routes;
        match change {
            Change::Row(changed) if changed.table == Table::Links && !changed.keys.is_empty() => {
                for key in &changed.keys {
                    match key.split_once('/') {
                        Some((host, slug)) => routes.refresh(&RouteRef { host, slug }),
                        None => routes.refresh_all(),
                    }
                }
            }
            Change::Row(_) | Change::Reconnected => {
                routes.refresh_all();
                self.inner.hosts.refresh_all();
            }
        }
    }
}

impl Inner {
    async fn route(&self, host: &str, slug: &str, now: Instant) -> Result<Arc<Entry<Route>>, Unavailable> {
        if let Some(entry) = self.routes.fresh(&RouteRef { host, slug }, now) {
            self.metrics.lookups_cached.inc();
            return Ok(entry);
        }
        let key = RouteKey { host: host.into(), slug: slug.into() };
        let (database, public_url) = (self.database.clone(), self.public_url.clone());
        let asked = key.clone();
        let lookup = async move {
            // what cannot be a host or a slug leads nowhere
            let (Ok(host), Ok(slug)) = (asked.host.parse(), asked.slug.parse()) else { return Ok(None) };
            let link = database.find_link(&host, &slug).await?;
            Ok::<_, LookupError>(link.map(|link| Route::new(link, &public_url)))
        };
        let found = self.routes.load(key, &self.runtime, lookup).await;
        match &found {
            Ok((_, Source::MemoryStale)) => self.metrics.lookups_stale.inc(),
            Ok(_) => self.metrics.lookups_loaded.inc(),
            Err(Unavailable) => self.metrics.lookups_failed.inc(),
        }
        found.map(|(entry, _)| entry)
    }

    async fn serving_host(&self, host: &str, now: Instant) -> Result<Arc<Entry<Host>>, Unavailable> {
        if let Some(entry) = self.hosts.fresh(host, now) {
            return Ok(entry);
        }
        let key: Box<str> = host.into();
        let (database, asked) = (self.database.clone(), key.clone());
        let lookup = async move {
            let Ok(host) = asked.parse() else { return Ok(None) };
            database.serving_host(&host).await
        };
        self.hosts.load(key, &self.runtime, lookup).await.map(|(entry, _)| entry)
    }
}

impl Database {
    async fn find_link(&self, host: &Host, slug: &Slug) -> Result<Option<Link>, LookupError> {
        self.ask(async {
            let mut conn = self.pool.get().await?;
            Ok(store::routes::find_for_redirect(&mut conn, host, slug).await?)
        })
        .await
    }

    async fn serving_host(&self, host: &Host) -> Result<Option<Host>, LookupError> {
        self.ask(async {
            let mut conn = self.pool.get().await?;
            Ok(store::routes::serving_host(&mut conn, host).await?)
        })
        .await
    }

    /// Waits for an answer. One line when they cease and one when they come again, however many visitors there are.
    async fn ask<T>(&self, question: impl Future<Output = Result<T, LookupError>>) -> Result<T, LookupError> {
        let answer = tokio::time::timeout(self.timeout, question).await;
        let answer = answer.unwrap_or(Err(LookupError::Timeout(self.timeout)));
        let was_away = self.is_away.swap(answer.is_err(), Ordering::Relaxed);
        match (&answer, was_away) {
            (Err(error), false) => {
                let error: &dyn std::error::Error = error;
                warn!(error, "the database does not answer: links are served as they were last seen");
            }
            (Ok(_), true) => info!("the database answers again"),
            _ => {}
        }
        answer
    }
}

impl Route {
    fn new(link: Link, public_url: &Url) -> Self {
        let clicked = ClickedLink {
            id: link.id,
            revision: link.revision,
            domain: link.domain.to_string(),
            slug: link.slug.to_string(),
            tracked_url: tracked_url(public_url, &link.domain, &link.slug),
            original_url: link.original_url.to_string(),
            labels: link.labels.clone(),
        };
        let (location, body) = pages::location(&link.original_url);
        Self { link, clicked, location, body }
    }
}
