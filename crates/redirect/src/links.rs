//! Links in memory, in front of PostgreSQL.
//!
//! A link is found by host and slug. A link that changes is looked up again after a notice from the bus; where notices
//! may have been missed, and with age, every link is. With the database away, a link that was seen is served as it was,
//! up to `links.stale_max`.

mod minted;
mod route;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::HeaderValue;
use bus::{Bus, Change, Changed, Table};
use futures::{Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;
use webhook::Keyring;

use model::{DestinationUrl, Slug, SlugCase};
use store::Pool;
use store::routes::ServedDomain;

use crate::cache::{Bounds, Cache, Entry, Source, Touch, Unavailable};
use crate::lookups::{Database, LookupError};
use crate::metrics::Metrics;
use crate::route_key::{RouteKey, RouteRef};
use crate::settings::{LinksSettings, RedirectSettings};
use crate::target::Name;
use minted::{TEMPLATES_MAX, Template, Templates};
use service::tally::{Over, Taken};

pub use minted::Proof;
pub use route::{Met, Route};

/// How long it is remembered that there is no such link: one that was just made is found soon.
const REFRESH_ABSENT: Duration = Duration::from_secs(2);

/// How long an answer that leads nowhere waits to learn what its host tells browsers.
const HOST_WAIT: Duration = Duration::from_millis(100);

/// Hosts that are remembered; those that are somebody's are few.
const HOSTS_MAX: usize = 1000;

/// Finds links. Clones share one memory.
#[derive(Clone)]
pub struct Links {
    inner: Arc<Inner>,
}

struct Inner {
    routes: Arc<Cache<RouteKey, Route>>,
    /// Which domain a host stands for: asked for every link with `links.any_host`, else only for visits that led nowhere and
    /// for slugs with capital letters.
    hosts: Arc<Cache<Box<str>, ServedDomain>>,
    templates: Templates,
    any_host: bool,
    public_url: Url,
    database: Database,
    runtime: Handle,
    metrics: Metrics,
}

/// What the domain of a host says of requests that reach no link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfHost {
    /// What it tells browsers about https.
    pub hsts: Hsts,
    /// Where visitors go of a slug that no link has.
    pub fallback_url: Option<DestinationUrl>,
}

impl From<Hsts> for OfHost {
    fn from(hsts: Hsts) -> Self {
        Self { hsts, fallback_url: None }
    }
}

/// What the domain of a host tells browsers about https.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hsts {
    /// This value of its own.
    Own(HeaderValue),
    /// Nothing of its own, or the host is nobody's: what the server is set to tell.
    AsSet,
    /// It could not be learned in time: nothing is told, and browsers go on as they did.
    Unknown,
}

/// Why nothing is known about a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// It is not in memory, and the database is away.
    Unavailable,
    /// Who asks has guessed too often.
    Refused(Over),
}

/// Who asks for a link, and may ask for what is not there only so often. What is not in memory counts as a guess until
/// it is found, so that many questions at once are not more.
pub trait Guesser {
    /// Counts a guess.
    ///
    /// # Errors
    /// [`Over`] when there were too many.
    fn take(&self) -> Result<Taken, Over>;

    /// It was none.
    fn give_back(&self, guess: Taken);
}

/// A value of `Strict-Transport-Security`.
pub fn max_age_value(seconds: impl std::fmt::Display) -> HeaderValue {
    HeaderValue::try_from(format!("max-age={seconds}")).expect("digits are a value")
}

