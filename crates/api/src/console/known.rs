//! Browsers that somebody has signed in with before: a sealed cookie says so. It opens nothing. Tries to sign in with such a
//! browser, and with the address that signed in with it, are counted by themselves: whoever fails elsewhere, with that address
//! or from the same network, keeps nobody out who comes back. Another password ends what was known by the one before.

use actix_web::HttpRequest;
use actix_web::cookie::Cookie;
use actix_web::cookie::time::Duration as CookieAge;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use model::{Email, PasswordHash};
use store::people;

use super::session::{open, random_token, sealed};
use crate::app::Shared;

const COOKIE: &str = "clickwire_known";

/// How long a browser is known that nobody signs in with.
const AGE: CookieAge = CookieAge::days(180);

/// People of one browser: who came longest ago is forgotten when there are more.
const PEOPLE_MAX: usize = 5;

/// Bytes of the digest that stands for a password.
const MARK_BYTES: usize = 16;

/// Somebody who has signed in.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    email: String,
    /// Drawn when they did: tries are counted by it.
    browser: String,
    /// The [`mark`] of the password that they had.
    password: String,
    /// It counts for nothing from then on, whatever a browser does with its cookies.
    expires_at: DateTime<Utc>,
}

/// What tries with this address are counted by, if it has signed in with this browser, and with the password that it still has.
pub async fn browser(request: &HttpRequest, shared: &Shared, email: &Email) -> Option<String> {
    let known = of(request, shared).into_iter().find(|known| known.email == email.as_str())?;
    let password = password_of(shared, email).await?;
    (known.password == password).then_some(known.browser)
}

/// The cookie once this address has signed in; `None` when the database went away: its browser is one of many then.
pub async fn remember(request: &HttpRequest, shared: &Shared, email: &Email) -> Option<Cookie<'static>> {
    let password = password_of(shared, email).await?;
    Some(sealed(shared, COOKIE, &with(of(request, shared), email, password, Utc::now()), AGE))
}

/// The mark of somebody's password, if they have one and it can be looked up.
async fn password_of(shared: &Shared, email: &Email) -> Option<String> {
    let mut conn = shared.pool.get().await.ok()?;
    let person = people::find_by_email(&mut conn, email).await.ok()??;
    person.password.map(|password| mark(&password))
}

/// What tells a password from the one after it, and nothing else of it.
fn mark(password: &PasswordHash) -> String {
    let digest = Sha256::digest(password.as_str());
    URL_SAFE_NO_PAD.encode(&digest[..MARK_BYTES])
}

fn of(request: &HttpRequest, shared: &Shared) -> Vec<Known> {
    let mut known: Vec<Known> = open(request, shared, COOKIE).unwrap_or_default();
    known.retain(|known| Utc::now() < known.expires_at);
    known
}

fn with(mut known: Vec<Known>, email: &Email, password: String, now: DateTime<Utc>) -> Vec<Known> {
    known.retain(|known| known.email != email.as_str());
    known.truncate(PEOPLE_MAX - 1);
    let expires_at = now + TimeDelta::seconds(AGE.whole_seconds());
    known.insert(0, Known { email: email.to_string(), browser: random_token(), password, expires_at });
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_knows_the_last_few_who_signed_in() {
        let now = Utc::now();
        let email =
            |number: usize| -> Email { format!("p{number}@example.com").parse().expect("an address") };
        let mut known = Vec::new();
        for number in 0..PEOPLE_MAX + 2 {
            known = with(known, &email(number), "before".to_owned(), now);
        }
        let before = known.last().expect("the first of them").browser.clone();

        known = with(known, &email(2), "after".to_owned(), now);

        let emails: Vec<&str> = known.iter().map(|known| known.email.as_str()).collect();
        let last = ["p2", "p6", "p5", "p4", "p3"].map(|name| format!("{name}@example.com"));
        assert_eq!(emails, last);
        assert_ne!(known[0].browser, before, "each sign-in is counted anew");
        assert_eq!((known[0].password.as_str(), known[1].password.as_str()), ("after", "before"));
    }
}
