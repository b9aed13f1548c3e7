//! Works off CLICKS: looks everything up and publishes to ENRICHED.

use std::sync::Arc;
use std::time::Duration;

use bus::{Handler, PublishError, Publisher, Verdict, Verdicts};
use chrono::Utc;
use model::automation::Verdict as Who;
use model::click::Enrichment;
use model::{Click, EnrichedClick};
use tracing::{debug, warn};

use crate::first_clicks::{Candidate, FirstClicks};
use crate::look_up::LookUp;
use crate::metrics::Metrics;
use crate::visitor::VisitorKeys;

/// When a click that could not be published comes again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Enriches clicks. The same click may come twice: its event has the same id, and the answer to "first click?"
/// is the same again.
pub struct Enricher {
    look_up: Arc<LookUp>,
    visitors: VisitorKeys,
    first_clicks: FirstClicks,
    publisher: Publisher,
    metrics: Arc<Metrics>,
}

impl Enricher {
    /// An enricher of these parts.
    pub fn new(
        look_up: Arc<LookUp>,
        visitors: VisitorKeys,
        first_clicks: FirstClicks,
        publisher: Publisher,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { look_up, visitors, first_clicks, publisher, metrics }
    }

    /// Asks for all people of a batch at once. Machines are no first visitors, and take no visitor's place.
    async fn settle_first_clicks(&self, batch: &[Click], enriched: &mut [EnrichedClick]) {
        let mut asked = Vec::new();
        let mut candidates = Vec::new();
        for (click, enriched) in batch.iter().zip(enriched) {
            if enriched.automation.verdict == Who::Automated {
                enriched.is_first_click = Some(false);
                continue;
            }
            candidates.push(Candidate {
                link_id: click.link.id,
                // of the click as it came: the enriched one has no address left
                visitor: self.visitors.of(click),
                click_id: click.id,
            });
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
        self.settle_first_clicks(batch, &mut enriched).await;
        let messages = enriched.iter().map(bus::Message::outgoing).collect();
        let results = self.publisher.publish_all(messages).await;
        if let Some(error) = results.iter().find_map(|result| result.as_ref().err()) {
            let failed = results.iter().filter(|result| result.is_err()).count();
            warn!(%error, clicks = failed, "publishing failed");
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
}

fn verdict_on(error: &PublishError) -> Verdict {
    if error.is_permanent() {
        return Verdict::Reject("the enriched click is too large");
    }
    Verdict::Retry(RETRY_DELAY)
}
