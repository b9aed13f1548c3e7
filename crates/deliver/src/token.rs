//! Tokens of OAuth 2 client credentials (RFC 6749 section 4.4): one an endpoint, kept until shortly before it expires.
//!
//! The token server is the customer's to name, like the endpoint: the same client asks it, by the same address policy and within
//! the time that the attempt has. One request asks at a time, and the others wait for what it gets. A server that gives none is not
//! asked again for a while, however many deliveries wait.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use model::EgressPolicy;
use model::delivery::ErrorClass;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use url::form_urlencoded;
use webhook::auth::{ClientAuth, ClientCredentials, basic, is_token};

use crate::clients::Client;
use crate::kept::MASKED;
use crate::send_error::told;

/// Longest wait for a token server, of the time that the attempt has.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a token server that gave no token is left alone, and how old a token must be that was refused before it worked.
const PAUSE: Duration = Duration::from_secs(10);

/// How long before its end a token is exchanged: the request with it has to arrive. Of a short life it is half.
const EARLY: Duration = Duration::from_secs(30);

/// How long a token is kept whose life is not told, and the longest that one is.
const LIFE_DEFAULT: Duration = Duration::from_secs(300);
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Most bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Most characters of a server's own words that are kept.
const SAID_CHARS_MAX: usize = 200;

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whose fault it is.
    pub class: ErrorClass,
    /// In words.
    pub why: String,
}

impl From<&str> for Refusal {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self { class: ErrorClass::Token, why }
    }
}

/// The tokens of one endpoint.
#[derive(Debug)]
pub struct Tokens {
    credentials: ClientCredentials,
    state: Mutex<State>,
    /// Who holds it asks the token server.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Default)]
enum State {
    #[default]
    Empty,
    Kept(Token),
    /// None was given; until then nobody asks again.
    Refused {
        until: Instant,
        refusal: Refusal,
    },
}

#[derive(Debug, Clone)]
struct Token {
    /// The value of `Authorization`.
    bearer: HeaderValue,
    got_at: Instant,
    until: Instant,
    /// Whether the endpoint has accepted it.
    has_worked: bool,
}

/// What a token server answers (RFC 6749 section 5.1).
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    token_type: Option<String>,
    /// Seconds; some write them as a text.
    #[serde(default)]
    expires_in: Option<Value>,
}

