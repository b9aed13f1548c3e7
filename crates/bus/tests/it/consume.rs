//! The consumer loop answers for every message.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bus::{
    Bus, ConsumeError, Consumer, ConsumerMetrics, ConsumerName, Handler, Limits, Message, Outgoing,
    Quarantined, Verdict, Verdicts,
};
use chrono::Utc;
use futures::{FutureExt as _, StreamExt as _};
use model::orphan::OrphanReason;
use model::{Click, ClickId, Orphan, OrphanId};
use testkit::{TestNats, given, until};
use tokio_util::sync::CancellationToken;

use crate::support::{LIMIT, LIMITS, Recorder, Running, when};

fn named(slug: &str) -> Click {
    let mut click = Click { id: ClickId::generate(), ..given::click() };
    click.link.slug = slug.to_owned();
    click
}

async fn publish(bus: &Bus, clicks: &[&Click]) {
    let messages = clicks.iter().map(|click| click.outgoing()).collect();
    let results = bus.publisher().publish_all(messages).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

async fn settled(bus: &Bus, consumer: ConsumerName) {
    until(LIMIT, async || when(bus.pending(consumer).await.ok() == Some(0))).await;
}

/// What lies on QUARANTINE, oldest first.
async fn quarantined(nats: &TestNats) -> Vec<Quarantined> {
    let messages = nats.messages("QUARANTINE").await.into_iter();
    messages.map(|(_, payload)| Quarantined::decode(&payload).unwrap()).collect()
}

#[tokio::test]
async fn each_message_of_a_batch_gets_its_own_verdict() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let [good, late, early, bad] = ["good", "late", "early", "bad"].map(named);
    publish(&bus, &[&good, &late, &early, &bad]).await;
    let recorder = Recorder::judging(|click, times| match (click.link.slug.as_str(), times) {
        ("late", 1) => Verdict::Retry(Duration::from_millis(50)),
        ("early", 1) => Verdict::NotYet(Duration::from_millis(50)),
        ("bad", _) => Verdict::Reject("it is bad"),
        _ => Verdict::Done,
    });

    let running = Running::start(&bus, ConsumerName::Enrich, LIMITS, recorder.clone());
    settled(&bus, ConsumerName::Enrich).await;

    assert_eq!([&good, &late, &early, &bad].map(|click| recorder.times(click)), [1, 2, 2, 1]);
    until(LIMIT, async || when(running.count("done") == 3.0)).await;
    assert_eq!((running.count("retry"), running.count("rejected")), (2.0, 1.0));
    let aside = quarantined(&nats).await;
    assert_eq!(aside.len(), 1);
    assert_eq!(aside[0].reason, "it is bad");
    assert_eq!(aside[0].message_id, Some(bad.id.to_string()));
    assert_eq!((aside[0].stream.as_str(), aside[0].consumer.as_str()), ("CLICKS", "enrich"));
    assert_eq!((running.ready)(), Ok(()));
    running.stop().await;
}