impl Links {
    /// An empty memory. Look-ups run on `runtime`; `keyring` opens the keys of recipients' links.
    pub fn new(
        shared: &LinksSettings,
        own: &RedirectSettings,
        pool: Pool,
        runtime: Handle,
        keyring: Option<Keyring>,
        metrics: &Metrics,
    ) -> Self {
        let bounds = Bounds {
            entries_max: own.cached_links_max,
            refresh: shared.refresh,
            refresh_absent: REFRESH_ABSENT,
            stale_max: Some(shared.stale_max).filter(|stale_max| !stale_max.is_zero()),
        };
        let inner = Inner {
            routes: Cache::new(bounds, Route::size),
            hosts: Cache::new(Bounds { entries_max: HOSTS_MAX, ..bounds }, |_| 0),
            templates: Templates {
                cache: Cache::new(Bounds { entries_max: TEMPLATES_MAX, ..bounds }, Template::size),
                keyring,
            },
            any_host: shared.any_host,
            public_url: shared.public_url.clone(),
            database: Database::new(pool, own.lookup_timeout),
            runtime,
            metrics: metrics.clone(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What stands under this host, in its comparable form, and under this slug. If there is nothing, `guesser` has taken a
    /// guess for it.
    ///
    /// # Errors
    /// [`Unknown`] when it was never seen, and the database is away or may not be asked.
    pub async fn find(
        &self,
        host: &str,
        name: &Name<'_>,
        now: Instant,
        guesser: &impl Guesser,
    ) -> Result<Arc<RouteEntry>, Unknown> {
        let inner = &self.inner;
        if !inner.any_host
            && let Some(slug) = name.one().or_else(|| inner.known_slug(host, name))
        {
            return inner.route(host, slug, now, guesser).await;
        }
        let domain = inner.serving_domain(host, now, guesser).await?;
        let (host, case) = match &domain.value {
            Some(domain) => (domain.host.as_str(), domain.slug_case),
            None => (host, SlugCase::default()),
        };
        inner.route(host, name.of(case), now, guesser).await
    }

    /// What the domain of this host says where no link is reached. A host that is nobody's counts as a guess when `guesser` is
    /// given: whoever makes hosts up would have each looked up.
    pub async fn of_host(&self, host: &str, now: Instant, guesser: Option<&impl Guesser>) -> OfHost {
        let told = |entry: &DomainEntry| {
            let Some(domain) = &entry.value else { return Hsts::AsSet.into() };
            let max_age = domain.hsts_max_age;
            let hsts = max_age.map_or(Hsts::AsSet, |seconds| Hsts::Own(max_age_value(seconds)));
            OfHost { hsts, fallback_url: domain.fallback_url.clone() }
        };
        if let Some(entry) = self.inner.hosts.fresh(host, now) {
            return told(&entry);
        }
        let guesser = guesser.filter(|_| !self.inner.hosts.holds(host));
        let Ok(guess) = guesser.map(Guesser::take).transpose() else { return Hsts::Unknown.into() };
        // who gives up waiting leaves the question asked: the next one finds the answer in memory
        let found = timeout(HOST_WAIT, self.inner.domain(host, now)).await;
        let entry = found.ok().and_then(Result::ok);
        let is_made_up = entry
            .as_ref()
            .is_some_and(|entry| entry.value.as_ref().is_none_or(|domain| domain.host.as_str() != host));
        if let Some((guess, guesser)) = guess.zip(guesser).filter(|_| !is_made_up) {
            guesser.give_back(guess);
        }
        entry.map_or(Hsts::Unknown.into(), |entry| told(&entry))
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
        let (routes, hosts) = (&self.inner.routes, &self.inner.hosts);
        let Change::Row(changed) = change else {
            routes.refresh_all();
            self.inner.templates.cache.refresh_all();
            hosts.refresh_all();
            return self.inner.metrics.refreshes.inc();
        };
        self.note_templates(changed);
        let Changed { table, workspace_id, keys } = changed;
        if *table != Table::Links || keys.is_empty() {
            // what was absent may be theirs by now
            routes.refresh_where(|route| route.is_none_or(|route| route.workspace_id == *workspace_id));
            return hosts
                .refresh_where(|domain| domain.is_none_or(|domain| domain.workspace_id == *workspace_id));
        }
        for key in keys {
            match key.split_once('/') {
                Some((host, slug)) => {
                    routes.refresh(&RouteRef::new(host, slug));
                    // a host that stood for the default domain, or for none, has links of its own now
                    hosts.refresh_if(host, |domain| domain.is_none_or(|domain| domain.host.as_str() != host));
                }
                None => {
                    // what was absent may stand under it by now
                    routes.refresh_where(|route| {
                        route.is_none_or(|route| route.rest.domain.as_str() == key.as_str())
                    });
                    hosts.refresh(key.as_str());
                }
            }
        }
    }
}

/// Domains are few: they are at hand.
impl Touch for ServedDomain {
    fn touch(&self) {}
}

/// What a memory has or has loaded, and which of them it was.
type Found<K, T> = Result<(Arc<Entry<K, T>>, Source), Unavailable>;

/// A link in memory, or that there is none.
pub type RouteEntry = Entry<RouteKey, Route>;

/// The domain of a host in memory, or that it is nobody's.
type DomainEntry = Entry<Box<str>, ServedDomain>;

impl Inner {
    /// The slug of a link in memory that this name means: such a link tells how its domain compares, also while the
    /// database is away.
    fn known_slug<'n>(&self, host: &str, name: &'n Name<'_>) -> Option<&'n str> {
        let means = |case: SlugCase| {
            let slug = name.of(case);
            let entry = self.routes.peek(&RouteRef::new(host, slug))?;
            (entry.value.as_ref()?.rest.slug_case == case).then_some(slug)
        };
        means(SlugCase::Insensitive).or_else(|| means(SlugCase::Sensitive))
    }

    async fn route(
        &self,
        host: &str,
        slug: &str,
        now: Instant,
        guesser: &impl Guesser,
    ) -> Result<Arc<RouteEntry>, Unknown> {
        let asked = RouteRef::new(host, slug);
        if let Some(entry) = self.routes.fresh(&asked, now) {
            self.metrics.lookups_cached.inc();
            if entry.value.is_none() {
                let _counted = guesser.take().map_err(Unknown::Refused)?;
            }
            return Ok(entry);
        }
        let is_seen = self.routes.holds(&asked);
        let guess = if is_seen { None } else { Some(guesser.take().map_err(Unknown::Refused)?) };
        // boxed: most links are in memory, and their visitors would carry the room of a look-up
        let found = Box::pin(self.look_up(host, slug, now)).await.map_err(|Unavailable| Unknown::Unavailable);
        settle(guesser, guess, &found)?;
        found
    }

    /// The domain that a host stands for. A host that is none of ours is a guess the first time: whoever makes hosts up
    /// would have each looked up.
    async fn serving_domain(
        &self,
        host: &str,
        now: Instant,
        guesser: &impl Guesser,
    ) -> Result<Arc<DomainEntry>, Unknown> {
        let is_seen = self.hosts.holds(host);
        let guess = if is_seen { None } else { Some(guesser.take().map_err(Unknown::Refused)?) };
        let found = self.domain(host, now).await.map_err(|Unavailable| Unknown::Unavailable);
        let domain = found.as_ref().ok().and_then(|entry| entry.value.as_ref());
        if let Some(guess) = guess
            && domain.is_none_or(|domain| domain.host.as_str() == host)
        {
            guesser.give_back(guess);
        }
        found
    }

    async fn look_up(&self, host: &str, slug: &str, now: Instant) -> Result<Arc<RouteEntry>, Unavailable> {
        let (database, public_url) = (self.database.clone(), self.public_url.clone());
        let key = RouteRef::new(host, slug).to_key();
        // read from a path, it is in the form that is compared
        let (host, slug) = (host.parse(), Slug::kept(slug.to_owned()));
        let lookup = async move {
            // what cannot be a host leads nowhere
            let Ok(host) = host else { return Ok(None) };
            let link = database.find_link(&host, &slug).await?;
            Ok::<_, LookupError>(link.map(|link| Route::new(link, &public_url)))
        };
        let found = self.routes.load(key, now, &self.runtime, lookup).await;
        self.counted(found)
    }

    /// Counts where an entry came from.
    fn counted<K, T>(&self, found: Found<K, T>) -> Result<Arc<Entry<K, T>>, Unavailable> {
        match &found {
            Ok((_, Source::MemoryStale)) => self.metrics.lookups_stale.inc(),
            Ok((_, Source::Memory)) => self.metrics.lookups_cached.inc(),
            Ok((_, Source::Loaded)) => self.metrics.lookups_loaded.inc(),
            Err(Unavailable) => self.metrics.lookups_failed.inc(),
        }
        found.map(|(entry, _)| entry)
    }

    async fn domain(&self, host: &str, now: Instant) -> Result<Arc<DomainEntry>, Unavailable> {
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

/// Counts what turned out not to be there as a guess, and what is there as none. `guess` was taken before it was asked for.
fn settle<K, T>(
    guesser: &impl Guesser,
    guess: Option<Taken>,
    found: &Result<Arc<Entry<K, T>>, Unknown>,
) -> Result<(), Unknown> {
    let is_absent = found.as_ref().is_ok_and(|entry| entry.value.is_none());
    match guess {
        Some(guess) if !is_absent => guesser.give_back(guess),
        None if is_absent => {
            let _counted = guesser.take().map_err(Unknown::Refused)?;
        }
        _ => {}
    }
    Ok(())
}
