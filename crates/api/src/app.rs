//! Puts the process together: the only place that constructs things.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App as HttpApp, HttpServer};
use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use bus::{Bus, StreamName};
use model::EgressPolicy;
use model::ownership::OwnershipCheck;
use service::names::{self, AskNames, AskTexts};
use service::ops::Ops;
use store::Pool;
use webhook::Keyring;

use crate::at_once::AtOnce;
use crate::desk::analytics::Zones;
use crate::desk::endpoint_url::{LOOK_UPS_MAX, LOOK_UPS_OF_WORKSPACE_MAX};
use crate::desk::passwords::Passwords;
use crate::desk::test_requests::TESTS_OF_WORKSPACE_MAX;
use crate::limits::Limits;
use crate::live::{self, Live};
use crate::metrics::Metrics;
use crate::pulls::{self, Pulls};
use crate::settings::{ApiSettings, DomainVerification, RecordSettings, Settings};
use crate::sign_ins::SignIns;
use crate::{console, guard, openapi, public_keys, v1};

/// How often readiness asks the database.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Live clicks, deliveries that come, the database.
const WATCHING_PANICKED: &str = "watching what changes panicked";

/// What every handler may use.
pub(crate) struct Shared {
    pub pool: Pool,
    pub bus: Bus,
    pub keyring: Keyring,
    /// Seals the keys of recipients' links; `None`: there are none.
    pub minting: Option<Keyring>,
    pub settings: ApiSettings,
    pub public_url: url::Url,
    pub egress: EgressPolicy,
    /// Who is asked for the addresses of an endpoint's name.
    pub ask_names: Arc<AskNames>,
    /// Who is asked for the records that prove whose a domain is.
    pub ask_texts: Arc<AskTexts>,
    /// Whether domains are used before that is proven.
    pub domain_verification: DomainVerification,
    /// How long an endpoint may only fail before `deliver` disables it.
    pub auto_disable_after: Duration,
    /// What it takes until an endpoint gets as much as it bears.
    pub ownership: OwnershipCheck,
    /// How long `record` keeps things: the console says so.
    pub kept: RecordSettings,
    pub metrics: Metrics,
    pub sign_ins: SignIns,
    /// Those of people.
    pub passwords: Passwords,
    pub link_passwords: Passwords,
    /// Requests that make many links, and files of links from the console.
    pub bulk: AtOnce,
    pub exports: AtOnce,
    /// Queries that look through many links or clicks.
    pub searches: AtOnce,
    /// Tests and challenges of endpoints.
    pub tests: AtOnce,
    /// Look-ups of names.
    pub look_ups: AtOnce,
    /// Forms with files, by who sends them.
    pub uploads: AtOnce<String>,
    pub zones: Zones,
    pub live: Live,
    pub pulls: Pulls,
    pub limits: Limits,
    /// How long the broker remembers the id of a message.
    pub duplicate_window: Duration,
    /// How long messages that may name a contact stay on the streams.
    pub kept_on_streams: [(StreamName, Duration); 3],
}

/// What was opened for [`Shared`].
struct Opened {
    pool: Pool,
    bus: Bus,
    keyring: Keyring,
    minting: Option<Keyring>,
    ask_names: Arc<AskNames>,
    ask_texts: Arc<AskTexts>,
    metrics: Metrics,
}

