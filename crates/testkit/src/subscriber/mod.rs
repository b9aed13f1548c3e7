//! A subscriber with a script: it answers, refuses, hangs, cuts, redirects or never ends, and remembers what it
//! was sent. Written on TCP, because an HTTP library would not let it misbehave.

mod connection;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::until;

/// How long [`Subscriber::received`] waits.
const RECEIVE_LIMIT: Duration = Duration::from_secs(30);

/// How a request is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// With this status and no body.
    Status(u16),
    /// With this status, these headers and this body.
    Response(Response),
    /// 302 to this URL.
    Redirect(String),
    /// 200 after this time.
    Late(Duration),
    /// 200 once [`Subscriber::release`] is called.
    Held,
    /// 200, one byte of the answer each time this has passed.
    Slow(Duration),
    /// Never; the connection stays open.
    Hang,
    /// The connection is closed without an answer.
    Cut,
    /// 200, the beginning of a body, and then the connection is closed.
    CutBody,
    /// 200 and a body that never ends.
    Endless,
    /// 200 and a megabyte of headers.
    HugeHeaders,
    /// Something that is not HTTP.
    Garbage,
}

/// A whole response.
#[derive(Debug, Clone)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its headers; `Content-Length` is added.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Answers in order; the last one for ever.
#[derive(Debug, Clone)]
pub struct Script(Vec<Answer>);

/// One request, as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case, in the order of the wire.
    pub headers: Vec<(String, String)>,
    /// The exact bytes.
    pub body: Vec<u8>,
    /// When the last byte was read.
    pub at: DateTime<Utc>,
    /// Counts the connections: two requests with the same number came over one.
    pub connection: usize,
}

/// A running subscriber. Dropping it closes the port and all connections.
#[derive(Debug)]
pub struct Subscriber {
    url: String,
    state: Arc<State>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    script: Mutex<Script>,
    answered: AtomicUsize,
    requests: Mutex<Vec<Received>>,
    in_flight: AtomicUsize,
    in_flight_max: AtomicUsize,
    is_released: watch::Sender<bool>,
}

impl Response {
    /// A response without headers and body.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Response(response)
    }
}

impl Script {
    /// These answers in order; the last one for ever.
    ///
    /// # Panics
    /// Without an answer.
    pub fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers: Vec<Answer> = answers.into_iter().collect();
        assert!(!answers.is_empty(), "a script has an answer");
        Self(answers)
    }

    /// The same answer always.
    pub fn always(answer: impl Into<Answer>) -> Self {
        Self::new([answer.into()])
    }

    fn answer(&self, number: usize) -> Answer {
        self.0[number.min(self.0.len() - 1)].clone()
    }
}

impl From<Answer> for Script {
    fn from(answer: Answer) -> Self {
        Self::always(answer)
    }
}

impl<const N: usize> From<[Answer; N]> for Script {
    fn from(answers: [Answer; N]) -> Self {
        Self::new(answers)
    }
}

impl Received {
    /// The value of a header; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

impl Subscriber {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start(script: impl Into<Script>) -> Self {
        Self::start_at("127.0.0.1:0", script).await
    }

    /// Starts one on this address of loopback; a port of 0 is a free one.
    ///
    /// # Panics
    /// When the address cannot be had.
    pub async fn start_at(addr: &str, script: impl Into<Script>) -> Self {
        let listener = TcpListener::bind(addr).await.expect("a free port");
        let url = format!("http://{}/hook", listener.local_addr().expect("it is bound"));
        let state = Arc::new(State {
            script: Mutex::new(script.into()),
            answered: AtomicUsize::new(0),
            requests: Mutex::new(Vec::new()),
            in_flight: AtomicUsize::new(0),
            in_flight_max: AtomicUsize::new(0),
            is_released: watch::Sender::new(false),
        });
        let server = tokio::spawn(serve(listener, state.clone()));
        Self { url, state, server }
    }

    /// Where to post to.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// What has arrived so far, in order of arrival.
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.state.requests).clone()
    }

    /// What has arrived since there were so many, in order of arrival.
    pub fn requests_from(&self, begin: usize) -> Vec<Received> {
        lock(&self.state.requests).get(begin..).unwrap_or_default().to_vec()
    }

    /// What has arrived since this was last called, in order of arrival; it is not kept here any longer, and does not count.
    pub fn take_requests(&self) -> Vec<Received> {
        std::mem::take(&mut *lock(&self.state.requests))
    }

    /// How much has arrived so far.
    pub fn count(&self) -> usize {
        lock(&self.state.requests).len()
    }

    /// Waits until at least so many requests have arrived, and returns all.
    ///
    /// # Panics
    /// When they do not arrive, naming the caller.
    #[track_caller]
    pub fn received(&self, count: usize) -> impl Future<Output = Vec<Received>> {
        until(RECEIVE_LIMIT, move || async move { (self.count() >= count).then(|| self.requests()) })
    }

    /// Requests that have arrived and are not answered yet.
    pub fn in_flight(&self) -> usize {
        self.state.in_flight.load(Ordering::SeqCst)
    }

    /// Most requests that were unanswered at once.
    pub fn in_flight_max(&self) -> usize {
        self.state.in_flight_max.load(Ordering::SeqCst)
    }

    /// Answers what is [`Answer::Held`], now and from now on.
    pub fn release(&self) {
        self.state.is_released.send_replace(true);
    }

    /// Goes on with another script.
    pub fn change(&self, script: impl Into<Script>) {
        *lock(&self.state.script) = script.into();
        self.state.answered.store(0, Ordering::SeqCst);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State {
    /// Remembers a request and tells how to answer it.
    fn receive(&self, request: Received) -> Answer {
        lock(&self.requests).push(request);
        let number = self.answered.fetch_add(1, Ordering::SeqCst);
        lock(&self.script).answer(number)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a request that is not answered yet, also when its connection ends in the middle.
struct InFlight<'a>(&'a State);

impl<'a> InFlight<'a> {
    fn begin(state: &'a State) -> Self {
        let now = state.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        state.in_flight_max.fetch_max(now, Ordering::SeqCst);
        Self(state)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    for number in 0.. {
        // fails when the client gave up before we accepted; or for want of files, which the tests will show
        let Ok((stream, _)) = listener.accept().await else { continue };
        let state = state.clone();
        connections.spawn(async move { connect(stream, number, &state).await });
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(stream: TcpStream, number: usize, state: &State) {
    // an error means that the client went away, which is its right
    let _ = connection::serve(stream, number, state).await;
}
