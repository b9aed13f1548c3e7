//! Who is signed in: a sealed cookie with the ids of their key and their session, or with the token of a person's session, and a
//! token that their forms carry.

use std::future::Future;
use std::pin::Pin;

use actix_web::cookie::time::Duration as CookieAge;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use model::minting::MintingKey;
use model::secret::ApiKey;
use model::{EndpointId, KeyId, SecretId, SessionId, Token};
use store::key_sessions;
use store::memberships::Membership;

use super::PageError;
use super::doors::Doors;
use super::flash::{self, Flash, ShownAs};
pub use super::flash::{leave, taken};
use super::view::{Layout, Notice, WorkspaceChoice};
use crate::app::Shared;
use crate::auth::{self, Caller};
use crate::desk::account::{self, Opened, SignedPerson};
use crate::error::ApiError;

const SESSION_COOKIE: &str = "clickwire_session";
const FORM_COOKIE: &str = "clickwire_form";

/// What browsers take only from the host itself, over https, for all of its paths (RFC 6265bis section 4.1.3.2).
const HOST_PREFIX: &str = "__Host-";

/// With what a session was begun.
#[derive(Debug, Serialize, Deserialize)]
pub enum Opener {
    /// A key: the session lasts as long as it, and as its own time, unless it is signed out of.
    #[serde(rename = "key")]
    Key {
        /// Which key.
        id: KeyId,
        /// Which of the sessions that it began.
        session_id: SessionId,
    },
    /// E-mail and password: the token of a row.
    #[serde(rename = "person")]
    Person(Token),
}

/// What the session cookie holds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Session {
    #[serde(flatten)]
    pub opener: Opener,
    expires_at: DateTime<Utc>,
    /// Forms of this session carry it.
    pub token: String,
}

/// A caller with a session, and what the page before left for this one.
pub struct Signed {
    /// Who asks, exactly as with an API key.
    pub caller: Caller,
    /// Their account, if they are a person.
    pub person: Option<SignedPerson>,
    /// Their session.
    pub session: Session,
    /// What the page before left.
    pub flash: Option<Flash>,
}

impl Signed {
    /// What every page shows around its own part.
    pub fn layout(&self, section: &'static str) -> Layout {
        let notice = match &self.flash {
            Some(Flash::Done(text) | Flash::Reveal { text, .. }) => {
                Some(Notice { kind: "good", text: text.clone() })
            }
            Some(Flash::Failed(text)) => Some(Notice { kind: "bad", text: text.clone() }),
            Some(Flash::NewKey { .. } | Flash::Link { .. }) | None => None,
        };
        Layout {
            section,
            who: self.caller.name.clone(),
            is_person: self.person.is_some(),
            workspaces: self.workspaces(),
            csrf: self.session.token.clone(),
            open: self.doors(),
            is_signed_in: true,
            notice,
        }
    }
}

impl Signed {
    /// Which pages are open to them.
    pub fn doors(&self) -> Doors {
        Doors::of(&self.caller)
    }

    /// The person, whose account a page is about.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] with an API key, which has no account.
    pub fn person(&self) -> Result<&SignedPerson, ApiError> {
        self.person.as_ref().ok_or(ApiError::NotFound("account"))
    }

    /// Lets the next page show these secrets, in this session, to who may see what is shown so.
    pub fn reveal(
        &self,
        text: impl Into<String>,
        endpoint_id: EndpointId,
        secret_ids: Vec<SecretId>,
        shown_as: ShownAs,
    ) -> Flash {
        let (text, token) = (text.into(), self.session.token.clone());
        Flash::Reveal { text, endpoint_id, secret_ids, shown_as, token }
    }

    /// Which secrets of an endpoint the page before let this one show, if they may still be seen.
    pub fn revealed(&self, id: EndpointId) -> &[SecretId] {
        match &self.flash {
            Some(Flash::Reveal { endpoint_id, secret_ids, shown_as, .. })
                if *endpoint_id == id && self.caller.may(shown_as.scope()) =>
            {
                secret_ids
            }
            _ => &[],
        }
    }

    /// Lets the next page show a new key, in this session.
    pub fn new_key(&self, key: &ApiKey) -> Flash {
        Flash::NewKey { key: key.reveal().to_owned(), token: self.session.token.clone() }
    }

    /// Lets the next page show a new key of recipients' links, in this session.
    pub fn new_minting_key(&self, key: &MintingKey) -> Flash {
        Flash::NewKey { key: key.reveal(), token: self.session.token.clone() }
    }

    /// Lets the next page show a link for somebody, in this session.
    pub fn link(&self, text: String, url: String) -> Flash {
        Flash::Link { text, url, token: self.session.token.clone() }
    }

    fn workspaces(&self) -> Vec<WorkspaceChoice> {
        let memberships = self.person.as_ref().map(|person| person.workspaces.as_slice()).unwrap_or_default();
        let choice = |membership: &Membership| WorkspaceChoice {
            id: membership.workspace_id.to_string(),
            name: membership.workspace_name.clone(),
            is_current: membership.workspace_id == self.caller.workspace_id,
        };
        memberships.iter().map(choice).collect()
    }
}

impl FromRequest for Signed {
    type Error = PageError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PageError>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let shared = request.app_data::<Data<Shared>>().expect("the app is made with it").clone();
        let session = current(request, &shared);
        let left = flash::left(request, &shared);
        let request = request.clone();
        Box::pin(async move {
            let session = session.ok_or(ApiError::Unauthorized("sign in first"))?;
            let flash = left.and_then(|left| left.shown_in(&session.token));
            let (caller, person) = match &session.opener {
                Opener::Key { id, session_id } => (auth::by_session(&shared, *id, *session_id).await?, None),
                Opener::Person(token) => {
                    let person = account::resume(&shared, token).await?;
                    (person.caller.clone(), Some(person))
                }
            };
            shared.limits.count_signed(&request, &caller)?;
            Ok(Self { caller, person, session, flash })
        })
    }
}

