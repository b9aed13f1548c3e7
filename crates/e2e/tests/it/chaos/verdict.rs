//! Whether everything that was promised was kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use testkit::{OwnDatabase, until};

use super::strike::Instance;
use super::subscribers::{Doubled, Subscribers};
use super::visitors::Clicks;
use super::world::World;

/// Time for everything to arrive once nothing fails any more. An endpoint that only failed is tried again after 5 minutes at
/// the latest.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(8 * 60);

/// More than a process may have resident at any time: several times what one takes that holds all it may.
const RESIDENT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// One of so many visitors is redirected at least, whatever fails: most things that do are no reason not to.
const REDIRECTED_OF: usize = 3;

/// Numbers of clicks in the table, a text each. The URL stands in the event as it is.
const RECORDED: &str =
    "SELECT coalesce(substring(encode(event, 'escape') from 'click=([0-9]+)&'), 'none') FROM clicks";

/// Deliveries that are not accepted, by endpoint and state.
const OUTSTANDING: &str = "SELECT endpoint_id || ': ' || count(*) || ' ' || status FROM deliveries
    WHERE status <> 'delivered' GROUP BY endpoint_id, status";

/// Clicks that were told of again, since others had shown what they are.
const AMENDED: &str = "SELECT count(*)::text FROM clicks WHERE revision > 0";

/// How much of what is missing is named.
const NAMED_MAX: usize = 10;

/// Waits until everything has arrived, and checks it. Returns the deliveries that came again after they were accepted.
///
/// # Panics
/// When a click is missing or counted twice, or one delivery looks different from another of the same click.
pub async fn assert_all_kept(world: &World, clicks: &Clicks, subscribers: &mut Subscribers) -> Vec<Doubled> {
    let redirected = clicks.redirected.len();
    assert!(
        redirected * REDIRECTED_OF > clicks.made as usize,
        "only {redirected} of {} were redirected",
        clicks.made
    );
    wait_recorded(world.database(), clicks).await;
    world.stack.settled(&world.stack.nats.bus("chaos").await).await;
    let recorded = recorded(world.database()).await;
    assert_recorded_once(&recorded, clicks);
    wait_told(world, &recorded, subscribers).await;
    let amended = &world.database().texts(AMENDED).await[0];
    eprintln!("{amended} clicks were amended");
    assert_ne!(amended, "0", "no gateway was seen");
    assert_no_growth(&world.resident_max);

    let mut doubled = Vec::new();
    for observed in subscribers.all() {
        let manner = observed.manner;
        assert!(observed.faults.is_empty(), "{manner:?}: {}", some_of(observed.faults.iter()));
        let unknown = observed.told.keys().filter(|number| **number >= clicks.made);
        assert_eq!(some_of(unknown), "", "{manner:?} was told of clicks that nobody made");
        let (clicks, again) = (observed.told.len(), observed.doubled.len());
        eprintln!("{manner:?}: {clicks} clicks, {again} deliveries came again after 200");
        doubled.extend(observed.doubled.iter().cloned());
    }
    doubled
}

/// Waits until each click that got its redirect is in the table.
async fn wait_recorded(database: &OwnDatabase, clicks: &Clicks) {
    let all_there = until(ARRIVAL_LIMIT * 2, || async {
        // counting is quick, reading all is not
        let are_enough = counted(database).await >= clicks.redirected.len();
        (are_enough && unrecorded(database, clicks).await.is_empty()).then_some(())
    });
    if tokio::time::timeout(ARRIVAL_LIMIT, all_there).await.is_err() {
        panic!("clicks are not recorded: {}", some_of(unrecorded(database, clicks).await.iter()));
    }
}

/// How many clicks are in the table.
async fn counted(database: &OwnDatabase) -> usize {
    let counted = database.texts("SELECT count(*)::text FROM clicks").await;
    counted[0].parse().expect("a number")
}

/// The clicks that got their redirect and are not in the table.
async fn unrecorded(database: &OwnDatabase, clicks: &Clicks) -> BTreeSet<u32> {
    let recorded = recorded(database).await;
    clicks.redirected.iter().copied().filter(|number| !recorded.contains_key(number)).collect()
}

/// How often each click is in the table.
async fn recorded(database: &OwnDatabase) -> BTreeMap<u32, u32> {
    let mut recorded = BTreeMap::new();
    for number in database.texts(RECORDED).await {
        let number = number.parse().expect("the number of a click");
        *recorded.entry(number).or_default() += 1;
    }
    recorded
}

/// No click twice, and none that nobody made.
fn assert_recorded_once(recorded: &BTreeMap<u32, u32>, clicks: &Clicks) {
    let twice = recorded.iter().filter(|(_, times)| **times > 1).map(|(number, _)| number);
    assert_eq!(some_of(twice), "", "clicks are recorded twice");
    let unknown = recorded.keys().filter(|number| **number >= clicks.made);
    assert_eq!(some_of(unknown), "", "clicks are recorded that nobody made");
}

/// Waits until each subscriber was told of each click, and has accepted it.
async fn wait_told(world: &World, recorded: &BTreeMap<u32, u32>, subscribers: &mut Subscribers) {
    let told_all = until(ARRIVAL_LIMIT * 2, || {
        subscribers.note_all();
        let are_told = subscribers
            .all()
            .iter()
            .all(|observed| recorded.keys().all(|number| observed.told.contains_key(number)));
        async move {
            let is_done = are_told && world.database().texts(OUTSTANDING).await.is_empty();
            is_done.then_some(())
        }
    });
    if tokio::time::timeout(ARRIVAL_LIMIT, told_all).await.is_ok() {
        // what came again before the last result was stored
        subscribers.note_all();
        return;
    }
    for observed in subscribers.all() {
        let missing = recorded.keys().filter(|number| !observed.told.contains_key(*number));
        eprintln!("{:?} was not told of: {}", observed.manner, some_of(missing));
    }
    panic!("deliveries are outstanding: {:?}", world.database().texts(OUTSTANDING).await);
}

fn assert_no_growth(resident_max: &BTreeMap<Instance, u64>) {
    for (instance, most) in resident_max {
        eprintln!("{instance}: at most {} MiB resident", most / 1024 / 1024);
        assert!(*most <= RESIDENT_BYTES_MAX, "{instance} grew to {most} bytes");
    }
}

/// The first of them, for a message, and how many more there are.
fn some_of<T: ToString>(all: impl Iterator<Item = T>) -> String {
    let mut named: Vec<String> = all.map(|one| one.to_string()).collect();
    let more = named.len().saturating_sub(NAMED_MAX);
    named.truncate(NAMED_MAX);
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    named.join(", ")
}
