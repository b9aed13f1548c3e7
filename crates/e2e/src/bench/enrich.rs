//! What enrichment costs: clicks a second from stream to stream on one core, and the processor time of each part.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::enrich::look_up::LookUp;
use ::enrich::metrics::Metrics;
use ::enrich::settings::EnrichSettings;
use bus::{ConsumerName, Message};
use chrono::Utc;
use model::{Click, WorkspaceId};
use serde::Deserialize;
use service::ops::Ops;

use crate::figures::Figures;
use crate::visitors::Mixed;
use crate::world::{BenchLink, World};
use crate::{bare, process, streams};

/// Clicks that each part is timed over, in this process.
const TIMED: u64 = 20_000;

/// Workspaces whose clicks wait at once.
const WORKSPACES: usize = 200;

/// The core that `enrich` has to itself; broker, database and this process have what is left, if anything is.
const CORE: usize = 0;

/// Start-up, clicks a second, memory, and what each part costs. `geo` is a folder of location files.
pub async fn measure(figures: &mut Figures, geo: Option<&Path>) -> anyhow::Result<()> {
    let world = World::start().await?;
    let link = world.create_links(1).await?.remove(0);
    let visitors = Mixed::load()?;
    let env: Vec<_> =
        geo.iter().map(|dir| ("CLICKWIRE__ENRICH__GEO_DIR", dir.display().to_string())).collect();

    let started_at = Instant::now();
    let idle = world.launch("enrich", &env)?;
    world.ready(&idle).await?;
    figures.add(
        "enrich.start_s",
        started_at.elapsed().as_secs_f64(),
        "seconds until enrich is ready, its data read and compiled",
    );
    let to_start = process::cpu(idle.pid());
    drop(idle);

    streams::fill(&world, |n| visitors.click(world.workspace_id, &link, n)).await?;
    let of_others = || [world.nats.pid(), world.postgres.pid()].map(process::cpu);
    let before = of_others();
    let enrich = world.launch("enrich", &env)?;
    process::pin(enrich.pid(), CORE);
    let per_second = streams::drain(&world, ConsumerName::Enrich).await?;
    let [nats, postgres] = of_others();
    let spent = process::cpu(enrich.pid()).saturating_sub(to_start);
    figures.add(
        "enrich.clicks_per_s",
        per_second,
        "clicks a second through enrich on one core, of 499 browsers; broker and database beside it",
    );
    let resident = process::resident_mib(enrich.pid());
    figures.add("enrich.rss_mb", resident, "resident memory of enrich after that, MiB");
    drop(enrich);

    measure_many_workspaces(figures, &world, &visitors, &link, &env).await?;
    let a_click = |spent: Duration| spent.as_secs_f64() * 1e6 / streams::CLICKS as f64;
    let all = a_click(spent);
    figures.add("enrich.cpu_us", all, "processor time of enrich, µs a click");
    figures.add("enrich.nats_cpu_us", a_click(nats - before[0]), "of nats-server meanwhile, µs a click");
    figures.add(
        "enrich.postgres_cpu_us",
        a_click(postgres - before[1]),
        "of PostgreSQL meanwhile, µs a click",
    );
    let read_cpu = measure_bare(figures, &visitors, geo, per_second).await?;
    let clicks: Vec<Click> = (0..TIMED).map(|n| visitors.click(world.workspace_id, &link, n)).collect();
    let Parts { decode, others } = measure_parts(figures, &clicks, geo)?;
    let acknowledge = (read_cpu - decode).max(0.0);
    figures.add("enrich.cpu_us.acknowledge", acknowledge, "pulling it and acknowledging it, µs");
    let parts = decode + others + acknowledge + measure_publishing(figures, &world, &clicks).await?;
    let rest = (all - parts).max(0.0);
    figures.add("enrich.cpu_us.rest", rest, "the rest: what other clicks show, first clicks, µs a click");
    Ok(())
}

/// The same without ours, beside `per_second` of ours: a loop that passes clicks on, and one that only reads them, whose processor
/// time for one it returns, µs.
async fn measure_bare(
    figures: &mut Figures,
    visitors: &Mixed,
    geo: Option<&Path>,
    per_second: f64,
) -> anyhow::Result<f64> {
    let (bare, bare_cpu) = bare::passed_on(visitors, &open(geo)?).await?;
    figures.add(
        "enrich.bare_per_s",
        bare,
        "clicks a second through a loop that passes them on unchanged, same two cores",
    );
    figures.add("enrich.bare_cpu_us", bare_cpu, "its processor time, µs a click");
    figures.add(
        "enrich.share_of_bare",
        per_second / bare,
        "clicks a second through enrich / through that loop",
    );
    let (read, read_cpu) = bare::read(visitors).await?;
    figures.add(
        "enrich.read_per_s",
        read,
        "clicks a second through a loop that only reads and acknowledges them",
    );
    Ok(read_cpu)
}

