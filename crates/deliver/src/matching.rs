//! From tellings of clicks to the webhooks that they call for: who is interested, what exists already, what settles.
//!
//! ```text
//! match ─► which exist already? ─► owing ─┬─► webhooks to be sent
//!            (one question)               └─► first tellings that wait: changed or taken back
//! ```
//! [`owing`](crate::owing) decides; here it is asked with what the database knows. All of it may be done again: what was made,
//! changed or taken back is known the next time by its revision.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use model::event_type::{LINK_CLICK_AMENDED, LINK_CLICKED};
use model::{DeliveryId, EnrichedClick, EventId};
use store::Pool;
use store::deliveries::{NewDelivery, Owed, Progress};
use store::settling;
use store::standing::{self, Standing};
use webhook::Shape;

use crate::endpoint::Endpoint;
use crate::endpoints::{EndpointTable, Endpoints};
use crate::later::Later;
use crate::metrics::Metrics;
use crate::owing::{Owing, Stance, Telling};

/// How often a batch is matched again because endpoints have changed meanwhile.
const MATCHES_MAX: usize = 5;

/// How long after a change was found it waits to be recorded, where nothing is known to have been told of the click. `record` reads
/// what we read: what it has not recorded by then, it will hardly record any more.
const RECORDED_WITHIN: TimeDelta = TimeDelta::days(1);

/// Finds what is owed.
pub struct Matching {
    /// Who wants what.
    pub endpoints: Arc<Endpoints>,
    /// Knows what exists.
    pub pool: Pool,
    /// Counts.
    pub metrics: Metrics,
}

/// A webhook that a click calls for and that does not exist yet.
#[derive(Debug, Clone)]
pub struct Debt {
    /// Which click of the batch it tells of.
    pub click: usize,
    /// To whom.
    pub endpoint: Arc<Endpoint>,
    /// As what.
    pub event_type: &'static str,
    /// To whom, and under which id.
    pub owed: Owed,
    /// Not before; `None`: at once.
    pub due_at: Option<DateTime<Utc>>,
}

/// What a batch of clicks calls for.
#[derive(Debug, Default)]
pub struct Debts {
    /// Webhooks to be sent.
    pub debts: Vec<Debt>,
    /// Amendments that came before what they amend, or before that is told: they are to come again.
    pub early: HashSet<EventId>,
}

/// An endpoint that may be owed something by a click of the batch.
struct Interest<'a> {
    click: usize,
    telling: &'a Telling<'a>,
    endpoint: Arc<Endpoint>,
    stance: Stance,
}

impl Interest<'_> {
    fn owed(&self, event_id: EventId) -> Owed {
        Owed { endpoint_id: self.endpoint.id, event_id }
    }

    /// Its `link.clicked`.
    fn first(&self) -> Owed {
        self.owed(self.telling.first_id())
    }

    fn debt(&self, event_type: &'static str, now: DateTime<Utc>) -> Debt {
        let event_id = match event_type {
            LINK_CLICKED => self.telling.first_id(),
            _ => self.telling.click.event_id,
        };
        Debt {
            click: self.click,
            endpoint: Arc::clone(&self.endpoint),
            event_type,
            owed: self.owed(event_id),
            due_at: self.endpoint.settled_at(self.telling.click, now),
        }
    }
}

impl Matching {
    /// What these clicks call for at `now` that does not exist yet, by endpoints that are new enough. For those who wait for
    /// evidence, rows are made, changed or taken back on the way.
    ///
    /// # Errors
    /// When the database is away, or the endpoints change all the time.
    pub async fn debts(&self, clicks: &[&EnrichedClick], now: DateTime<Utc>) -> anyhow::Result<Debts> {
        let tellings: Vec<Telling<'_>> = clicks.iter().map(|click| Telling::of(click)).collect();
        let mut table = self.endpoints.current();
        for _ in 0..MATCHES_MAX {
            let interests = interests(&table, &tellings);
            let asked: Vec<Owed> = interests.iter().flat_map(questions).collect();
            let standing = self.standing(&asked, now).await?;
            if standing.endpoints_version > table.version() {
                table = self.endpoints.at_least(standing.endpoints_version).await?;
                continue;
            }
            for (endpoint_id, until) in &standing.paused {
                if let Some(endpoint) = table.get(*endpoint_id) {
                    endpoint.lane.pause(*until);
                }
            }
            return self.owed(interests, &standing.existing, now).await;
        }
        anyhow::bail!("the endpoints changed {MATCHES_MAX} times while a batch was matched")
    }

    async fn standing(&self, asked: &[Owed], now: DateTime<Utc>) -> anyhow::Result<Standing> {
        let mut conn = self.pool.get().await?;
        Ok(standing::ask(&mut conn, asked, now).await?)
    }

