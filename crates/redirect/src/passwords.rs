//! Links that ask for a password: reads what a visitor typed, and compares it.
//!
//! Comparing takes a core for some 20 ms and 19 MiB, on purpose. So it happens on threads that no other visitor waits for,
//! few at a time, with few more waiting for their turn; and each client may try a link only so often.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::RequestHead;
use actix_web::http::header;
use actix_web::web::Payload;
use model::{LinkId, PasswordHash};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::form_urlencoded;

use crate::pages::Refusal;
use crate::tally::{Over, SLOTS, Tally, network};

/// Comparisons at a time: 40 MiB, and no more than two cores.
const COMPARED_MAX: usize = 2;

/// Visitors whose password waits to be compared, or is: about a second of work.
const PLACES_MAX: usize = 64;

/// Longest form: a password of [`model::password::PASSWORD_CHARS_MAX`] characters of four bytes, each escaped, fits.
const FORM_BYTES_MAX: usize = 4 * 1024;

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
    /// This client has tried this link too often: it was not compared.
    TooMany(Over),
    /// Too many visitors of all links wait: it was not compared.
    Busy,
}

/// Compares passwords. Workers share one.
#[derive(Debug)]
pub struct Passwords {
    attempts: Tally,
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    runtime: Handle,
    form_timeout: Duration,
}

impl Passwords {
    /// Lets a client try a link `attempts_per_minute` times; comparisons run on threads of `runtime`.
    pub fn new(attempts_per_minute: u32, form_timeout: Duration, runtime: Handle) -> Self {
        Self {
            attempts: Tally::new(SLOTS, attempts_per_minute),
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
        let read = timeout(self.form_timeout, body.to_bytes_limited(FORM_BYTES_MAX)).await;
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
        if let Err(over) = self.attempts.take((network(client), link_id), now) {
            return Attempt::TooMany(over);
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else { return Attempt::Busy };
        let turn = self.turns.clone().acquire_owned().await.expect("the semaphore is never closed");
        let hash = hash.clone();
        // a visitor who leaves does not make room before the work is done
        let compared = self.runtime.spawn_blocking(move || {
            let _held = (place, turn);
            hash.is_of(&typed)
        });
        match compared.await {
            Ok(true) => Attempt::Right,
            Ok(false) => Attempt::Wrong,
            Err(_) => Attempt::Busy,
        }
    }
}
