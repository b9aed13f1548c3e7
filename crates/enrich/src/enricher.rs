//! Works off CLICKS: looks everything up and publishes to ENRICHED, and tells again of what later clicks have shown.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Handler, Outgoing, Part, PublishError, Publisher, Takeover, Verdict, Verdicts};
use chrono::{DateTime, Utc};
use model::automation::Verdict as Who;
use model::click::Enrichment;
use model::{Click, EnrichedClick};
use service::telemetry::{SpanKind, Step, Traces, within};
use store::first_clicks;
use tracing::{debug, info, warn};

use crate::evidence::{self, Amendment, Evidence};
use crate::first_clicks::{Candidate, Contacts, FirstClicks};
use crate::look_up::LookUp;
use crate::metrics::Metrics;
use crate::told::ToldLately;
use crate::visitor::VisitorKeys;

/// When a click that could not be published comes again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// How often clicks of the last moments are forgotten when nobody comes.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);

/// How long the last moments of a partition may take to be read. Without them evidence begins anew.
const RECALL_LIMIT: Duration = Duration::from_secs(10);

/// So many clicks are recalled before others, and the limit of time, have their turn.
const RECALLED_AT_ONCE: usize = 256;

/// Enriches clicks. The same click may come twice: its event has the same id, and the answer to "first click?"
/// is the same again.
pub struct Enricher {
    look_up: Arc<LookUp>,
    visitors: VisitorKeys,
    first_clicks: FirstClicks,
    evidence: Evidence,
    told: ToldLately,
    /// One amends at a time: the next telling of a click is made of the one before.
    amending: tokio::sync::Mutex<()>,
    bus: Bus,
    publisher: Publisher,
    traces: Traces,
    metrics: Arc<Metrics>,
}

impl Enricher {
    /// An enricher of these parts.
    pub fn new(
        look_up: Arc<LookUp>,
        visitors: VisitorKeys,
        first_clicks: FirstClicks,
        bus: Bus,
        metrics: Arc<Metrics>,
    ) -> Self {
        let publisher = bus.publisher();
        Self {
            look_up,
            visitors,
            first_clicks,
            evidence: Evidence::default(),
            told: ToldLately::new(bus.clone()),
            amending: tokio::sync::Mutex::default(),
            bus,
            publisher,
            traces: Traces::default(),
            metrics,
        }
    }

