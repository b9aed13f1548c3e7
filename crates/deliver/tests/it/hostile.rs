//! Subscribers that break every rule: each costs bounded time and bounded bytes, and its attempt is recorded with its class.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::Utc;
use model::EndpointId;
use model::delivery::DeliveryStatus;
use store::delivery_log::LoggedDelivery;
use store::endpoints::State;
use testkit::{Answer, Response, Script, Subscriber, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use crate::rig::{LIMIT, Rig};

/// How long each request may take in all.
const TIMEOUT_MS: u32 = 2000;

/// What a peer wants to send when it wants to send without end.
const FLOOD_BYTES: u64 = 1024 * 1024 * 1024;

/// More than both ends of a loopback connection buffer, and far less than [`FLOOD_BYTES`].
const TAKEN_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// How a peer answers, below HTTP.
#[derive(Debug, Clone)]
enum Conduct {
    /// These bytes, and the connection is closed in order.
    Says(Vec<u8>),
    /// These bytes, and the connection stays open.
    SaysAndWaits(&'static str),
    /// These bytes, and the connection is reset.
    SaysAndResets(&'static str),
    /// The first bytes once, the others again and again.
    Floods(&'static str, &'static [u8]),
    /// One byte at a time.
    Drips(&'static str),
}

/// A server that does what it wants.
struct Peer {
    url: String,
    sent: Arc<AtomicU64>,
    server: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Peer {
    async fn start(conduct: Conduct) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/hook", listener.local_addr().expect("it is bound"));
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (conduct, sent) = (conduct.clone(), Arc::clone(&counter));
                // an error means that we were hung up on, which is what is wanted
                tokio::spawn(async move { conduct.practise(stream, &sent).await });
            }
        });
        Self { url, sent, server }
    }
}

impl Conduct {
    async fn practise(self, mut stream: TcpStream, sent: &AtomicU64) -> std::io::Result<()> {
        // small requests arrive at once
        let mut request = vec![0; 64 * 1024];
        let _ = stream.read(&mut request).await?;
        match self {
            Self::Says(bytes) => stream.write_all(&bytes).await?,
            Self::SaysAndWaits(text) => {
                stream.write_all(text.as_bytes()).await?;
                while stream.read(&mut request).await? > 0 {}
            }
            Self::SaysAndResets(text) => {
                stream.write_all(text.as_bytes()).await?;
                // a reset throws away what the other end has not read yet
                tokio::time::sleep(Duration::from_millis(300)).await;
                stream.set_zero_linger()?;
            }
            Self::Floods(first, again) => {
                stream.write_all(first.as_bytes()).await?;
                let flood = again.repeat(16 * 1024 / again.len());
                while sent.load(Ordering::Relaxed) < FLOOD_BYTES {
                    stream.write_all(&flood).await?;
                    sent.fetch_add(flood.len() as u64, Ordering::Relaxed);
                }
            }
            Self::Drips(text) => {
                for byte in text.bytes().cycle() {
                    stream.write_all(&[byte]).await?;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        Ok(())
    }
}

/// Each conduct with the status and the class that its attempt is recorded with.
fn conducts() -> Vec<(Conduct, Option<u16>, Option<&'static str>)> {
    let says = |text: &str| Conduct::Says(text.as_bytes().to_vec());
    let headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(100_000));
    vec![
        (Conduct::Drips("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"), None, Some("timeout")),
        (Conduct::SaysAndWaits(""), None, Some("timeout")),
        (Conduct::SaysAndWaits("HTTP/1.1 200 OK\r\n"), None, Some("timeout")),
        (Conduct::SaysAndWaits("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"), Some(200), None),
        (
            Conduct::SaysAndWaits("HTTP/1.1 500 No\r\nContent-Length: 10\r\n\r\nhalf"),
            Some(500),
            Some("status"),
        ),
        (Conduct::Floods("HTTP/1.1 200 OK\r\n\r\n", b"endless "), Some(200), None),
        (Conduct::Floods("HTTP/1.1 503 No\r\n\r\n", b"endless "), Some(503), Some("status")),
        (
            Conduct::Floods("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"endless "),
            Some(200),
            None,
        ),
        (Conduct::Floods("HTTP/1.1 200 OK\r\n", b"X-Again: and again\r\n"), None, Some("protocol")),
        (Conduct::Floods("HTTP/1.1 200 OK\r\nX-Long: ", b"longer "), None, Some("protocol")),
        (Conduct::Floods("HTTP/1.1 200 ", b"longer "), None, Some("protocol")),
        (Conduct::Floods("", b"garbage "), None, Some("protocol")),
        (
            Conduct::Floods("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;x=y\r\nz\r\n"),
            Some(200),
            None,
        ),
        (Conduct::Says(headers.into_bytes()), None, Some("protocol")),
        (
            Conduct::Says(b"HTTP/1.1 200 OK\r\nX-Odd: \xff\xfe\x80\r\nContent-Length: 0\r\n\r\n".to_vec()),
            Some(200),
            None,
        ),
        (Conduct::Says(b"HTTP/1.1 500 \xff\xfe\r\nX-\xff: 1\r\n\r\n".to_vec()), None, Some("protocol")),
        (Conduct::SaysAndResets(""), None, Some("protocol")),
        (Conduct::SaysAndResets("HTTP/1.1 20"), None, Some("protocol")),
        (
            Conduct::SaysAndResets("HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nbegin"),
            Some(500),
            Some("status"),
        ),
        (says("HTTP/1.0 200 OK\r\n\r\nan old server"), Some(200), None),
        (says("HTTP/1.0 404 Not Found\r\n\r\n"), Some(404), Some("status")),
        (says("HTTP/0.9 200 OK\r\n\r\n"), None, Some("protocol")),
        (says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a length\r\n"), Some(200), None),
        (
            says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx"),
            Some(200),
            None,
        ),
        (says("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), None, Some("protocol")),
        (says("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), None, Some("protocol")),
        (says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nmore than that"), Some(200), None),
        (says("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\nless than that"), Some(200), None),
        (says("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"), Some(999), Some("status")),
        (says("HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n"), None, Some("protocol")),
        (says("220 smtp.example ESMTP\r\n"), None, Some("protocol")),
        (says("\0\0\0"), None, Some("protocol")),
    ]
}

async fn endpoint(rig: &Rig, url: &str) -> EndpointId {
    let change = |options: &mut store::endpoints::EndpointOptions| options.timeout_ms = Some(TIMEOUT_MS);
    rig.endpoint_with(url, change).await.0
}

/// The delivery to each of these endpoints once it was tried.
async fn tried(rig: &Rig, endpoint_ids: &[EndpointId]) -> Vec<LoggedDelivery> {
    until(LIMIT, || async {
        let all = rig.deliveries().await;
        let of = |id: &EndpointId| all.iter().find(|d| d.endpoint_id == *id && d.attempt_count > 0).cloned();
        endpoint_ids.iter().map(of).collect::<Option<Vec<_>>>()
    })
    .await
}

#[tokio::test]
async fn whatever_a_peer_does_its_attempt_is_recorded_with_its_class_in_time_and_within_bounds() {
    let rig = Rig::new().await;
    let conducts = conducts();
    let (mut peers, mut endpoint_ids) = (Vec::new(), Vec::new());
    for (conduct, ..) in &conducts {
        let peer = Peer::start(conduct.clone()).await;
        endpoint_ids.push(endpoint(&rig, &peer.url).await);
        peers.push(peer);
    }
    let running = rig.start().await;

    rig.publish(&rig.click()).await;

    let deliveries = tried(&rig, &endpoint_ids).await;
    for (((conduct, status, class), delivery), peer) in conducts.iter().zip(&deliveries).zip(&peers) {
        let name: String = format!("{conduct:?}").chars().take(120).collect();
        assert_eq!((delivery.last_status, delivery.last_error.as_deref()), (*status, *class), "{name}");
        let expected = if class.is_none() { DeliveryStatus::Delivered } else { DeliveryStatus::Pending };
        assert_eq!(delivery.status, expected, "{name}");
        assert!(delivery.duration_ms.expect("a length") < 2 * TIMEOUT_MS, "{name}: {delivery:?}");
        let kept = delivery.response_body.as_ref().map_or(0, String::len);
        assert!(kept <= deliver::sender::RESPONSE_KEPT_MAX, "{name}: {kept} bytes kept");
        let sent = peer.sent.load(Ordering::Relaxed);
        assert!(sent < TAKEN_BYTES_MAX, "{name}: {sent} bytes taken");
        if let Some(class) = class {
            let attempt = rig.attempts(delivery).await.remove(0);
            assert_eq!(attempt.error.as_deref(), Some(*class), "{name}");
            assert!(attempt.error_detail.is_some_and(|detail| detail.len() <= 4096), "{name}");
            assert!(attempt.response_headers.to_string().len() < 64 * 1024, "{name}");
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn endless_interim_answers_end_with_the_time() {
    let rig = Rig::new().await;
    let peer = Peer::start(Conduct::Drips("HTTP/1.1 100 Continue\r\n\r\n")).await;
    let flood = Peer::start(Conduct::Floods("", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")).await;
    let ids = [endpoint(&rig, &peer.url).await, endpoint(&rig, &flood.url).await];
    let running = rig.start().await;

    rig.publish(&rig.click()).await;

    for delivery in tried(&rig, &ids).await {
        let class = delivery.last_error.as_deref().expect("a failure");
        assert!(["timeout", "protocol"].contains(&class), "{class}");
        assert!(delivery.duration_ms.expect("a length") < 2 * TIMEOUT_MS, "{delivery:?}");
    }
    running.stop().await;
}

#[tokio::test]
async fn who_answers_tls_with_garbage_and_who_never_accepts_are_told_apart() {
    let rig = Rig::new().await;
    let mut settings = rig.settings();
    settings.deliver.dns_timeout = Duration::from_millis(500);
    settings.deliver.connect_timeout = Duration::from_millis(1000);
    let garbage = Peer::start(Conduct::Floods("", b"not a handshake ")).await;
    let silent = Peer::start(Conduct::SaysAndWaits("")).await;
    let (full, _waiting) = full_backlog().await;
    let secure = |url: &str| url.replace("http://", "https://");
    let expected = [
        (secure(&garbage.url), "tls"),
        (secure(&silent.url), "connect"),
        (format!("http://{}/hook", full.local_addr().expect("it is bound")), "connect"),
    ];
    let mut ids = Vec::new();
    for (url, _) in &expected {
        ids.push(endpoint(&rig, url).await);
    }
    let running = rig.start_with(settings).await;

    rig.publish(&rig.click()).await;

    for ((url, class), delivery) in expected.iter().zip(tried(&rig, &ids).await) {
        assert_eq!(delivery.last_error.as_deref(), Some(*class), "{url}");
        assert!(delivery.duration_ms.expect("a length") < TIMEOUT_MS, "{delivery:?}");
    }
    assert!(garbage.sent.load(Ordering::Relaxed) < TAKEN_BYTES_MAX);
    running.stop().await;
}

/// A port whose queue is full of connections that nobody accepts: the next one is not answered.
async fn full_backlog() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let listener = socket.listen(1).expect("it listens");
    let addr = listener.local_addr().expect("it is bound");
    let mut waiting = Vec::new();
    while let Ok(connected) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(addr)).await
    {
        waiting.push(connected.expect("loopback"));
    }
    (listener, waiting)
}

/// What may be asked for, and for how many seconds that pauses the endpoint.
const RETRY_AFTER: [(&str, Option<(i64, i64)>); 10] = [
    ("120", Some((110, 120))),
    ("90.5", Some((81, 91))),
    ("DATE", Some((110, 121))),
    ("315360000", Some((3590, 3600))),
    ("99999999999999999999999", Some((3590, 3600))),
    ("Fri, 23 Nov 2035 14:01:00 GMT", Some((3590, 3600))),
    ("-5", None),
    ("soon", None),
    ("", None),
    ("Mon, 23 Nov 2020 13:00:00 GMT", None),
];

#[tokio::test]
async fn what_a_subscriber_asks_for_pauses_it_alone_and_within_the_limit() {
    let rig = Rig::new().await;
    let healthy = Subscriber::start(Script::always(Answer::Status(200))).await;
    rig.endpoint(&healthy.url()).await;
    let mut asking = Vec::new();
    for (value, pause) in RETRY_AFTER {
        let date = (Utc::now() + Duration::from_secs(120)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let value = if value == "DATE" { &date } else { value };
        let status = if pause.is_some() { 429 } else { 503 };
        let answer = Response::new(status).header("Retry-After", value);
        let subscriber = Subscriber::start(Script::always(answer)).await;
        let schedule =
            |options: &mut store::endpoints::EndpointOptions| options.retry_schedule = Some(vec![600]);
        let (id, _) = rig.endpoint_with(&subscriber.url(), schedule).await;
        asking.push((id, subscriber, pause, value.to_owned()));
    }
    let running = rig.start().await;
    let began = Utc::now();

    rig.publish(&rig.click()).await;

    for (id, _, pause, value) in &asking {
        let health = until(LIMIT, || async {
            let health = rig.endpoint_now(*id).await.health?;
            (health.failed > 0 && health.paused_until.is_some() == pause.is_some()).then_some(health)
        })
        .await;
        if let (Some((min, max)), Some(until)) = (pause, health.paused_until) {
            let seconds = (until - began).num_seconds();
            // the answer came a moment after we began
            assert!((*min..=max + 10).contains(&seconds), "{value}: {seconds} s");
        }
    }
    rig.publish(&rig.click()).await;
    healthy.received(2).await;
    for (_, subscriber, pause, value) in &asking {
        if pause.is_none() {
            subscriber.received(2).await;
        }
        assert!(pause.is_none() || subscriber.count() == 1, "{value} was asked again");
    }
    rig.all_acknowledged().await;
    running.stop().await;
    let asked_again = asking.iter().filter(|(_, s, pause, _)| pause.is_some() && s.count() > 1).count();
    assert_eq!(asked_again, 0);
}

#[tokio::test]
async fn answers_of_429_do_not_use_up_the_schedule() {
    let rig = Rig::new().await;
    let throttled = || Answer::Response(Response::new(429).header("Retry-After", "1"));
    let answers = [throttled(), throttled(), Answer::Status(429), Answer::Status(500), Answer::Status(200)];
    let subscriber = Subscriber::start(Script::new(answers)).await;
    let (id, _) =
        rig.endpoint_with(&subscriber.url(), |options| options.retry_schedule = Some(vec![1])).await;
    let running = rig.start().await;

    rig.publish(&rig.click()).await;

    let delivery = rig.stand(DeliveryStatus::Delivered, 1).await.remove(0);
    assert_eq!(delivery.attempt_count, 5, "one retry, and three that did not count");
    assert_eq!(rig.endpoint_now(id).await.state, State::Active);
    let requests = subscriber.requests();
    for pair in requests.windows(2).take(2) {
        assert!(pair[1].at - pair[0].at >= chrono::Duration::seconds(1), "not earlier than asked");
    }
    let numbers: Vec<_> = requests.iter().filter_map(|r| r.header("clickwire-attempt")).collect();
    assert_eq!(numbers, ["1", "2", "3", "4", "5"]);
    running.stop().await;
}
