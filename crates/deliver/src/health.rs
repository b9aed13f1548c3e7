//! What attempts tell about endpoints, gathered in memory and written down once a second.
//!
//! Writing it with every batch would have all batches of one endpoint wait for one row. A pause and a 410 take
//! effect in this process at once (through the lane); other replicas see them when they are written.

use std::collections::HashMap;
use std::mem;
use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};
use model::delivery::Attempt;
use model::{EndpointId, EndpointUrl, WorkspaceId};
use store::Pool;
use store::endpoint_state::{self, Learned};
use tokio::sync::Notify;

use crate::endpoint::Endpoint;
use crate::outcome::Outcome;

/// How often it is written down.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long an endpoint that is gone is left alone until every table knows it.
const GONE_PAUSE: Duration = Duration::from_secs(60);

/// What was learned and not yet written; one entry an endpoint.
#[derive(Debug, Default)]
pub struct Health {
    learned: Mutex<HashMap<EndpointId, News>>,
    is_urgent: Notify,
}

#[derive(Debug, Clone)]
struct News {
    learned: Learned,
    /// The URL that asked for a pause, and until when: the endpoint may be at another one by now.
    paused: Option<(EndpointUrl, DateTime<Utc>)>,
    /// The URL that answered 410; likewise.
    gone: Option<EndpointUrl>,
}

impl Health {
    /// Learns from an attempt, the `number`th of its delivery, and acts on what it says about the endpoint as a whole.
    ///
    /// A batch is one request, which fails once; accepted are all the `deliveries` in it.
    pub fn learn(
        &self,
        endpoint: &Endpoint,
        attempt: &Attempt,
        number: u32,
        deliveries: u32,
        outcome: Outcome,
        now: DateTime<Utc>,
    ) {
        let mut all = self.learned.lock().expect("nobody panics with this in hand");
        let news = all
            .entry(endpoint.id)
            .or_insert_with(|| News::none(endpoint.id, endpoint.workspace_id, &endpoint.url));
        news.add(&endpoint.url, attempt, number, deliveries, now);
        match outcome {
            Outcome::Pause(until) => {
                news.pause(&endpoint.url, until);
                endpoint.lane.pause(until);
            }
            Outcome::Gone => {
                news.gone = Some(endpoint.url.clone());
                endpoint.lane.pause(now + GONE_PAUSE);
            }
            Outcome::Delivered | Outcome::Retry | Outcome::Permanent => return,
        }
        self.is_urgent.notify_one();
    }

    /// Waits until something should be written.
    pub async fn due(&self) {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = self.is_urgent.notified() => {}
        }
    }

    /// Writes down what was learned; tells which endpoints were disabled. What cannot be written is kept.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn write(&self, pool: &Pool) -> anyhow::Result<Vec<(WorkspaceId, EndpointId)>> {
        let news = mem::take(&mut *self.learned.lock().expect("nobody panics with this in hand"));
        let written = write(pool, news.values()).await;
        if written.is_err() {
            self.put_back(news);
        }
        written
    }

    fn put_back(&self, older: HashMap<EndpointId, News>) {
        let mut all = self.learned.lock().expect("nobody panics with this in hand");
        for (id, mut news) in older {
            if let Some(newer) = all.remove(&id) {
                news.follow(newer);
            }
            all.insert(id, news);
        }
    }
}

async fn write(
    pool: &Pool,
    news: impl ExactSizeIterator<Item = &News> + Clone,
) -> anyhow::Result<Vec<(WorkspaceId, EndpointId)>> {
    if news.len() == 0 {
        return Ok(Vec::new());
    }
    let now = Utc::now();
    let mut conn = pool.get().await?;
    let mut disabled = Vec::new();
    // what changes the endpoint first: if that fails, nothing is counted twice
    for news in news.clone() {
        let (workspace_id, endpoint_id) = (news.learned.workspace_id, news.learned.endpoint_id);
        if let Some(url) = &news.gone
            && endpoint_state::disable_gone(&mut conn, workspace_id, endpoint_id, url, now).await?
        {
            disabled.push((workspace_id, endpoint_id));
        }
        if let Some((url, until)) = &news.paused {
            endpoint_state::pause(&mut conn, workspace_id, endpoint_id, url, *until, now).await?;
        }
    }
    let learned: Vec<Learned> = news.map(|news| news.learned.clone()).collect();
    endpoint_state::add(&mut conn, &learned, now).await?;
    Ok(disabled)
}

impl News {
    fn none(endpoint_id: EndpointId, workspace_id: WorkspaceId, url: &EndpointUrl) -> Self {
        let learned = Learned {
            endpoint_id,
            workspace_id,
            url: url.clone(),
            delivered: 0,
            failed: 0,
            failed_messages: 0,
            first_failure_at: None,
            last_failure_at: None,
            last_success_at: None,
        };
        Self { learned, paused: None, gone: None }
    }

    /// Failures at another URL than those before take their place.
    fn add(
        &mut self,
        url: &EndpointUrl,
        attempt: &Attempt,
        number: u32,
        deliveries: u32,
        now: DateTime<Utc>,
    ) {
        let learned = &mut self.learned;
        if attempt.is_success() {
            learned.delivered += i64::from(deliveries);
            learned.last_success_at = Some(now);
            (learned.failed, learned.failed_messages, learned.first_failure_at) = (0, 0, None);
        } else {
            if learned.url != *url {
                (learned.failed, learned.failed_messages, learned.first_failure_at) = (0, 0, None);
                learned.url = url.clone();
            }
            learned.failed += 1;
            learned.failed_messages += i64::from(number == 1);
            learned.first_failure_at = learned.first_failure_at.or(Some(now));
            learned.last_failure_at = Some(now);
        }
    }