impl Tokens {
    /// None is fetched before one is needed.
    pub fn new(credentials: ClientCredentials) -> Self {
        Self { credentials, state: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// The value of `Authorization`; asks the token server when there is none that is good.
    ///
    /// # Errors
    /// Why there is none before `deadline`.
    pub async fn bearer(
        &self,
        client: &Client,
        policy: &EgressPolicy,
        deadline: Instant,
    ) -> Result<HeaderValue, Refusal> {
        if let Some(known) = self.known() {
            return known;
        }
        let Ok(_only) = timeout_at(deadline, self.asking.lock()).await else {
            return Err("another request waits for the token server".into());
        };
        if let Some(known) = self.known() {
            return known;
        }
        let limit = deadline.min(Instant::now() + ANSWER_TIMEOUT);
        let asked = timeout_at(limit, self.ask(client, policy)).await;
        let asked = asked.unwrap_or_else(|_| Err("the token server did not answer in time".into()));
        match asked {
            Ok(token) => {
                let bearer = token.bearer.clone();
                *self.state() = State::Kept(token);
                Ok(bearer)
            }
            Err(refusal) => {
                *self.state() = State::Refused { until: Instant::now() + PAUSE, refusal: refusal.clone() };
                Err(refusal)
            }
        }
    }

    /// What need not be asked for.
    fn known(&self) -> Option<Result<HeaderValue, Refusal>> {
        let now = Instant::now();
        match &*self.state() {
            State::Kept(token) if now < token.until => Some(Ok(token.bearer.clone())),
            State::Refused { until, refusal } if now < *until => Some(Err(refusal.clone())),
            _ => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with the state in hand")
    }

    /// The endpoint accepted a request with this.
    pub fn has_worked(&self, bearer: &HeaderValue) {
        if let State::Kept(token) = &mut *self.state()
            && token.bearer == *bearer
        {
            token.has_worked = true;
        }
    }

    /// The endpoint refused a request with this: whether it is worth another try, with another token. A new token that never worked is
    /// kept: its endpoint would refuse the next one too, and every attempt would ask for one.
    pub fn forget(&self, bearer: &HeaderValue) -> bool {
        let mut state = self.state();
        match &*state {
            State::Kept(token) if token.bearer == *bearer => {
                let is_stale = token.has_worked || token.got_at.elapsed() >= PAUSE;
                if is_stale {
                    *state = State::Empty;
                }
                is_stale
            }
            // somebody else has exchanged it already
            State::Kept(_) => true,
            State::Empty | State::Refused { .. } => false,
        }
    }

    async fn ask(&self, client: &Client, policy: &EgressPolicy) -> Result<Token, Refusal> {
        let url = &self.credentials.token_url;
        policy.check_url(url).map_err(|error| format!("the token server is not asked: {error}"))?;
        let asked_at = Instant::now();
        let (headers, body) = request(&self.credentials);
        let sent = client.post(url.url(), headers, body.into()).await;
        let response = sent.map_err(|error| {
            let class = match error.class() {
                ErrorClass::Proxy => ErrorClass::Proxy,
                _ => ErrorClass::Token,
            };
            Refusal { class, why: format!("the token server: {}", told(&error)) }
        })?;
        let status = response.status();
        let body = read(response).await?;
        if !status.is_success() {
            let words = said(&body, &self.credentials.client_secret);
            return Err(format!("the token server answered {status}{words}").into());
        }
        token(&body, asked_at)
    }
}

/// Headers and body of the request.
fn request(credentials: &ClientCredentials) -> (HeaderMap, String) {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    for (name, value) in [("scope", &credentials.scope), ("audience", &credentials.audience)] {
        if let Some(value) = value {
            form.append_pair(name, value);
        }
    }
    let (id, secret) = (credentials.client_id.as_str(), credentials.client_secret.as_str());
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    match credentials.client_auth {
        ClientAuth::Post => {
            form.append_pair("client_id", id).append_pair("client_secret", secret);
        }
        // both are encoded before they are joined (RFC 6749 section 2.3.1)
        ClientAuth::Basic => {
            let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let value = basic(&encoded(id), &encoded(secret));
            let mut value = HeaderValue::try_from(value).expect("base64 is visible ASCII");
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
    }
    (headers, form.finish())
}

/// The token of an answer, by when it was asked for: its life begins no earlier.
fn token(body: &[u8], asked_at: Instant) -> Result<Token, Refusal> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| "the token server's answer holds no token")?;
    if answer.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err("the token server gave a token of another type than Bearer".into());
    }
    if !is_token(&answer.access_token) {
        return Err("the token server's token cannot stand in a header".into());
    }
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", answer.access_token))
        .map_err(|_| "the token server's token cannot stand in a header")?;
    bearer.set_sensitive(true);
    let seconds = answer.expires_in.and_then(|told| told.as_u64().or_else(|| told.as_str()?.parse().ok()));
    let life = seconds.map_or(LIFE_DEFAULT, Duration::from_secs).min(LIFE_MAX);
    let kept = life.saturating_sub(EARLY).max(life / 2);
    Ok(Token { bearer, got_at: Instant::now(), until: asked_at + kept, has_worked: false })
}

async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() > ANSWER_BYTES_MAX => {
                return Err("the token server's answer is too long".into());
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(error) => return Err(format!("the token server: {}", told(&error.without_url())).into()),
        }
    }
}

