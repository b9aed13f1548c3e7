//! Streams are made, followed by the settings, and checked.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use bus::{Bus, ConnectError, ConsumerName, Message, Settings, VerifyError};
use futures::{StreamExt as _, TryStreamExt as _};
use model::ClickId;
use testkit::{TestNats, given, until};
use tokio_util::sync::CancellationToken;

use crate::support::{LIMIT, LIMITS, Recorder, Running, when};

#[tokio::test]
async fn setup_runs_again_and_twice_at_once_and_keeps_what_is_there() {
    let nats = TestNats::start_empty().await;
    let (one, other) = (nats.bus("setup").await, nats.bus("setup").await);

    let results = tokio::join!(one.setup(), other.setup());
    one.publisher().publish(given::click().outgoing()).await.unwrap();
    one.setup().await.unwrap();

    assert!(results.0.is_ok() && results.1.is_ok(), "{results:?}");
    one.verify().await.unwrap();
    assert_eq!(one.pending(ConsumerName::Enrich).await.unwrap(), 1);
}

#[tokio::test]
async fn setup_brings_streams_to_the_settings() {
    let nats = TestNats::start().await;
    let settings = Settings { clicks_max_age: Duration::from_secs(3600), ..nats.settings() };
    let bus = Bus::connect(&settings, "setup").await.unwrap();

    bus.setup().await.unwrap();

    let client = async_nats::connect(nats.url()).await.unwrap();
    let stream = async_nats::jetstream::new(client).get_stream("CLICKS").await.unwrap();
    assert_eq!(stream.cached_info().config.max_age, Duration::from_secs(3600));
}

#[tokio::test]
async fn streams_of_clicks_take_batches_unless_the_settings_say_no() {
    let nats = TestNats::start().await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let take_batches =
        async |name| context.get_stream(name).await.unwrap().cached_info().config.allow_batch_publish;
    assert!(take_batches("CLICKS").await && take_batches("ENRICHED").await && !take_batches("EVENTS").await);

    for expected in [false, true] {
        let settings = Settings { batch_publish: expected, ..nats.settings() };
        Bus::connect(&settings, "setup").await.unwrap().setup().await.unwrap();

        assert_eq!(take_batches("CLICKS").await, expected);
        assert_eq!(take_batches("ENRICHED").await, expected);
    }
}

#[tokio::test]
async fn partitions_go_on_where_the_release_before_was_and_leave_its_consumers_to_it() {
    let nats = TestNats::start().await;
    let bus = nats.bus("setup").await;
    let context = async_nats::jetstream::new(nats.client().await);
    for durable in (0..16).map(|shard| format!("enrich-{shard:02}")) {
        context.delete_consumer_from_stream(durable, "CLICKS").await.unwrap();
    }
    let stream = context.get_stream("CLICKS").await.unwrap();
    let all_of = |of: fn(usize) -> bool| {
        (0..16).filter(|shard| of(*shard)).map(|shard| format!("clickwire.clicks.raw.*.{shard:02}")).collect()
    };
    let (first, last): (Vec<String>, Vec<String>) =
        (all_of(|shard| shard % 4 == 0), all_of(|shard| shard % 4 == 3));
    for (durable, filter_subjects) in
        [("enrich", Vec::new()), ("enrich-0", first.clone()), ("enrich-3", last)]
    {
        let config =
            pull::Config { durable_name: Some(durable.into()), filter_subjects, ..pull::Config::default() };
        stream.create_consumer(config).await.unwrap();
    }
    let mut click = given::click();
    let mut waiting = 0;
    for n in 0..200 {
        (click.id, click.link.labels.message_id) = (ClickId::generate(), Some(format!("message-{n}")));
        let shard = click.outgoing().subject[..].rsplit('.').next().unwrap().to_owned();
        waiting += usize::from(!first.iter().any(|subject| subject.ends_with(&shard)));
        bus.publisher().publish(click.outgoing()).await.unwrap();
    }
    let before: Consumer<pull::Config> = stream.get_consumer("enrich-0").await.unwrap();
    let mut handled = before.fetch().max_messages(200).messages().await.unwrap();
    while let Some(message) = handled.next().await {
        message.unwrap().double_ack().await.unwrap();
    }

    bus.setup().await.unwrap();
    bus.setup().await.unwrap();

    assert_eq!(bus.pending(ConsumerName::Enrich).await.unwrap(), waiting as u64);
    let mut names: Vec<String> = stream.consumer_names().try_collect().await.unwrap();
    names.retain(|name| name.len() < "enrich-00".len());
    names.sort();
    assert_eq!(names, ["enrich-0", "enrich-3"]);
}

