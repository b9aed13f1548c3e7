//! A bounded table that is read from many threads, laid out for memory that answers slowly.
//!
//! Among many entries every step to one waits for memory, for as long as all the rest of an answer takes. So there are two: to
//! a bucket, which is one cache line and holds a byte of each entry's hash with the way to it, and to the entry, which holds
//! its own key. An entry whose bucket is full stands in one of the next; each bucket counts those that passed it.
//!
//! When there is no room, an entry gives way that was not read for a while (CLOCK: a hand goes round and clears the mark that
//! reading leaves).

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use equivalent::Equivalent;
use foldhash::quality::RandomState;

use super::{Entry, Touch};

/// Entries of a bucket: with their tags and a counter they fill a cache line.
const SLOTS: usize = 7;

/// Entries that a bucket is meant to hold; what is beyond is room for chance.
const SLOTS_USED: usize = 4;

/// Parts of a table, each with its lock, and entries that each is worth having for.
const SHARDS_MAX: usize = 16;
const SHARD_ENTRIES_MIN: usize = 1024;

/// Entries that were read and are passed over for each one that gives way: a reader does not wait for a look at all of them.
const SPARED_MAX: usize = 64;

/// Buckets that are looked through before readers and writers have their turn.
const SEEN_AT_ONCE: usize = 64;

/// The tag of a free slot; others have their highest bit set.
const FREE: u8 = 0;

/// Entries by their keys, within a weight.
pub(super) struct Table<K, V> {
    shards: Box<[Part<K, V>]>,
    hasher: RandomState,
}

/// Locks of two parts in one cache line would be fetched from each other by readers of both.
#[repr(align(128))]
struct Part<K, V>(RwLock<Shard<K, V>>);

struct Shard<K, V> {
    /// As many as a power of two.
    buckets: Box<[Bucket<K, V>]>,
    weight: u64,
    weight_max: u64,
    /// Where the hand stands.
    hand: Place,
}

#[repr(align(64))]
struct Bucket<K, V> {
    tags: [u8; SLOTS],
    /// Entries that would stand here or before and stand behind; at its highest value it counts no more.
    passed_by: u8,
    slots: [Option<Arc<Entry<K, V>>>; SLOTS],
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    bucket: usize,
    slot: usize,
}

impl<K: Eq + Hash, V: Touch> Table<K, V> {
    /// An empty table whose entries together weigh at most so much; each weighs at least 1.
    pub(super) fn new(weight_max: usize) -> Self {
        let count = (weight_max / SHARD_ENTRIES_MIN).clamp(1, SHARDS_MAX);
        let share = weight_max.div_ceil(count);
        let shards = (0..count).map(|_| Part(RwLock::new(Shard::new(share)))).collect();
        Self { shards, hasher: RandomState::default() }
    }

