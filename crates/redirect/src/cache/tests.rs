//! How long entries are fresh, who waits for an answer, and what is served while none comes.

use super::*;
use std::sync::atomic::AtomicUsize;

const BOUNDS: Bounds = Bounds {
    entries_max: 100,
    refresh: Duration::from_secs(30),
    refresh_absent: Duration::from_secs(2),
    stale_max: Some(Duration::from_secs(3600)),
};

type Loaded = Result<Option<u32>, Failure>;

impl Touch for u32 {
    fn touch(&self) {}
}

/// Values above 1000 are large.
fn size(value: &u32) -> usize {
    if *value > 1000 { 10 * ENTRY_BYTES } else { 0 }
}

async fn load(cache: &Arc<Cache<u32, u32>>, answer: Loaded) -> Result<(Option<u32>, Source), Unavailable> {
    let loaded = cache.load(1, Instant::now(), &Handle::current(), async move { answer }).await;
    loaded.map(|(entry, source)| (entry.value, source))
}

fn fresh_at(cache: &Cache<u32, u32>, age: Duration) -> Option<Option<u32>> {
    cache.fresh(&1, Instant::now() + age).map(|entry| entry.value)
}

#[tokio::test]
async fn a_value_is_fresh_for_its_age() {
    let cache = Cache::new(BOUNDS, size);

    assert_eq!(load(&cache, Ok(Some(7))).await, Ok((Some(7), Source::Loaded)));

    assert_eq!(fresh_at(&cache, Duration::from_secs(29)), Some(Some(7)));
    assert_eq!(fresh_at(&cache, Duration::from_secs(31)), None);
}

#[tokio::test]
async fn absence_is_remembered_for_a_short_while() {
    let cache = Cache::new(BOUNDS, size);

    assert_eq!(load(&cache, Ok(None)).await, Ok((None, Source::Loaded)));

    assert_eq!(fresh_at(&cache, Duration::from_secs(1)), Some(None));
    assert_eq!(fresh_at(&cache, Duration::from_secs(3)), None);
}

#[tokio::test]
async fn a_notice_ends_freshness() {
    let cache = Cache::new(BOUNDS, size);
    load(&cache, Ok(Some(7))).await.expect("loaded");

    cache.refresh(&1);
    assert_eq!(fresh_at(&cache, Duration::ZERO), None);

    load(&cache, Ok(Some(8))).await.expect("loaded");
    cache.refresh_all();
    assert_eq!(fresh_at(&cache, Duration::ZERO), None);
}

#[tokio::test]
async fn an_answer_that_a_notice_overtook_is_not_fresh() {
    let cache = Cache::new(BOUNDS, size);
    let notifier = cache.clone();
    let loading = async move {
        notifier.refresh(&1);
        Ok::<_, Failure>(Some(7))
    };

    let (entry, _) = cache.load(1, Instant::now(), &Handle::current(), loading).await.expect("loaded");

    assert_eq!(entry.value, Some(7));
    assert_eq!(fresh_at(&cache, Duration::ZERO), None);
}

#[tokio::test]
async fn an_old_value_is_better_than_none() {
    let cache = Cache::new(BOUNDS, size);
    load(&cache, Ok(Some(7))).await.expect("loaded");
    cache.refresh_all();

    assert_eq!(load(&cache, Err(Failure::Away)).await, Ok((Some(7), Source::MemoryStale)));
    // asked again only after a pause
    assert_eq!(load(&cache, Ok(Some(8))).await, Ok((Some(7), Source::MemoryStale)));
}

