//! Works off CLICKS: looks everything up and publishes to ENRICHED.

use std::sync::Arc;
use std::time::Duration;

use bus::{Handler, PublishError, Publisher, Verdict, Verdicts};
use chrono::{DateTime, Utc};
use model::automation::Verdict as Who;
use model::click::Enrichment;
use model::{Click, EnrichedClick};
use tracing::{debug, warn};

use crate::first_clicks::{Candidate, Contacts, FirstClicks};
use crate::look_up::LookUp;
use crate::metrics::Metrics;
use crate::visitor::{self, VisitorKeys};

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

    /// Asks for all people of a batch at once. Machines are no first visitors, and take no visitor's place. Clicks of
    /// contacts that were erased, as far as that can be asked, go on without what tells who it was.
    async fn settle_first_clicks(&self, batch: &[Click], enriched: &mut [EnrichedClick], now: DateTime<Utc>) {
        // of the clicks as they came: the enriched ones have no address left
        let mut asked = Vec::new();
        let mut candidates = Vec::new();
        for (index, click) in batch.iter().enumerate() {
            if enriched[index].automation.verdict == Who::Automated {
                enriched[index].is_first_click = Some(false);
            } else if let Some(candidate) = self.candidate(click, now).await {
                candidates.push(candidate);
                asked.push(index);
            } else {
                self.pass_unknown(&mut enriched[index]);
            }
        }
        match self.first_clicks.ask(candidates, contacts(enriched)).await {
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

    /// Whom to ask about; `None` when a visitor without a contact cannot be told from others.
    async fn candidate(&self, click: &Click, now: DateTime<Utc>) -> Option<Candidate> {
        let (visitor, contact_of) = match visitor::contact(click) {
            Some(contact) => (contact.to_owned(), Some(click.workspace_id)),
            None => {
                let salt = self.first_clicks.salt(click.clicked_at.date_naive(), now).await?;
                (self.visitors.of(click, &salt), None)
            }
        };
        Some(Candidate { link_id: click.link.id, visitor, click_id: click.id, contact_of })
    }

    fn pass_unknown(&self, click: &mut EnrichedClick) {
        self.metrics.first_click_unknown_total.inc();
        click.enrichment = Enrichment::Partial;
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
        self.settle_first_clicks(batch, &mut enriched, now).await;
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
