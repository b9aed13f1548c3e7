//! What a cache holds: values, and apart from them what is known to be absent. Anybody can ask for what is made up, as often as they
//! may ask, and would push out what is read seldom.

use std::hash::Hash;
use std::sync::Arc;

use quick_cache::{Equivalent, Weighter, sync};

use super::{Entry, Touch};

/// Of how many entries one more may be of what is absent.
const ABSENT_SHARE: usize = 10;

/// An entry as it is kept. Whoever gets it has all of it touched first: counting one more holder waits for memory, and holds
/// up what is read after that.
pub struct Kept<V>(Arc<Entry<V>>);

impl<V: Touch> Clone for Kept<V> {
    fn clone(&self) -> Self {
        self.0.touch();
        Self(self.0.clone())
    }
}

/// Entries by key.
pub struct Memory<K, V> {
    /// Bounded by the memory that they take.
    pub values: sync::Cache<K, Kept<V>, ByWeight>,
    /// Bounded by their number: each takes little.
    pub absent: sync::Cache<K, Kept<V>>,
}

/// Bounds values by the memory that they take.
#[derive(Debug, Clone)]
pub struct ByWeight;

impl<K, V> Weighter<K, Kept<V>> for ByWeight {
    fn weight(&self, _: &K, kept: &Kept<V>) -> u64 {
        kept.0.weight
    }
}

impl<K, V> Memory<K, V>
where
    K: Clone + Eq + Hash,
    V: Touch,
{
    /// Nothing yet; room for so many values, and a share of that for what is absent.
    pub fn new(values_max: usize) -> Self {
        let weight_max = u64::try_from(values_max).unwrap_or(u64::MAX);
        Self {
            values: sync::Cache::with_weighter(values_max, weight_max, ByWeight),
            absent: sync::Cache::new(values_max.div_ceil(ABSENT_SHARE)),
        }
    }

    /// The entry of `key`.
    pub fn get<Q>(&self, key: &Q) -> Option<Arc<Entry<V>>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.values.get(key).or_else(|| self.absent.get(key)).map(|kept| kept.0)
    }

    /// The same, which does not count as a use of it.
    pub fn peek<Q>(&self, key: &Q) -> Option<Arc<Entry<V>>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.values.peek(key).or_else(|| self.absent.peek(key)).map(|kept| kept.0)
    }

    /// Puts an entry in the place of what was there. Of one key one at a time.
    pub fn insert(&self, key: K, entry: Arc<Entry<V>>) {
        // the new one first, so that no reader finds nothing
        if entry.value.is_some() {
            self.values.insert(key.clone(), Kept(entry));
            self.absent.remove(&key);
        } else {
            self.absent.insert(key.clone(), Kept(entry));
            self.values.remove(&key);
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = Arc<Entry<V>>> {
        self.values.iter().chain(self.absent.iter()).map(|(_, kept)| kept.0)
    }
}