    /// The entry of `key`; it was read.
    pub(super) fn get<Q>(&self, key: &Q) -> Option<Arc<Entry<K, V>>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let shard = self.read(hash);
        let entry = shard.find(hash, key).and_then(|place| shard.at(place))?;
        if !entry.is_read.load(Ordering::Relaxed) {
            entry.is_read.store(true, Ordering::Relaxed);
        }
        Some(entry.clone())
    }

    /// The entry of `key`; that does not count as reading it.
    pub(super) fn peek<Q>(&self, key: &Q) -> Option<Arc<Entry<K, V>>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let shard = self.read(hash);
        shard.find(hash, key).and_then(|place| shard.at(place)).cloned()
    }

    /// Puts an entry in the place of the one with its key, or of such that give way. One that weighs more than a part of the
    /// table may is not kept.
    pub(super) fn insert(&self, entry: Arc<Entry<K, V>>) {
        let hash = self.hasher.hash_one(&entry.key);
        // what gives way is let go of when nobody waits for the lock
        let _gone = self.write(hash).insert(entry, hash, |entry| self.hasher.hash_one(&entry.key));
    }

    /// Removes the entry of `key`.
    pub(super) fn remove(&self, key: &K) {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.write(hash);
        let place = shard.find(hash, key);
        let gone = place.and_then(|place| shard.take(place, hash));
        drop(shard);
        drop(gone);
    }

    /// Shows each entry that is there all the while; that does not count as reading it.
    pub(super) fn each(&self, mut see: impl FnMut(&Entry<K, V>)) {
        for Part(shard) in &self.shards {
            let mut from = 0;
            loop {
                let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
                let Some(buckets) = shard.buckets.get(from..).filter(|rest| !rest.is_empty()) else { break };
                let entries =
                    buckets.iter().take(SEEN_AT_ONCE).flat_map(|bucket| bucket.slots.iter().flatten());
                entries.for_each(|entry| see(entry));
                from += SEEN_AT_ONCE;
            }
        }
    }

    fn shard(&self, hash: u64) -> &RwLock<Shard<K, V>> {
        // bits that choose no bucket and are in no tag
        let number = usize::try_from(hash >> 32 & 0xffff).unwrap_or_default();
        &self.shards[number % self.shards.len()].0
    }

    fn read(&self, hash: u64) -> RwLockReadGuard<'_, Shard<K, V>> {
        self.shard(hash).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, hash: u64) -> RwLockWriteGuard<'_, Shard<K, V>> {
        self.shard(hash).write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V: Touch> Shard<K, V> {
    fn new(weight_max: usize) -> Self {
        let count = weight_max.div_ceil(SLOTS_USED).next_power_of_two();
        Self {
            buckets: (0..count).map(|_| Bucket::new()).collect(),
            weight: 0,
            weight_max: u64::try_from(weight_max).unwrap_or(u64::MAX),
            hand: Place::default(),
        }
    }

    /// The bucket in which an entry stands if there is room.
    fn home(&self, hash: u64) -> usize {
        usize::try_from(hash & 0xffff_ffff).unwrap_or_default() & (self.buckets.len() - 1)
    }

    fn next(&self, bucket: usize) -> usize {
        (bucket + 1) & (self.buckets.len() - 1)
    }

    fn find<Q>(&self, hash: u64, key: &Q) -> Option<Place>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let tag = tag(hash);
        let mut number = self.home(hash);
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[number];
            let is_it = |entry: &Entry<K, V>| {
                entry.touch();
                key.equivalent(&entry.key)
            };
            let found = (0..SLOTS)
                .find(|slot| bucket.tags[*slot] == tag && bucket.slots[*slot].as_deref().is_some_and(is_it));
            if let Some(slot) = found {
                return Some(Place { bucket: number, slot });
            }
            if bucket.passed_by == 0 {
                return None;
            }
            number = self.next(number);
        }
        None
    }

    fn at(&self, place: Place) -> Option<&Arc<Entry<K, V>>> {
        self.buckets[place.bucket].slots[place.slot].as_ref()
    }

    /// Gives back what is not there any more.
    fn insert(
        &mut self,
        entry: Arc<Entry<K, V>>,
        hash: u64,
        hash_of: impl Fn(&Entry<K, V>) -> u64,
    ) -> Vec<Arc<Entry<K, V>>> {
        let old = self.find(hash, &entry.key);
        let mut gone: Vec<_> = old.and_then(|place| self.take(place, hash)).into_iter().collect();
        if entry.weight > self.weight_max {
            gone.push(entry);
            return gone;
        }
        while self.weight + entry.weight > self.weight_max {
            let Some(unread) = self.evict(&hash_of) else { break };
            gone.push(unread);
        }
        let mut number = self.home(hash);
        for _ in 0..self.buckets.len() {
            let bucket = &mut self.buckets[number];
            if let Some(slot) = bucket.slots.iter().position(Option::is_none) {
                self.weight += entry.weight;
                bucket.tags[slot] = tag(hash);
                bucket.slots[slot] = Some(entry);
                return gone;
            }
            bucket.passed_by = bucket.passed_by.saturating_add(1);
            number = self.next(number);
        }
        // cannot be: there are more places than entries may be
        gone.push(entry);
        gone
    }

    /// Empties a place.
    fn take(&mut self, place: Place, hash: u64) -> Option<Arc<Entry<K, V>>> {
        let bucket = &mut self.buckets[place.bucket];
        let entry = bucket.slots[place.slot].take()?;
        bucket.tags[place.slot] = FREE;
        self.weight -= entry.weight;
        let mut number = self.home(hash);
        while number != place.bucket {
            let passed_by = &mut self.buckets[number].passed_by;
            if *passed_by < u8::MAX {
                *passed_by -= 1;
            }
            number = self.next(number);
        }
        Some(entry)
    }

    /// Takes the next entry that was not read since the hand came by, or the one after so many that were.
    fn evict(&mut self, hash_of: impl Fn(&Entry<K, V>) -> u64) -> Option<Arc<Entry<K, V>>> {
        let mut spared = 0;
        for _ in 0..2 * SLOTS * self.buckets.len() {
            let place = self.hand;
            self.hand = match place.slot + 1 {
                SLOTS => Place { bucket: self.next(place.bucket), slot: 0 },
                slot => Place { slot, ..place },
            };
            let Some(entry) = self.at(place) else { continue };
            if !entry.is_read.swap(false, Ordering::Relaxed) || spared == SPARED_MAX {
                let hash = hash_of(entry);
                return self.take(place, hash);
            }
            spared += 1;
        }
        None
    }
}

impl<K, V> Bucket<K, V> {
    fn new() -> Self {
        Self { tags: [FREE; SLOTS], passed_by: 0, slots: std::array::from_fn(|_| None) }
    }
}

fn tag(hash: u64) -> u8 {
    hash.to_be_bytes()[0] | 0x80
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