/// Clicks a second when those that wait are of many workspaces, each of which has sixteen subjects on CLICKS.
async fn measure_many_workspaces(
    figures: &mut Figures,
    world: &World,
    visitors: &Mixed,
    link: &BenchLink,
    env: &[(&'static str, String)],
) -> anyhow::Result<()> {
    let workspaces: Vec<_> = (0..WORKSPACES).map(|_| WorkspaceId::generate()).collect();
    streams::fill(world, |n| visitors.click(workspaces[n as usize % WORKSPACES], link, n)).await?;
    let enrich = world.launch("enrich", env)?;
    process::pin(enrich.pid(), CORE);
    let per_second = streams::drain(world, ConsumerName::Enrich).await?;
    figures.add(
        "enrich.many.clicks_per_s",
        per_second,
        "the same when the clicks that wait are of 200 workspaces",
    );
    Ok(())
}

/// Microseconds a click.
struct Parts {
    decode: f64,
    others: f64,
}

/// Times each part by itself on one thread.
fn measure_parts(figures: &mut Figures, clicks: &[Click], geo: Option<&Path>) -> anyhow::Result<Parts> {
    let look_up = open(geo)?;
    let payloads: Vec<_> = clicks.iter().map(|click| click.outgoing().payload).collect();
    let now = Utc::now();
    // the first sight of a browser is what it costs to read it; a day's clicks are of browsers that were seen
    let read = timed(clicks, |click| look_up.tell(&click.request));
    let decode = timed(&payloads, |payload| Click::decode(payload).is_ok());
    let place = timed(clicks, |click| look_up.geo().look_up(click.request.ip));
    let device_and_rules = timed(clicks, |click| look_up.tell(&click.request));
    let whole = timed(clicks, |click| look_up.enrich(click, now));
    let enriched: Vec<_> = clicks.iter().map(|click| look_up.enrich(click, now)).collect();
    let encode = timed(&enriched, Message::outgoing);
    figures.add("enrich.cpu_us.decode", decode, "reading a click from the stream's bytes, µs");
    figures.add("enrich.cpu_us.geo", place, "finding its place, µs");
    figures.add(
        "enrich.cpu_us.device_rules",
        device_and_rules,
        "device and verdict of a browser that was seen, µs",
    );
    figures.add(
        "enrich.cpu_us.device_rules_mixed",
        read,
        "the same, the first sights of all browsers among them, µs",
    );
    figures.add(
        "enrich.cpu_us.assemble",
        (whole - place - device_and_rules).max(0.0),
        "putting it together, µs",
    );
    figures.add("enrich.cpu_us.encode", encode, "writing the enriched click, µs");
    Ok(Parts { decode, others: whole + encode })
}

/// Processor time of this process while it publishes enriched clicks and awaits their confirmations.
async fn measure_publishing(figures: &mut Figures, world: &World, clicks: &[Click]) -> anyhow::Result<f64> {
    let look_up = open(None)?;
    let now = Utc::now();
    let enriched: Vec<_> = clicks.iter().map(|click| look_up.enrich(click, now)).collect();
    let publisher = world.bus.publisher();
    let own = i32::try_from(std::process::id())?;
    let mut spent = Duration::ZERO;
    for batch in enriched.chunks(256) {
        let batch = batch.iter().map(Message::outgoing).collect();
        let before = process::own_cpu(own);
        for result in publisher.publish_all(batch).await {
            result?;
        }
        spent += process::own_cpu(own).saturating_sub(before);
    }
    let micros = spent.as_secs_f64() * 1e6 / clicks.len() as f64;
    figures.add("enrich.cpu_us.publish", micros, "publishing it and awaiting the confirmation, µs");
    Ok(micros)
}

fn open(geo: Option<&Path>) -> anyhow::Result<LookUp> {
    #[derive(Deserialize)]
    struct Section {
        enrich: EnrichSettings,
    }
    let section: Section = service::settings::load_from(
        &[::enrich::Settings::DEFAULTS[0]],
        None,
        Vec::<(String, String)>::new(),
    )?;
    let settings = EnrichSettings { geo_dir: geo.map(Path::to_owned), ..section.enrich };
    LookUp::open(&settings, Arc::new(Metrics::register(Ops::new().registry())?))
}

/// Microseconds a call, over all of `items`.
fn timed<T, R>(items: &[T], work: impl Fn(&T) -> R) -> f64 {
    let begun = Instant::now();
    for item in items {
        black_box(work(black_box(item)));
    }
    begun.elapsed().as_secs_f64() * 1e6 / items.len() as f64
}
