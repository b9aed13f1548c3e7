//! What was looked up, in memory: bounded, refreshed by age and on notice, and better stale than nothing.
//!
//! An entry is fresh until its age, a notice or a missed notice ends that. Then the next reader asks again, all
//! readers of one key together, and gets the old value if the answer does not come. Absence is remembered as well, for
//! a short while.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt, Shared};
use quick_cache::Equivalent;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// How long a reader waits for the answer when there is an old one.
const STALE_WAIT: Duration = Duration::from_millis(100);

/// How long readers that have an old value do not ask, after an answer did not come.
const AWAY_PAUSE: Duration = Duration::from_secs(1);

/// The answer did not come, and there is no old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// How many entries there are, and how long they stay fresh.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Entries; those that are read least give way.
    pub entries_max: usize,
    /// Age at which a value is asked for again.
    pub refresh: Duration,
    /// Age at which absence is asked for again.
    pub refresh_absent: Duration,
    /// Age at which a value is no longer better than nothing, if there is one.
    pub stale_max: Option<Duration>,
}

/// How an entry was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It was asked for.
    Loaded,
    /// It was not fresh, and the answer did not come.
    MemoryStale,
}

/// What was looked up.
#[derive(Debug)]
pub struct Entry<V> {
    /// `None`: there is no such thing.
    pub value: Option<V>,
    loaded_at: Instant,
    epoch: u64,
    is_stale: AtomicBool,
}

impl<V> Entry<V> {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.loaded_at)
    }
}

type Answer<V> = Result<Arc<Entry<V>>, Unavailable>;
type Flight<V> = Shared<BoxFuture<'static, Answer<V>>>;

/// A cache of `V` by `K`.
pub struct Cache<K, V> {
    entries: quick_cache::sync::Cache<K, Arc<Entry<V>>>,
    bounds: Bounds,
    /// Questions under way. Each was asked by a reader, so that there are no more than readers.
    flights: Mutex<HashMap<K, Flight<V>>>,
    /// Entries of an earlier one are not fresh.
    epoch: AtomicU64,
    /// Counts notices: an answer that was under way when one came may be older than it.
    notices: AtomicU64,
    started_at: Instant,
    /// Milliseconds since `started_at`; before, readers with an old value do not ask.
    away_until: AtomicU64,
}

