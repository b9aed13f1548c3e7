//! What was looked up, in memory: bounded, refreshed by age and on notice, and better stale than nothing.
//!
//! An entry is fresh until its age, a notice or a missed notice ends that. Then the next reader asks again, all
//! readers of one key together. Age alone makes nobody wait: the old value is served while the new one is asked for. After
//! a notice readers wait for the answer, for a short while, and get the old value if it does not come; once it did not
//! come, only one reader at a time finds out whether answers come again. Absence is remembered as well, for a short while.

mod memory;
mod table;

use std::collections::HashMap;
use std::hash::Hash;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use equivalent::Equivalent;
use futures::future::{BoxFuture, FutureExt, Shared};
use tokio::runtime::Handle;
use tokio::time::timeout;

use memory::Memory;

/// How long a reader waits for the answer when there is an old one.
const STALE_WAIT: Duration = Duration::from_millis(100);

/// How long readers that have an old value do not ask, after an answer did not come.
const AWAY_PAUSE: Duration = Duration::from_secs(1);

/// How long what could not be read is not asked for again, unless there is a notice.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(1);

/// What an entry of weight 1 takes at most, in bytes; a larger one counts as several.
const ENTRY_BYTES: usize = 1536;

/// Why an answer did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Whom we ask is away.
    Away,
    /// What we asked for is there and cannot be read. Of other things this says nothing.
    Unreadable,
}

/// The answer did not come, and there is no old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// How many entries there are, and how long they stay fresh.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Values; those that were not read for long give way. One of more than [`ENTRY_BYTES`] counts as several. What is absent is
    /// remembered apart, a tenth as many.
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
    /// It was old, and is being asked for.
    Memory,
    /// It was not fresh, and the answer did not come.
    MemoryStale,
}

/// What was looked up.
#[derive(Debug)]
pub struct Entry<K, V> {
    key: K,
    /// `None`: there is no such thing.
    pub value: Option<V>,
    loaded_at: Instant,
    epoch: u64,
    weight: u64,
    /// Since entries were last looked through for one that gives way.
    is_read: AtomicBool,
    /// Since a notice, or because it could not be read.
    is_stale: AtomicBool,
    /// Milliseconds since the cache was made; before, it is not asked for again.
    retry_at: AtomicU64,
}

/// Has what is read of a value with every use come from memory at once. Where there are many values, none of it is at hand;
/// and counting one more holder of an entry, which waits for memory, holds up what is read after it.
pub trait Touch {
    /// Reads a bit of every piece.
    fn touch(&self);
}

impl<K, V: Touch> Entry<K, V> {
    fn touch(&self) {
        let is_stale = self.is_stale.load(Ordering::Relaxed);
        black_box((is_stale, self.epoch, self.loaded_at));
        if let Some(value) = &self.value {
            value.touch();
        }
    }
}

impl<K, V> Entry<K, V> {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.loaded_at)
    }

    fn note_change(&self) {
        self.retry_at.store(0, Ordering::SeqCst);
        self.is_stale.store(true, Ordering::SeqCst);
    }
}

type Answer<K, V> = Result<Arc<Entry<K, V>>, Failure>;
type Flight<K, V> = Shared<BoxFuture<'static, Answer<K, V>>>;

/// A cache of `V` by `K`.
pub struct Cache<K, V> {
    entries: Memory<K, V>,
    bounds: Bounds,
    /// How many bytes a value takes.
    size: fn(&V) -> usize,
    /// Questions under way. Each was asked by a reader, so that there are no more than readers.
    flights: Mutex<HashMap<K, Flight<K, V>>>,
    /// Entries of an earlier one are not fresh.
    epoch: AtomicU64,
    /// Counts notices: an answer that was under way when one came may be older than it.
    notices: AtomicU64,
    started_at: Instant,
    /// Milliseconds since `started_at`; before, readers with an old value do not ask. 0 while answers come.
    away_until: AtomicU64,
}