#[tokio::test]
async fn a_visit_that_led_nowhere_is_on_the_stream_and_is_not_enriched() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let click = named("x");
    let orphan = Orphan {
        id: OrphanId::generate(),
        occurred_at: Utc::now(),
        workspace_id: Some(click.workspace_id),
        reason: OrphanReason::UnknownSlug,
        host: "go.example.com".into(),
        path: "/nothing".into(),
        link_id: None,
        method: "GET".into(),
        user_agent: None,
        referrer: None,
    };
    for orphan in [&orphan, &Orphan { id: OrphanId::generate(), workspace_id: None, ..orphan.clone() }] {
        bus.publisher().publish(orphan.outgoing()).await.unwrap();
    }
    publish(&bus, &[&click]).await;
    let recorder = Recorder::new();

    assert_eq!(bus.pending(ConsumerName::Enrich).await.unwrap(), 1);
    let running = Running::start(&bus, ConsumerName::Enrich, LIMITS, recorder.clone());
    settled(&bus, ConsumerName::Enrich).await;

    assert_eq!(recorder.seen().into_iter().collect::<Vec<_>>(), [(click.id, 1)]);
    let stored = nats.messages("CLICKS").await;
    assert_eq!(stored.len(), 3);
    assert!(stored.iter().any(|(_, payload)| Orphan::decode(payload).ok().as_ref() == Some(&orphan)));
    assert!(quarantined(&nats).await.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn an_undecodable_message_is_put_aside_byte_for_byte_and_the_rest_flows() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let (before, after) = (named("before"), named("after"));
    let broken =
        Outgoing { id: "broken".into(), payload: (&b"\xff\xff"[..]).into(), ..named("x").outgoing() };
    publish(&bus, &[&before]).await;
    bus.publisher().publish(broken.clone()).await.unwrap();
    publish(&bus, &[&after]).await;
    let recorder = Recorder::new();

    let running = Running::start(&bus, ConsumerName::Enrich, LIMITS, recorder.clone());
    settled(&bus, ConsumerName::Enrich).await;

    assert_eq!([recorder.times(&before), recorder.times(&after)], [1, 1]);
    let aside = quarantined(&nats).await;
    assert_eq!(aside.len(), 1);
    assert_eq!(aside[0].payload, broken.payload);
    assert_eq!(aside[0].subject, broken.subject);
    assert_eq!(aside[0].stream_sequence, 2);
    assert!(
        aside[0].reason.starts_with("the payload is not the expected Protobuf message"),
        "{}",
        aside[0].reason
    );
    running.stop().await;
}

#[tokio::test]
async fn of_a_batch_that_panics_exactly_the_culprit_is_put_aside() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let culprit = named("culprit");
    let others: Vec<Click> = (0..20).map(|_| named("other")).collect();
    let mut all: Vec<&Click> = others.iter().collect();
    all.insert(7, &culprit);
    publish(&bus, &all).await;
    let recorder = Recorder::judging(|click, _| {
        assert!(click.link.slug != "culprit", "cannot bear this click");
        Verdict::Done
    });

    let running = Running::start(&bus, ConsumerName::Enrich, LIMITS, recorder.clone());
    settled(&bus, ConsumerName::Enrich).await;

    until(LIMIT, async || when(running.count("done") == 20.0)).await;
    assert!(others.iter().all(|click| recorder.times(click) >= 1));
    let aside = quarantined(&nats).await;
    assert_eq!(aside.len(), 1);
    assert_eq!(aside[0].message_id, Some(culprit.id.to_string()));
    assert_eq!(aside[0].reason, "the handler panicked: cannot bear this click");
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_put_aside_is_not_let_go_of() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    async_nats::jetstream::new(client).delete_stream("QUARANTINE").await.unwrap();
    publish(&bus, &[&named("bad")]).await;
    let recorder = Recorder::judging(|_, _| Verdict::Reject("it is bad"));

    let running = Running::start(&bus, ConsumerName::Enrich, LIMITS, recorder.clone());
    until(LIMIT, async || when(running.count("retry") >= 1.0)).await;
    assert_eq!(bus.pending(ConsumerName::Enrich).await.unwrap(), 1);
    bus.setup().await.unwrap();
    settled(&bus, ConsumerName::Enrich).await;

    assert_eq!(quarantined(&nats).await.len(), 1);
    running.stop().await;
}

/// Works until it is let go, or for ever.
struct Slow {
    begun: AtomicUsize,
    let_go: CancellationToken,
}

impl Handler for Slow {
    type Message = Click;

    async fn handle(&self, batch: &[Click]) -> Verdicts {
        self.begun.fetch_add(batch.len(), Ordering::SeqCst);
        self.let_go.cancelled().await;
        Verdicts::all(Verdict::Done)
    }
}

impl Slow {
    fn new() -> Arc<Self> {
        Arc::new(Self { begun: AtomicUsize::new(0), let_go: CancellationToken::new() })
    }

    async fn begun(&self, count: usize) {
        until(LIMIT, async || when(self.begun.load(Ordering::SeqCst) == count)).await;
    }
}

