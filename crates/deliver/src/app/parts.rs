//! The parts of the service, put together and not running: for tests of what one of them does.

use std::sync::Arc;

use chrono::Utc;
use model::automation::Verdict;
use model::secret::SigningSecret;
use model::{EndpointId, EnrichedClick, WorkspaceId};
use service::ops::Ops;
use store::endpoints::{EndpointOptions, State};
use store::{Pool, PooledConnection, endpoints, secrets};
use testkit::{TestDatabase, TestNats, given};
use webhook::Keyring;

use super::App;
use crate::courier::Courier;
use crate::dispatch::Dispatcher;
use crate::recorder::{Recorder, Recording};
use crate::settings::Settings;

/// Both lanes, of a workspace without endpoints.
pub(crate) struct Parts {
    pub dispatcher: Dispatcher,
    pub courier: Arc<Courier>,
    pub recording: Recording,
    pub workspace_id: WorkspaceId,
    pub database: TestDatabase,
    /// The test's own.
    pool: Pool,
    keyring: Keyring,
    _nats: TestNats,
}

impl Parts {
    pub async fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let (database, nats) = (TestDatabase::new().await, TestNats::start().await);
        let key = webhook::sealing::generate_key();
        let env = [
            ("CLICKWIRE__SEALING__KEY".to_owned(), key.clone()),
            ("CLICKWIRE__DELIVER__OPS_ADDR".to_owned(), "127.0.0.1:0".to_owned()),
        ];
        let mut settings: Settings =
            service::settings::load_from(Settings::DEFAULTS, None, env).expect("the defaults are settings");
        settings.deliver.allowed_networks = vec!["127.0.0.0/8".parse().expect("a network")];
        settings.nats = nats.settings();
        settings.database = database.settings();
        change(&mut settings);
        let pool = Pool::through_indexes(&database.settings()).expect("the URL is ours");
        let workspace_id = given::workspace(&mut pool.get().await.expect("a connection")).await;
        let App { dispatcher, courier, recording, .. } =
            App::build_with(settings, Ops::new()).await.expect("the service is put together");
        Self {
            dispatcher: Arc::into_inner(dispatcher).expect("nobody else has it"),
            courier,
            recording,
            workspace_id,
            database,
            pool,
            keyring: Keyring::new(&key, &[]).expect("a key"),
            _nats: nats,
        }
    }

    /// An endpoint that wants every click, and is known.
    pub async fn endpoint(&self, url: &str, change: impl FnOnce(&mut EndpointOptions)) -> EndpointId {
        let (id, secret, now) = (EndpointId::generate(), SigningSecret::generate(), Utc::now());
        let mut options = given::endpoint_options(url);
        change(&mut options);
        let mut conn = self.conn().await;
        endpoints::insert(&mut conn, self.workspace_id, id, &options, State::Active, None, now)
            .await
            .expect("an endpoint");
        let sealed = self.keyring.seal_secret(self.workspace_id, id, &secret);
        secrets::insert(&mut conn, self.workspace_id, id, &sealed, now).await.expect("a secret");
        drop(conn);
        self.refresh().await;
        id
    }

    /// Lets the service know its endpoints as they are.
    pub async fn refresh(&self) {
        self.courier.endpoints.refresh().await.expect("the endpoints");
    }

    /// A person's.
    pub fn click(&self) -> EnrichedClick {
        let mut click = webhook::payload::sample(self.workspace_id, Utc::now());
        click.test = false;
        click.automation.verdict = Verdict::Human;
        click
    }

    pub async fn conn(&self) -> PooledConnection {
        self.pool.get().await.expect("a connection")
    }

    pub fn recorder(&self) -> &Recorder {
        &self.dispatcher.recorder
    }
}
