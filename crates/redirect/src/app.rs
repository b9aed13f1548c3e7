//! Puts the redirect together and runs it.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, anyhow};
use bus::Bus;
use futures::FutureExt;
use service::ops::Ops;
use service::telemetry::Traces;
use store::Pool;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::links::Links;
use crate::metrics::Metrics;
use crate::orphans;
use crate::provider_ranges::ProviderRanges;
use crate::serve::{Parts, server};
use crate::settings::{RedirectSettings, Settings};
use crate::spool::{Opened, Spool};

/// Pause before a dependency that was not as it should be is looked at again.
const VERIFY_PAUSE: Duration = Duration::from_secs(2);

/// The redirect, ready to run.
pub struct App {
    settings: RedirectSettings,
    listener: TcpListener,
    addr: SocketAddr,
    ops: Ops,
    ops_listener: Option<(TcpListener, SocketAddr)>,
    metrics: Metrics,
    bus: Bus,
    pool: Pool,
    links: Links,
    ranges: Option<ProviderRanges>,
    traces: Traces,
    spooling: Opened,
    /// What is wrong with the database, as long as it has not been seen in order.
    database: watch::Sender<Result<(), String>>,
}

impl App {
    /// Opens everything but the broker and the database, which may be away, and serves its own ops port.
    ///
    /// # Errors
    /// A taken address, a spool that cannot be used, or settings that can never work.
    pub async fn build(settings: Settings) -> anyhow::Result<Self> {
        let ops_addr = settings.redirect.ops_addr;
        let mut app = Self::build_with(settings, Ops::new()).await?;
        app.ops_listener = Some(listen("redirect.ops_addr", ops_addr)?);
        Ok(app)
    }

    /// Like [`App::build`] with checks and metrics of `ops`, which someone else serves.
    ///
    /// # Errors
    /// As [`App::build`].
    pub async fn build_with(settings: Settings, ops: Ops) -> anyhow::Result<Self> {
        settings.validate()?;
        let Settings { nats, database, links, redirect, telemetry, minting } = settings;
        let watched = service::expiry::Watched {
            nats_creds: nats.creds.clone(),
            nats_servers: nats.servers(),
            database_servers: database.encrypted_servers(),
        };
        ops.watch_expiry("redirect", watched)?;
        let metrics = Metrics::register(ops.registry()).context("failed to register metrics")?;
        let ranges = redirect.provider_ranges().map(ProviderRanges::read).transpose();
        let ranges = ranges.context("redirect.provider_ranges cannot be used")?;
        let spooling = Spool::open(&redirect.spool, &metrics)?;
        let pool = Pool::through_indexes(&database)?;
        let bus = Bus::connect(&nats, "redirect").await?;
        let keyring = minting.resolve_if_set(|path| std::fs::read_to_string(path));
        let keyring = keyring
            .context("the settings of `[minting]`, which are like those of `[sealing]`, cannot be used")?;
        let links = Links::new(&links, &redirect, pool.clone(), Handle::current(), keyring, &metrics);
        let (listener, addr) = listen("redirect.addr", redirect.addr)?;

        let (database, database_seen) = watch::channel(Err("not reached yet".to_owned()));
        ops.check("redirect_database", move || database_seen.borrow().clone());
        let spool = spooling.spool.clone();
        // a redirect that were taken away for it would send nobody on
        ops.mention("redirect_spool", move || spool.in_order());
        let (ops_listener, settings) = (None, redirect);
        Ok(Self {
            settings,
            listener,
            addr,
            ops,
            ops_listener,
            metrics,
            bus,
            pool,
            links,
            ranges,
            traces: Traces::new(&telemetry),
            spooling,
            database,
        })
    }

    /// Where visitors are answered.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where operators look, if the app serves that itself.
    pub fn ops_addr(&self) -> Option<SocketAddr> {
        self.ops_listener.as_ref().map(|(_, addr)| *addr)
    }

