//! Where the time of a request goes: look-up, connection, first byte.
//!
//! The client looks names up and connects within the task of the request that needs it, so what they take is noted
//! in a stopwatch that is local to that task. A connection that another request began, or that was kept, notes
//! nothing: that is how a reused one is told. With https the connection includes its handshake, which the client
//! does not tell apart.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use model::delivery::Timings;
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
        // the connector looks the name up, too
        let connected = parts.connected.map(|all| all.saturating_sub(parts.looked_up.unwrap_or_default()));
        let is_answered = parts.first_byte.is_some();
        Timings {
            dns_us: parts.looked_up.map(micros),
            connect_us: connected.map(micros),
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
            let _ = WATCH.try_with(|watch| watch.note(|parts| parts.connected = Some(began.elapsed())));
            Ok(connection)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