/// The server's own words for a refusal (RFC 6749 section 5.2), without the secret. Nothing else of its answer is repeated: it might
/// repeat us.
fn said(body: &[u8], secret: &str) -> String {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return String::new() };
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let words =
        [text("error"), text("error_description")].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let words: String =
        words.replace(secret, MASKED).chars().filter(|c| !c.is_control()).take(SAID_CHARS_MAX).collect();
    if words.is_empty() { words } else { format!(": {words}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(client_auth: ClientAuth) -> ClientCredentials {
        ClientCredentials {
            token_url: "https://login.example.com/token".parse().expect("a URL"),
            client_id: "a b".to_owned(),
            client_secret: "p:w&d".to_owned(),
            scope: Some("hooks:write".to_owned()),
            audience: None,
            client_auth,
        }
    }

    fn life(answer: &str) -> Option<Duration> {
        let now = Instant::now();
        token(answer.as_bytes(), now).ok().map(|token| token.until - now)
    }

    #[test]
    fn client_and_secret_are_told_as_the_server_wants_it() {
        let (headers, body) = request(&credentials(ClientAuth::Basic));
        assert_eq!(body, "grant_type=client_credentials&scope=hooks%3Awrite");
        // `a+b:p%3Aw%26d`
        assert_eq!(headers[AUTHORIZATION], "Basic YStiOnAlM0F3JTI2ZA==");

        let (headers, body) = request(&credentials(ClientAuth::Post));
        assert!(!headers.contains_key(AUTHORIZATION));
        assert!(body.ends_with("&client_id=a+b&client_secret=p%3Aw%26d"), "{body}");
    }

    #[test]
    fn a_token_is_exchanged_before_it_ends() {
        let seconds = Duration::from_secs;

        assert_eq!(life(r#"{"access_token": "a", "expires_in": 3600}"#), Some(seconds(3570)));
        assert_eq!(life(r#"{"access_token": "a", "expires_in": "40"}"#), Some(seconds(20)));
        assert_eq!(life(r#"{"access_token": "a", "token_type": "bearer"}"#), Some(seconds(270)));
        let years = life(r#"{"access_token": "a", "expires_in": 18446744073709551615}"#);
        assert_eq!(years, Some(seconds(24 * 3600 - 30)));
    }

    #[test]
    fn what_is_no_bearer_token_is_refused() {
        for answer in [
            "",
            "<html>",
            "{}",
            r#"{"access_token": ""}"#,
            r#"{"access_token": "a b"}"#,
            r#"{"access_token": "a\r\nb: c"}"#,
            r#"{"access_token": "a", "token_type": "mac"}"#,
        ] {
            assert_eq!(life(answer), None, "{answer}");
        }
    }

    #[test]
    fn of_a_refusal_the_servers_words_are_told_and_nothing_else() {
        let body = br#"{"error": "invalid_client", "error_description": "no\nsuch client", "sent": "p:w&d"}"#;

        assert_eq!(said(body, "p:w&d"), ": invalid_client: nosuch client");
        assert_eq!(said(b"p:w&d", "p:w&d"), "");
        let body = br#"{"error": "invalid_client", "error_description": "p:w&d is wrong"}"#;
        assert_eq!(said(body, "p:w&d"), ": invalid_client: *** is wrong");
    }

    #[test]
    fn a_new_token_that_never_worked_is_not_exchanged() {
        let tokens = Tokens::new(credentials(ClientAuth::Basic));
        let token = token(br#"{"access_token": "a"}"#, Instant::now()).expect("a token");
        let (bearer, other) = (token.bearer.clone(), HeaderValue::from_static("Bearer other"));
        *tokens.state() = State::Kept(token);

        assert!(!tokens.forget(&bearer));
        assert!(tokens.forget(&other), "it was exchanged meanwhile");
        tokens.has_worked(&bearer);
        assert!(tokens.forget(&bearer));
        assert!(matches!(*tokens.state(), State::Empty));
    }
}