impl<K, V> Cache<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// An empty cache.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            entries: quick_cache::sync::Cache::new(bounds.entries_max),
            bounds,
            flights: Mutex::default(),
            epoch: AtomicU64::new(0),
            notices: AtomicU64::new(0),
            started_at: Instant::now(),
            away_until: AtomicU64::new(0),
        })
    }

    /// The entry of `key`, if it is fresh.
    pub fn fresh<Q>(&self, key: &Q, now: Instant) -> Option<Arc<Entry<V>>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.entries.get(key).filter(|entry| self.is_fresh(entry, now))
    }

    /// Whether there is a value of `key`, fresh or not.
    pub fn holds<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.entries.peek(key).is_some_and(|entry| entry.value.is_some())
    }

    /// The entry of `key` with what `load` answers, or with an old value if it does not answer.
    ///
    /// `load` ends within a bounded time. It runs on `runtime`: it is not cancelled with the reader who asked first, and connections that it opens do
    /// not belong to that reader's thread.
    ///
    /// # Errors
    /// [`Unavailable`] when there is no old value either.
    pub async fn load<F, E>(
        self: &Arc<Self>,
        key: K,
        now: Instant,
        runtime: &Handle,
        load: F,
    ) -> Result<(Arc<Entry<V>>, Source), Unavailable>
    where
        F: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Send + 'static,
    {
        // an old "there is none" is no answer
        let old = self.entries.peek(&key).filter(|entry| entry.value.is_some());
        let old = old.filter(|entry| self.bounds.stale_max.is_none_or(|most| entry.age(now) < most));
        let Some(old) = old else {
            return self.flight(key, runtime, load).await.map(|entry| (entry, Source::Loaded));
        };
        if self.is_away() {
            return Ok((old, Source::MemoryStale));
        }
        match timeout(STALE_WAIT, self.flight(key, runtime, load)).await {
            Ok(Ok(entry)) => Ok((entry, Source::Loaded)),
            Ok(Err(Unavailable)) | Err(_) => {
                self.set_away(true);
                Ok((old, Source::MemoryStale))
            }
        }
    }

    /// A notice: the value of `key` has changed.
    pub fn refresh<Q>(&self, key: &Q)
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.notices.fetch_add(1, Ordering::SeqCst);
        if let Some(entry) = self.entries.peek(key) {
            entry.is_stale.store(true, Ordering::SeqCst);
        }
    }

    /// Every value may have changed.
    pub fn refresh_all(&self) {
        self.notices.fetch_add(1, Ordering::SeqCst);
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    fn flight<F, E>(self: &Arc<Self>, key: K, runtime: &Handle, load: F) -> Flight<V>
    where
        F: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Send + 'static,
    {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(&key) {
            return flight.clone();
        }
        let landing = Landing { cache: self.clone(), key: key.clone() };
        let task = runtime.spawn(async move { landing.cache.answer(&landing.key, load).await });
        let flight = task.map(|joined| joined.unwrap_or(Err(Unavailable))).boxed().shared();
        flights.insert(key, flight.clone());
        flight
    }

    async fn answer<F, E>(&self, key: &K, load: F) -> Answer<V>
    where
        F: Future<Output = Result<Option<V>, E>>,
    {
        let epoch = self.epoch.load(Ordering::SeqCst);
        let notices = self.notices.load(Ordering::SeqCst);
        let Ok(value) = load.await else {
            self.set_away(true);
            return Err(Unavailable);
        };
        self.set_away(false);
        let entry =
            Arc::new(Entry { value, loaded_at: Instant::now(), epoch, is_stale: AtomicBool::new(false) });
        self.entries.insert(key.clone(), entry.clone());
        // looked at after inserting: a notice either finds the entry or is found here
        if self.notices.load(Ordering::SeqCst) != notices {
            entry.is_stale.store(true, Ordering::SeqCst);
        }
        Ok(entry)
    }

    fn is_fresh(&self, entry: &Entry<V>, now: Instant) -> bool {
        let refresh = if entry.value.is_some() { self.bounds.refresh } else { self.bounds.refresh_absent };
        !entry.is_stale.load(Ordering::Acquire)
            && entry.epoch == self.epoch.load(Ordering::Acquire)
            && entry.age(now) < refresh
    }

    fn is_away(&self) -> bool {
        self.millis() < self.away_until.load(Ordering::Relaxed)
    }

    fn set_away(&self, is_away: bool) {
        let until = if is_away { self.millis() + millis(AWAY_PAUSE) } else { 0 };
        self.away_until.store(until, Ordering::Relaxed);
    }

    fn millis(&self) -> u64 {
        millis(self.started_at.elapsed())
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<K, Flight<V>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Ends a flight, also when it panics.
struct Landing<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    cache: Arc<Cache<K, V>>,
    key: K,
}

impl<K, V> Drop for Landing<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn drop(&mut self) {
        self.cache.flights().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    const BOUNDS: Bounds = Bounds {
        entries_max: 100,
        refresh: Duration::from_secs(30),
        refresh_absent: Duration::from_secs(2),
        stale_max: Some(Duration::from_secs(3600)),
    };

    type Loaded = Result<Option<u32>, ()>;

    async fn load(
        cache: &Arc<Cache<u32, u32>>,
        answer: Loaded,
    ) -> Result<(Option<u32>, Source), Unavailable> {
        let loaded = cache.load(1, Instant::now(), &Handle::current(), async move { answer }).await;
        loaded.map(|(entry, source)| (entry.value, source))
    }

    fn fresh_at(cache: &Cache<u32, u32>, age: Duration) -> Option<Option<u32>> {
        cache.fresh(&1, Instant::now() + age).map(|entry| entry.value)
    }

    #[tokio::test]
    async fn a_value_is_fresh_for_its_age() {
        let cache = Cache::new(BOUNDS);

        assert_eq!(load(&cache, Ok(Some(7))).await, Ok((Some(7), Source::Loaded)));

        assert_eq!(fresh_at(&cache, Duration::from_secs(29)), Some(Some(7)));
        assert_eq!(fresh_at(&cache, Duration::from_secs(31)), None);
    }

    #[tokio::test]
    async fn absence_is_remembered_for_a_short_while() {
        let cache = Cache::new(BOUNDS);

        assert_eq!(load(&cache, Ok(None)).await, Ok((None, Source::Loaded)));

        assert_eq!(fresh_at(&cache, Duration::from_secs(1)), Some(None));
        assert_eq!(fresh_at(&cache, Duration::from_secs(3)), None);
    }

    #[tokio::test]
    async fn a_notice_ends_freshness() {
        let cache = Cache::new(BOUNDS);
        load(&cache, Ok(Some(7))).await.expect("loaded");

        cache.refresh(&1);
        assert_eq!(fresh_at(&cache, Duration::ZERO), None);

        load(&cache, Ok(Some(8))).await.expect("loaded");
        cache.refresh_all();
        assert_eq!(fresh_at(&cache, Duration::ZERO), None);
    }

    #[tokio::test]
    async fn an_answer_that_a_notice_overtook_is_not_fresh() {
        let cache = Cache::new(BOUNDS);
        let notifier = cache.clone();
        let loading = async move {
            notifier.refresh(&1);
            Ok::<_, ()>(Some(7))
        };

        let (entry, _) = cache.load(1, Instant::now(), &Handle::current(), loading).await.expect("loaded");

        assert_eq!(entry.value, Some(7));
        assert_eq!(fresh_at(&cache, Duration::ZERO), None);
    }

    #[tokio::test]
    async fn an_old_value_is_better_than_none() {
        let cache = Cache::new(BOUNDS);
        load(&cache, Ok(Some(7))).await.expect("loaded");
        cache.refresh_all();

        assert_eq!(load(&cache, Err(())).await, Ok((Some(7), Source::MemoryStale)));
        // asked again only after a pause
        assert_eq!(load(&cache, Ok(Some(8))).await, Ok((Some(7), Source::MemoryStale)));
    }

    #[tokio::test]
    async fn a_value_that_is_too_old_is_no_better_than_none() {
        for (stale_max, age, expected) in [
            (Some(3600), 3599, Ok((Some(7), Source::MemoryStale))),
            (Some(3600), 3601, Err(Unavailable)),
            (None, 1_000_000, Ok((Some(7), Source::MemoryStale))),
        ] {
            let cache = Cache::new(Bounds { stale_max: stale_max.map(Duration::from_secs), ..BOUNDS });
            load(&cache, Ok(Some(7))).await.expect("loaded");
            let now = Instant::now() + Duration::from_secs(age);

            let found = cache.load(1, now, &Handle::current(), async { Err::<Option<u32>, ()>(()) }).await;

            assert_eq!(found.map(|(entry, source)| (entry.value, source)), expected, "{stale_max:?} {age}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_not_waited_for_when_there_is_an_old_value() {
        let cache = Cache::new(BOUNDS);
        load(&cache, Ok(Some(7))).await.expect("loaded");
        cache.refresh_all();

        let never = std::future::pending::<Loaded>();
        let found = cache
            .load(1, Instant::now(), &Handle::current(), never)
            .await
            .map(|(entry, source)| (entry.value, source));

        assert_eq!(found, Ok((Some(7), Source::MemoryStale)));
    }

    #[tokio::test]
    async fn without_an_old_value_the_absence_of_an_answer_is_told() {
        let cache = Cache::new(BOUNDS);

        assert_eq!(load(&cache, Err(())).await, Err(Unavailable));
        // an old absence is no value
        load(&cache, Ok(None)).await.expect("loaded");
        cache.refresh_all();
        assert_eq!(load(&cache, Err(())).await, Err(Unavailable));
    }

    #[tokio::test]
    async fn readers_of_one_key_ask_once() {
        let cache = Cache::new(BOUNDS);
        let asked = Arc::new(AtomicUsize::new(0));
        let reads = (0..10).map(|_| {
            let (cache, asked) = (cache.clone(), asked.clone());
            async move {
                let loading = async move {
                    asked.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    Ok::<_, ()>(Some(7))
                };
                cache.load(1, Instant::now(), &Handle::current(), loading).await.map(|(entry, _)| entry.value)
            }
        });

        let found = futures::future::join_all(reads).await;

        assert_eq!(found, vec![Ok(Some(7)); 10]);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_question_that_panics_can_be_asked_again() {
        let cache = Cache::new(BOUNDS);

        let panicking =
            cache.load(1, Instant::now(), &Handle::current(), async { panic!("on purpose") as Loaded }).await;
        assert!(panicking.is_err());

        assert_eq!(load(&cache, Ok(Some(7))).await, Ok((Some(7), Source::Loaded)));
    }
}
