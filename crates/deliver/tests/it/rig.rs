//! What each test begins with: a workspace, endpoints, and the service running against both.

use std::time::Duration;

use bus::{Bus, Changed, ConsumerName, Event, Message as _, Table};
use chrono::Utc;
use deliver::{App, Settings};
use model::automation::Verdict;
use model::delivery::{Attempt, DeliveryStatus, TestReply, TestRequest};
use model::secret::SigningSecret;
use model::{EndpointId, EnrichedClick, WorkspaceId};
use service::ops::Ops;
use store::delivery_log::{self, DeliveryFilter, LoggedAttempt, LoggedDelivery};
use store::endpoints::{EndpointOptions, State};
use store::{Pool, endpoints, secrets};
use testkit::{Received, TestDatabase, TestNats, given, until};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use webhook::{CustomHeaders, Keyring, ReceiverAuth};

/// Longer than anything here takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(30);

pub struct Rig {
    database: store::Settings,
    pub nats: TestNats,
    pub bus: Bus,
    pub pool: Pool,
    pub workspace_id: WorkspaceId,
    key: String,
}

/// A running service; stops when it is told to.
pub struct Running {
    pub stop: CancellationToken,
    pub run: JoinHandle<anyhow::Result<()>>,
}

impl Rig {
    pub async fn new() -> Self {
        Self::on(TestDatabase::new().await.settings()).await
    }

    /// Stands on a database of the test's own.
    pub async fn on(database: store::Settings) -> Self {
        let nats = TestNats::start().await;
        let bus = nats.bus("test").await;
        let pool = Pool::through_indexes(&database).expect("the URL is ours");
        let workspace_id = given::workspace(&mut pool.get().await.expect("a connection")).await;
        Self { database, nats, bus, pool, workspace_id, key: webhook::sealing::generate_key() }
    }

    pub fn settings(&self) -> Settings {
        let env = [
            ("CLICKWIRE__SEALING__KEY".to_owned(), self.key.clone()),
            ("CLICKWIRE__DELIVER__OPS_ADDR".to_owned(), "127.0.0.1:0".to_owned()),
        ];
        let mut settings: Settings =
            service::settings::load_from(Settings::DEFAULTS, None, env).expect("the defaults are settings");
        settings.deliver.allowed_networks = vec!["127.0.0.0/8".parse().expect("a network")];
        // `discard`: nobody listens there
        settings.deliver.allowed_ports = vec![9];
        settings.nats = self.nats.settings();
        settings.database = self.database.clone();
        settings
    }

    /// The same settings, as a process of its own reads them.
    pub fn environment(&self) -> Vec<(String, String)> {
        let variables = [
            ("DATABASE__URL", self.database.url.clone()),
            ("NATS__URL", self.nats.settings().url),
            ("SEALING__KEY", self.key.clone()),
            ("DELIVER__OPS_ADDR", "127.0.0.1:0".to_owned()),
            ("DELIVER__ALLOWED_NETWORKS", "127.0.0.0/8".to_owned()),
        ];
        variables.into_iter().map(|(name, value)| (format!("CLICKWIRE__{name}"), value)).collect()
    }

    pub async fn start(&self) -> Running {
        self.start_with(self.settings()).await
    }

    /// The service, and where it counts.
    pub async fn start_counted(&self) -> (Running, Ops) {
        let ops = Ops::new();
        let app = App::build_with(self.settings(), ops.clone()).await.expect("the service is put together");
        let stop = CancellationToken::new();
        let run = tokio::spawn(app.run(stop.clone()));
        (Running { stop, run }, ops)
    }

    /// What `api` does after a change.
    pub async fn say_that_endpoints_changed(&self) {
        let changed = Changed { table: Table::Endpoints, workspace_id: self.workspace_id, keys: Vec::new() };
        self.bus.notify(&changed).await;
    }

    pub async fn start_with(&self, settings: Settings) -> Running {
        let app = App::build(settings).await.expect("the service is put together");
        let stop = CancellationToken::new();
        let run = tokio::spawn(app.run(stop.clone()));
        Running { stop, run }
    }

    /// What seals and opens for the service.
    pub fn keyring(&self) -> Keyring {
        Keyring::new(&self.key, &[]).expect("a key")
    }

    pub async fn endpoint(&self, url: &str) -> (EndpointId, SigningSecret) {
        self.endpoint_with(url, |_| {}).await
    }

    pub async fn endpoint_with(
        &self,
        url: &str,
        change: impl FnOnce(&mut EndpointOptions),
    ) -> (EndpointId, SigningSecret) {
        let (id, secret) = (EndpointId::generate(), SigningSecret::generate());
        let keyring = self.keyring();
        let headers = CustomHeaders::new([("authorization".to_owned(), "Bearer token".to_owned())]);
        let headers = headers.expect("headers").seal(&keyring, self.workspace_id, id);
        let mut options = EndpointOptions { headers_sealed: Some(headers), ..given::endpoint_options(url) };
        change(&mut options);
        let (now, mut conn) = (Utc::now(), self.pool.get().await.expect("a connection"));
        endpoints::insert(&mut conn, self.workspace_id, id, &options, State::Active, None, now)
            .await
            .expect("an endpoint");
        let sealed = keyring.seal_secret(self.workspace_id, id, &secret);
        secrets::insert(&mut conn, self.workspace_id, id, &sealed, now).await.expect("a secret");
        (id, secret)
    }

