//! Links that ask for a password: reads what a visitor typed, and compares it.
//!
//! Comparing takes a core for some 20 ms and 19 MiB, on purpose. So it happens on threads that no other visitor waits for,
//! few at a time, with few more waiting for their turn, not all of one network; and each client may try a link only so
//! often, and all clients together: who has many networks is no better off.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_http::Payload;
use actix_http::body::{BodyStream, to_bytes_limited};
use actix_web::dev::RequestHead;
use actix_web::http::header;
use model::{LinkId, PasswordHash};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::form_urlencoded;

use crate::pages::Refusal;
use service::tally::{Over, SLOTS, Taken, Tally, network, wide_network};

/// Comparisons at a time: 40 MiB, and no more than two cores.
const COMPARED_MAX: usize = 2;

/// Visitors whose password waits to be compared, or is: about a second of work.
const PLACES_MAX: usize = 64;

/// Of them those of one wider network, over all links: who tries many links at once leaves places to others.
const NETWORK_PLACES_MAX: usize = 8;

/// Longest form: a password of [`model::password::PASSWORD_CHARS_MAX`] characters of four bytes, each escaped, fits.
const FORM_BYTES_MAX: usize = 4 * 1024;

/// How often a wider network may try a link, in times of what a network may.
const WIDE_TIMES: u32 = 4;

/// How often all clients may try a link, in times of what a network may.
const LINK_TIMES: u32 = 60;

/// The form's media type.
const FORM: &str = "application/x-www-form-urlencoded";

/// The form's one field.
pub const FIELD: &str = "password";

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It is the password.
    Right,
    /// It is not.
    Wrong,
    /// This client, or all clients together, have tried this link too often: it was not compared.
    TooMany(Over),
    /// Too many visitors of all links wait, or too many of this client's network: it was not compared.
    Busy,
}

/// Compares passwords. Workers share one.
#[derive(Debug)]
pub struct Passwords {
    of_network: Tally,
    of_wide_network: Tally,
    of_link: Tally,
    network_places: NetworkPlaces,
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    runtime: Handle,
    form_timeout: Duration,
}

impl Passwords {
    /// Lets a network try a link `attempts_per_minute` times; comparisons run on threads of `runtime`.
    pub fn new(attempts_per_minute: u32, form_timeout: Duration, runtime: Handle) -> Self {
        Self {
            of_network: Tally::new(SLOTS, attempts_per_minute),
            of_wide_network: Tally::new(SLOTS, attempts_per_minute.saturating_mul(WIDE_TIMES)),
            of_link: Tally::new(SLOTS, attempts_per_minute.saturating_mul(LINK_TIMES)),
            network_places: NetworkPlaces::default(),
            places: Arc::new(Semaphore::new(PLACES_MAX)),
            turns: Arc::new(Semaphore::new(COMPARED_MAX)),
            runtime,
            form_timeout,
        }
    }

    /// The password in the form that a visitor sends.
    ///
    /// # Errors
    /// When it is no form, too large, or does not arrive in time.
    pub async fn read(&self, head: &RequestHead, body: Payload) -> Result<String, Refusal> {
        let media_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
        if !media_type.trim().eq_ignore_ascii_case(FORM) {
            return Err(Refusal::MediaType);
        }
        let read = timeout(self.form_timeout, to_bytes_limited(BodyStream::new(body), FORM_BYTES_MAX)).await;
        let body = match read {
            Ok(Ok(Ok(body))) => body,
            Ok(Err(_)) => return Err(Refusal::TooLarge),
            Ok(Ok(Err(_))) | Err(_) => return Err(Refusal::Timeout),
        };
        let mut fields = form_urlencoded::parse(&body);
        let field = fields.find(|(name, _)| name == FIELD);
        Ok(field.map(|(_, password)| password.into_owned()).unwrap_or_default())
    }

    /// Compares what a client typed with a link's password.
    pub async fn attempt(
        &self,
        link_id: LinkId,
        hash: &PasswordHash,
        typed: String,
        client: IpAddr,
        now: Instant,
    ) -> Attempt {
        // before it is counted: who is sent away has not tried
        let Some(network_place) = self.network_places.take(wide_network(client)) else {
            return Attempt::Busy;
        };
        let Ok(place) = self.places.clone().try_acquire_owned() else { return Attempt::Busy };
        let counted = match self.count(link_id, client, now) {
            Ok(counted) => counted,
            Err(over) => return Attempt::TooMany(over),
        };
        let turn = self.turns.clone().acquire_owned().await.expect("the semaphore is never closed");
        let hash = hash.clone();
        // a visitor who leaves does not make room before the work is done
        let compared = self.runtime.spawn_blocking(move || {
            let _held = (network_place, place, turn);
            hash.is_of(&typed)
        });
        match compared.await {
            Ok(true) => {
                // many may know it
                counted.into_iter().for_each(|(tally, taken)| tally.give_back(taken));
                Attempt::Right
            }
            Ok(false) => Attempt::Wrong,
            Err(_) => Attempt::Busy,
        }
    }

