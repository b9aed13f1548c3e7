//! Six subscribers, of which four behave badly in ways of their own, and one waits for evidence; and what each was told.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use chrono::{DateTime, Utc};
use embedded::free_port;
use serde_json::json;
use testkit::{Answer, Received, Script, Subscriber};
use tokio_util::sync::CancellationToken;

use super::visitors::{self, Waited};
use crate::stack::Stack;

/// How long a subscriber behaves in one way.
const TURN: Duration = Duration::from_secs(1);

/// Longest request; what hangs is tried again after it.
const TIMEOUT_MS: u32 = 500;

/// How long evidence is waited for.
const SETTLE_MS: u32 = 3000;

/// Seconds between attempts, enough of them for the longest time that a subscriber is bad.
const RETRIES: [u32; 20] = [1, 1, 1, 1, 2, 2, 3, 3, 5, 5, 5, 5, 10, 10, 10, 10, 10, 10, 10, 10];

/// What a subscriber is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Answers,
    /// It answers, and is told of clicks when it is known what others show of them.
    Settles,
    Fails,
    Hangs,
    Flaps,
    Disappears,
}

/// How it behaves for a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// 500 to every request.
    Refuses,
    /// 500 to the first requests.
    RefusesFirst(usize),
    /// No answer to the first requests.
    HangsFirst(usize),
    /// The port is closed.
    Away,
}

/// All subscribers of a run.
pub struct Subscribers(Vec<Observed>);

/// A subscriber with what it was told.
pub struct Observed {
    pub manner: Manner,
    port: u16,
    mood: Mood,
    /// `None` while it is away.
    running: Option<Subscriber>,
    /// The tellings of each click, by their ids: the first one, and those that amend it.
    pub told: BTreeMap<u32, BTreeMap<String, Told>>,
    /// What came again although it had said 200.
    pub doubled: Vec<Doubled>,
    /// What is wrong with what it was told.
    pub faults: Vec<String>,
}

/// What a subscriber was told of a click at one time.
pub struct Told {
    body_hash: u64,
    /// When it has said 200 for the first time.
    accepted_at: Option<DateTime<Utc>>,
}

/// A delivery that came again after it was accepted.
#[derive(Debug, Clone)]
pub struct Doubled {
    pub webhook_id: String,
    /// From the first time to this one.
    pub between: Waited,
}

impl Manner {
    const ALL: [Self; 6] =
        [Self::Answers, Self::Settles, Self::Fails, Self::Hangs, Self::Flaps, Self::Disappears];

    fn mood(self, turn: u32) -> Mood {
        match self {
            Self::Answers | Self::Settles => Mood::Well,
            Self::Fails => Mood::RefusesFirst(2),
            Self::Hangs => Mood::HangsFirst(2),
            Self::Flaps if turn % 6 < 2 => Mood::Refuses,
            Self::Disappears if turn % 8 < 3 => Mood::Away,
            Self::Flaps | Self::Disappears => Mood::Well,
        }
    }
}

impl Mood {
    fn script(self) -> Script {
        let (first, count, then) = match self {
            Self::Well => (200, 0, 200),
            Self::Refuses => (500, 0, 500),
            Self::RefusesFirst(count) => (500, count, 200),
            Self::HangsFirst(count) => {
                let hanging = std::iter::repeat_n(Answer::Hang, count);
                return Script::new(hanging.chain([Answer::Status(200)]));
            }
            // for who is connected still
            Self::Away => return Script::always(Answer::Cut),
        };
        Script::new(std::iter::repeat_n(Answer::Status(first), count).chain([Answer::Status(then)]))
    }

    /// Whether the request with this number of the turn is answered with 200.
    fn accepts(self, number: usize) -> bool {
        match self {
            Self::Well => true,
            Self::Refuses | Self::Away => false,
            Self::RefusesFirst(count) | Self::HangsFirst(count) => number >= count,
        }
    }
}

impl Subscribers {
    /// Starts one of each manner, each with an endpoint.
    pub async fn start(stack: &Stack) -> Self {
        let mut all = Vec::new();
        for manner in Manner::ALL {
            // a port that stays its own while it is away
            let port = free_port();
            let subscriber = start_at(port).await;
            let settle_ms = if manner == Manner::Settles { SETTLE_MS } else { 0 };
            let more = json!({
                "event_types": ["link.clicked"], "timeout_ms": TIMEOUT_MS, "retry_schedule": RETRIES,
                "settle_ms": settle_ms,
            });
            stack.endpoint(&subscriber, more).await;
            all.push(Observed {
                manner,
                port,
                mood: Mood::Well,
                running: Some(subscriber),
                told: BTreeMap::new(),
                doubled: Vec::new(),
                faults: Vec::new(),
            });
        }
        Self(all)
    }