    /// A pause is never shortened; what another URL asked for takes its place.
    fn pause(&mut self, url: &EndpointUrl, until: DateTime<Utc>) {
        match &mut self.paused {
            Some((at, longest)) if *at == *url => *longest = until.max(*longest),
            paused => *paused = Some((url.clone(), until)),
        }
    }

    /// Adds what happened after it.
    fn follow(&mut self, newer: Self) {
        let (old, new) = (&mut self.learned, newer.learned);
        old.delivered += new.delivered;
        let is_elsewhere = new.failed > 0 && new.url != old.url;
        if new.last_success_at.is_some() || is_elsewhere {
            (old.failed, old.failed_messages, old.first_failure_at) = (0, 0, None);
        }
        if is_elsewhere {
            old.url = new.url;
        }
        old.failed += new.failed;
        old.failed_messages += new.failed_messages;
        old.first_failure_at = old.first_failure_at.or(new.first_failure_at);
        old.last_failure_at = new.last_failure_at.or(old.last_failure_at);
        old.last_success_at = new.last_success_at.or(old.last_success_at);
        if let Some((url, until)) = &newer.paused {
            self.pause(url, *until);
        }
        self.gone = newer.gone.or(self.gone.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use model::delivery::ErrorClass;

    fn at(seconds: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(1_800_000_000 + seconds, 0).unwrap()
    }

    fn url() -> EndpointUrl {
        "https://crm.example.com/hooks".parse().unwrap()
    }

    fn other_url() -> EndpointUrl {
        "https://hooks.example.com/".parse().unwrap()
    }

    /// The attempt at second n is the nth of its delivery.
    fn news(attempts: &[(bool, i64)]) -> News {
        news_of(&url(), attempts)
    }

    fn news_of(url: &EndpointUrl, attempts: &[(bool, i64)]) -> News {
        let mut news = News::none(EndpointId::generate(), WorkspaceId::generate(), url);
        for &(is_success, seconds) in attempts {
            let error = (!is_success).then_some(ErrorClass::Timeout);
            let attempt = Attempt { error, ..Attempt::begun(at(seconds)) };
            news.add(url, &attempt, u32::try_from(seconds).unwrap(), 1, at(seconds));
        }
        news
    }

    #[test]
    fn a_success_ends_the_count_of_failures() {
        let learned = news(&[(false, 1), (false, 2), (true, 3), (false, 4)]).learned;

        assert_eq!((learned.delivered, learned.failed, learned.failed_messages), (1, 1, 0));
        assert_eq!((learned.first_failure_at, learned.last_success_at), (Some(at(4)), Some(at(3))));
    }

    #[test]
    fn a_message_that_fails_again_and_again_is_one_failed_message() {
        let mut learned = news(&[(false, 1), (false, 2), (false, 3)]);
        learned.follow(news(&[(false, 1)]));

        assert_eq!((learned.learned.failed, learned.learned.failed_messages), (4, 2));
    }

    #[test]
    fn a_batch_fails_once_and_is_accepted_with_all_that_is_in_it() {
        let mut news = News::none(EndpointId::generate(), WorkspaceId::generate(), &url());
        let failed = Attempt { error: Some(ErrorClass::Timeout), ..Attempt::begun(at(1)) };
        news.add(&url(), &failed, 1, 100, at(1));
        assert_eq!((news.learned.failed, news.learned.failed_messages), (1, 1));

        news.add(&url(), &Attempt::begun(at(2)), 2, 100, at(2));
        assert_eq!((news.learned.delivered, news.learned.failed), (100, 0));
    }

    #[test]
    fn failures_at_another_url_take_the_place_of_those_before() {
        let of = |news: &News| (news.learned.url.clone(), news.learned.failed, news.learned.first_failure_at);
        let failed = Attempt { error: Some(ErrorClass::Timeout), ..Attempt::begun(at(3)) };
        let mut moved = news(&[(false, 1), (false, 2)]);
        moved.add(&other_url(), &failed, 1, 1, at(3));
        assert_eq!(of(&moved), (other_url(), 1, Some(at(3))));

        let mut older = news(&[(false, 1), (false, 2)]);
        older.follow(news_of(&other_url(), &[(false, 3)]));
        assert_eq!(of(&older), (other_url(), 1, Some(at(3))));
        older.follow(News::none(EndpointId::generate(), WorkspaceId::generate(), &url()));
        assert_eq!(of(&older), (other_url(), 1, Some(at(3))), "nothing failed there");
    }

    #[test]
    fn what_could_not_be_written_is_joined_with_what_came_after() {
        let mut older = news(&[(true, 1), (false, 2)]);
        older.follow(news(&[(false, 3)]));
        assert_eq!((older.learned.failed, older.learned.first_failure_at), (2, Some(at(2))));
        assert_eq!(older.learned.failed_messages, 0);

        older.follow(news(&[(true, 4)]));
        assert_eq!((older.learned.failed, older.learned.delivered), (0, 2));
    }
}