    async fn owed(
        &self,
        interests: Vec<Interest<'_>>,
        existing: &HashMap<Owed, u32>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Debts> {
        let (mut found, mut settling) = (Debts::default(), Vec::new());
        for interest in interests {
            match interest.stance.owing(existing.get(&interest.first()).copied()) {
                Owing::Nothing => {}
                Owing::Click if interest.endpoint.settles() => settling.push(interest),
                Owing::Click => found.debts.push(interest.debt(LINK_CLICKED, now)),
                Owing::Amendment => found.debts.push(interest.debt(LINK_CLICK_AMENDED, now)),
                Owing::Settling => settling.push(interest),
            }
        }
        if !settling.is_empty() {
            self.settle(settling, &mut found, now).await?;
        }
        found.debts.retain(|debt| !existing.contains_key(&debt.owed));
        Ok(found)
    }

    /// Lets first tellings wait for evidence, and amendments become part of them or take them back. What went out already is
    /// amended.
    async fn settle(
        &self,
        settling: Vec<Interest<'_>>,
        found: &mut Debts,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        // of several revisions in one batch the last one counts
        let mut last: HashMap<Owed, Interest<'_>> = HashMap::new();
        for interest in settling {
            let revision = interest.telling.revision();
            if last.get(&interest.first()).is_none_or(|known| known.telling.revision() < revision) {
                last.insert(interest.first(), interest);
            }
        }
        let (wanted, unwanted): (Vec<_>, Vec<_>) =
            last.values().partition(|interest| interest.stance.matches);
        let rows: Vec<NewDelivery> = wanted.iter().map(|interest| waiting(interest, now)).collect();
        let unwanted: Vec<(Owed, u32)> =
            unwanted.iter().map(|interest| (interest.first(), interest.telling.revision())).collect();
        let mut conn = self.pool.get().await?;
        let mut settled = settling::tell(&mut conn, &rows, now).await?;
        settled.extend(settling::take_back(&mut conn, &unwanted).await?);
        drop(conn);
        last.retain(|first, interest| {
            let is_settled = settled.contains(first);
            match interest.telling.revision() {
                _ if !is_settled => {}
                0 => self.metrics.queued(Later::Settling),
                _ => self.metrics.settled.inc(),
            }
            !is_settled
        });
        self.amend(last, found, now).await
    }

    /// What is owed by tellings that have found no first telling waiting. One that was made meanwhile, or is in somebody's hand,
    /// may still be changed or withdrawn, however old its click is: what amends it comes again until that is known.
    async fn amend(
        &self,
        unsettled: HashMap<Owed, Interest<'_>>,
        found: &mut Debts,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        if unsettled.is_empty() {
            return Ok(());
        }
        let standing = self.standing(&unsettled.keys().copied().collect::<Vec<_>>(), now).await?;
        let mut early: Vec<EventId> = Vec::new();
        for (first, interest) in unsettled {
            match standing.existing.get(&first) {
                Some(told) if *told >= interest.telling.revision() => {}
                Some(_) if standing.untried.contains(&first) => {
                    found.early.insert(interest.telling.click.event_id);
                }
                Some(_) => found.debts.push(interest.debt(LINK_CLICK_AMENDED, now)),
                None if is_early(&interest, now) => early.push(interest.telling.click.event_id),
                None => {}
            }
        }
        if early.is_empty() {
            return Ok(());
        }
        let mut conn = self.pool.get().await?;
        // what is recorded keeps the tellings before it from being told
        let recorded = settling::recorded(&mut conn, &early).await?;
        found.early.extend(early.into_iter().filter(|telling| !recorded.contains(telling)));
        Ok(())
    }
}

fn interests<'a>(table: &EndpointTable, tellings: &'a [Telling<'a>]) -> Vec<Interest<'a>> {
    let of = |(click, telling): (usize, &'a Telling<'a>)| {
        table.of_workspace(telling.click.click.workspace_id).filter_map(move |endpoint| {
            let stance = endpoint.stance(telling)?;
            Some(Interest { click, telling, endpoint: Arc::clone(endpoint), stance })
        })
    };
    tellings.iter().enumerate().flat_map(of).collect()
}

/// What is asked before a decision: whether the first telling exists, and whether this one does.
fn questions(interest: &Interest<'_>) -> impl Iterator<Item = Owed> {
    let amendment = (interest.telling.revision() > 0).then(|| interest.owed(interest.telling.click.event_id));
    [interest.first()].into_iter().chain(amendment)
}

/// A first telling that waits for evidence.
fn waiting(interest: &Interest<'_>, now: DateTime<Utc>) -> NewDelivery {
    let (click, debt) = (interest.telling.click, interest.debt(LINK_CLICKED, now));
    let body = interest.endpoint.body(LINK_CLICKED, click);
    NewDelivery {
        id: DeliveryId::generate_at(click.event_id.timestamp()),
        workspace_id: interest.endpoint.workspace_id,
        owed: debt.owed,
        event_type: LINK_CLICKED,
        click_id: Some(click.click.id),
        told_revision: interest.telling.revision(),
        progress: Progress::due(debt.due_at.unwrap_or(now), Some(body)),
        leased_until: None,
        // what waits for evidence may be taken back
        line: None,
    }
}

/// Whether its first telling may be still to come. What is recorded ends the wait, not the age of the click: after an outage, or
/// when somebody decides late, that says nothing.
fn is_early(interest: &Interest<'_>, now: DateTime<Utc>) -> bool {
    let told_at = interest.telling.click.enriched_at;
    interest.stance.expects_first() && now - told_at < RECORDED_WITHIN
}

/// The bytes of webhooks of a batch: endpoints of one click that have the same shape get the same.
#[derive(Default)]
pub struct Bodies(HashMap<(usize, &'static str, Arc<Shape>), Bytes>);

impl Bodies {
    /// The body of this webhook.
    pub fn of(&mut self, debt: &Debt, click: &EnrichedClick) -> Bytes {
        let endpoint = &debt.endpoint;
        let render = || Bytes::from(endpoint.body(debt.event_type, click));
        let place = (debt.click, debt.event_type, Arc::clone(endpoint.shape()));
        self.0.entry(place).or_insert_with(render).clone()
    }
}
