//! From the visitor's request to the arrival of the webhook, at a steady rate through every service.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;

use crate::figures::{Figures, quantile};
use crate::load;
use crate::process;
use crate::sink::{NUMBER_MARK, Sink, number_in};
use crate::visitors;
use crate::world::World;

/// Clicks a second, and how many in all: half a minute of the one, a quarter of the other.
const SLOW: Pace = Pace { rate: 200, clicks: 6_000 };
const FAST: Pace = Pace { rate: 2_000, clicks: 30_000 };

/// Before the measurement there are clicks for so long.
const WARM_UP_SECONDS: u64 = 2;

/// Connections that the clicks are spread over.
const CONNECTIONS: u64 = 8;

/// The services on the way.
const NAMES: [&str; 4] = ["redirect", "enrich", "deliver", "record"];

/// Room for an answer.
const ANSWER_BYTES: usize = 4096;

/// How long the last webhooks may take.
const LAST_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Clicks a second.
    rate: u32,
    clicks: u64,
}

/// Median and 99th percentile from click to webhook, and the memory of every service on the way.
pub async fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    run(figures, SLOW, "").await?;
    run(figures, FAST, ".at_2000").await
}

async fn run(figures: &mut Figures, pace: Pace, suffix: &str) -> anyhow::Result<()> {
    let world = World::start().await?;
    let links = world.create_links(100).await?;
    let sink = Sink::start().await?;
    world.create_endpoint(&sink.url(0)).await?;
    let mut services = Vec::new();
    for name in NAMES {
        services.push(world.service(name, None, &[]).await?);
    }
    let addr = services[0].addr;

    let warm_up = WARM_UP_SECONDS * u64::from(pace.rate);
    let total = warm_up + pace.clicks;
    let (clock, begin) = (SystemTime::now(), Instant::now() + Duration::from_millis(200));
    let begin_at = clock + Duration::from_millis(200);
    let planned =
        |number: u64| begin + Duration::from_secs(1) / pace.rate * u32::try_from(number).expect("few clicks");
    let visitors = (0..CONNECTIONS).map(|first| {
        let numbers = (first..total).step_by(usize::try_from(CONNECTIONS).expect("few connections"));
        let requests: Vec<_> = numbers
            .map(|n| (planned(n), request(&links[usize::try_from(n).expect("few") % links.len()].slug, n)))
            .collect();
        tokio::task::spawn_blocking(move || visit(addr, requests))
    });
    for visitor in visitors.collect::<Vec<_>>() {
        visitor.await??;
    }
    sink.wait_for(usize::try_from(total)?, LAST_LIMIT).await?;

    let mut latencies = Vec::new();
    for number in warm_up..total {
        let arrival = sink.arrival(number).with_context(|| format!("no webhook for click {number}"))?;
        latencies.push(arrival.saturating_duration_since(planned(number)).as_secs_f64() * 1000.0);
    }
    latencies.sort_by(f64::total_cmp);
    let rate = pace.rate;
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        figures.add(
            format!("click_to_webhook.{name}_ms{suffix}"),
            quantile(&latencies, share),
            format!("from the planned moment of the click to the arrival of the webhook, {rate} clicks a second, {name}, ms"),
        );
    }
    for (stream, what) in [("CLICKS", "clicks"), ("ENRICHED", "enriched")] {
        let mut stored = Vec::new();
        for (number, at) in stored_at(&world, stream).await? {
            let planned_at = begin_at + (planned(number) - begin);
            if number >= warm_up {
                stored.push(at.duration_since(planned_at).unwrap_or_default().as_secs_f64() * 1000.0);
            }
        }
        stored.sort_by(f64::total_cmp);
        figures.add(
            format!("click_to_webhook.p50_ms.to_{what}{suffix}"),
            quantile(&stored, 0.5),
            format!("of that, until the click stands in {stream}, p50, ms"),
        );
    }
    for (name, service) in NAMES.iter().zip(&services) {
        figures.add(
            format!("rss_mb.{name}{suffix}"),
            process::peak_mib(service.pid()),
            format!("the most resident memory that {name} had at {rate} clicks a second, MiB"),
        );
    }
    Ok(())
}

/// When the broker stored the click of each visitor in a stream.
async fn stored_at(world: &World, stream: &str) -> anyhow::Result<Vec<(u64, SystemTime)>> {
    let client = async_nats::connect(world.nats.url()).await?;
    let stream = async_nats::jetstream::new(client).get_stream(stream).await?;
    let state = &stream.cached_info().state;
    let mut stored = Vec::new();
    for sequence in state.first_sequence..=state.last_sequence {
        let message = stream.get_raw_message(sequence).await?;
        if let Some(number) = number_in(&message.payload) {
            stored.push((number, message.time.into()));
        }
    }
    Ok(stored)
}

/// Something follows the number: in a click on its way the next byte may look like another digit.
fn request(slug: &str, number: u64) -> String {
    format!(
        "GET /{slug}?{NUMBER_MARK}{number}&end HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: {}\r\nAccept: text/html\r\n\
         Accept-Language: sv-SE,sv;q=0.9\r\nX-Forwarded-For: {}\r\n\r\n",
        visitors::user_agent(number),
        visitors::address(number),
    )
}

/// Sends each request at its planned moment and reads the redirect. A thread of its own: the runtime's timer would be up to
/// a millisecond late.
#[expect(
    clippy::disallowed_methods,
    reason = "the thread is its own, and the timer of the runtime too coarse"
)]
fn visit(addr: SocketAddr, requests: Vec<(Instant, String)>) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    let mut answer = Vec::with_capacity(ANSWER_BYTES);
    let mut buffer = [0; ANSWER_BYTES];
    for (planned, request) in requests {
        std::thread::sleep(planned.saturating_duration_since(Instant::now()));
        stream.write_all(request.as_bytes())?;
        answer.clear();
        while !load::is_whole(&answer) {
            let read = stream.read(&mut buffer)?;
            anyhow::ensure!(read > 0, "the redirect closed the connection");
            answer.extend_from_slice(&buffer[..read]);
        }
        anyhow::ensure!(
            answer.starts_with(b"HTTP/1.1 302"),
            "not a redirect: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    Ok(())
}
