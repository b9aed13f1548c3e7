//! What is kept, and how long. It holds for the installation, not for a workspace.

use std::time::Duration;

use store::{idempotency, invitations};

use crate::app::Shared;
use crate::settings::RecordSettings;

/// How long things are kept; days that are `None` are for ever.
pub struct Retention {
    /// Clicks.
    pub clicks_days: Option<u32>,
    /// Deliveries.
    pub deliveries_days: Option<u32>,
    /// Attempts of deliveries that failed at first.
    pub attempts_days: Option<u32>,
    /// Counts for reports.
    pub rollups_days: Option<u32>,
    /// Clicks before their place is looked up.
    pub raw_clicks: Duration,
    /// Clicks on their way to webhooks and reports.
    pub enriched_clicks: Duration,
    /// Messages in quarantine.
    pub quarantine: Duration,
    /// Sign-ins of people.
    pub sessions: Duration,
    /// Invitations that nobody accepts.
    pub invitations: Duration,
    /// Keys of repeated requests.
    pub idempotency_keys: Duration,
}

impl Retention {
    /// As the settings say.
    pub fn of(shared: &Shared) -> Self {
        let kept = &shared.kept;
        let days = |number: u32| (number > 0).then_some(number);
        let [(_, raw_clicks), (_, enriched_clicks), (_, quarantine)] = shared.kept_on_streams;
        Self {
            clicks_days: days(kept.clicks_kept_days),
            deliveries_days: days(kept.deliveries_kept_days),
            attempts_days: days(attempts_kept_days(kept)),
            rollups_days: days(kept.rollups_kept_days),
            raw_clicks,
            enriched_clicks,
            quarantine,
            sessions: shared.settings.session_lifetime,
            invitations: invitations::LIFETIME.to_std().unwrap_or_default(),
            idempotency_keys: idempotency::KEPT.to_std().unwrap_or_default(),
        }
    }
}

/// No longer than their deliveries; 0: for ever.
fn attempts_kept_days(kept: &RecordSettings) -> u32 {
    match (kept.attempts_kept_days, kept.deliveries_kept_days) {
        (0, deliveries) => deliveries,
        (attempts, 0) => attempts,
        (attempts, deliveries) => attempts.min(deliveries),
    }
}
