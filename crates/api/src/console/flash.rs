//! What one page leaves for the next, sealed in a cookie: that something was done, or a secret that is shown this once.

use actix_web::cookie::time::Duration as CookieAge;
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use model::{EndpointId, SecretId};

use super::session::{open, removed, sealed};
use crate::app::Shared;
use crate::auth::Scope;

const COOKIE: &str = "clickwire_flash";

/// How long it waits for the next page.
const AGE: CookieAge = CookieAge::minutes(1);

/// What one page leaves for the next, as its cookie holds it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Left<F = Flash> {
    flash: F,
    /// It is shown until then, whatever a browser does with its cookies.
    expires_at: DateTime<Utc>,
}

/// What one page leaves for the next, sealed in a cookie.
#[derive(Debug, Serialize, Deserialize)]
pub enum Flash {
    /// Something was done.
    Done(String),
    /// Something was not.
    Failed(String),
    /// Something was done, and secrets of an endpoint are to be shown, this once.
    Reveal {
        text: String,
        endpoint_id: EndpointId,
        /// Those that were just made or asked for, and no others.
        secret_ids: Vec<SecretId>,
        /// As what they are shown.
        shown_as: ShownAs,
        /// The token of the session that they are shown in.
        token: String,
    },
    /// A key was made: this is the one time it is shown.
    NewKey {
        /// The key.
        key: String,
        /// The token of the session that it is shown in.
        token: String,
    },
    /// A link for somebody was made: this is the one time it is shown.
    Link {
        /// For whom and what for.
        text: String,
        /// The link.
        url: String,
        /// The token of the session that it is shown in.
        token: String,
    },
}

/// As what a secret is shown. Whether that is theirs to see is asked again when it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShownAs {
    /// As one that was there.
    Kept,
    /// As one that they have just made.
    Made,
}

impl ShownAs {
    /// What it takes to see it.
    pub const fn scope(self) -> Scope {
        match self {
            Self::Kept => Scope::SecretsRead,
            Self::Made => Scope::EndpointsWrite,
        }
    }
}

/// What the page before left, whoever it is for.
pub fn left(request: &HttpRequest, shared: &Shared) -> Option<Left> {
    open(request, shared, COOKIE)
}

impl Left<Flash> {
    /// It, if the session with this token is still to see it.
    pub fn shown_in(self, session: &str) -> Option<Flash> {
        let is_own = match &self.flash {
            Flash::Reveal { token, .. } | Flash::NewKey { token, .. } | Flash::Link { token, .. } => {
                token == session
            }
            Flash::Done(_) | Flash::Failed(_) => true,
        };
        (is_own && Utc::now() < self.expires_at).then_some(self.flash)
    }
}

/// Leaves something for the next page.
pub fn leave(shared: &Shared, mut response: HttpResponse, flash: &Flash) -> HttpResponse {
    let expires_at = Utc::now() + TimeDelta::seconds(AGE.whole_seconds());
    let cookie = sealed(shared, COOKIE, &Left { flash, expires_at }, AGE);
    response.add_cookie(&cookie).expect("a sealed cookie is visible ASCII");
    response
}

/// Takes away what the page before left, once it is shown.
pub fn taken(shared: &Shared, mut response: HttpResponse, flash: Option<&Flash>) -> HttpResponse {
    if flash.is_some() {
        response.add_cookie(&removed(shared, COOKIE)).expect("a cookie without a value is visible ASCII");
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_is_shown_for_its_time_and_a_secret_in_its_session_alone() {
        let is_shown = |flash: Flash, minutes, session| {
            let left = Left { flash, expires_at: Utc::now() + TimeDelta::minutes(minutes) };
            left.shown_in(session).is_some()
        };
        let done = || Flash::Done("Saved.".to_owned());
        let token = || "own".to_owned();
        let secrets: [fn(String) -> Flash; 3] = [
            |token| Flash::Reveal {
                text: String::new(),
                endpoint_id: EndpointId::generate(),
                secret_ids: vec![SecretId::generate()],
                shown_as: ShownAs::Made,
                token,
            },
            |token| Flash::NewKey { key: "cw_".to_owned(), token },
            |token| Flash::Link { text: String::new(), url: "https://example.com/".to_owned(), token },
        ];

        assert!(is_shown(done(), 1, "other") && !is_shown(done(), -1, "own"));
        for secret in secrets {
            assert!(is_shown(secret(token()), 1, "own"));
            assert!(!is_shown(secret(token()), 1, "other"));
            assert!(!is_shown(secret(token()), -1, "own"));
        }
    }
}