    /// Counts an attempt wherever it counts.
    fn count(&self, link_id: LinkId, client: IpAddr, now: Instant) -> Result<[(&Tally, Taken); 3], Over> {
        Ok([
            (&self.of_network, self.of_network.take((network(client), link_id), now)?),
            (&self.of_wide_network, self.of_wide_network.take((wide_network(client), link_id), now)?),
            (&self.of_link, self.of_link.take(link_id, now)?),
        ])
    }
}

/// How many places each network holds, of those that hold any.
#[derive(Debug, Clone, Default)]
struct NetworkPlaces(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One that a network holds until it is dropped.
struct NetworkPlace {
    held: NetworkPlaces,
    network: IpAddr,
}

impl NetworkPlaces {
    /// One more for a network; `None` when it has as many as it may.
    fn take(&self, network: IpAddr) -> Option<NetworkPlace> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.entry(network).or_default();
        if *own >= NETWORK_PLACES_MAX {
            return None;
        }
        *own += 1;
        Some(NetworkPlace { held: self.clone(), network })
    }
}

impl Drop for NetworkPlace {
    fn drop(&mut self) {
        let mut held = self.held.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = held.get_mut(&self.network) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                held.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn passwords(attempts_per_minute: u32) -> Passwords {
        Passwords::new(attempts_per_minute, Duration::from_secs(1), Handle::current())
    }

    fn client(network: u32) -> IpAddr {
        format!("2001:db8:{:x}:{:x}::7", network >> 16, network & 0xffff).parse().expect("an address")
    }

    #[tokio::test]
    async fn who_has_many_networks_tries_a_link_not_much_more_often() {
        let (passwords, now) = (passwords(1), Instant::now());
        let (link_id, other) = (LinkId::generate(), LinkId::generate());
        let tried = |link_id, networks: &mut dyn Iterator<Item = u32>| {
            networks.filter(|network| passwords.count(link_id, client(*network), now).is_ok()).count()
        };

        assert_eq!(tried(link_id, &mut (0..1000)), WIDE_TIMES as usize);
        let everywhere = tried(link_id, &mut (1..1000).map(|site| site << 16));
        assert_eq!(everywhere, (LINK_TIMES - WIDE_TIMES) as usize);
        // networks that share a slot with one of those before have to wait: some of ten may, by chance
        assert!(tried(other, &mut (1000..1010).map(|site| site << 16)) > 3);
    }

    #[tokio::test]
    async fn who_tries_many_links_at_once_leaves_places_to_other_networks() {
        let passwords = passwords(100);
        let (hash, now) = (PasswordHash::of("open sesame").expect("a password"), Instant::now());
        let attempt = |network| {
            let (link_id, typed) = (LinkId::generate(), "guess".to_owned());
            passwords.attempt(link_id, &hash, typed, client(network), now)
        };
        let turns = passwords.turns.clone().try_acquire_many_owned(2).expect("turns");

        let mut waiting: Vec<_> = (0..8).map(|network| Box::pin(attempt(network))).collect();
        assert!(waiting.iter_mut().all(|one| one.as_mut().now_or_never().is_none()), "they wait for a turn");
        assert_eq!(attempt(8).await, Attempt::Busy);
        let mut other = Box::pin(attempt(1 << 16));
        assert!(other.as_mut().now_or_never().is_none(), "another network has a place");

        drop(turns);
        waiting.push(other);
        for one in waiting {
            assert_eq!(one.await, Attempt::Wrong);
        }
        assert_eq!(attempt(8).await, Attempt::Wrong, "its places are free again");
        assert!(
            passwords.network_places.0.lock().expect("no panic").is_empty(),
            "nothing is kept of what is over"
        );
    }

    #[tokio::test]
    async fn who_finds_no_place_has_not_tried_and_who_knows_the_password_may_come_again() {
        let passwords = passwords(1);
        let hash = PasswordHash::of("open sesame").expect("a password");
        let (link_id, now) = (LinkId::generate(), Instant::now());
        let attempt = |typed: &str| passwords.attempt(link_id, &hash, typed.to_owned(), client(1), now);
        let all = passwords.places.clone().try_acquire_many_owned(64).expect("places");

        assert_eq!(attempt("open sesame").await, Attempt::Busy);
        drop(all);

        assert_eq!(attempt("open sesame").await, Attempt::Right);
        assert_eq!(attempt("open sesame").await, Attempt::Right);
        assert_eq!(attempt("guess").await, Attempt::Wrong);
        assert!(matches!(attempt("open sesame").await, Attempt::TooMany(_)));
    }
}