impl Shared {
    /// Nobody has used anything of it yet.
    fn new(settings: Settings, opened: Opened) -> Self {
        let Settings { nats, database, api, links, deliver, record, .. } = settings;
        let Opened { pool, bus, keyring, minting, ask_names, ask_texts, metrics } = opened;
        let (passwords, link_passwords) = Passwords::of_people_and_links();
        Self {
            pool,
            bus,
            keyring,
            minting,
            public_url: links.public_url,
            domain_verification: links.domain_verification,
            ask_names,
            ask_texts,
            auto_disable_after: deliver.auto_disable_after,
            ownership: deliver.ownership,
            kept: record,
            egress: EgressPolicy {
                addresses: deliver.allowed_networks,
                https_only: deliver.https_only,
                allowed_ports: deliver.allowed_ports,
            },
            limits: Limits::new(&api, metrics.clone()),
            metrics,
            sign_ins: SignIns::new(api.sign_in_failures_max, api.sign_in_account_failures_max),
            passwords,
            link_passwords,
            bulk: AtOnce::new(api.bulk_requests_max, api.bulk_workspace_requests_max),
            exports: AtOnce::new(api.exports_max, api.exports_workspace_max),
            // whatever is searched for, others find a connection: with exports and bulk requests too
            searches: AtOnce::new(database.pool_max.saturating_sub(2).max(1), (database.pool_max / 2).max(1)),
            // in all there may be many: `deliver` makes them in turn
            tests: AtOnce::new(usize::MAX, TESTS_OF_WORKSPACE_MAX),
            look_ups: AtOnce::new(LOOK_UPS_MAX, LOOK_UPS_OF_WORKSPACE_MAX),
            uploads: AtOnce::new(console::UPLOADS_MAX, console::OWN_UPLOADS_MAX),
            zones: Zones::new(),
            live: Live::new(api.live_streams_max, api.live_workspace_streams_max, api.live_key_streams_max),
            pulls: Pulls::new(api.pulls_waiting_max, api.pulls_workspace_waiting_max),
            duplicate_window: nats.duplicate_window,
            kept_on_streams: [
                (StreamName::Clicks, nats.clicks_max_age),
                (StreamName::Enriched, nats.enriched_max_age),
                (StreamName::Quarantine, nats.quarantine_max_age),
            ],
            settings: api,
        }
    }
}

/// The API and the console, listening but not answering yet.
pub struct App {
    shared: Data<Shared>,
    listener: TcpListener,
    addr: SocketAddr,
    ops: Ops,
    ops_listener: Option<TcpListener>,
    database: watch::Sender<Result<(), String>>,
}

impl App {
    /// Opens everything, with an ops port of its own.
    ///
    /// # Errors
    /// Names what cannot be opened and why.
    pub async fn build(settings: Settings) -> anyhow::Result<Self> {
        let ops_addr = settings.api.ops_addr;
        let ops_listener = TcpListener::bind(ops_addr)
            .with_context(|| format!("failed to listen on api.ops_addr {ops_addr}"))?;
        let mut app = Self::build_with(settings, Ops::new()).await?;
        app.ops_listener = Some(ops_listener);
        Ok(app)
    }

    /// Opens everything; `ops` is served by whoever gave it.
    ///
    /// # Errors
    /// Names what cannot be opened and why.
    pub async fn build_with(settings: Settings, ops: Ops) -> anyhow::Result<Self> {
        settings.validate()?;
        service::tls::install_provider();
        let keyring = settings.sealing.resolve(|path| std::fs::read_to_string(path))?;
        let minting = settings.minting.resolve_if_set(|path| std::fs::read_to_string(path));
        let minting = minting
            .context("the settings of `[minting]`, which are like those of `[sealing]`, cannot be used")?;
        let watched = service::expiry::Watched {
            nats_creds: settings.nats.creds.clone(),
            nats_servers: settings.nats.servers(),
            database_servers: settings.database.encrypted_servers(),
        };
        ops.watch_expiry("api", watched)?;
        let pool = Pool::connect(&settings.database)?;
        let bus =
            Bus::connect(&settings.nats, "api").await.context("failed to set up the connection to NATS")?;
        let addr = settings.api.addr;
        let listener =
            TcpListener::bind(addr).with_context(|| format!("failed to listen on api.addr {addr}"))?;
        let addr = listener.local_addr().context("failed to read the address that is listened on")?;
        let (database, answer) = watch::channel(Err("not asked yet".to_owned()));
        ops.check("database", move || answer.borrow().clone());
        let ask_names =
            names::ask(&settings.deliver.dns_servers, settings.api.resolve_timeout, LOOK_UPS_MAX)?;
        let ask_texts =
            names::ask_texts(&settings.deliver.dns_servers, settings.api.resolve_timeout, LOOK_UPS_MAX)?;
        let metrics = Metrics::register(ops.registry()).context("failed to register metrics")?;
        let opened = Opened { pool, bus, keyring, minting, ask_names, ask_texts, metrics };
        let shared = Data::new(Shared::new(settings, opened));
        Ok(Self { shared, listener, addr, ops, ops_listener: None, database })
    }