#[tokio::test]
async fn stop_finishes_what_is_in_hand_and_takes_no_more() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    publish(&bus, &[&named("a"), &named("b"), &named("c")]).await;
    let slow = Slow::new();
    let limits = Limits { batch_max: 2, batches_max: 1, ..LIMITS };
    let running = Running::start(&bus, ConsumerName::Enrich, limits, slow.clone());
    slow.begun(2).await;

    let stopping = tokio::spawn(running.stop());
    slow.let_go.cancel();
    stopping.await.unwrap();

    assert_eq!(slow.begun.load(Ordering::SeqCst), 2);
    until(LIMIT, async || when(bus.pending(ConsumerName::Enrich).await.ok() == Some(1))).await;
}

#[tokio::test]
async fn what_is_not_finished_in_time_at_stop_goes_back_at_once() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let click = named("a");
    publish(&bus, &[&click]).await;
    let slow = Slow::new();
    let limits = Limits { drain_timeout: Duration::from_millis(50), ..LIMITS };
    let running = Running::start(&bus, ConsumerName::Enrich, limits, slow.clone());
    slow.begun(1).await;

    running.stop().await;
    let since = std::time::Instant::now();
    let recorder = Recorder::new();
    let next = Running::start(&bus, ConsumerName::Enrich, LIMITS, recorder.clone());
    until(LIMIT, async || when(recorder.times(&click) == 1)).await;

    assert!(
        since.elapsed() < bus::topology::ACK_WAIT,
        "it had to wait for the acknowledgement's time to run out"
    );
    next.stop().await;
}

#[tokio::test]
async fn a_message_that_takes_longer_than_the_brokers_patience_is_not_given_to_another() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    publish(&bus, &[&named("slow")]).await;
    let slow = Slow::new();
    let one = Running::start(&bus, ConsumerName::Enrich, LIMITS, slow.clone());
    slow.begun(1).await;
    let recorder = Recorder::new();
    let other = Running::start(&bus, ConsumerName::Enrich, LIMITS, recorder.clone());

    // nothing can be asked: what must not happen has its time to happen
    tokio::time::sleep(bus::topology::ACK_WAIT + Duration::from_secs(2)).await;

    assert!(recorder.seen().is_empty());
    slow.let_go.cancel();
    settled(&bus, ConsumerName::Enrich).await;
    assert_eq!(slow.begun.load(Ordering::SeqCst), 1);
    one.stop().await;
    other.stop().await;
}

fn one_of_each_shard() -> Vec<Click> {
    let mut found = std::collections::BTreeMap::new();
    while found.len() < 16 {
        let mut click = named("x");
        click.link.labels.message_id = Some(click.id.to_string());
        found.insert(click.outgoing().subject, click);
    }
    found.into_values().collect()
}

#[tokio::test]
async fn replicas_share_the_partitions_and_one_that_stops_leaves_its_own_to_the_others() {
    let nats = TestNats::start().await;
    let (bus, first, second) = (nats.bus("test").await, nats.bus("first").await, nats.bus("second").await);
    let (by_first, by_second) = (Recorder::new(), Recorder::new());
    let one = Running::start(&first, ConsumerName::Enrich, LIMITS, by_first.clone());
    // a click of another message each time, so that all partitions get some
    let publish_until = async |is_enough: &dyn Fn() -> bool| {
        until(LIMIT, async || {
            let mut click = named("x");
            click.link.labels.message_id = Some(click.id.to_string());
            publish(&bus, &[&click]).await;
            when(is_enough())
        })
        .await;
    };
    publish_until(&|| by_first.seen().len() > 20).await;

    let other = Running::start(&second, ConsumerName::Enrich, LIMITS, by_second.clone());
    publish_until(&|| by_second.seen().len() > 20).await;
    until(LIMIT, async || {
        let before = (by_first.seen().len(), by_second.seen().len());
        publish(&bus, &one_of_each_shard().iter().collect::<Vec<_>>()).await;
        settled(&bus, ConsumerName::Enrich).await;
        when((by_first.seen().len() - before.0, by_second.seen().len() - before.1) == (8, 8))
    })
    .await;
    one.stop().await;
    let (before, of_first) = (by_second.seen().len(), by_first.seen().len());
    publish_until(&|| by_second.seen().len() > before + 20).await;

    settled(&bus, ConsumerName::Enrich).await;
    assert_eq!(by_first.seen().len(), of_first);
    other.stop().await;
}

