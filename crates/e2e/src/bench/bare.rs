//! What the machine allows: the same work without ours, so that figures of two machines can be compared by their shares.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::enrich::look_up::LookUp;
use bus::{
    Consumer, ConsumerMetrics, ConsumerName, Handler, Limits, Message, Outgoing, Publisher, Verdict, Verdicts,
};
use chrono::Utc;
use futures::{StreamExt as _, stream};
use model::secret::SigningSecret;
use model::{Click, EnrichedClick};
use service::ops::Ops;
use tokio_util::sync::CancellationToken;

use crate::sink::Sink;
use crate::visitors::{self, Mixed};
use crate::world::World;
use crate::{process, streams};

/// Requests of a loop that only signs and posts.
const POSTS: usize = 40_000;

/// How many of them are under way.
const POSTS_AT_ONCE: usize = 64;

/// What a loop over two streams takes in hand, as `enrich` does by default.
const LIMITS: Limits = Limits {
    batch_max: 256,
    batches_max: 4,
    gather: Duration::ZERO,
    handle_timeout: Duration::from_secs(60),
    drain_timeout: Duration::from_secs(10),
};

/// Signed requests a second from a loop over one HTTP client to a sink on the same two cores, nothing stored.
pub async fn posts_per_second() -> anyhow::Result<f64> {
    let world = World::start().await?;
    let link = world.create_links(1).await?.remove(0);
    let body = visitors::enriched(world.workspace_id, &link, 0).outgoing().payload;
    let sink = Sink::start().await?;
    let (http, url) = (reqwest::Client::builder().no_proxy().build()?, sink.url(0));
    let secrets = [SigningSecret::generate()];
    let begun = Instant::now();
    let posts = stream::iter(0..POSTS).map(|n| {
        let (http, url, body, id) = (http.clone(), url.clone(), body.clone(), format!("msg_{n}"));
        let timestamp = Utc::now().timestamp();
        let signature = webhook::signature::sign(&secrets, &id, timestamp, &body);
        tokio::spawn(async move {
            let request = http.post(url).header("content-type", "application/json");
            let request = request.header("webhook-id", id).header("webhook-timestamp", timestamp);
            request.header("webhook-signature", signature).body(body).send().await?.bytes().await
        })
    });
    let mut posts = posts.buffer_unordered(POSTS_AT_ONCE);
    while let Some(answer) = posts.next().await {
        answer??;
    }
    Ok(POSTS as f64 / begun.elapsed().as_secs_f64())
}

/// Clicks a second from stream to stream through a loop that reads and passes them on unchanged, and its processor time
/// for one, µs.
pub async fn passed_on(visitors: &Mixed, look_up: &LookUp) -> anyhow::Result<(f64, f64)> {
    let world = World::start().await?;
    let link = world.create_links(1).await?.remove(0);
    let sample = look_up.enrich(&visitors.click(world.workspace_id, &link, 0), Utc::now()).outgoing();
    streams::fill(&world, |n| visitors.click(world.workspace_id, &link, n)).await?;
    let handler = PassOn { publisher: world.bus.publisher(), subject: sample.subject };
    worked_off(&world, handler).await
}

/// The same through a loop that only reads and acknowledges them.
pub async fn read(visitors: &Mixed) -> anyhow::Result<(f64, f64)> {
    let world = World::start().await?;
    let link = world.create_links(1).await?.remove(0);
    streams::fill(&world, |n| visitors.click(world.workspace_id, &link, n)).await?;
    worked_off(&world, Acknowledge).await
}

/// Clicks a second, and this process's time for one, µs, when all that wait go through a handler.
async fn worked_off(world: &World, handler: impl Handler<Message = Click>) -> anyhow::Result<(f64, f64)> {
    let metrics = ConsumerMetrics::register(Ops::new().registry(), "bench")?;
    let consumer = Consumer::new(&world.bus, ConsumerName::Enrich, LIMITS, metrics);
    let stop = CancellationToken::new();
    let own = i32::try_from(std::process::id())?;
    let before = process::own_cpu(own);
    let running = tokio::spawn(consumer.run(Arc::new(handler), stop.clone()));
    let per_second = streams::drain(world, ConsumerName::Enrich).await?;
    let spent = process::own_cpu(own).saturating_sub(before);
    stop.cancel();
    running.await??;
    Ok((per_second, spent.as_secs_f64() * 1e6 / streams::CLICKS as f64))
}

/// Does nothing with a click.
struct Acknowledge;

impl Handler for Acknowledge {
    type Message = Click;

    async fn handle(&self, _batch: &[Click]) -> Verdicts {
        Verdicts::all(Verdict::Done)
    }
}

/// Publishes each click as it came.
struct PassOn {
    publisher: Publisher,
    subject: String,
}

impl Handler for PassOn {
    type Message = Click;

    async fn handle(&self, batch: &[Click]) -> Verdicts {
        let passed_on = batch.iter().map(|click| Outgoing {
            subject: self.subject.clone(),
            schema: EnrichedClick::SCHEMA,
            ..click.outgoing()
        });
        let published = self.publisher.publish_all(passed_on.collect()).await;
        let is_whole = published.iter().all(Result::is_ok);
        Verdicts::all(if is_whole { Verdict::Done } else { Verdict::Retry(Duration::from_secs(1)) })
    }
}