    /// Where API and console are served.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where health and metrics are served, if by this app.
    pub fn ops_addr(&self) -> Option<SocketAddr> {
        self.ops_listener.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Answers until `stop`, then finishes what is in hand.
    ///
    /// # Errors
    /// When a part ends by itself.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let server = serve(&self.shared, self.listener)?;
        info!(addr = %self.addr, "api and console are served");

        // parts get a stop of their own: when one dies, the others end too
        let stop = stop.child_token();
        let _end_all = stop.clone().drop_guard();
        let handle = server.handle();
        let server = tokio::spawn(server);
        let ops = self.ops_listener.map(|listener| tokio::spawn(self.ops.serve(listener, stop.clone())));
        let mut watching = JoinSet::new();
        let shared = self.shared.clone();
        watching.spawn(async move { live::follow(&shared.live, &shared.bus).await });
        let shared = self.shared.clone();
        watching.spawn(async move { pulls::follow(&shared.pulls, &shared.bus).await });
        watching.spawn(watch_database(self.shared.pool.clone(), self.database, stop.clone()));
        let ops = async {
            match ops {
                Some(ops) => {
                    ops.await.context("serving health and metrics panicked")?.context("failed to serve")
                }
                None => std::future::pending().await,
            }
        };

        tokio::pin!(server, ops);
        let ended: anyhow::Result<()> = tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = &mut server => {
                ended.context("serving the API panicked")?.context("failed to serve the API")?;
                Err(anyhow::anyhow!("the API ended by itself"))
            }
            ended = &mut ops => ended.and_then(|()| {
                if stop.is_cancelled() { Ok(()) } else { Err(anyhow::anyhow!("the ops port ended by itself")) }
            }),
            Some(ended) = watching.join_next() => ended.context(WATCHING_PANICKED).and_then(|()| {
                if stop.is_cancelled() { Ok(()) } else { Err(anyhow::anyhow!("a part of the API ended by itself")) }
            }),
        };
        // streams that go on would be waited for
        self.shared.live.end();
        self.shared.pulls.end();
        handle.stop(true).await;
        stop.cancel();
        while let Some(ended) = watching.join_next().await {
            ended.context(WATCHING_PANICKED)?;
        }
        ended
    }
}

/// Begins to answer on `listener`.
fn serve(shared: &Data<Shared>, listener: TcpListener) -> anyhow::Result<Server> {
    let (settings, of_worker) = (&shared.settings, shared.clone());
    let app = move || {
        HttpApp::new()
            .app_data(of_worker.clone())
            .wrap(from_fn(guard::guard))
            .configure(v1::configure)
            .configure(openapi::configure)
            .configure(public_keys::configure)
            .configure(console::configure)
    };
    let server = HttpServer::new(app)
        .workers(settings.workers)
        .max_connections(settings.connections_max.div_ceil(settings.workers))
        .client_request_timeout(settings.request_timeout)
        .shutdown_timeout(settings.drain_timeout.as_secs().max(1))
        .disable_signals()
        .listen(listener)
        .context("failed to serve the API")?
        .run();
    Ok(server)
}

/// Keeps the answer of readiness fresh, so that a probe never waits for a database that hangs.
async fn watch_database(pool: Pool, answer: watch::Sender<Result<(), String>>, stop: CancellationToken) {
    loop {
        let asked = async {
            let mut conn = pool.get().await.map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
            store::verify(&mut conn).await.map_err(|error| format!("{:#}", anyhow::Error::new(error)))
        };
        tokio::select! {
            () = stop.cancelled() => return,
            told = asked => drop(answer.send_replace(told)),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(CHECK_INTERVAL) => {}
        }
    }
}
