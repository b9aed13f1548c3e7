//! Asks whether clicks are their visitors' first, without ever waiting long for PostgreSQL.
//!
//! A question that is not answered in time goes on by itself, and nothing is asked for a while: a click without
//! this answer is worth more than a click that comes late.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::{ClickId, LinkId};
use store::Pool;
use store::first_clicks::{self, Claim};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

/// A click that may be the first of its visitor on its link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The link.
    pub link_id: LinkId,
    /// The visitor's key.
    pub visitor: String,
    /// The click.
    pub click_id: ClickId,
}

/// Table `first_clicks`, with a circuit in front of it.
pub struct FirstClicks {
    pool: Pool,
    answer_timeout: Duration,
    pause: Duration,
    /// Nothing is asked before; `None` while all is well.
    closed_until: Mutex<Option<Instant>>,
}

impl FirstClicks {
    /// Waits at most `answer_timeout` for an answer, and after a failure asks nothing for `pause`.
    pub fn new(pool: Pool, answer_timeout: Duration, pause: Duration) -> Self {
        Self { pool, answer_timeout, pause, closed_until: Mutex::new(None) }
    }

    /// Which of the candidates are first ones, in their order; `None` when that cannot be asked now.
    pub async fn ask(&self, candidates: Vec<Candidate>) -> Option<Vec<bool>> {
        if candidates.is_empty() {
            return Some(Vec::new());
        }
        if self.is_closed() {
            return None;
        }
        // a statement that was begun is not broken off: its connection could not be used again
        let question = tokio::spawn(ask(self.pool.clone(), candidates));
        match timeout(self.answer_timeout, question).await {
            Ok(Ok(Ok(answer))) => {
                self.open();
                Some(answer)
            }
            Ok(Ok(Err(error))) => self.close(&format!("{error:#}")),
            Ok(Err(error)) => self.close(&format!("{error:#}")),
            Err(_) => self.close("no answer in time"),
        }
    }

    /// Gives up what clicks hold that turned out to be machines': a person's later click is the first then. When that cannot
    /// be done now it is not done.
    pub async fn release(&self, candidates: Vec<Candidate>) {
        if candidates.is_empty() || self.is_closed() {
            return;
        }
        if let Err(error) = release(&self.pool, &candidates).await {
            warn!(error = format!("{error:#}"), "first clicks of machines stay taken");
        }
    }

    fn is_closed(&self) -> bool {
        let closed_until = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        closed_until.is_some_and(|until| Instant::now() < until)
    }

    fn open(&self) {
        let mut closed_until = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        if closed_until.take().is_some() {
            info!("first clicks are known again");
        }
    }

    fn close<T>(&self, error: &str) -> Option<T> {
        let mut closed_until = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        if closed_until.replace(Instant::now() + self.pause).is_none() {
            warn!(
                error,
                "PostgreSQL does not answer: clicks pass without telling whether they are first ones"
            );
        }
        None
    }
}

async fn release(pool: &Pool, candidates: &[Candidate]) -> anyhow::Result<()> {
    let mut conn = pool.get().await?;
    Ok(first_clicks::release(&mut conn, &claims(candidates)).await?)
}

fn claims(candidates: &[Candidate]) -> Vec<Claim<'_>> {
    candidates
        .iter()
        .map(|c| Claim { link_id: c.link_id, visitor: &c.visitor, click_id: c.click_id })
        .collect()
}

async fn ask(pool: Pool, candidates: Vec<Candidate>) -> anyhow::Result<Vec<bool>> {
    let mut conn = pool.get().await?;
    Ok(first_clicks::claim(&mut conn, &claims(&candidates)).await?)
}