    /// Says how an endpoint lets us in.
    pub async fn let_in_by(&self, id: EndpointId, auth: &ReceiverAuth) {
        let mut options = self.endpoint_now(id).await.options;
        options.auth_sealed = Some(auth.seal(&self.keyring(), self.workspace_id, id));
        let mut conn = self.pool.get().await.expect("a connection");
        endpoints::update(&mut conn, self.workspace_id, id, &options, Utc::now()).await.expect("it is saved");
    }

    /// One attempt at an endpoint, as a request for a test makes it.
    pub async fn attempt(&self, endpoint_id: EndpointId) -> Attempt {
        let request = TestRequest { workspace_id: self.workspace_id, endpoint_id, challenge: None };
        let reply = until(LIMIT, || async { self.bus.request_test(&request, LIMIT).await.ok() }).await;
        match reply {
            TestReply::Attempted { attempt, .. } => attempt,
            other => panic!("{other:?}"),
        }
    }

    pub fn click(&self) -> EnrichedClick {
        let mut click = webhook::payload::sample(self.workspace_id, Utc::now());
        click.test = false;
        click.automation.verdict = Verdict::Human;
        click
    }

    /// Keeps a click, as `record` does.
    pub async fn record(&self, click: &EnrichedClick) {
        let event = click.outgoing().payload;
        let new = store::clicks::NewClick { click, event: &event };
        let mut conn = self.pool.get().await.expect("a connection");
        store::clicks::record(&mut conn, &[new], Utc::now()).await.expect("the click is stored");
    }

    pub async fn publish(&self, click: &EnrichedClick) {
        self.bus.publisher().publish(click.outgoing()).await.expect("the stream confirms");
    }

    pub async fn publish_some(&self, count: usize) -> Vec<EnrichedClick> {
        let clicks: Vec<EnrichedClick> = (0..count).map(|_| self.click()).collect();
        for result in self.bus.publisher().publish_all(clicks.iter().map(|c| c.outgoing()).collect()).await {
            result.expect("the stream confirms");
        }
        clicks
    }

    /// Waits until every click was taken and acknowledged.
    pub async fn all_acknowledged(&self) {
        until(LIMIT, || async { (self.bus.pending(ConsumerName::Deliver).await.ok()? == 0).then_some(()) })
            .await;
    }

    pub async fn deliveries(&self) -> Vec<LoggedDelivery> {
        let mut conn = self.pool.get().await.expect("a connection");
        delivery_log::list(&mut conn, self.workspace_id, &DeliveryFilter::default(), None, 1000)
            .await
            .expect("deliveries")
    }

    pub async fn attempts(&self, delivery: &LoggedDelivery) -> Vec<LoggedAttempt> {
        let mut conn = self.pool.get().await.expect("a connection");
        delivery_log::attempts(&mut conn, self.workspace_id, delivery.id).await.expect("attempts")
    }

    /// Waits until there are so many deliveries with this status.
    #[track_caller]
    pub fn stand(&self, status: DeliveryStatus, count: usize) -> impl Future<Output = Vec<LoggedDelivery>> {
        until(LIMIT, move || async move {
            let mut found = self.deliveries().await;
            found.retain(|delivery| delivery.status == status);
            (found.len() >= count).then_some(found)
        })
    }

    /// What waits in the outbox, oldest first: nobody relays it here.
    pub async fn told(&self) -> Vec<(String, serde_json::Value)> {
        let mut conn = self.pool.get().await.expect("a connection");
        let waiting = store::outbox::lock_oldest(&mut conn, 1000).await.expect("events");
        waiting.into_iter().map(|event| (event.event_type, event.data)).collect()
    }

    /// Does what `record` does: publishes what waits in the outbox. Tells what it was.
    pub async fn relay(&self) -> Vec<Event> {
        let mut conn = self.pool.get().await.expect("a connection");
        let waiting = store::outbox::lock_oldest(&mut conn, 1000).await.expect("events");
        let mut events = Vec::new();
        for store::outbox::Waiting { id, workspace_id, event_type, data, occurred_at } in waiting {
            let event = Event { id, workspace_id, event_type, occurred_at, data: data.to_string() };
            self.bus.publisher().publish(event.outgoing()).await.expect("the stream confirms");
            events.push(event);
        }
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        store::outbox::remove(&mut conn, &ids).await.expect("they are removed");
        events
    }

    /// Waits until every event of ours was taken and acknowledged.
    pub async fn all_told(&self) {
        until(LIMIT, || async {
            (self.bus.pending(ConsumerName::DeliverEvents).await.ok()? == 0).then_some(())
        })
        .await;
    }

    /// What waits in the outbox of one type.
    pub async fn told_of(&self, event_type: &str) -> Vec<serde_json::Value> {
        let told = self.told().await.into_iter();
        told.filter(|(told, _)| told == event_type).map(|(_, data)| data).collect()
    }

    pub async fn endpoint_now(&self, id: EndpointId) -> endpoints::Endpoint {
        let mut conn = self.pool.get().await.expect("a connection");
        endpoints::find(&mut conn, self.workspace_id, id).await.expect("a query").expect("the endpoint")
    }
}

impl Running {
    pub async fn stop(self) {
        self.stop.cancel();
        self.run.await.expect("it does not panic").expect("it ends in order");
    }
}

/// Verifies as a subscriber would: with somebody else's code.
pub fn verify(request: &Received, secret: &SigningSecret) -> bool {
    let headers = request.headers.iter().map(|(name, value)| {
        let name = name.parse::<http::HeaderName>().expect("a name");
        (name, value.parse::<http::HeaderValue>().expect("a value"))
    });
    let verifier = standardwebhooks::Webhook::new(&secret.reveal()).expect("a secret");
    verifier.verify(&request.body, &headers.collect()).is_ok()
}
