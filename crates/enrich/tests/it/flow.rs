//! From CLICKS to ENRICHED, over a real broker and a real database.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{
    Bus, Consumer, ConsumerMetrics, ConsumerName, Handler, Limits, Message, Outgoing, Quarantined, Verdicts,
};
use enrich::{App, Settings};
use model::automation::{MachineClass, Verdict};
use model::click::{Enrichment, LocationMissing};
use model::device::DeviceKind;
use model::link::LinkKind;
use model::{AddressTreatment, Click, EnrichedClick, EventId};
use testkit::{TestDatabase, TestNats, until};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::given;

/// Generous: it only ends a test that fails.
const LIMIT: Duration = Duration::from_secs(60);

/// How long it is looked at that something does not end.
const STAYS_FOR: Duration = Duration::from_millis(500);

/// A running service, and readers of what it publishes and of what is put aside.
struct Running {
    bus: Bus,
    enriched: Arc<Collector<EnrichedClick>>,
    quarantined: Arc<Collector<Quarantined>>,
    stop: CancellationToken,
    service: JoinHandle<anyhow::Result<()>>,
}

/// Keeps every message that comes.
struct Collector<M>(Mutex<Vec<M>>);

impl<M: Message + Clone> Handler for Collector<M> {
    type Message = M;

    async fn handle(&self, batch: &[M]) -> Verdicts {
        self.0.lock().expect("no test panics while it collects").extend_from_slice(batch);
        Verdicts::all(bus::Verdict::Done)
    }
}

fn settings(nats: &TestNats, database: store::Settings) -> Settings {
    Settings {
        nats: nats.settings(),
        database,
        telemetry: testkit::defaults(service::DEFAULTS, "telemetry"),
        enrich: given::settings(),
    }
}

fn collect<M: Message + Clone>(bus: &Bus, name: ConsumerName, stop: &CancellationToken) -> Arc<Collector<M>> {
    let collector = Arc::new(Collector(Mutex::new(Vec::new())));
    let limits = Limits {
        batch_max: 100,
        batches_max: 1,
        gather: Duration::ZERO,
        handle_timeout: LIMIT,
        drain_timeout: LIMIT,
    };
    let metrics = ConsumerMetrics::register(&prometheus::Registry::new(), "test").expect("metrics");
    let consumer = Consumer::new(bus, name, limits, metrics);
    tokio::spawn(consumer.run(Arc::clone(&collector), stop.clone()));
    collector
}

impl Running {
    async fn start(nats: &TestNats, database: store::Settings) -> Self {
        Self::start_with(nats, settings(nats, database)).await
    }

    async fn start_with(nats: &TestNats, settings: Settings) -> Self {
        let stop = CancellationToken::new();
        let app = App::build(settings).await.expect("the service");
        let service = tokio::spawn(app.run(stop.clone()));
        let bus = nats.bus("test").await;
        let enriched = collect(&bus, ConsumerName::Record, &stop);
        let quarantined = collect(&bus, ConsumerName::Quarantine, &stop);
        Self { bus, enriched, quarantined, stop, service }
    }

    async fn publish(&self, message: Outgoing) {
        self.bus.publisher().publish(message).await.expect("a confirmation");
    }

    /// Publishes a click and waits for what becomes of it.
    async fn enrich(&self, click: &Click) -> EnrichedClick {
        self.publish(click.outgoing()).await;
        until(LIMIT, || async {
            let enriched = self.enriched.0.lock().expect("no test panics while it collects");
            enriched.iter().find(|enriched| enriched.click.id == click.id).cloned()
        })
        .await
    }

    async fn stop(self) {
        self.stop.cancel();
        self.service.await.expect("no panic").expect("a clean end");
    }
}

/// Nothing listens there.
fn no_database() -> store::Settings {
    store::Settings::at("postgres://nobody@127.0.0.1:1/none")
}

fn of_contact(contact: &str, like: &Click) -> Click {
    let mut click = Click { link: like.link.clone(), ..given::click() };
    click.link.kind = LinkKind::Message;
    click.link.labels.contact_id = Some(contact.to_owned());
    click
}