    /// Behaves as each does until `stop`, and then well.
    pub async fn behave_until(&mut self, stop: &CancellationToken) {
        for turn in 0.. {
            for observed in &mut self.0 {
                observed.turn_to(observed.manner.mood(turn)).await;
            }
            if tokio::time::timeout(TURN, stop.cancelled()).await.is_ok() {
                break;
            }
        }
        for observed in &mut self.0 {
            observed.turn_to(Mood::Well).await;
        }
    }

    /// Takes note of what has come, once all behave well.
    pub fn note_all(&mut self) {
        self.0.iter_mut().for_each(Observed::note);
    }

    pub fn all(&self) -> &[Observed] {
        &self.0
    }
}

impl Observed {
    async fn turn_to(&mut self, mood: Mood) {
        if self.running.is_none() && mood != Mood::Away {
            self.running = Some(start_at(self.port).await);
            self.mood = Mood::Well;
        }
        if let Some(subscriber) = &self.running {
            // in one go: a request is answered by the mood that it is noted under
            subscriber.change(mood.script());
            self.note();
            self.mood = mood;
        }
        if mood == Mood::Away {
            self.running = None;
        }
    }

    /// Takes note of what has come since the last time.
    fn note(&mut self) {
        let new = self.running.as_ref().map(Subscriber::take_requests).unwrap_or_default();
        for (number, request) in new.iter().enumerate() {
            self.note_one(request, self.mood.accepts(number));
        }
    }

    fn note_one(&mut self, request: &Received, is_accepted: bool) {
        let webhook_id = request.header("webhook-id").unwrap_or_default();
        let text = String::from_utf8_lossy(&request.body);
        let Some(click) = visitors::number_in(&text) else {
            self.faults.push(format!("{webhook_id} is about no click of ours"));
            return;
        };
        let mut hasher = DefaultHasher::new();
        request.body.hash(&mut hasher);
        let body_hash = hasher.finish();
        let tellings = self.told.entry(click).or_default();
        if let Some(other) = tellings.keys().find(|other| event_of(other) != event_of(webhook_id)) {
            self.faults.push(format!("click {click} came as {other} and as {webhook_id}"));
        }
        let told =
            tellings.entry(webhook_id.to_owned()).or_insert_with(|| Told { body_hash, accepted_at: None });
        if told.body_hash != body_hash {
            self.faults.push(format!("{webhook_id} came again with another body"));
        }
        if let Some(accepted_at) = told.accepted_at {
            let between = Waited { since: accepted_at, until: request.at };
            self.doubled.push(Doubled { webhook_id: webhook_id.to_owned(), between });
        } else if is_accepted {
            told.accepted_at = Some(request.at);
        }
    }
}

/// The id of a click's first telling, by that of any: `evt_01jd_1` is the first that amends `evt_01jd`.
fn event_of(webhook_id: &str) -> &str {
    let end = webhook_id.match_indices('_').nth(1).map_or(webhook_id.len(), |(at, _)| at);
    &webhook_id[..end]
}

#[test]
fn tellings_of_one_click_are_known_by_their_ids() {
    assert_eq!([event_of("evt_01jd"), event_of("evt_01jd_1"), event_of("")], ["evt_01jd", "evt_01jd", ""]);
}

async fn start_at(port: u16) -> Subscriber {
    Subscriber::start_at(&format!("127.0.0.1:{port}"), Answer::Status(200)).await
}

#[tokio::test]
async fn a_mood_accepts_what_its_script_answers_with_200() {
    // generous: only what hangs takes so long
    const HANGS: Duration = Duration::from_secs(3);
    service::tls::install_provider();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for mood in [Mood::Well, Mood::Refuses, Mood::RefusesFirst(2), Mood::HangsFirst(1), Mood::Away] {
        let subscriber = Subscriber::start(mood.script()).await;
        for number in 0..3 {
            let answer = client.post(subscriber.url()).timeout(HANGS).send().await;
            let is_accepted = answer.is_ok_and(|answer| answer.status() == 200);
            assert_eq!(is_accepted, mood.accepts(number), "{mood:?}, request {number}");
        }
    }
}
