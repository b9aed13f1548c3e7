//! `clickwire rejudge`: newer rules over recorded clicks. Without `--apply` it only says what would change.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::{Bus, Message as _};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use enrich::look_up::LookUp;
use enrich::metrics::Metrics;
use model::automation::Verdict;
use model::{ClickId, EnrichedClick, WorkspaceId};
use serde::Serialize;
use service::ops::Ops;
use store::click_log;
use store::first_run::WORKSPACE_NAME;
use store::{Connection, first_clicks, workspaces};

use crate::connections::{ConnectionOptions, Connections};
use crate::out;
use crate::replay::moment;

/// Clicks that are read, and published, at a time.
const PAGE: i64 = 500;

/// Changed verdicts that are told one by one.
const EXAMPLES_MAX: usize = 20;

/// After how many clicks it says how far it is.
const PROGRESS_EACH: u64 = 50_000;

/// So young a click may still be amended by what other clicks show.
const EVIDENCE_TIME: TimeDelta = TimeDelta::seconds(60);

/// How long NATS may take to be reached.
const PATIENCE: Duration = Duration::from_secs(10);

/// Judge recorded clicks by the rules of this version, and say what would change
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// From when: `2026-11-23T00:00:00Z`, or how long ago: `7d`
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: DateTime<Utc>,

    /// Until when; otherwise until a minute ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<DateTime<Utc>>,

    /// Name of the workspace
    #[arg(long, value_name = "NAME", default_value = WORKSPACE_NAME)]
    workspace: String,

    /// Amend the clicks whose verdict changes: reports follow, and endpoints that were told of them are told
    #[arg(long)]
    apply: bool,

    #[command(flatten)]
    connections: ConnectionOptions,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// What newer rules change.
#[derive(Debug, Default, Serialize)]
struct Difference {
    ruleset: String,
    judged: u64,
    /// Clicks that a person judged, or whose User-Agent was not kept.
    left_out: u64,
    /// `human to automated`: how many.
    changes: BTreeMap<String, u64>,
    examples: Vec<Example>,
    amended: u64,
}

#[derive(Debug, Serialize)]
struct Example {
    click_id: ClickId,
    change: String,
    /// What speaks for a machine, or against it.
    reasons: Vec<String>,
    user_agent: Option<String>,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let connections = options.connections.find()?;
    let mut conn = connections.database().await?;
    let name = &options.workspace;
    let workspace = workspaces::find_by_name(&mut conn, name).await?;
    let workspace = workspace.with_context(|| format!("there is no workspace `{name}`"))?;
    let look_up = rules(&connections).await?;
    let bus = if options.apply { Some(reach(&connections).await?) } else { None };
    let difference = judge(options, &mut conn, workspace.id, &look_up, bus.as_ref()).await?;
    if options.json {
        out::json(&difference);
    } else {
        print(&difference, options.apply);
    }
    Ok(ExitCode::SUCCESS)
}

async fn rules(connections: &Connections) -> anyhow::Result<LookUp> {
    let settings = connections
        .layers
        .load::<enrich::Settings>(enrich::Settings::DEFAULTS, &connections.ours)
        .context("settings cannot be used")?
        .enrich;
    let metrics = Arc::new(Metrics::register(Ops::new().registry()).context("failed to register metrics")?);
    tokio::task::spawn_blocking(move || LookUp::open(&settings, metrics)).await.context("reading failed")?
}

async fn reach(connections: &Connections) -> anyhow::Result<Bus> {
    let bus = Bus::connect(&connections.nats, "rejudge").await?;
    bus.wait_connected(PATIENCE).await.context("NATS cannot be reached: nothing was amended")?;
    Ok(bus)
}

async fn judge(
    options: &Options,
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    look_up: &LookUp,
    bus: Option<&Bus>,
) -> anyhow::Result<Difference> {
    let now = Utc::now();
    let settled = now - EVIDENCE_TIME;
    let until = options.until.map_or(settled, |until| until.min(settled));
    let mut difference =
        Difference { ruleset: enrich::automation::RULESET.to_owned(), ..Difference::default() };
    let mut after = None;
    loop {
        // in the order in which they came: of a contact's clicks the first is to be the first
        let page =
            click_log::list_oldest_first(conn, workspace_id, (options.since, until), after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(difference) };
        after = Some(last.id);
        let mut amendments = Vec::new();
        for recorded in &page {
            let click = EnrichedClick::decode(&recorded.event)
                .with_context(|| format!("click {} cannot be read", recorded.id))?;
            amendments.extend(difference.add(&click, look_up, now));
        }
        // a machine gives its place up before a person asks for it
        amendments.sort_by_key(|click| click.automation.verdict != Verdict::Automated);
        if let Some(bus) = bus {
            difference.amended += publish(bus, conn, amendments).await?;
        }
        if difference.judged / PROGRESS_EACH != (difference.judged - page.len() as u64) / PROGRESS_EACH {
            out::error(&format!("{} clicks judged, up to {}", difference.judged, last.id.timestamp()));
        }
    }
}

/// Tells how many were amended. One that somebody else amended a moment ago is judged anew the next time.
async fn publish(bus: &Bus, conn: &mut Connection, amendments: Vec<EnrichedClick>) -> anyhow::Result<u64> {
    let publisher = bus.publisher();
    let mut amended = 0;
    for mut click in amendments {
        if click.is_first_click.is_none() {
            click.is_first_click = first_clicks::claim_late(conn, &click).await?;
        }
        let is_new = publisher.publish_new(click.outgoing()).await;
        if !is_new.context("an amendment could not be published: run it again")? {
            continue;
        }
        amended += 1;
        if click.automation.verdict == Verdict::Automated {
            first_clicks::release_click(conn, click.click.link.id, click.click.id).await?;
        }
    }
    Ok(amended)
}

impl Difference {
    /// Judges a click; tells it with its new verdict if that is another one.
    fn add(&mut self, click: &EnrichedClick, look_up: &LookUp, now: DateTime<Utc>) -> Option<EnrichedClick> {
        self.judged += 1;
        let Some(automation) = look_up.judge_again(click) else {
            self.left_out += 1;
            return None;
        };
        if automation.verdict == click.automation.verdict {
            return None;
        }
        let (from, to) = (click.automation.verdict.as_str(), automation.verdict.as_str());
        let change = format!("{from} to {to}");
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(Example {
                click_id: click.click.id,
                change: change.clone(),
                reasons: automation.reasons.iter().map(|reason| reason.code.clone()).collect(),
                user_agent: click.click.request.user_agent.clone(),
            });
        }
        *self.changes.entry(change).or_default() += 1;
        click.amended(automation, now)
    }
}

fn print(difference: &Difference, is_applied: bool) {
    let Difference { ruleset, judged, left_out, changes, examples, amended } = difference;
    out::line(&format!(
        "{judged} clicks judged by rules {ruleset}; {left_out} left out (judged by a person, or no User-Agent kept)"
    ));
    for (change, count) in changes {
        out::line(&format!("  {change}: {count}"));
    }
    for example in examples {
        let agent = example.user_agent.as_deref().unwrap_or("no User-Agent").escape_debug().to_string();
        let reasons = example.reasons.join(", ");
        out::line(&format!("  {}  {}  {reasons}  {agent}", example.click_id, example.change));
    }
    out::line(&match (changes.is_empty(), is_applied) {
        (true, _) => "No verdict changes.".to_owned(),
        (false, true) => format!("{amended} clicks amended."),
        (false, false) => "Nothing was changed; --apply amends them.".to_owned(),
    });
}