/// Listens to the requests for messages of one click's shard.
async fn requests_for(nats: &TestNats, click: &Click) -> (async_nats::Client, async_nats::Subscriber) {
    let subject = click.outgoing().subject;
    let shard = subject.rsplit('.').next().unwrap();
    let client = nats.client().await;
    let pulls = format!("$JS.API.CONSUMER.MSG.NEXT.CLICKS.enrich-{shard}");
    let requests = client.subscribe(pulls).await.unwrap();
    client.flush().await.unwrap();
    (client, requests)
}

/// How many there were.
async fn count((client, mut requests): (async_nats::Client, async_nats::Subscriber)) -> usize {
    client.flush().await.unwrap();
    let mut count = 0;
    while requests.next().now_or_never().flatten().is_some() {
        count += 1;
    }
    count
}

#[tokio::test]
async fn a_click_that_comes_alone_costs_one_request() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let recorder = Recorder::new();
    let running = Running::start(&bus, ConsumerName::Enrich, LIMITS, recorder.clone());
    let mut click = named("x");
    publish(&bus, &[&click]).await;
    settled(&bus, ConsumerName::Enrich).await;

    let requests = requests_for(&nats, &click).await;
    for _ in 0..40 {
        click.id = ClickId::generate();
        publish(&bus, &[&click]).await;
        until(LIMIT, async || when(recorder.times(&click) == 1)).await;
    }

    // a request that waits is made anew each second
    let count = count(requests).await;
    assert!((1..60).contains(&count), "{count}");
    running.stop().await;
}

#[tokio::test]
async fn where_batches_gather_what_comes_meanwhile_goes_with_the_next() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let recorder = Recorder::new();
    let limits = Limits { gather: Duration::from_secs(1), ..LIMITS };
    let running = Running::start(&bus, ConsumerName::Enrich, limits, recorder.clone());

    for _ in 0..100 {
        publish(&bus, &[&named("x")]).await;
    }
    until(LIMIT, async || when(running.count("done") >= 100.0)).await;

    let batches = running.batches();
    assert!((1..50).contains(&batches), "{batches}");
    running.stop().await;
}

#[tokio::test]
async fn clicks_that_come_again_are_not_asked_for_one_by_one() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let first = named("x");
    let clicks: Vec<Click> =
        std::iter::repeat_with(|| Click { id: ClickId::generate(), ..first.clone() }).take(200).collect();
    publish(&bus, &clicks.iter().collect::<Vec<_>>()).await;
    let requests = requests_for(&nats, &first).await;
    let recorder = Recorder::judging(|_, times| match times {
        1 => Verdict::Retry(Duration::from_millis(50)),
        _ => Verdict::Done,
    });

    let running = Running::start(&bus, ConsumerName::Enrich, LIMITS, recorder.clone());
    settled(&bus, ConsumerName::Enrich).await;

    let count = count(requests).await;
    assert!(count < 100, "{count}");
    assert!(recorder.seen().values().all(|&times| times >= 2), "{:?}", recorder.seen());
    running.stop().await;
}

#[tokio::test]
async fn while_everything_is_to_be_retried_the_rest_stays_on_the_stream() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let clicks: Vec<Click> = (0..50).map(|_| named("x")).collect();
    publish(&bus, &clicks.iter().collect::<Vec<_>>()).await;
    let recorder = Recorder::judging(|_, _| Verdict::Retry(Duration::from_secs(3600)));
    let limits = Limits { batch_max: 10, batches_max: 1, ..LIMITS };

    let running = Running::start(&bus, ConsumerName::Enrich, limits, recorder.clone());
    until(LIMIT, async || when(running.count("retry") >= 10.0)).await;

    assert_eq!(recorder.seen().len(), 10);
    running.stop().await;
}

#[tokio::test]
async fn limits_that_make_no_sense_are_refused() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let metrics = ConsumerMetrics::register(&prometheus::Registry::new(), "test").unwrap();
    let limits = Limits { batch_max: 0, ..LIMITS };

    let consumer = Consumer::new(&bus, ConsumerName::Enrich, limits, metrics);

    assert_eq!(consumer.run(Recorder::new(), CancellationToken::new()).await, Err(ConsumeError::Limits));
}