    /// Answers until `stop`; then finishes what is in hand, and ships the spool for up to `drain_timeout`.
    ///
    /// # Errors
    /// When a part of it ended by itself.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self {
            settings,
            listener,
            addr,
            ops,
            ops_listener,
            metrics,
            bus,
            pool,
            links,
            ranges,
            traces,
            spooling,
            database,
        } = self;
        let Opened { spool, shipper, confirmer, direct } = spooling;
        // ends after the last answer: until then clicks are appended
        let answered = CancellationToken::new();
        let shipped = CancellationToken::new();
        let drain = settings.drain_timeout;

        let mut watching = JoinSet::new();
        watching.spawn(links.clone().follow_changes(bus.clone(), answered.clone()));
        watching.spawn(spool.clone().keep_synced(settings.spool.sync_interval, answered.clone()));
        watching.spawn(spool.clone().tend(settings.spool.segment_age_max, answered.clone()));
        watching.spawn(confirmer.run(pool.clone(), bus.clone(), answered.clone()));
        watching.spawn(verify(bus.clone(), pool, database, answered.clone()));
        if let Some((ranges, path)) = ranges.as_ref().zip(settings.provider_ranges()) {
            watching.spawn(ranges.follower(path.to_owned(), metrics.clone()).run(answered.clone()));
        }
        let mut shipping = JoinSet::new();
        let publisher = bus.publisher();
        shipping.spawn(shipper.run(publisher.clone(), answered.clone(), drain).map(drop));
        shipping.spawn(direct.run(publisher.clone(), answered.clone(), drain));
        let (orphans, orphan_publisher) = orphans::open(&settings.orphans, links.clone(), &metrics);
        shipping.spawn(orphan_publisher.run(publisher, answered.clone(), drain));
        let serving = ops_listener.map(|(listener, _)| tokio::spawn(ops.serve(listener, shipped.clone())));

        let parts = Parts { links, spool, orphans, ranges, traces, metrics };
        let server = server(&settings, listener, parts)?;
        let handle = server.handle();
        info!(addr = %addr, "answering tracked links");
        let mut server = tokio::spawn(server);
        let ended_early = tokio::select! {
            () = stop.cancelled() => None,
            ended = &mut server => Some(anyhow!("the HTTP server ended by itself: {ended:?}")),
            Some(ended) = watching.join_next() => Some(anyhow!("a task ended by itself: {ended:?}")),
            Some(ended) = shipping.join_next() => Some(anyhow!("the shipper ended by itself: {ended:?}")),
        };
        handle.stop(true).await;
        if !server.is_finished() {
            let _ = server.await;
        }
        answered.cancel();
        while watching.join_next().await.is_some() {}
        while shipping.join_next().await.is_some() {}
        shipped.cancel();
        if let Some(serving) = serving {
            serving.await.context("the ops port panicked")?.context("failed to serve the ops port")?;
        }
        ended_early.map_or(Ok(()), Err)
    }
}

/// Listens where the setting `key` says.
fn listen(key: &str, addr: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(addr).with_context(|| format!("failed to listen on {addr} ({key})"))?;
    let addr = listener.local_addr().context("failed to ask for the address of a listener")?;
    Ok((listener, addr))
}

/// Looks at database and broker until both have been seen in order: neither is waited for, and a mistake shows at once.
async fn verify(bus: Bus, pool: Pool, database: watch::Sender<Result<(), String>>, stop: CancellationToken) {
    let verified = async {
        tokio::join!(verify_database(pool, database), verify_bus(bus));
    };
    stop.run_until_cancelled(verified).await;
    stop.cancelled().await;
}

async fn verify_database(pool: Pool, seen: watch::Sender<Result<(), String>>) {
    loop {
        let result = async {
            let mut conn = pool.get().await?;
            store::verify(&mut conn).await?;
            anyhow::Ok(())
        };
        match result.await {
            Ok(()) => {
                seen.send_modify(|state| *state = Ok(()));
                return info!("the database is in order");
            }
            Err(error) => {
                let text = format!("{error:#}");
                if seen.borrow().as_ref() != Err(&text) {
                    warn!(error = text, "the database is not in order");
                    seen.send_modify(|state| *state = Err(text));
                }
            }
        }
        tokio::time::sleep(VERIFY_PAUSE).await;
    }
}

async fn verify_bus(bus: Bus) {
    let mut said = String::new();
    loop {
        match bus.verify().await {
            Ok(()) => return info!("the streams are in order"),
            Err(error) => {
                let text = format!("{:#}", anyhow::Error::from(error));
                if said != text {
                    warn!(error = text, "the broker is not in order: clicks wait in the spool");
                    said = text;
                }
            }
        }
        tokio::time::sleep(VERIFY_PAUSE).await;
    }
}
