//! What a cache holds: values, and apart from them what is known to be absent. Anybody can ask for what is made up, as often as they
//! may ask, and would push out what is read seldom.

use std::hash::Hash;
use std::sync::Arc;

use equivalent::Equivalent;

use super::table::Table;
use super::{Entry, Touch};

/// Of how many entries one more may be of what is absent.
const ABSENT_SHARE: usize = 10;

/// Entries by key.
pub(super) struct Memory<K, V> {
    values: Table<K, V>,
    absent: Table<K, V>,
}

impl<K, V> Memory<K, V>
where
    K: Eq + Hash,
    V: Touch,
{
    /// Nothing yet; room for so many values, and a share of that for what is absent.
    pub(super) fn new(values_max: usize) -> Self {
        Self { values: Table::new(values_max), absent: Table::new(values_max.div_ceil(ABSENT_SHARE)) }
    }

    /// The entry of `key`.
    pub(super) fn get<Q>(&self, key: &Q) -> Option<Arc<Entry<K, V>>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.values.get(key).or_else(|| self.absent.get(key))
    }

    /// The same, which does not count as a use of it.
    pub(super) fn peek<Q>(&self, key: &Q) -> Option<Arc<Entry<K, V>>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.values.peek(key).or_else(|| self.absent.peek(key))
    }

    /// Puts an entry in the place of what was there. Of one key one at a time.
    pub(super) fn insert(&self, entry: Arc<Entry<K, V>>) {
        let (table, other) = match entry.value {
            Some(_) => (&self.values, &self.absent),
            None => (&self.absent, &self.values),
        };
        // the new one first: a reader hardly ever finds nothing, and then asks
        table.insert(entry.clone());
        other.remove(&entry.key);
    }

    /// Shows all of them.
    pub(super) fn each(&self, mut see: impl FnMut(&Entry<K, V>)) {
        self.values.each(&mut see);
        self.absent.each(see);
    }

    /// How many values there are, and how many absences.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        let count = |table: &Table<K, V>| {
            let mut count = 0;
            table.each(|_| count += 1);
            count
        };
        (count(&self.values), count(&self.absent))
    }
}
