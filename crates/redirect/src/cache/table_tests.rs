//! What is found, what gives way, and that a bucket is a cache line.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use proptest::prelude::*;

use super::*;

fn entry(key: u32, weight: u64, value: u32) -> Arc<Entry<u32, u32>> {
    Arc::new(Entry {
        key,
        value: Some(value),
        loaded_at: Instant::now(),
        epoch: 0,
        weight,
        is_read: AtomicBool::new(false),
        is_stale: AtomicBool::new(false),
        retry_at: AtomicU64::new(0),
    })
}

fn held(table: &Table<u32, u32>) -> Vec<u32> {
    let mut keys = Vec::new();
    table.each(|entry| keys.push(entry.key));
    keys.sort_unstable();
    keys
}

#[test]
fn a_bucket_is_a_cache_line() {
    assert_eq!(size_of::<Bucket<u32, u32>>(), 64);
}

#[test]
fn what_was_read_stays_longer_than_what_was_not() {
    let table = Table::new(100);
    (0..100).for_each(|key| table.insert(entry(key, 1, key)));
    (0..50).for_each(|key| assert!(table.get(&key).is_some()));

    (100..150).for_each(|key| table.insert(entry(key, 1, key)));

    let stayed = (0..50).filter(|key| table.peek(key).is_some()).count();
    assert_eq!((stayed, held(&table).len()), (50, 100));
}

#[test]
fn a_look_that_does_not_count_keeps_nothing() {
    let table = Table::new(1);
    table.insert(entry(1, 1, 1));

    assert!(table.peek(&1).is_some());
    table.insert(entry(2, 1, 2));

    assert_eq!(held(&table), [2]);
}

#[test]
fn all_that_is_read_all_the_time_gives_way_as_well() {
    let table = Table::new(3);
    for key in 0..100 {
        table.insert(entry(key, 1, key));
        (0..=key).for_each(|key| drop(table.get(&key)));
        assert_eq!(table.get(&key).map(|entry| entry.value), Some(Some(key)));
    }
    assert_eq!(held(&table).len(), 3);
}

#[test]
fn who_puts_one_more_beside_many_that_are_read_looks_at_few_of_them() {
    let table = Table::new(1000);
    (0..1000).for_each(|key| table.insert(entry(key, 1, key)));
    (0..1000).for_each(|key| drop(table.get(&key)));

    table.insert(entry(1000, 1, 1000));

    let mut unread = 0;
    table.each(|entry| unread += usize::from(!entry.is_read.load(Ordering::Relaxed)));
    assert_eq!((unread, held(&table).len()), (SPARED_MAX + 1, 1000));
}

#[test]
fn heavy_entries_take_the_room_of_several_and_one_beyond_all_room_is_not_kept() {
    let table = Table::new(10);
    (0..10).for_each(|key| table.insert(entry(key, 1, key)));

    table.insert(entry(10, 6, 10));
    assert_eq!(held(&table).len(), 5);
    table.insert(entry(10, 11, 11));
    assert!(table.peek(&10).is_none());
}

#[test]
fn a_full_table_is_found_whole_though_buckets_are_uneven() {
    const ENTRIES: u32 = 50_000;
    let table = Table::new(2 * ENTRIES as usize);

    (0..ENTRIES).for_each(|key| table.insert(entry(key, 1, key)));
    assert!((0..ENTRIES).all(|key| table.get(&key).is_some_and(|entry| entry.value == Some(key))));
    (0..ENTRIES).step_by(2).for_each(|key| table.remove(&key));

    assert!((0..ENTRIES).all(|key| table.peek(&key).is_some() == (key % 2 == 1)));
    assert!(table.shards.iter().all(|shard| {
        let shard = shard.0.read().expect("not poisoned");
        let passed_by: u32 = shard.buckets.iter().map(|bucket| u32::from(bucket.passed_by)).sum();
        passed_by < ENTRIES / 100
    }));
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u32, u64),
    Remove(u32),
    Get(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..60u32;
    prop_oneof![
        3 => (key.clone(), 1..4u64).prop_map(|(key, weight)| Step::Insert(key, weight)),
        1 => key.clone().prop_map(Step::Remove),
        2 => key.prop_map(Step::Get),
    ]
}

proptest! {
    /// What is found is what was put there last, within the weight, and nothing is lost but what gave way.
    #[test]
    fn a_table_holds_what_a_map_does(weight_max in 1..40usize, steps in prop::collection::vec(step(), 1..400)) {
        let table = Table::new(weight_max);
        let mut map: HashMap<u32, (u64, u32)> = HashMap::new();
        for (number, step) in (0..).zip(steps) {
            match step {
                Step::Insert(key, weight) => {
                    table.insert(entry(key, weight, number));
                    map.insert(key, (weight, number));
                    let is_kept = weight <= weight_max as u64;
                    prop_assert_eq!(table.peek(&key).is_some(), is_kept);
                }
                Step::Remove(key) => {
                    table.remove(&key);
                    map.remove(&key);
                    prop_assert!(table.peek(&key).is_none());
                }
                Step::Get(key) => drop(table.get(&key)),
            }
            let kept = held(&table);
            map.retain(|key, _| kept.contains(key));
            prop_assert_eq!(kept.len(), map.len());
            for (key, (_, value)) in &map {
                prop_assert_eq!(table.peek(key).and_then(|entry| entry.value), Some(*value));
            }
            prop_assert!(map.values().map(|(weight, _)| weight).sum::<u64>() <= weight_max as u64);
        }
    }
}
