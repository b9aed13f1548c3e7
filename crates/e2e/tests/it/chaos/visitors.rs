//! People who click all the time, from many addresses, at either redirect; and gateways that open all links of a message at once,
//! whose clicks are told of again when that is seen.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::stack::{HOST, PERSON};

/// Pause between two clicks: 40 a second.
const BETWEEN_CLICKS: Duration = Duration::from_millis(25);

/// How long a visitor waits before giving up.
const PATIENCE: Duration = Duration::from_secs(3);

/// Visitors who wait at the same time; beyond, nobody clicks.
const WAITING_MAX: usize = 400;

/// Addresses that visitors come from, all in Rome.
const ADDRESSES: u32 = 60_000;

/// Messages that gateways open, and the links of each.
pub const MESSAGES: usize = 8;
pub const LINKS: usize = 3;

/// Of so many clicks the first [`LINKS`] are of a gateway.
const ROUND: u32 = 40;

/// Where people and gateways click.
#[derive(Clone)]
pub struct Visitors {
    pub client: reqwest::Client,
    pub redirect_ports: [u16; 2],
    /// The link that people pass on.
    pub slug: String,
    /// The links of each message.
    pub messages: Vec<Vec<String>>,
}

/// Who has clicked. Each click has a number of its own; who gets no answer does not know whether it counts.
#[derive(Default)]
pub struct Clicks {
    pub made: u32,
    /// Those that got their redirect.
    pub redirected: BTreeSet<u32>,
    /// From when to when those waited that did not.
    pub in_vain: Vec<Waited>,
}

/// From when to when somebody waited.
#[derive(Debug, Clone, Copy)]
pub struct Waited {
    pub since: DateTime<Utc>,
    pub until: DateTime<Utc>,
}

impl Visitors {
    /// Clicks until `stop`, and returns once everybody has an answer, or has given up.
    pub async fn click_until(&self, stop: &CancellationToken) -> Clicks {
        let (mut clicks, mut waiting) = (Clicks::default(), JoinSet::new());
        let mut next = tokio::time::interval(BETWEEN_CLICKS);
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            next.tick().await;
            if waiting.len() < WAITING_MAX {
                let (visitors, number) = (self.clone(), clicks.made);
                waiting.spawn(async move { visitors.click(number).await });
                clicks.made += 1;
            }
            while let Some(answered) = waiting.try_join_next() {
                clicks.note(answered.expect("nobody panics"));
            }
        }
        waiting.join_all().await.into_iter().for_each(|answered| clicks.note(answered));
        clicks
    }

    /// One click; its number if it got its redirect.
    async fn click(&self, number: u32) -> Result<u32, Waited> {
        let since = Utc::now();
        let port = self.redirect_ports[number as usize % 2];
        let (round, place) = (number / ROUND, (number % ROUND) as usize);
        let (slug, address) = match place < LINKS {
            true => (&self.messages[round as usize % MESSAGES][place], address(round * ROUND)),
            false => (&self.slug, address(number)),
        };
        let url = format!("http://127.0.0.1:{port}/{slug}?click={number}&of=chaos");
        let request = self.client.get(url).timeout(PATIENCE).header("host", HOST);
        let others = PERSON.into_iter().filter(|(name, _)| *name != "x-forwarded-for");
        let request = others.fold(request, |request, (name, value)| request.header(name, value));
        let answer = request.header("x-forwarded-for", address).send().await;
        let is_redirected = answer.is_ok_and(|answer| answer.status() == StatusCode::FOUND);
        if is_redirected { Ok(number) } else { Err(Waited { since, until: Utc::now() }) }
    }
}

impl Clicks {
    fn note(&mut self, answered: Result<u32, Waited>) {
        match answered {
            Ok(number) => {
                self.redirected.insert(number);
            }
            Err(waited) => self.in_vain.push(waited),
        }
    }
}

fn address(number: u32) -> String {
    let [_, _, third, fourth] = (number % ADDRESSES).to_be_bytes();
    format!("82.90.{third}.{fourth}")
}

/// The number of the click that a text with its URL is about.
pub fn number_in(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("click=")?;
    rest.split_once('&')?.0.parse().ok()
}

#[test]
fn a_click_is_known_by_its_url() {
    assert_eq!(number_in(r#"{"url": "https://example.com/offer?click=17&of=chaos"}"#), Some(17));
    assert_eq!(number_in(r#"{"url": "https://example.com/offer"}"#), None);
    assert_eq!(address(257), "82.90.1.1");
}