    /// Makes each click's enrichment a step of its trace.
    pub fn with_traces(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Asks for all people of a batch at once. Machines are no first visitors, and take no visitor's place. Clicks of
    /// contacts that were erased, as far as that can be asked, go on without what tells who it was.
    async fn settle_first_clicks(&self, enriched: &mut [EnrichedClick], candidates: Vec<Option<Candidate>>) {
        let mut asked = Vec::new();
        let mut wanted = Vec::new();
        for (index, (enriched, candidate)) in enriched.iter_mut().zip(candidates).enumerate() {
            if enriched.automation.verdict == Who::Automated {
                enriched.is_first_click = Some(false);
            } else if let Some(candidate) = candidate {
                wanted.push(candidate);
                asked.push(index);
            } else if enriched.is_first_click.is_none() {
                self.pass_unknown(enriched);
            }
        }
        match self.first_clicks.ask(wanted, contacts(enriched)).await {
            Some(answer) => {
                for (index, is_first) in asked.into_iter().zip(answer.is_first) {
                    enriched[index].is_first_click = Some(is_first);
                }
                for click in enriched.iter_mut().filter(|_| !answer.erased.is_empty()) {
                    let contact = click.click.link.labels.contact_id.clone();
                    if contact
                        .is_some_and(|contact| answer.erased.contains(&(click.click.workspace_id, contact)))
                    {
                        click.erase();
                    }
                }
            }
            None => asked.into_iter().for_each(|index| self.pass_unknown(&mut enriched[index])),
        }
    }

    /// Whom to ask about; `None` for a machine, and for a visitor without a contact who cannot be told from others.
    async fn candidate(
        &self,
        click: &Click,
        enriched: &EnrichedClick,
        now: DateTime<Utc>,
    ) -> Option<Candidate> {
        if enriched.automation.verdict == Who::Automated {
            return None;
        }
        let (visitor, contact_of) = match first_clicks::contact(click) {
            Some(contact) => (contact.to_owned(), Some(click.workspace_id)),
            None => {
                let salt = self.first_clicks.salt(click.clicked_at.date_naive(), now).await?;
                // of the click as it came: the enriched one has no address left
                (self.visitors.of(click, &salt), None)
            }
        };
        Some(Candidate { link_id: click.link.id, visitor, click_id: click.id, contact_of })
    }

    /// The steps that begin with a batch, one a click: of those that have a trace, and are not anonymous.
    fn steps(&self, batch: &[Click]) -> Vec<Option<Step>> {
        let step = |click: &Click| {
            let parent = click.traceparent.as_deref().filter(|_| !click.is_anonymous)?;
            let mut step = self.traces.step("enrich", SpanKind::Consumer, Some(parent))?;
            step.note("clickwire.click.id", click.id.to_string());
            Some(step)
        };
        batch.iter().map(step).collect()
    }

    fn pass_unknown(&self, click: &mut EnrichedClick) {
        self.metrics.first_click_unknown_total.inc();
        click.enrichment = Enrichment::Partial;
    }

    /// Publishes the tellings, and remembers those that stand.
    async fn tell(&self, clicks: &[EnrichedClick]) -> Vec<Result<(), PublishError>> {
        let messages: Vec<Outgoing> = clicks.iter().map(bus::Message::outgoing).collect();
        let events: Vec<_> = messages.iter().map(|message| message.payload.clone()).collect();
        let results = self.publisher.publish_all(messages).await;
        if let Some(error) = results.iter().find_map(|result| result.as_ref().err()) {
            let failed = results.iter().filter(|result| result.is_err()).count();
            warn!(%error, clicks = failed, "publishing failed");
        }
        let told = clicks.iter().zip(events).zip(&results).filter(|(_, result)| result.is_ok());
        self.evidence.told(told.map(|(told, _)| told));
        results
    }

    /// Tells again of clicks whose verdict has changed; `false` when that failed.
    async fn amend(&self) -> bool {
        if !self.evidence.has_untold() {
            return true;
        }
        let _only = self.amending.lock().await;
        let amendments = self.evidence.amendments(Utc::now());
        if amendments.is_empty() {
            return true;
        }
        let (clicks, candidates): (Vec<_>, Vec<_>) =
            amendments.into_iter().map(|Amendment { click, candidate }| (click, candidate)).unzip();
        let results = self.tell(&clicks).await;
        let mut given_up = Vec::new();
        for ((click, candidate), result) in clicks.iter().zip(candidates).zip(&results) {
            let verdict = click.automation.verdict;
            if result.is_ok() {
                self.metrics.amendments_total.with_label_values(&[verdict.as_str()]).inc();
                debug!(click.id = %click.click.id, verdict = verdict.as_str(), "amended");
            }
            given_up.extend(candidate.filter(|_| verdict == Who::Automated));
        }
        self.first_clicks.release(given_up).await;
        results.iter().all(Result::is_ok)
    }

    /// Remembers the last moments of a partition, before its next click, as whoever had it before has told of them. A click
    /// that nobody has told of yet still comes as a message.
    async fn recall(&self, takeover: &Takeover) -> Result<usize, bus::RecentError> {
        let (now, taken_over_at) = (Utc::now(), tokio::time::Instant::now());
        let since = takeover.published_at - evidence::WINDOW;
        let clicks = self.bus.clicks_before(takeover, since, evidence::RECALLED_MAX).await?;
        if clicks.is_empty() {
            return Ok(0);
        }
        let newest = self.told.since(since, Part::Newest, taken_over_at).await?;
        // of clicks that have waited, what was told of those before them stands first, or last when they were being caught up with
        let has_waited = now - takeover.published_at > evidence::WINDOW;
        let oldest = match has_waited && clicks.iter().any(|click| !newest.contains_key(&click.id)) {
            true => Some(self.told.since(since, Part::Oldest, taken_over_at).await?),
            false => None,
        };
        let mut recalled = 0;
        for (number, click) in clicks.iter().enumerate() {
            if number % RECALLED_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
            let told = newest.get(&click.id).or_else(|| oldest.as_ref()?.get(&click.id));
            let Some(told) = told else { continue };
            let enriched = self.look_up.enrich(click, now);
            let candidate = self.candidate(click, &enriched, now).await;
            self.evidence.recall(click, &enriched, candidate.as_ref(), told, now);
            recalled += 1;
        }
        Ok(recalled)
    }

    /// Forgets clicks that no evidence looks at any more, until dropped.
    pub async fn forget_old(&self) {
        loop {
            tokio::time::sleep(FORGET_INTERVAL).await;
            self.evidence.forget(Utc::now());
            self.told.forget();
        }
    }

    fn count(&self, click: &EnrichedClick) {
        self.metrics.clicks_total.with_label_values(&[click.automation.verdict.as_str()]).inc();
        if let Some(reason) = click.location_missing {
            self.metrics.location_missing_total.with_label_values(&[reason.as_str()]).inc();
        }
        debug!(click.id = %click.click.id, verdict = click.automation.verdict.as_str(), "enriched");
    }
}

impl Handler for Enricher {
    type Message = Click;

