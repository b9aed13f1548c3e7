//! Links in memory, in front of PostgreSQL.
//!
//! A link is found by host and slug. A link that changes is looked up again after a notice from the bus; where notices
//! may have been missed, and with age, every link is. With the database away, a link that was seen is served as it was,
//! up to `links.stale_max`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_web::http::header::HeaderValue;
use bus::{Bus, Change, ClickTemplate, Table};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use quick_cache::Equivalent;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use url::Url;

use model::click::ClickedLink;
use model::link::{Recording, tracked_url};
use model::{DestinationUrl, Host, Link, Slug};
use store::Pool;
use store::routes::ServedDomain;

use crate::cache::{Bounds, Cache, Entry, Source, Unavailable};
use crate::metrics::Metrics;
use crate::pages;
use crate::settings::{LinksSettings, RedirectSettings};

/// How long it is remembered that there is no such link: one that was just made is found soon.
const REFRESH_ABSENT: Duration = Duration::from_secs(2);

/// Hosts that are remembered; those that are somebody's are few.
const HOSTS_MAX: usize = 1000;

/// A link, and what its visitors are sent that does not depend on them.
#[derive(Debug)]
pub struct Route {
    /// The link.
    pub link: Link,
    /// What all of its clicks tell.
    pub clicks: ClickTemplate,
    /// Where it leads, with the link's campaign parameters.
    pub destination: DestinationUrl,
    /// The same as a header, for visitors who bring no query.
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
    /// Which domain a host stands for: asked for every link with `links.any_host`, else only for visits that led nowhere.
    hosts: Arc<Cache<Box<str>, ServedDomain>>,
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

/// Why nothing is known about a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown<R> {
    /// It is not in memory, and the database is away.
    Unavailable,
    /// It is not in memory, and may not be looked up.
    Refused(R),
}

/// The same in one piece of memory with one count of its users: both are read and counted for each visitor.
fn side_by_side((location, body): (HeaderValue, Bytes)) -> (HeaderValue, Bytes) {
    let both = Bytes::from([location.as_bytes(), &body].concat());
    let location = HeaderValue::from_maybe_shared(both.slice(..location.len()));
    (location.expect("it was a value before"), both.slice(both.len() - body.len()..))
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
            stale_max: Some(shared.stale_max).filter(|stale_max| !stale_max.is_zero()),
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

    /// What stands under this host and slug, both in their comparable form. `may_ask` is asked before the database is,
    /// unless the link has been seen.
    ///
    /// # Errors
    /// [`Unknown`] when it was never seen, and the database is away or may not be asked.
    pub async fn find<R>(
        &self,
        host: &str,
        slug: &str,
        now: Instant,
        may_ask: impl Fn() -> Result<(), R>,
    ) -> Result<Arc<Entry<Route>>, Unknown<R>> {
        if !self.inner.any_host {
            return self.inner.route(host, slug, now, may_ask).await;
        }
        if !self.inner.hosts.holds(host) {
            may_ask().map_err(Unknown::Refused)?;
        }
        let domain = self.inner.domain(host, now).await.map_err(|_| Unknown::Unavailable)?;
        let host = domain.value.as_ref().map_or(host, |domain| domain.host.as_str());
        self.inner.route(host, slug, now, may_ask).await
    }

    /// Whose links are served under this host.
    ///
    /// # Errors
    /// [`Unavailable`] when that is not known and the database is away.
    pub async fn domain(&self, host: &str, now: Instant) -> Result<Option<ServedDomain>, Unavailable> {
        Ok(self.inner.domain(host, now).await?.value.clone())
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
    async fn route<R>(
        &self,
        host: &str,
        slug: &str,
        now: Instant,
        may_ask: impl Fn() -> Result<(), R>,
    ) -> Result<Arc<Entry<Route>>, Unknown<R>> {
        let asked = RouteRef { host, slug };
        if let Some(entry) = self.routes.fresh(&asked, now) {
            self.metrics.lookups_cached.inc();
            return Ok(entry);
        }
        if !self.routes.holds(&asked) {
            may_ask().map_err(Unknown::Refused)?;
        }
        let key = RouteKey { host: host.into(), slug: slug.into() };
        // boxed: most links are in memory, and their visitors would carry the room of a look-up
        Box::pin(self.look_up(key, now)).await.map_err(|Unavailable| Unknown::Unavailable)
    }

    async fn look_up(&self, key: RouteKey, now: Instant) -> Result<Arc<Entry<Route>>, Unavailable> {
        let (database, public_url) = (self.database.clone(), self.public_url.clone());
        let asked = key.clone();
        let lookup = async move {
            // what cannot be a host or a slug leads nowhere
            let (Ok(host), Ok(slug)) = (asked.host.parse(), asked.slug.parse()) else { return Ok(None) };
            let link = database.find_link(&host, &slug).await?;
            Ok::<_, LookupError>(link.map(|link| Route::new(link, &public_url)))
        };
        let found = self.routes.load(key, now, &self.runtime, lookup).await;
        match &found {
            Ok((_, Source::MemoryStale)) => self.metrics.lookups_stale.inc(),
            Ok(_) => self.metrics.lookups_loaded.inc(),
            Err(Unavailable) => self.metrics.lookups_failed.inc(),
        }
        found.map(|(entry, _)| entry)
    }

    async fn domain(&self, host: &str, now: Instant) -> Result<Arc<Entry<ServedDomain>>, Unavailable> {
        if let Some(entry) = self.hosts.fresh(host, now) {
            return Ok(entry);
        }
        let key: Box<str> = host.into();
        let (database, asked, any_host) = (self.database.clone(), key.clone(), self.any_host);
        let lookup = async move {
            let Ok(host) = asked.parse() else { return Ok(None) };
            database.find_domain(&host, any_host).await
        };
        Box::pin(self.hosts.load(key, now, &self.runtime, lookup)).await.map(|(entry, _)| entry)
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

    async fn find_domain(&self, host: &Host, any_host: bool) -> Result<Option<ServedDomain>, LookupError> {
        self.ask(async {
            let mut conn = self.pool.get().await?;
            if any_host {
                Ok(store::routes::serving_domain(&mut conn, host).await?)
            } else {
                Ok(store::routes::domain(&mut conn, host).await?)
            }
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
            kind: link.kind,
            revision: link.revision,
            domain: link.domain.to_string(),
            slug: link.slug.to_string(),
            tracked_url: tracked_url(public_url, &link.domain, &link.slug),
            original_url: link.original_url.to_string(),
            labels: link.labels.clone(),
            sent_at: link.sent_at,
        };
        let clicks = ClickTemplate::new(
            link.workspace_id,
            &clicked,
            link.address_treatment,
            link.recording == Recording::Anonymous,
        );
        // parameters that make it too long are refused when the link is saved; without them it still leads there
        let destination =
            link.utm.applied_to(&link.original_url).unwrap_or_else(|_| link.original_url.clone());
        let (location, body) = side_by_side(pages::location(&destination));
        Self { link, clicks, destination, location, body }
    }
}
