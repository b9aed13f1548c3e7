//! Works off CLICKS: looks everything up and publishes to ENRICHED, and tells again of what later clicks have shown.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Handler, Outgoing, Partition, PublishError, Publisher, Verdict, Verdicts};
use chrono::Utc;
use model::automation::Verdict as Who;
use model::click::Enrichment;
use model::{Click, ClickId, EnrichedClick};
use tracing::{debug, info, warn};

use crate::evidence::{self, Amendment, Evidence};
use crate::first_clicks::{Candidate, FirstClicks};
use crate::look_up::LookUp;
use crate::metrics::Metrics;
use crate::visitor::VisitorKeys;

/// When a click that could not be published comes again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// How long the last moments of a partition may take to be read. Without them evidence begins anew.
const RECALL_LIMIT: Duration = Duration::from_secs(10);

/// Enriches clicks. The same click may come twice: its event has the same id, and the answer to "first click?"
/// is the same again.
pub struct Enricher {
    look_up: Arc<LookUp>,
    visitors: VisitorKeys,
    first_clicks: FirstClicks,
    evidence: Evidence,
    bus: Bus,
    publisher: Publisher,
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
        Self { look_up, visitors, first_clicks, evidence: Evidence::default(), bus, publisher, metrics }
    }

    /// Asks for all people of a batch at once. Machines are no first visitors, and take no visitor's place.
    async fn settle_first_clicks(&self, enriched: &mut [EnrichedClick], visitors: &[String]) {
        let mut asked = Vec::new();
        let mut candidates = Vec::new();
        for (enriched, visitor) in enriched.iter_mut().zip(visitors) {
            if enriched.automation.verdict == Who::Automated {
                enriched.is_first_click = Some(false);
                continue;
            }
            candidates.push(candidate(enriched, visitor));
            asked.push(enriched);
        }
        let answer = self.first_clicks.ask(candidates).await;
        match answer {
            Some(answer) => {
                for (click, is_first) in asked.into_iter().zip(answer) {
                    click.is_first_click = Some(is_first);
                }
            }
            None => {
                self.metrics.first_click_unknown_total.inc_by(asked.len() as u64);
                for click in asked {
                    click.enrichment = Enrichment::Partial;
                }
            }
        }
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
        let amendments = self.evidence.amendments(Utc::now());
        if amendments.is_empty() {
            return true;
        }
        let (clicks, visitors): (Vec<_>, Vec<_>) =
            amendments.into_iter().map(|Amendment { click, visitor }| (click, visitor)).unzip();
        let results = self.tell(&clicks).await;
        let mut given_up = Vec::new();
        for ((click, visitor), result) in clicks.iter().zip(&visitors).zip(&results) {
            let verdict = click.automation.verdict;
            if result.is_ok() {
                self.metrics.amendments_total.with_label_values(&[verdict.as_str()]).inc();
                debug!(click.id = %click.click.id, verdict = verdict.as_str(), "amended");
            }
            if verdict == Who::Automated {
                given_up.push(candidate(click, visitor));
            }
        }
        self.first_clicks.release(given_up).await;
        results.iter().all(Result::is_ok)
    }

    /// Remembers the last moments of a partition as whoever had it before has told of them. A click that nobody has told of
    /// yet still comes as a message.
    async fn recall(&self, partition: Partition) -> Result<usize, bus::RecentError> {
        let now = Utc::now();
        let since = now - evidence::WINDOW;
        let clicks = self.bus.recent_clicks(partition, since, evidence::REMEMBERED_MAX).await?;
        if clicks.is_empty() {
            return Ok(0);
        }
        let mut newest: HashMap<ClickId, (EnrichedClick, bytes::Bytes)> = HashMap::new();
        for told in self.bus.recent_enriched(since, evidence::REMEMBERED_MAX).await? {
            let revision = |told: &(EnrichedClick, _)| told.0.event_id.revision();
            let id = told.0.click.id;
            if newest.get(&id).is_none_or(|known| revision(known) < revision(&told)) {
                newest.insert(id, told);
            }
        }
        let mut recalled = 0;
        for click in &clicks {
            let Some((told, event)) = newest.remove(&click.id) else { continue };
            let enriched = self.look_up.enrich(click, now);
            let visitor = self.visitor(click, &enriched);
            self.evidence.recall(click, &enriched, &visitor, (&told, event), now);
            recalled += 1;
        }
        Ok(recalled)
    }

    /// The visitor of a person's click; nobody asks for a machine's.
    fn visitor(&self, click: &Click, enriched: &EnrichedClick) -> String {
        if enriched.automation.verdict == Who::Automated {
            return String::new();
        }
        // of the click as it came: the enriched one has no address left
        self.visitors.of(click)
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
        let mut enriched: Vec<EnrichedClick> =
            batch.iter().map(|click| self.look_up.enrich(click, now)).collect();
        let visitors: Vec<String> =
            batch.iter().zip(&enriched).map(|(click, enriched)| self.visitor(click, enriched)).collect();
        self.evidence.note(batch, &mut enriched, &visitors, now);
        self.settle_first_clicks(&mut enriched, &visitors).await;
        let results = self.tell(&enriched).await;
        if !self.amend().await {
            // what the last click of a burst has shown must not wait for another click
            return Verdicts::all(Verdict::Retry(RETRY_DELAY));
        }
        let verdicts = results.iter().zip(&enriched).map(|(result, click)| match result {
            Ok(()) => {
                self.count(click);
                Verdict::Done
            }
            Err(error) => verdict_on(error),
        });
        Verdicts::each(verdicts.collect())
    }

    async fn taken_over(&self, partition: Partition) {
        match tokio::time::timeout(RECALL_LIMIT, self.recall(partition)).await {
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

fn candidate(click: &EnrichedClick, visitor: &str) -> Candidate {
    Candidate { link_id: click.click.link.id, visitor: visitor.to_owned(), click_id: click.click.id }
}

fn verdict_on(error: &PublishError) -> Verdict {
    if error.is_permanent() {
        return Verdict::Reject("the enriched click is too large");
    }
    Verdict::Retry(RETRY_DELAY)
}