#[tokio::test]
async fn a_click_comes_out_with_place_device_and_verdict() {
    let (nats, database) = (TestNats::start().await, TestDatabase::new().await);
    let running = Running::start(&nats, database.settings()).await;
    let click = given::click();

    let enriched = running.enrich(&click).await;

    assert_eq!(enriched.event_id, EventId::of_click(click.id, 0));
    assert_eq!(enriched.location.city.as_deref(), Some("Rome"));
    assert_eq!(enriched.device.kind, DeviceKind::Mobile);
    assert_eq!(enriched.device.model.as_deref(), Some("iPhone"));
    assert_eq!(enriched.automation.verdict, Verdict::Human);
    assert_eq!(enriched.automation.ruleset, "2026-11.6");
    assert_eq!((enriched.is_first_click, enriched.enrichment), (Some(true), Enrichment::Complete));
    assert_eq!((enriched.click.request.ip, enriched.test), (None, false));
    assert_eq!(enriched.redacted_fields, ["ip"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_hand_when_it_is_to_stop_is_finished() {
    let (nats, database) = (TestNats::start().await, TestDatabase::new().await);
    let mut patient = settings(&nats, database.settings());
    (patient.enrich.first_click_timeout, patient.enrich.batch_timeout) = (LIMIT, 2 * LIMIT);
    let mut running = Running::start_with(&nats, patient).await;
    running.enrich(&given::click()).await;
    let held = database.hold("first_clicks").await;
    running.publish(given::click().outgoing()).await;
    held.waited_for().await;

    running.stop.cancel();
    let ended = tokio::time::timeout(STAYS_FOR, &mut running.service).await;
    assert!(ended.is_err(), "it ended with a click in hand");
    held.let_go().await;
    running.service.await.expect("no panic").expect("a clean end");

    until(LIMIT, || async {
        let pending = running.bus.pending(ConsumerName::Enrich).await.expect("an answer");
        (pending == 0).then_some(())
    })
    .await;
}

/// Acceptance test 8 of links and clicks.
#[tokio::test]
async fn a_click_that_comes_twice_is_one_event_with_one_answer() {
    let (nats, database) = (TestNats::start().await, TestDatabase::new().await);
    let running = Running::start(&nats, database.settings()).await;
    let click = given::click();

    let first = running.enrich(&click).await;
    // another message id: CLICKS takes it for another message
    running.publish(Outgoing { id: "again".into(), ..click.outgoing() }).await;
    let (workspace_id, link) = (click.workspace_id, click.link.clone());
    let later = running.enrich(&Click { workspace_id, link, ..given::click() }).await;

    assert_eq!((first.is_first_click, later.is_first_click), (Some(true), Some(false)));
    let events = running
        .enriched
        .0
        .lock()
        .expect("no test panics while it collects")
        .iter()
        .filter(|e| e.click.id == click.id)
        .count();
    assert_eq!(events, 1);
    running.stop().await;
}

#[tokio::test]
async fn the_first_click_is_the_first_of_its_contact_and_never_a_machines() {
    let (nats, database) = (TestNats::start().await, TestDatabase::new().await);
    let running = Running::start(&nats, database.settings()).await;
    let like = given::click();
    let mut preview = of_contact("cont_1", &like);
    preview.request.method = "HEAD".into();

    let preview = running.enrich(&preview).await;
    let first = running.enrich(&of_contact("cont_1", &like)).await;
    let second = running.enrich(&of_contact("cont_1", &like)).await;
    let other = running.enrich(&of_contact("cont_2", &like)).await;

    assert_eq!(preview.automation.verdict, Verdict::Automated);
    assert_eq!(preview.is_first_click, Some(false));
    assert_eq!(first.is_first_click, Some(true));
    assert_eq!(second.is_first_click, Some(false));
    assert_eq!(other.is_first_click, Some(true));
    running.stop().await;
}

#[tokio::test]
async fn without_the_database_clicks_pass_and_say_that_something_is_missing() {
    let nats = TestNats::start().await;
    let running = Running::start(&nats, no_database()).await;

    let person = running.enrich(&given::click()).await;
    let mut machine = given::click();
    machine.request.user_agent = Some("curl/8.5.0".into());
    let machine = running.enrich(&machine).await;

    assert_eq!((person.is_first_click, person.enrichment), (None, Enrichment::Partial));
    assert_eq!(person.location.city.as_deref(), Some("Rome"));
    assert_eq!((machine.is_first_click, machine.enrichment), (Some(false), Enrichment::Complete));
    assert_eq!(machine.automation.class, Some(MachineClass::Library));
    assert_eq!(machine.device.kind, DeviceKind::Bot);
    running.stop().await;
}

#[tokio::test]
async fn of_the_address_only_what_the_policy_says_goes_on() {
    let nats = TestNats::start().await;
    let running = Running::start(&nats, no_database()).await;
    let under = |address_treatment| Click { address_treatment, ..given::click() };

    let dropped = running.enrich(&under(AddressTreatment::Drop)).await;
    let truncated = running.enrich(&under(AddressTreatment::Truncate)).await;
    let kept = running.enrich(&under(AddressTreatment::Keep)).await;

    assert_eq!(dropped.click.request.ip, None);
    assert_eq!(truncated.click.request.ip, "82.90.81.0".parse().ok());
    assert_eq!(kept.click.request.ip, given::ROME.parse().ok());
    for click in [&dropped, &truncated, &kept] {
        assert_eq!(click.location.city.as_deref(), Some("Rome"), "the place is that of the whole address");
    }
    assert_eq!(dropped.redacted_fields, ["ip"]);
    assert_eq!(truncated.redacted_fields, ["ip"]);
    assert!(kept.redacted_fields.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_click_from_loopback_says_why_it_has_no_place() {
    let nats = TestNats::start().await;
    let running = Running::start(&nats, no_database()).await;
    let mut click = given::click();
    click.request.ip = "127.0.0.1".parse().ok();

    let enriched = running.enrich(&click).await;

    assert_eq!(enriched.location, Default::default());
    assert_eq!(enriched.location_missing, Some(LocationMissing::NoPublicAddress));
    running.stop().await;
}

#[tokio::test]
async fn what_is_no_click_is_put_aside_and_holds_nobody_up() {
    let nats = TestNats::start().await;
    let running = Running::start(&nats, no_database()).await;
    let click = given::click();

    running.publish(Outgoing { id: "bad".into(), payload: "not a click".into(), ..click.outgoing() }).await;
    running.enrich(&click).await;

    let aside = until(LIMIT, || async {
        running.quarantined.0.lock().expect("no test panics while it collects").first().cloned()
    })
    .await;
    assert_eq!((aside.consumer.as_str(), &aside.payload[..]), ("enrich", &b"not a click"[..]));
    running.stop().await;
}

#[tokio::test]
async fn a_broker_that_is_away_at_the_start_is_waited_for() {
    let mut nats = TestNats::start().await;
    nats.stop().await;
    let stop = CancellationToken::new();
    let app = App::build(settings(&nats, no_database())).await.expect("the service starts without it");
    let service = tokio::spawn(app.run(stop.clone()));

    nats.restart().await;

    let bus = nats.bus("test").await;
    let enriched = collect::<EnrichedClick>(&bus, ConsumerName::Record, &stop);
    bus.publisher().publish(given::click().outgoing()).await.expect("a confirmation");
    until(LIMIT, || async { enriched.0.lock().expect("no test panics while it collects").first().cloned() })
        .await;
    stop.cancel();
    service.await.expect("no panic").expect("a clean end");
}

#[tokio::test]
async fn missing_streams_are_an_error_that_names_the_mend() {
    let nats = TestNats::start_empty().await;
    let app = App::build(settings(&nats, no_database())).await.expect("the service");

    let error = app.run(CancellationToken::new()).await.expect_err("there are no streams");

    assert!(format!("{error:#}").contains("clickwire setup"), "{error:#}");
}
