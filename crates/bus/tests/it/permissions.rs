//! What each service may do on the broker, and how it learns what is missing.

use std::sync::Arc;
use std::time::Duration;

use bus::permissions::Role;
use bus::{
    Bus, ConsumerName, Handler, Message, PublishError, Settings, StreamName, Verdict, Verdicts, VerifyError,
};
use model::EnrichedClick;
use testkit::{TestNats, given, until};

use crate::support::{LIMIT, LIMITS, Running};

/// What deployments give the users.
const FILE: &str = include_str!("../../../../deploy/nats/permissions.conf");

async fn connect(nats: &TestNats, role: Role) -> Bus {
    let settings = Settings { url: nats.url_of(role.as_str()), ..nats.settings() };
    let bus = Bus::connect(&settings, role.as_str()).await.unwrap();
    bus.wait_connected(Duration::from_secs(30)).await.unwrap();
    bus
}

#[test]
fn the_file_of_permissions_says_what_services_need() {
    let (introduction, _) = FILE.split_once("\nREDIRECT: ").expect("the first role");
    let role =
        |role: Role| format!("\n{}: {}", role.as_str().to_uppercase(), role.permissions().configuration());
    let wanted: String = Role::ALL.into_iter().map(role).collect();

    assert_eq!(FILE, format!("{introduction}{wanted}"));
}

#[tokio::test]
async fn every_service_finds_all_permissions_and_trying_them_out_stores_nothing() {
    let nats = TestNats::start_guarded(FILE).await;

    for role in Role::ALL {
        connect(&nats, role)
            .await
            .verify()
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", role.as_str()));
    }

    let jetstream = async_nats::jetstream::new(nats.client().await);
    for stream in StreamName::ALL {
        let stream = jetstream.get_stream(stream.as_str()).await.unwrap();
        assert_eq!(stream.cached_info().state.messages, 0, "{}", stream.cached_info().config.name);
    }
}

#[tokio::test]
async fn whatever_is_missing_is_named() {
    for (missing, role, named) in [
        ("clickwire.clicks.raw.*.*", Role::Redirect, "publish to clickwire.clicks.raw.*.*"),
        ("$JS.ACK.CLICKS.enrich-02.>", Role::Enrich, "publish to $JS.ACK.CLICKS.enrich-02.>"),
        ("$JS.API.CONSUMER.MSG.NEXT.EVENTS.deliver-events", Role::Deliver, "MSG.NEXT.EVENTS.deliver-events"),
        ("clickwire.deliver.test", Role::Deliver, "subscribe to clickwire.deliver.test"),
        ("_INBOX_deliver.>", Role::Deliver, "subscribe to _INBOX_deliver.>"),
    ] {
        let nats = TestNats::start_guarded(&FILE.replace(&format!("      \"{missing}\"\n"), "")).await;

        let error = connect(&nats, role).await.verify().await.expect_err(missing);

        assert!(matches!(error, VerifyError::Forbidden(_)) && error.is_permanent(), "{missing}: {error}");
        assert!(error.to_string().contains(named), "{missing}: {error}");
    }
}

#[tokio::test]
async fn a_service_cannot_do_the_work_of_another() {
    let nats = TestNats::start_guarded(FILE).await;
    let redirect = connect(&nats, Role::Redirect).await;

    let its_own = redirect.publisher().publish(given::click().outgoing()).await;
    let settings = Settings {
        url: nats.url_of("redirect"),
        request_timeout: Duration::from_millis(300),
        ..nats.settings()
    };
    let impatient = Bus::connect(&settings, "redirect").await.unwrap();
    let not_its = impatient.publisher().publish(given::enriched_click().outgoing()).await;

    its_own.unwrap();
    assert!(not_its.is_err());
    assert_eq!(nats.messages("ENRICHED").await, []);
}

/// Is done with everything at once.
struct Done;

impl Handler for Done {
    type Message = EnrichedClick;

    async fn handle(&self, _: &[EnrichedClick]) -> Verdicts {
        Verdicts::all(Verdict::Done)
    }
}

#[tokio::test]
async fn what_is_refused_later_is_named_where_it_is_missed() {
    let lacking = FILE
        .replace("      \"clickwire.clicks.raw.*.*\"\n", "")
        .replace("      \"$JS.ACK.ENRICHED.record.>\"\n", "");
    let nats = TestNats::start_guarded(&lacking).await;
    let settings = Settings {
        url: nats.url_of("redirect"),
        request_timeout: Duration::from_millis(500),
        ..nats.settings()
    };
    let redirect = Bus::connect(&settings, "redirect").await.unwrap();
    redirect.wait_connected(Duration::from_secs(30)).await.unwrap();

    let refused = until(LIMIT, async || {
        let error = redirect.publisher().publish(given::click().outgoing()).await.expect_err("refused");
        // on a busy machine the refusal comes later than that
        (!matches!(error, PublishError::Timeout)).then_some(error)
    })
    .await;
    let enriched = nats.bus("test").await.publisher().publish(given::enriched_click().outgoing()).await;
    let record = connect(&nats, Role::Record).await;
    let running = Running::start(&record, ConsumerName::Record, LIMITS, Arc::new(Done));
    let unready =
        until(LIMIT, async || (running.ready)().err().filter(|told| told.contains("permissions"))).await;
    running.stop().await;

    enriched.unwrap();
    assert_eq!(
        refused.to_string(),
        "nats-server does not let us publish to clickwire.clicks.raw.*.*: give this user the permissions of \
         deploy/nats/permissions.conf"
    );
    assert!(!refused.is_permanent(), "the permission may be given");
    assert!(unready.contains("publish to $JS.ACK.ENRICHED.record.>"), "{unready}");
}