#[tokio::test]
async fn a_stream_or_consumer_that_is_missing_is_reported_with_the_mend() {
    let nats = TestNats::start_empty().await;
    let bus = nats.bus("verify").await;

    let no_stream = bus.verify().await.unwrap_err();
    bus.setup().await.unwrap();
    let client = async_nats::connect(nats.url()).await.unwrap();
    async_nats::jetstream::new(client).delete_consumer_from_stream("record", "ENRICHED").await.unwrap();
    let no_consumer = bus.verify().await.unwrap_err();

    assert_eq!(no_stream.to_string(), "stream CLICKS is missing; run `clickwire setup`");
    assert_eq!(no_consumer.to_string(), "consumer record is missing; run `clickwire setup`");
}

#[tokio::test]
async fn a_service_waits_for_the_broker_until_it_stops_and_for_nobody_to_run_setup() {
    let nats = TestNats::start_empty().await;
    let bus = nats.bus("wait").await;
    let nobody = Settings { url: "nats://127.0.0.1:1".into(), ..nats.settings() };
    let absent = Bus::connect(&nobody, "wait").await.unwrap();
    let stop = CancellationToken::new();

    let no_stream = bus.wait_verified(&stop).await.unwrap_err();
    bus.setup().await.unwrap();
    bus.wait_verified(&stop).await.unwrap();
    let waiting = tokio::spawn({
        let stop = stop.clone();
        async move { absent.wait_verified(&stop).await }
    });
    stop.cancel();

    assert!(matches!(no_stream, VerifyError::StreamMissing(_)) && !no_stream.is_awaited(), "{no_stream}");
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_that_does_not_fit_names_the_settings_that_mend_it() {
    let nats = TestNats::start_empty().await;
    let settings = Settings { clicks_max_bytes: 1 << 50, ..nats.settings() };
    let bus = Bus::connect(&settings, "setup").await.unwrap();

    let error = bus.setup().await.unwrap_err().to_string();

    assert!(error.contains("max_file_store") && error.contains("nats.clicks_max_bytes"), "{error}");
}

#[tokio::test]
async fn connecting_does_not_wait_for_the_broker_but_refuses_what_can_never_work() {
    let nats = TestNats::start_empty().await;
    let nobody = Settings { url: "nats://127.0.0.1:1".into(), ..nats.settings() };
    let no_url = Settings { url: "not a url".into(), ..nats.settings() };
    let no_creds = Settings { creds: Some(PathBuf::from("/nowhere.creds")), ..nats.settings() };
    let no_ca = Settings { tls_ca: Some(PathBuf::from("/nowhere.pem")), ..nats.settings() };

    let bus = Bus::connect(&nobody, "test").await.unwrap();

    assert!(!bus.is_connected());
    let limit = Duration::from_millis(200);
    assert!(matches!(bus.wait_connected(limit).await, Err(ConnectError::Timeout(_))));
    assert!(matches!(Bus::connect(&no_url, "test").await, Err(ConnectError::Url(_))));
    assert!(matches!(Bus::connect(&no_creds, "test").await, Err(ConnectError::Credentials { .. })));
    assert!(matches!(Bus::connect(&no_ca, "test").await, Err(ConnectError::CertificateAuthorities { .. })));
}

#[tokio::test]
async fn an_almost_full_clicks_stream_lets_go_of_acknowledged_clicks_only() {
    let nats = TestNats::start_empty().await;
    let settings = Settings { clicks_max_bytes: 200_000, ..nats.settings() };
    let bus = Bus::connect(&settings, "room").await.unwrap();
    bus.setup().await.unwrap();
    let mut click = given::click();
    click.request.user_agent = Some("x".repeat(1000));
    let clicks: Vec<_> =
        (0..100).map(|_| model::Click { id: model::ClickId::generate(), ..click.clone() }).collect();
    let results = bus.publisher().publish_all(clicks.iter().map(Message::outgoing).collect()).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");

    let while_unread = bus.make_room().await.unwrap();
    let recorder = Recorder::new();
    let running = Running::start(&bus, ConsumerName::Enrich, LIMITS, recorder.clone());
    until(LIMIT, async || when(bus.pending(ConsumerName::Enrich).await.ok() == Some(0))).await;
    let when_read = bus.make_room().await.unwrap();

    assert_eq!((while_unread, when_read), (0, 100));
    assert_eq!(recorder.seen().len(), 100);
    running.stop().await;
}
