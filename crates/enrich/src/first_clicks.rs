//! Asks whether clicks are their visitors' first, and which of their contacts were erased, without ever waiting long for
//! PostgreSQL.
//!
//! A question that is not answered in time goes on by itself, and nothing is asked for a while: a click without
//! this answer is worth more than a click that comes late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, Utc};
use model::{ClickId, LinkId, WorkspaceId};
use store::first_clicks::{self, Answer, Claim};
use store::{Pool, visitor_salts};
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
    /// Whose contact the visitor's key is; `None`: it is a hash.
    pub contact_of: Option<WorkspaceId>,
}

/// Contacts of workspaces.
pub type Contacts = BTreeSet<(WorkspaceId, String)>;

/// What visitors of a day are hashed with.
pub type Salt = Arc<[u8]>;

/// Table `first_clicks`, with a circuit in front of it.
pub struct FirstClicks {
    pool: Pool,
    answer_timeout: Duration,
    pause: Duration,
    /// Nothing is asked before; `None` while all is well.
    closed_until: Mutex<Option<Instant>>,
    /// The salts of the days that clicks come of.
    salts: Mutex<BTreeMap<NaiveDate, Salt>>,
}

impl FirstClicks {
    /// Waits at most `answer_timeout` for an answer, and after a failure asks nothing for `pause`.
    pub fn new(pool: Pool, answer_timeout: Duration, pause: Duration) -> Self {
        Self { pool, answer_timeout, pause, closed_until: Mutex::new(None), salts: Mutex::default() }
    }

    /// Which of the candidates are first ones, in their order, and which of the contacts were erased; `None` when that
    /// cannot be asked now.
    pub async fn ask(&self, candidates: Vec<Candidate>, contacts: Contacts) -> Option<Answer> {
        if candidates.is_empty() && contacts.is_empty() {
            return Some(Answer::default());
        }
        self.question(ask(self.pool.clone(), candidates, contacts)).await
    }

    /// The salt of a day. `None` when it cannot be asked now, or was destroyed: the day is over. It is asked for once a day
    /// and process.
    pub async fn salt(&self, day: NaiveDate, now: DateTime<Utc>) -> Option<Salt> {
        let first_kept = visitor_salts::first_kept(now);
        {
            let mut salts = self.salts.lock().unwrap_or_else(PoisonError::into_inner);
            salts.retain(|day, _| *day >= first_kept);
            if let Some(salt) = salts.get(&day) {
                return Some(Arc::clone(salt));
            }
        }
        // another's clock may be a little ahead
        let tomorrow = now.date_naive().checked_add_days(Days::new(1));
        if day < first_kept || tomorrow.is_none_or(|tomorrow| day > tomorrow) {
            return None;
        }
        let salt = self.question(salt(self.pool.clone(), day, now)).await?;
        self.salts.lock().unwrap_or_else(PoisonError::into_inner).insert(day, Arc::clone(&salt));
        Some(salt)
    }

    async fn question<T: Send + 'static>(
        &self,
        question: impl Future<Output = anyhow::Result<T>> + Send + 'static,
    ) -> Option<T> {
        if self.is_closed() {
            return None;
        }
        // a statement that was begun is not broken off: its connection could not be used again
        let question = tokio::spawn(question);
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

    /// Gives up what clicks hold that turned out to be machines': a person's later click is the first then. What takes longer than
    /// an answer goes on by itself; while nothing is asked, nothing is given up.
    pub async fn release(&self, candidates: Vec<Candidate>) {
        if candidates.is_empty() || self.is_closed() {
            return;
        }
        let releasing = release(self.pool.clone(), candidates);
        let releasing = tokio::spawn(async move {
            if let Err(error) = releasing.await {
                warn!(error = format!("{error:#}"), "first clicks of machines stay taken");
            }
        });
        let _ = timeout(self.answer_timeout, releasing).await;
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

async fn release(pool: Pool, candidates: Vec<Candidate>) -> anyhow::Result<()> {
    let mut conn = pool.get().await?;
    let mut claims = claims(&candidates);
    // in the order of the key, so that two replicas never wait for each other in a circle
    claims.sort_by_key(|claim| (claim.link_id, claim.visitor));
    Ok(first_clicks::release(&mut conn, &claims).await?)
}

fn claims(candidates: &[Candidate]) -> Vec<Claim<'_>> {
    candidates
        .iter()
        .map(|c| Claim {
            link_id: c.link_id,
            visitor: &c.visitor,
            click_id: c.click_id,
            contact_of: c.contact_of,
        })
        .collect()
}

async fn ask(pool: Pool, candidates: Vec<Candidate>, contacts: Contacts) -> anyhow::Result<Answer> {
    let mut conn = pool.get().await?;
    let contacts = contacts.iter().map(|(workspace_id, contact)| (*workspace_id, contact.as_str())).collect();
    Ok(first_clicks::claim(&mut conn, &claims(&candidates), &contacts).await?)
}

async fn salt(pool: Pool, day: NaiveDate, now: DateTime<Utc>) -> anyhow::Result<Salt> {
    let mut conn = pool.get().await?;
    visitor_salts::destroy_old(&mut conn, now).await?;
    Ok(visitor_salts::of_day(&mut conn, day).await?.into())
}
