//! Takes visitors' connections: one [`Follow`] a worker, which all requests go to, without a framework in between.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol, Request};
use actix_service::{ServiceFactoryExt as _, fn_service};
use actix_web::dev::Server;
use anyhow::Context;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use crate::descriptors::connections_max;
use crate::follow::{Connected, Follow};
use crate::links::{Links, max_age_value};
use crate::metrics::Metrics;
use crate::orphans::Orphans;
use crate::passwords::Passwords;
use crate::preamble::Preambles;
use crate::provider_ranges::ProviderRanges;
use crate::proxies::Proxies;
use crate::settings::RedirectSettings;
use crate::spool::{Appender, Spool};
use service::tally::{SLOTS, Tally};
use service::telemetry::Traces;

/// How long a client may take to close a connection that is over.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What answers are made from.
pub struct Parts {
    /// Finds links.
    pub links: Links,
    /// Keeps their clicks.
    pub spool: Arc<Spool>,
    /// Takes visits that led nowhere.
    pub orphans: Orphans,
    /// Of the provider that names clients.
    pub ranges: Option<ProviderRanges>,
    /// Makes each visit the first step of a trace.
    pub traces: Traces,
    /// Counts the answers.
    pub metrics: Metrics,
}

/// A server that answers once it is polled.
///
/// # Errors
/// When the listener cannot be used.
pub fn server(settings: &RedirectSettings, listener: TcpListener, parts: Parts) -> anyhow::Result<Server> {
    let workers = match settings.workers {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        workers => workers,
    };
    let builder = Server::build()
        .workers(workers)
        .disable_signals()
        .max_concurrent_connections(connections_max(settings.connections_max, workers))
        .shutdown_timeout(drain_seconds(settings));
    let stopping = builder.graceful_shutdown_signal();
    let (keep_alive, request_timeout) = (settings.keep_alive, settings.request_timeout);
    let local_addr = listener.local_addr().context("failed to listen")?;
    let proxies = Proxies::new(settings.trusted_proxies.clone(), settings.address_header)
        .with_hops(settings.trusted_hops)
        .with_ranges(parts.ranges.clone());
    let preambles = settings
        .proxy_protocol
        .then(|| Preambles::new(proxies.clone(), settings.request_timeout, parts.metrics.clone()));
    let has_preambles = preambles.is_some();
    let make_follow = follow_factory(settings, proxies, has_preambles, parts);
    let serving = move || {
        let follow = Rc::new(make_follow());
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(keep_alive)
            .client_request_timeout(request_timeout)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .local_addr(local_addr)
            .on_connect_ext(move |stream: &TcpStream, data| {
                if has_preambles {
                    data.insert(Connected(stream.peer_addr().ok()));
                }
            })
            .finish(fn_service(move |request: Request| {
                let follow = follow.clone();
                async move { Ok::<_, Infallible>(follow.answer(request).await) }
            }));
        let preambles = preambles.clone();
        fn_service(move |mut stream: TcpStream| {
            let preambles = preambles.clone();
            async move {
                let client = match &preambles {
                    Some(preambles) => preambles.client(&mut stream).await.map_err(io::Error::from)?,
                    None => stream.peer_addr().ok(),
                };
                Ok::<_, DispatchError>((stream, Protocol::Http1, client))
            }
        })
        .and_then(http)
    };
    Ok(builder.listen("redirect", listener, serving).context("failed to listen")?.run())
}

/// Makes what answers the requests of one worker; all of them share what they know.
fn follow_factory(
    settings: &RedirectSettings,
    proxies: Proxies,
    has_preambles: bool,
    parts: Parts,
) -> impl Fn() -> Follow + Clone + Send + 'static {
    let Parts { links, spool, orphans, traces, metrics, .. } = parts;
    let (url_bytes_max, prefetch) = (settings.url_bytes_max, settings.prefetch);
    let referrer_policy = settings.referrer_policy.value();
    let hsts = (!settings.hsts.is_zero()).then(|| max_age_value(settings.hsts.as_secs()));
    let guesses_max = Some(settings.not_found_per_minute).filter(|most| *most > 0).unwrap_or(u32::MAX);
    let guesses = Arc::new(Tally::new(SLOTS, guesses_max));
    let attempts_max = settings.password_attempts_per_minute;
    let passwords = Arc::new(Passwords::new(attempts_max, settings.request_timeout, Handle::current()));
    move || Follow {
        links: links.clone(),
        clicks: Appender::new(spool.clone()),
        orphans: orphans.clone(),
        passwords: passwords.clone(),
        guesses: guesses.clone(),
        proxies: proxies.clone(),
        has_preambles,
        url_bytes_max,
        prefetch,
        referrer_policy: referrer_policy.clone(),
        hsts: hsts.clone(),
        traces: traces.clone(),
        metrics: metrics.clone(),
    }
}

/// A request in hand waits at most for the database.
fn drain_seconds(settings: &RedirectSettings) -> u64 {
    settings.lookup_timeout.as_secs() + 1
}
