//! Where the time of a request goes: look-up, connection, handshake of https, first byte.
//!
//! The client looks names up and connects within the task of the request that needs it, so what they take is noted
//! in a stopwatch that is local to that task. A connection that another request began, or that was kept, notes
//! nothing: that is how a reused one is told. The client connects and shakes hands in one; where the one ends and the
//! other begins is told by rustls, which asks its store of sessions for the server before it says the first word.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use model::delivery::Timings;
use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use tower_layer::Layer;
use tower_service::Service;

tokio::task_local! {
    static WATCH: Stopwatch;
}

/// What a request's parts have taken so far; clones are the same watch.
#[derive(Debug, Clone, Default)]
pub struct Stopwatch(Arc<Mutex<Parts>>);

#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    looked_up: Option<Duration>,
    connected: Option<Duration>,
    /// When the last handshake began, and what that of the connection took.
    handshake_at: Option<Instant>,
    shook_hands: Option<Duration>,
    first_byte: Option<Duration>,
}

impl Stopwatch {
    /// Runs a request and notes what its parts take; the request has its first byte when it ends.
    pub async fn time<T, E>(&self, request: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let began = Instant::now();
        let result = WATCH.scope(self.clone(), request).await;
        if result.is_ok() {
            self.note(|parts| parts.first_byte = Some(began.elapsed()));
        }
        result
    }

    /// What was noted; a part that was not reached has no time.
    pub fn read(&self) -> Timings {
        let parts = *self.0.lock().expect("nobody panics with the watch in hand");
        // the connector looks the name up and shakes hands, too
        let others = parts.looked_up.unwrap_or_default() + parts.shook_hands.unwrap_or_default();
        let connected = parts.connected.map(|all| all.saturating_sub(others));
        let is_answered = parts.first_byte.is_some();
        Timings {
            dns_us: parts.looked_up.map(micros),
            connect_us: connected.map(micros),
            tls_us: parts.shook_hands.map(micros),
            first_byte_us: parts.first_byte.map(micros),
            is_reused: (is_answered || connected.is_some()).then_some(connected.is_none()),
        }
    }

    fn note(&self, note: impl FnOnce(&mut Parts)) {
        note(&mut self.0.lock().expect("nobody panics with the watch in hand"));
    }
}

/// Notes how long a look-up took, if a request is waiting for it.
pub fn looked_up(took: Duration) {
    let _ = WATCH.try_with(|watch| watch.note(|parts| parts.looked_up = Some(took)));
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// Around the client's connector: notes how long connections take.
#[derive(Debug, Clone, Copy)]
pub struct TimedConnections;

/// The connector with a watch.
#[derive(Debug, Clone)]
pub struct TimedConnector<S>(S);

impl<S> Layer<S> for TimedConnections {
    type Service = TimedConnector<S>;

    fn layer(&self, connector: S) -> Self::Service {
        TimedConnector(connector)
    }
}

impl<S, D> Service<D> for TimedConnector<S>
where
    S: Service<D>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, destination: D) -> Self::Future {
        let began = Instant::now();
        let connecting = self.0.call(destination);
        Box::pin(async move {
            let connection = connecting.await?;
            // asked at the end: a connection that goes on without its request is for another one
            let ended = Instant::now();
            let note = |parts: &mut Parts| {
                parts.connected = Some(ended - began);
                let handshake_at = parts.handshake_at.filter(|at| *at >= began);
                parts.shook_hands = handshake_at.map(|at| ended.saturating_duration_since(at));
            };
            let _ = WATCH.try_with(|watch| watch.note(note));
            Ok(connection)
        })
    }
}

/// Keeps sessions of https as rustls does by itself, and notes when a handshake begins.
#[derive(Debug)]
pub struct TimedSessions(ClientSessionMemoryCache);

impl TimedSessions {
    /// Keeps at most so many sessions.
    pub fn new(sessions_max: usize) -> Self {
        Self(ClientSessionMemoryCache::new(sessions_max))
    }
}

impl ClientSessionStore for TimedSessions {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(server, group);
    }

    /// Asked for the first message of a handshake.
    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        let _ = WATCH.try_with(|watch| watch.note(|parts| parts.handshake_at = Some(Instant::now())));
        self.0.kx_hint(server)
    }

    fn set_tls12_session(&self, server: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.0.set_tls12_session(server, session);
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(server)
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.0.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(server, ticket);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(server)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use rustls::client::Resumption;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    /// Takes a while to connect and a while to shake hands.
    #[derive(Clone)]
    struct SlowConnector(Arc<ClientConfig>);

    const CONNECTING: Duration = Duration::from_millis(30);
    const SHAKING_HANDS: Duration = Duration::from_millis(60);

    impl Service<()> for SlowConnector {
        type Response = ();
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<(), Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, (): ()) -> Self::Future {
            let config = Arc::clone(&self.0);
            Box::pin(async move {
                tokio::time::sleep(CONNECTING).await;
                let name = "hooks.example".try_into().expect("a name");
                let _handshake = ClientConnection::new(config, name).expect("a connection");
                tokio::time::sleep(SHAKING_HANDS).await;
                Ok(())
            })
        }
    }

    #[tokio::test]
    async fn the_handshake_is_told_apart_from_the_connection() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_root_certificates(RootCertStore::empty());
        let mut config = config.with_no_client_auth();
        config.resumption = Resumption::store(Arc::new(TimedSessions::new(8)));
        let mut connector = TimedConnections.layer(SlowConnector(Arc::new(config)));
        let watch = Stopwatch::default();

        watch.time(connector.call(())).await.expect("it connects");

        let timings = watch.read();
        let (connect, tls) = (timings.connect_us.expect("connected"), timings.tls_us.expect("shook hands"));
        assert!(u128::from(connect) >= CONNECTING.as_micros(), "{timings:?}");
        assert!(u128::from(tls) >= SHAKING_HANDS.as_micros(), "{timings:?}");
        assert!(timings.first_byte_us.is_some_and(|all| all >= connect + tls), "{timings:?}");
    }

    #[tokio::test]
    async fn who_connects_is_told_from_who_uses_a_kept_connection() {
        let connects = Stopwatch::default();
        let connecting = async {
            looked_up(Duration::from_millis(2));
            WATCH.with(|watch| watch.note(|parts| parts.connected = Some(Duration::from_millis(5))));
            Ok::<_, ()>(())
        };
        connects.time(connecting).await.expect("it connects");
        let reuses = Stopwatch::default();
        reuses.time(async { Ok::<_, ()>(()) }).await.expect("it is answered");

        let timings = connects.read();
        assert_eq!((timings.dns_us, timings.connect_us), (Some(2000), Some(3000)));
        assert_eq!(timings.is_reused, Some(false));
        let timings = reuses.read();
        assert_eq!((timings.dns_us, timings.connect_us, timings.is_reused), (None, None, Some(true)));
        assert!(timings.first_byte_us.is_some());
    }

    #[tokio::test]
    async fn a_request_that_never_had_a_connection_says_nothing_of_one() {
        let watch = Stopwatch::default();

        watch.time(async { Err::<(), _>(()) }).await.expect_err("it fails");

        assert_eq!(watch.read(), Timings::default());
    }
}