/// The session of a request, unless it has ended.
pub fn current(request: &HttpRequest, shared: &Shared) -> Option<Session> {
    open::<Session>(request, shared, SESSION_COOKIE).filter(|session| Utc::now() < session.expires_at)
}

/// The cookie of a new session that a key begins.
pub fn begin(shared: &Shared, key_id: KeyId) -> Cookie<'static> {
    let lifetime = TimeDelta::from_std(shared.settings.session_lifetime).unwrap_or(TimeDelta::days(1));
    let opener = Opener::Key { id: key_id, session_id: SessionId::generate() };
    session_cookie(shared, opener, Utc::now() + lifetime)
}

/// The cookie of a person's session. Whatever the browser had before, its token is new, and so is the one of its forms.
pub fn begin_for_person(shared: &Shared, opened: Opened) -> Cookie<'static> {
    session_cookie(shared, Opener::Person(opened.token), opened.expires_at)
}

/// The cookie of the same session with another token for its forms: of pages that are open already, none is taken any more.
pub fn with_other_forms(shared: &Shared, session: Session) -> Cookie<'static> {
    session_cookie(shared, session.opener, session.expires_at)
}

fn session_cookie(shared: &Shared, opener: Opener, expires_at: DateTime<Utc>) -> Cookie<'static> {
    let session = Session { opener, expires_at, token: random_token() };
    let age = CookieAge::try_from(shared.settings.session_lifetime).unwrap_or(CookieAge::DAY);
    sealed(shared, SESSION_COOKIE, &session, age)
}

/// Ends what the browser was signed in as before.
///
/// # Errors
/// When the database is away.
pub async fn end_before(request: &HttpRequest, shared: &Shared) -> Result<(), ApiError> {
    match current(request, shared) {
        Some(session) => end_kept(shared, &session).await,
        None => Ok(()),
    }
}

/// Ends a session for everybody who has its cookie.
///
/// # Errors
/// When the database is away.
pub async fn end_kept(shared: &Shared, session: &Session) -> Result<(), ApiError> {
    match &session.opener {
        Opener::Person(token) => account::end(shared, token).await,
        Opener::Key { id, session_id } => {
            let mut conn = shared.pool.get().await?;
            Ok(key_sessions::end(&mut conn, *session_id, *id, session.expires_at, Utc::now()).await?)
        }
    }
}

/// Ends the session in the browser.
pub fn end(shared: &Shared) -> Cookie<'static> {
    removed(shared, SESSION_COOKIE)
}

/// Whether the forms of a page are for whoever has no session yet.
pub fn needs_none(path: &str) -> bool {
    path == "/login" || path.starts_with(super::welcome::PATH)
}

/// The token of a form that needs no session, and the cookie that holds it too.
pub fn form_token(request: &HttpRequest, shared: &Shared) -> (String, Cookie<'static>) {
    let token = open(request, shared, FORM_COOKIE).unwrap_or_else(random_token);
    let cookie = sealed(shared, FORM_COOKIE, &token, CookieAge::DAY);
    (token, cookie)
}

/// The token that a form without a session must carry in this browser.
pub fn expected_form_token(request: &HttpRequest, shared: &Shared) -> Option<String> {
    open(request, shared, FORM_COOKIE)
}

pub(super) fn random_token() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>())
}

pub(super) fn sealed<T: Serialize>(
    shared: &Shared,
    name: &'static str,
    value: &T,
    age: CookieAge,
) -> Cookie<'static> {
    let json = serde_json::to_vec(value).expect("what cookies hold is JSON");
    let text = URL_SAFE_NO_PAD.encode(shared.keyring.seal(name.as_bytes(), &json));
    cookie(shared, name, text, age)
}

pub(super) fn removed(shared: &Shared, name: &'static str) -> Cookie<'static> {
    cookie(shared, name, String::new(), CookieAge::ZERO)
}

/// What a cookie is called: over https in a way that no other host, and nobody in between, can set it.
fn cookie_name(shared: &Shared, name: &str) -> String {
    if shared.settings.secure_cookies { format!("{HOST_PREFIX}{name}") } else { name.to_owned() }
}

fn cookie(shared: &Shared, name: &'static str, value: String, age: CookieAge) -> Cookie<'static> {
    Cookie::build(cookie_name(shared, name), value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(shared.settings.secure_cookies)
        .max_age(age)
        .finish()
}

pub(super) fn open<T: DeserializeOwned>(request: &HttpRequest, shared: &Shared, name: &str) -> Option<T> {
    let cookie = request.cookie(&cookie_name(shared, name))?;
    let bytes = URL_SAFE_NO_PAD.decode(cookie.value()).ok()?;
    let json = shared.keyring.open(name.as_bytes(), &bytes).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_reads_as_it_was_written() {
        let (id, session_id) = (KeyId::generate(), SessionId::generate());
        for opener in [Opener::Key { id, session_id }, Opener::Person(Token::generate())] {
            let session = Session { opener, expires_at: Utc::now(), token: random_token() };
            let written = serde_json::to_vec(&session).expect("JSON");

            let read: Session = serde_json::from_slice(&written).expect("a session");

            assert_eq!((&read.token, read.expires_at), (&session.token, session.expires_at));
            match (read.opener, session.opener) {
                (Opener::Key { id: read, session_id: at }, Opener::Key { .. }) => {
                    assert_eq!((read, at), (id, session_id));
                }
                (Opener::Person(read), Opener::Person(token)) => assert_eq!(read.reveal(), token.reveal()),
                (read, _) => panic!("{read:?}"),
            }
        }
    }
}