impl<K, V> Cache<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Touch + Send + Sync + 'static,
{
    /// An empty cache of values of this size in bytes.
    pub fn new(bounds: Bounds, size: fn(&V) -> usize) -> Arc<Self> {
        Arc::new(Self {
            entries: Memory::new(bounds.entries_max),
            bounds,
            size,
            flights: Mutex::default(),
            epoch: AtomicU64::new(0),
            notices: AtomicU64::new(0),
            started_at: Instant::now(),
            away_until: AtomicU64::new(0),
        })
    }

    /// The entry of `key`, if it is fresh.
    pub fn fresh<Q>(&self, key: &Q, now: Instant) -> Option<Arc<Entry<K, V>>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.entries.get(key).filter(|entry| self.is_fresh(entry, now))
    }

    /// The entry of `key`, fresh or not. It does not count as a use of it.
    pub fn peek<Q>(&self, key: &Q) -> Option<Arc<Entry<K, V>>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.entries.peek(key)
    }

    /// Whether there is a value of `key`, fresh or not.
    pub fn holds<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.entries.peek(key).is_some_and(|entry| entry.value.is_some())
    }

    /// The entry of `key` with what `load` answers, or with an old value while or because it does not answer.
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
    ) -> Result<(Arc<Entry<K, V>>, Source), Unavailable>
    where
        F: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Into<Failure> + Send + 'static,
    {
        let kept = self.entries.peek(&key);
        let waits = kept.as_ref().is_some_and(|entry| self.waits(entry));
        // an old "there is none" is no answer
        let old = kept.filter(|entry| entry.value.is_some());
        let old = old.filter(|entry| self.bounds.stale_max.is_none_or(|most| entry.age(now) < most));
        let Some(old) = old else {
            if waits {
                return Err(Unavailable);
            }
            let found = self.flight(key, runtime, load).await;
            return found.map(|entry| (entry, Source::Loaded)).map_err(|_| Unavailable);
        };
        if waits || !self.may_ask() {
            return Ok((old, Source::MemoryStale));
        }
        let flight = self.flight(key, runtime, load);
        if !self.is_doubtful(&old) {
            return Ok((old, Source::Memory));
        }
        match timeout(STALE_WAIT, flight).await {
            Ok(Ok(entry)) => Ok((entry, Source::Loaded)),
            Ok(Err(_)) => Ok((old, Source::MemoryStale)),
            Err(_) => {
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
        self.refresh_if(key, |_| true);
    }

    /// A notice: what is remembered of `key` has changed if it is as `is_meant` says.
    pub fn refresh_if<Q>(&self, key: &Q, is_meant: impl Fn(Option<&V>) -> bool)
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.notices.fetch_add(1, Ordering::SeqCst);
        if let Some(entry) = self.entries.peek(key)
            && is_meant(entry.value.as_ref())
        {
            entry.note_change();
        }
    }

    /// A notice: what is as `is_meant` says may have changed. Takes time with the number of entries.
    pub fn refresh_where(&self, is_meant: impl Fn(Option<&V>) -> bool) {
        self.notices.fetch_add(1, Ordering::SeqCst);
        self.entries.each(|entry| {
            if is_meant(entry.value.as_ref()) {
                entry.note_change();
            }
        });
    }

    /// Every value may have changed.
    pub fn refresh_all(&self) {
        self.notices.fetch_add(1, Ordering::SeqCst);
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    fn flight<F, E>(self: &Arc<Self>, key: K, runtime: &Handle, load: F) -> Flight<K, V>
    where
        F: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Into<Failure> + Send + 'static,
    {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(&key) {
            return flight.clone();
        }
        let landing = Landing { cache: self.clone(), key: key.clone() };
        let task = runtime.spawn(async move { landing.cache.answer(&landing.key, load).await });
        let flight = task.map(|joined| joined.unwrap_or(Err(Failure::Away))).boxed().shared();
        flights.insert(key, flight.clone());
        flight
    }

    async fn answer<F, E>(&self, key: &K, load: F) -> Answer<K, V>
    where
        F: Future<Output = Result<Option<V>, E>>,
        E: Into<Failure>,
    {
        let epoch = self.epoch.load(Ordering::SeqCst);
        let notices = self.notices.load(Ordering::SeqCst);
        let value = match load.await.map_err(Into::into) {
            Ok(value) => value,
            Err(failure) => {
                self.set_away(failure == Failure::Away);
                if failure == Failure::Unreadable {
                    self.put_off(key, epoch);
                }
                return Err(failure);
            }
        };
        self.set_away(false);
        let entry = self.entry(key.clone(), value, epoch);
        self.entries.insert(entry.clone());
        // looked at after inserting: a notice either finds the entry or is found here
        if self.notices.load(Ordering::SeqCst) != notices {
            entry.is_stale.store(true, Ordering::SeqCst);
        }
        Ok(entry)
    }

    fn entry(&self, key: K, value: Option<V>, epoch: u64) -> Arc<Entry<K, V>> {
        let bytes = value.as_ref().map_or(0, self.size);
        Arc::new(Entry {
            key,
            value,
            loaded_at: Instant::now(),
            epoch,
            weight: u64::try_from(bytes.div_ceil(ENTRY_BYTES)).unwrap_or(u64::MAX).max(1),
            is_read: AtomicBool::new(false),
            is_stale: AtomicBool::new(false),
            retry_at: AtomicU64::new(0),
        })
    }

    /// Remembers that what stands under a key cannot be read; an old value stays.
    fn put_off(&self, key: &K, epoch: u64) {
        let old = self.entries.peek(key).filter(|entry| entry.value.is_some());
        let entry = old.unwrap_or_else(|| {
            let unreadable = self.entry(key.clone(), None, epoch);
            unreadable.is_stale.store(true, Ordering::SeqCst);
            self.entries.insert(unreadable.clone());
            unreadable
        });
        entry.retry_at.store(self.millis() + millis(UNREADABLE_PAUSE), Ordering::SeqCst);
    }

    fn is_fresh(&self, entry: &Entry<K, V>, now: Instant) -> bool {
        let refresh = if entry.value.is_some() { self.bounds.refresh } else { self.bounds.refresh_absent };
        !self.is_doubtful(entry) && entry.age(now) < refresh
    }

    /// Whether there is more against an entry than its age.
    fn is_doubtful(&self, entry: &Entry<K, V>) -> bool {
        entry.is_stale.load(Ordering::Acquire) || entry.epoch != self.epoch.load(Ordering::Acquire)
    }

    /// Whether an entry is not to be asked for yet.
    fn waits(&self, entry: &Entry<K, V>) -> bool {
        let retry_at = entry.retry_at.load(Ordering::Relaxed);
        retry_at > 0 && self.millis() < retry_at
    }

    /// Whether a reader with an old value may ask: while answers do not come, one of them now and then.
    fn may_ask(&self) -> bool {
        let until = self.away_until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        let now = self.millis();
        let next = now + millis(AWAY_PAUSE);
        let (ordering, away_until) = (Ordering::Relaxed, &self.away_until);
        now >= until && away_until.compare_exchange(until, next, ordering, ordering).is_ok()
    }

    fn set_away(&self, is_away: bool) {
        let until = if is_away { self.millis() + millis(AWAY_PAUSE) } else { 0 };
        self.away_until.store(until, Ordering::Relaxed);
    }

    fn millis(&self) -> u64 {
        millis(self.started_at.elapsed())
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<K, Flight<K, V>>> {
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
    V: Touch + Send + Sync + 'static,
{
    cache: Arc<Cache<K, V>>,
    key: K,
}

impl<K, V> Drop for Landing<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Touch + Send + Sync + 'static,
{
    fn drop(&mut self) {
        self.cache.flights().remove(&self.key);
    }
}

#[cfg(test)]
mod tests;
