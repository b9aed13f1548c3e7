//! The life of endpoints: looks again and again who only fails, warns, disables, and tells who has recovered.
//!
//! Every replica looks; the database lets one of them act.

use std::time::Duration;

use chrono::{DateTime, Utc};
use model::{EndpointId, WorkspaceId};
use store::Pool;
use store::endpoint_life::{self, Warning};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::failing::{Decision, Rule};

/// Most endpoints that are looked at, and told of, in one statement.
const PAGE: i64 = 1000;

/// Looks within the time after which an endpoint is disabled: each warning comes in time.
const LOOKS: u32 = 2000;

/// Longest and shortest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_secs(60);
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Looks after endpoints.
pub struct Life {
    pool: Pool,
    /// `None`: nobody is disabled for failing.
    rule: Option<Rule>,
    pause: Duration,
    looked_at: Option<Instant>,
}

impl Life {
    /// Looks by this rule.
    pub fn new(pool: Pool, rule: Option<Rule>) -> Self {
        let pause = rule.map_or(PAUSE_MAX, |rule| (rule.after / LOOKS).clamp(PAUSE_MIN, PAUSE_MAX));
        Self { pool, rule, pause, looked_at: None }
    }

    /// Looks if it is time to; tells who was disabled.
    ///
    /// # Errors
    /// When the database is away; the next look makes up for it.
    pub async fn look_if_due(&mut self) -> anyhow::Result<Vec<(WorkspaceId, EndpointId)>> {
        if self.looked_at.is_some_and(|at| at.elapsed() < self.pause) {
            return Ok(Vec::new());
        }
        self.looked_at = Some(Instant::now());
        self.look(Utc::now()).await
    }

    /// Looks at everybody; tells who was disabled.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn look(&self, now: DateTime<Utc>) -> anyhow::Result<Vec<(WorkspaceId, EndpointId)>> {
        let mut conn = self.pool.get().await?;
        let recovered = endpoint_life::recover(&mut conn, now, PAGE).await?;
        if recovered > 0 {
            debug!(endpoints = recovered, "endpoints have recovered");
        }
        let Some(rule) = self.rule else { return Ok(Vec::new()) };
        let since = now - rule.first_warning();
        let (mut disabled, mut after) = (Vec::new(), None);
        loop {
            let page = endpoint_life::failing(&mut conn, since, after, PAGE).await?;
            let (mut warnings, mut ends) = (Vec::new(), Vec::new());
            for failing in &page {
                let disable_at = rule.disable_at(failing);
                match rule.decide(failing, now) {
                    Decision::Wait => {}
                    Decision::Warn(percent) => {
                        warnings.push(Warning { failing: *failing, percent, disable_at });
                    }
                    Decision::Disable => ends.push(*failing),
                }
            }
            let warned = endpoint_life::warn(&mut conn, &warnings, now).await?;
            if warned > 0 {
                warn!(endpoints = warned, "endpoints only fail, and their owners are warned");
            }
            disabled.extend(endpoint_life::disable(&mut conn, &ends, now).await?);
            match page.last() {
                Some(last) if page.len() as i64 == PAGE => after = Some(last.endpoint_id),
                _ => return Ok(disabled),
            }
        }
    }
}
