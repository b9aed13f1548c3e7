//! Who is signed in: a sealed cookie with the id of their key, and a token that their forms carry.

use std::future::Future;
use std::pin::Pin;

use actix_web::cookie::time::Duration as CookieAge;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use model::{EndpointId, KeyId};

use super::PageError;
use super::view::{Layout, Notice};
use crate::app::Shared;
use crate::auth::{self, Caller, Scope};
use crate::error::ApiError;

const SESSION_COOKIE: &str = "clickwire_session";
const FLASH_COOKIE: &str = "clickwire_flash";
const FORM_COOKIE: &str = "clickwire_form";

/// How long a message waits for the next page.
const FLASH_AGE: CookieAge = CookieAge::minutes(1);

/// What the session cookie holds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Session {
    key_id: KeyId,
    expires_at: DateTime<Utc>,
    /// Forms of this session carry it.
    pub token: String,
}

/// What one page leaves for the next, sealed in a cookie.
#[derive(Debug, Serialize, Deserialize)]
pub enum Flash {
    /// Something was done.
    Done(String),
    /// Something was not.
    Failed(String),
    /// Something was done, and the endpoint's secret is to be shown, this once.
    Reveal(String, EndpointId),
    /// A key was made: this is the one time it is shown.
    NewKey(String),
}

/// A caller with a session, and what the page before left for this one.
pub struct Signed {
    /// Who asks, exactly as with an API key.
    pub caller: Caller,
    /// Their session.
    pub session: Session,
    /// What the page before left.
    pub flash: Option<Flash>,
}

impl Signed {
    /// What every page shows around its own part.
    pub fn layout(&self, section: &'static str) -> Layout {
        let notice = match &self.flash {
            Some(Flash::Done(text) | Flash::Reveal(text, _)) => {
                Some(Notice { kind: "good", text: text.clone() })
            }
            Some(Flash::Failed(text)) => Some(Notice { kind: "bad", text: text.clone() }),
            Some(Flash::NewKey(_)) | None => None,
        };
        Layout {
            section,
            key_name: self.caller.key_name.clone(),
            csrf: self.session.token.clone(),
            is_operator: self.caller.may(Scope::Admin),
            is_signed_in: true,
            notice,
        }
    }
}

impl FromRequest for Signed {
    type Error = PageError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PageError>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let shared = request.app_data::<Data<Shared>>().expect("the app is made with it").clone();
        let session = current(request, &shared);
        let flash = open(request, &shared, FLASH_COOKIE);
        Box::pin(async move {
            let session = session.ok_or(ApiError::Unauthorized("sign in first"))?;
            let caller = auth::by_id(&shared, session.key_id).await?;
            Ok(Self { caller, session, flash })
        })
    }
}

/// The session of a request, unless it has ended.
pub fn current(request: &HttpRequest, shared: &Shared) -> Option<Session> {
    open::<Session>(request, shared, SESSION_COOKIE).filter(|session| Utc::now() < session.expires_at)
}

/// The cookie of a new session.
pub fn begin(shared: &Shared, caller: &Caller) -> Cookie<'static> {
    let lifetime = shared.settings.session_lifetime;
    let session = Session {
        key_id: caller.key_id,
        expires_at: Utc::now() + TimeDelta::from_std(lifetime).unwrap_or(TimeDelta::days(1)),
        token: random_token(),
    };
    let age = CookieAge::try_from(lifetime).unwrap_or(CookieAge::DAY);
    sealed(shared, SESSION_COOKIE, &session, age)
}

/// Ends the session in the browser.
pub fn end(shared: &Shared) -> Cookie<'static> {
    removed(shared, SESSION_COOKIE)
}

/// The token of the sign-in form, which has no session yet, and the cookie that holds it too.
pub fn form_token(request: &HttpRequest, shared: &Shared) -> (String, Cookie<'static>) {
    let token = open(request, shared, FORM_COOKIE).unwrap_or_else(random_token);
    let cookie = sealed(shared, FORM_COOKIE, &token, CookieAge::DAY);
    (token, cookie)
}

/// The token that the sign-in form of this browser must carry.
pub fn expected_form_token(request: &HttpRequest, shared: &Shared) -> Option<String> {
    open(request, shared, FORM_COOKIE)
}

/// Leaves something for the next page.
pub fn leave(shared: &Shared, mut response: HttpResponse, flash: &Flash) -> HttpResponse {
    let cookie = sealed(shared, FLASH_COOKIE, flash, FLASH_AGE);
    response.add_cookie(&cookie).expect("a sealed cookie is visible ASCII");
    response
}

/// Takes away what the page before left, once it is shown.
pub fn taken(shared: &Shared, mut response: HttpResponse, flash: Option<&Flash>) -> HttpResponse {
    if flash.is_some() {
        response
            .add_cookie(&removed(shared, FLASH_COOKIE))
            .expect("a cookie without a value is visible ASCII");
    }
    response
}

fn random_token() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>())
}

fn sealed<T: Serialize>(shared: &Shared, name: &'static str, value: &T, age: CookieAge) -> Cookie<'static> {
    let json = serde_json::to_vec(value).expect("what cookies hold is JSON");
    let text = URL_SAFE_NO_PAD.encode(shared.keyring.seal(name.as_bytes(), &json));
    cookie(shared, name, text, age)
}

fn removed(shared: &Shared, name: &'static str) -> Cookie<'static> {
    cookie(shared, name, String::new(), CookieAge::ZERO)
}

fn cookie(shared: &Shared, name: &'static str, value: String, age: CookieAge) -> Cookie<'static> {
    Cookie::build(name, value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(shared.settings.secure_cookies)
        .max_age(age)
        .finish()
}

fn open<T: DeserializeOwned>(request: &HttpRequest, shared: &Shared, name: &str) -> Option<T> {
    let cookie = request.cookie(name)?;
    let bytes = URL_SAFE_NO_PAD.decode(cookie.value()).ok()?;
    let json = shared.keyring.open(name.as_bytes(), &bytes).ok()?;
    serde_json::from_slice(&json).ok()
}