    async fn handle(&self, batch: &[Click]) -> Verdicts {
        let now = Utc::now();
        let mut steps = self.steps(batch);
        let look_up = |(click, step): (&Click, &Option<Step>)| {
            within(step.as_ref(), || self.look_up.enrich(click, now))
        };
        let mut enriched: Vec<EnrichedClick> = batch.iter().zip(&steps).map(look_up).collect();
        let mut candidates = Vec::with_capacity(batch.len());
        for (click, enriched) in batch.iter().zip(&enriched) {
            candidates.push(self.candidate(click, enriched, now).await);
        }
        self.evidence.note(batch, &mut enriched, &mut candidates, now);
        self.settle_first_clicks(&mut enriched, candidates).await;
        let results = self.tell(&enriched).await;
        steps.iter_mut().flatten().for_each(Step::end);
        if !self.amend().await {
            // what the last click of a burst has shown must not wait for another click
            return Verdicts::all(Verdict::Retry(RETRY_DELAY));
        }
        let verdicts =
            results.iter().zip(&enriched).zip(&steps).map(|((result, click), step)| match result {
                Ok(()) => {
                    within(step.as_ref(), || self.count(click));
                    Verdict::Done
                }
                Err(error) => verdict_on(error),
            });
        Verdicts::each(verdicts.collect())
    }

    async fn taken_over(&self, takeover: &Takeover) {
        let partition = takeover.partition;
        match tokio::time::timeout(RECALL_LIMIT, self.recall(takeover)).await {
            Ok(Ok(clicks)) => info!(%partition, clicks, "a partition is ours; its last moments are known"),
            Ok(Err(error)) => warn!(
                %partition,
                error = format!("{:#}", anyhow::Error::from(error)),
                "a partition is ours; bursts that began before are not seen"
            ),
            Err(_) => warn!(%partition, "a partition is ours; reading its last moments took too long"),
        }
    }
}

/// Who these clicks name.
fn contacts(clicks: &[EnrichedClick]) -> Contacts {
    let named = |click: &EnrichedClick| {
        // PostgreSQL keeps no zero bytes in texts: nobody can have had such a contact erased
        let contact = click.click.link.labels.contact_id.clone().filter(|contact| !contact.contains('\0'))?;
        Some((click.click.workspace_id, contact))
    };
    clicks.iter().filter_map(named).collect()
}

fn verdict_on(error: &PublishError) -> Verdict {
    if error.is_permanent() {
        return Verdict::Reject("the enriched click is too large");
    }
    Verdict::Retry(RETRY_DELAY)
}
