//! Takes visitors' connections: one [`Follow`] a worker, which all requests go to, without a router in between.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol, Request};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config,
};
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, Server, ServiceResponse};
use actix_web::{App, HttpRequest, HttpServer, web};
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
    let Parts { links, spool, orphans, ranges, traces, metrics } = parts;
    let proxies = Proxies::new(settings.trusted_proxies.clone(), settings.address_header)
        .with_hops(settings.trusted_hops)
        .with_ranges(ranges);
    let preambles = settings
        .proxy_protocol
        .then(|| Preambles::new(proxies.clone(), settings.request_timeout, metrics.clone()));
    let referrer_policy = settings.referrer_policy.value();
    let (url_bytes_max, prefetch) = (settings.url_bytes_max, settings.prefetch);
    let hsts = (!settings.hsts.is_zero()).then(|| max_age_value(settings.hsts.as_secs()));
    let guesses_max = Some(settings.not_found_per_minute).filter(|most| *most > 0).unwrap_or(u32::MAX);
    let guesses = Arc::new(Tally::new(SLOTS, guesses_max));
    let attempts_max = settings.password_attempts_per_minute;
    let passwords = Arc::new(Passwords::new(attempts_max, settings.request_timeout, Handle::current()));
    let has_preambles = preambles.is_some();
    let app = move || {
        let follow = Rc::new(Follow {
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
        });
        App::new().default_service(web::to(move |request: HttpRequest, body: web::Payload| {
            let follow = follow.clone();
            async move { follow.answer(request, body).await }
        }))
    };
    let workers = match settings.workers {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        workers => workers,
    };
    let server = match preambles {
        None => HttpServer::new(app)
            .workers(workers)
            .disable_signals()
            .keep_alive(settings.keep_alive)
            .client_request_timeout(settings.request_timeout)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .max_connections(connections_max(settings.connections_max, workers))
            .shutdown_timeout(drain_seconds(settings))
            .listen(listener)
            .map(HttpServer::run),
        Some(preambles) => behind_proxies(settings, workers, listener, preambles, app),
    };
    server.context("failed to listen")
}

/// A request in hand waits at most for the database.
fn drain_seconds(settings: &RedirectSettings) -> u64 {
    settings.lookup_timeout.as_secs() + 1
}

/// The same server, made of its parts: a connection is its own only after the preamble.
fn behind_proxies<F, I, S>(
    settings: &RedirectSettings,
    workers: usize,
    listener: TcpListener,
    preambles: Preambles,
    app: F,
) -> io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<BoxBody>,
            Error = actix_web::Error,
        > + 'static,
    S::InitError: fmt::Debug,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
{
    let builder = Server::build()
        .workers(workers)
        .disable_signals()
        .max_concurrent_connections(connections_max(settings.connections_max, workers))
        .shutdown_timeout(drain_seconds(settings));
    let stopping = builder.graceful_shutdown_signal();
    let (keep_alive, request_timeout) = (settings.keep_alive, settings.request_timeout);
    let local_addr = listener.local_addr()?;
    let serving = move || {
        let (preambles, stopping) = (preambles.clone(), stopping.clone());
        let app = app().into_factory().map_err(|error| error.error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(keep_alive)
            .client_request_timeout(request_timeout)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .local_addr(local_addr)
            .on_connect_ext(|stream: &TcpStream, data| {
                data.insert(Connected(stream.peer_addr().ok()));
            })
            .finish(map_config(app, |_| AppConfig::default()));
        fn_service(move |mut stream: TcpStream| {
            let preambles = preambles.clone();
            async move {
                let client: Option<SocketAddr> =
                    preambles.client(&mut stream).await.map_err(|error| DispatchError::Io(error.into()))?;
                Ok((stream, Protocol::Http1, client))
            }
        })
        .and_then(http)
    };
    Ok(builder.listen("redirect", listener, serving)?.run())
}