#[tokio::test]
async fn a_value_that_is_too_old_is_no_better_than_none() {
    for (stale_max, age, expected) in [
        (Some(3600), 3599, Ok((Some(7), Source::Memory))),
        (Some(3600), 3601, Err(Unavailable)),
        (None, 1_000_000, Ok((Some(7), Source::Memory))),
    ] {
        let cache = Cache::new(Bounds { stale_max: stale_max.map(Duration::from_secs), ..BOUNDS }, size);
        load(&cache, Ok(Some(7))).await.expect("loaded");
        let now = Instant::now() + Duration::from_secs(age);

        let found = cache.load(1, now, &Handle::current(), async { Loaded::Err(Failure::Away) }).await;

        assert_eq!(found.map(|(entry, source)| (entry.value, source)), expected, "{stale_max:?} {age}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for_when_there_is_an_old_value() {
    let cache = Cache::new(BOUNDS, size);
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
    let cache = Cache::new(BOUNDS, size);

    assert_eq!(load(&cache, Err(Failure::Away)).await, Err(Unavailable));
    // an old absence is no value
    load(&cache, Ok(None)).await.expect("loaded");
    cache.refresh_all();
    assert_eq!(load(&cache, Err(Failure::Away)).await, Err(Unavailable));
}

#[tokio::test]
async fn readers_of_one_key_ask_once() {
    let cache = Cache::new(BOUNDS, size);
    let asked = Arc::new(AtomicUsize::new(0));
    let reads = (0..10).map(|_| {
        let (cache, asked) = (cache.clone(), asked.clone());
        async move {
            let loading = async move {
                asked.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok::<_, Failure>(Some(7))
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
    let cache = Cache::new(BOUNDS, size);

    let panicking =
        cache.load(1, Instant::now(), &Handle::current(), async { panic!("on purpose") as Loaded }).await;
    assert!(panicking.is_err());

    assert_eq!(load(&cache, Ok(Some(7))).await, Ok((Some(7), Source::Loaded)));
}

#[tokio::test]
async fn age_alone_makes_nobody_wait_and_the_next_reader_has_the_new_value() {
    let cache = Cache::new(BOUNDS, size);
    load(&cache, Ok(Some(7))).await.expect("loaded");
    let old = Instant::now() + Duration::from_secs(31);
    let (answer, answered) = tokio::sync::oneshot::channel();
    let asking = async move { Loaded::Ok(answered.await.ok()) };

    let found = cache.load(1, old, &Handle::current(), asking).await.expect("an old value");
    assert_eq!((found.0.value, found.1), (Some(7), Source::Memory));
    // asked already
    let found = cache.load(1, old, &Handle::current(), async { panic!("on purpose") as Loaded }).await;
    assert_eq!(found.expect("an old value").0.value, Some(7));

    answer.send(8).expect("it is asked for");
    while cache.entries.peek(&1).and_then(|entry| entry.value) != Some(8) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn while_no_answer_comes_one_reader_waits_for_one_and_the_others_do_not() {
    let cache = Cache::new(BOUNDS, size);
    for key in 0..10 {
        let loading = async move { Loaded::Ok(Some(key)) };
        cache.load(key, Instant::now(), &Handle::current(), loading).await.expect("loaded");
    }
    cache.refresh_all();
    // it was away, and the pause is over
    cache.away_until.store(1, Ordering::SeqCst);
    while cache.millis() < 1 {
        tokio::task::yield_now().await;
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let reads = (0..10).map(|key| {
        let (cache, asked) = (cache.clone(), asked.clone());
        async move {
            let loading = async move {
                asked.fetch_add(1, Ordering::SeqCst);
                std::future::pending::<Loaded>().await
            };
            cache.load(key, Instant::now(), &Handle::current(), loading).await.map(|(entry, _)| entry.value)
        }
    });

    let found = futures::future::join_all(reads).await;

    assert_eq!(found, (0..10).map(|key| Ok(Some(key))).collect::<Vec<_>>());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_not_asked_for_at_once_and_says_nothing_of_others() {
    let cache = Cache::new(BOUNDS, size);

    assert_eq!(load(&cache, Err(Failure::Unreadable)).await, Err(Unavailable));
    // remembered, until a notice
    assert_eq!(load(&cache, Ok(Some(7))).await, Err(Unavailable));
    assert_eq!(fresh_at(&cache, Duration::ZERO), None);
    cache.refresh(&1);
    assert_eq!(load(&cache, Ok(Some(7))).await, Ok((Some(7), Source::Loaded)));

    // an old value is better
    cache.refresh(&1);
    assert_eq!(load(&cache, Err(Failure::Unreadable)).await, Ok((Some(7), Source::MemoryStale)));
    assert_eq!(load(&cache, Ok(Some(8))).await, Ok((Some(7), Source::MemoryStale)));
    let asking = async { Loaded::Ok(Some(9)) };
    cache.load(2, Instant::now(), &Handle::current(), asking).await.expect("loaded");
    cache.refresh(&2);
    let asking = async { Loaded::Ok(Some(10)) };
    let (other, source) = cache.load(2, Instant::now(), &Handle::current(), asking).await.expect("loaded");
    assert_eq!((other.value, source), (Some(10), Source::Loaded));
}

#[tokio::test]
async fn a_notice_about_some_leaves_the_others_fresh() {
    let cache = Cache::new(BOUNDS, size);
    for (key, value) in [(1, Some(7)), (2, Some(8)), (3, None)] {
        let loading = async move { Loaded::Ok(value) };
        cache.load(key, Instant::now(), &Handle::current(), loading).await.expect("loaded");
    }

    cache.refresh_where(|value| value == Some(&7));

    let is_fresh = |key: u32| cache.fresh(&key, Instant::now()).is_some();
    assert_eq!([1, 2, 3].map(is_fresh), [false, true, true]);
    cache.refresh_if(&2, |value| value != Some(&8));
    cache.refresh_if(&3, |value| value.is_none());
    assert_eq!([1, 2, 3].map(is_fresh), [false, true, false]);
}

#[tokio::test]
async fn large_values_count_as_several() {
    for (value, most) in [(1, 100), (1001, 10)] {
        let cache = Cache::new(BOUNDS, size);
        for key in 0..200 {
            let loading = async move { Loaded::Ok(Some(value)) };
            cache.load(key, Instant::now(), &Handle::current(), loading).await.expect("loaded");
        }
        let held = cache.entries.counts().0;
        assert!((1..=most).contains(&held), "{held}");
    }
}

#[tokio::test]
async fn what_is_made_up_pushes_out_nothing_that_is_there() {
    let cache: Arc<Cache<u32, u32>> = Cache::new(BOUNDS, size);
    let load = async |key: u32, value: Option<u32>| {
        let loading = async move { Loaded::Ok(value) };
        cache.load(key, Instant::now(), &Handle::current(), loading).await.expect("loaded");
    };
    for key in 0..50 {
        load(key, Some(key)).await;
    }

    for key in 1000..3000 {
        load(key, None).await;
    }

    assert_eq!((0..50_u32).filter(|key| cache.holds(key)).count(), 50);
    let absent = cache.entries.counts().1;
    assert!((1..=10).contains(&absent), "{absent}");
}

#[tokio::test]
async fn what_comes_and_goes_is_held_once() {
    let cache: Arc<Cache<u32, u32>> = Cache::new(BOUNDS, size);
    let held = || cache.entries.counts();

    load(&cache, Ok(None)).await.expect("loaded");
    assert_eq!(held(), (0, 1));
    load(&cache, Ok(Some(7))).await.expect("loaded");
    assert_eq!((held(), fresh_at(&cache, Duration::ZERO)), ((1, 0), Some(Some(7))));
    cache.refresh(&1);
    load(&cache, Ok(None)).await.expect("loaded");
    assert_eq!((held(), fresh_at(&cache, Duration::ZERO)), ((0, 1), Some(None)));
}
