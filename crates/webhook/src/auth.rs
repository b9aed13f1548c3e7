//! How an endpoint lets us in: what a request shows at the receiver's door beside its signature. Stored sealed with the endpoint.

mod certificate;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use model::{EndpointId, EndpointUrl, WorkspaceId};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::sealing::{Keyring, OpenError, Purpose};

pub use certificate::{ClientCertificate, ClientIdentity};

/// Most bytes of a token: many servers take no longer header.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Fields whose values are secret, of whichever kind.
const SECRET_FIELDS: [&str; 4] = ["password", "token", "client_secret", "private_key_pem"];

/// What a request shows. `Debug` tells the kind alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ReceiverAuth {
    /// User and password (RFC 7617).
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// A token that does not change (RFC 6750).
    Bearer {
        /// The token.
        token: String,
    },
    /// Tokens of an authorization server.
    #[serde(rename = "oauth2")]
    OAuth2(ClientCredentials),
    /// A certificate of ours.
    Mtls(ClientCertificate),
}

/// What tokens are asked for with (RFC 6749 section 4.4).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCredentials {
    /// Where.
    #[serde(deserialize_with = "url")]
    pub token_url: EndpointUrl,
    /// Who asks.
    pub client_id: String,
    /// What proves it.
    pub client_secret: String,
    /// For what.
    #[serde(default)]
    pub scope: Option<String>,
    /// For whom: a parameter of some servers.
    #[serde(default)]
    pub audience: Option<String>,
    /// How client and secret are told.
    #[serde(default)]
    pub client_auth: ClientAuth,
}

/// How a token server is told who asks (RFC 6749 section 2.3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// In the header `Authorization`, which every server understands.
    #[default]
    Basic,
    /// In the body, for those that do not.
    Post,
}

impl ClientAuth {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Post => "post",
        }
    }
}

/// Which field breaks a rule, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthError {
    /// The field.
    pub field: &'static str,
    /// The rule.
    pub rule: &'static str,
}

impl ReceiverAuth {
    /// The word in the API.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Basic { .. } => "basic",
            Self::Bearer { .. } => "bearer",
            Self::OAuth2(_) => "oauth2",
            Self::Mtls(_) => "mtls",
        }
    }

    /// Checks what would make a request that cannot be sent, or that says something else than was meant.
    ///
    /// # Errors
    /// [`AuthError`] names the field, never its value.
    pub fn check(&self, now: DateTime<Utc>) -> Result<(), AuthError> {
        let rule = |field, is_kept: bool, rule| if is_kept { Ok(()) } else { Err(AuthError { field, rule }) };
        match self {
            Self::Basic { username, .. } => rule(
                "username",
                !username.contains(':'),
                "must not contain a colon: it ends where one stands",
            ),
            Self::Bearer { token } => {
                rule("token", is_token(token), "must consist of visible ASCII characters")
            }
            Self::OAuth2(credentials) => {
                let is_scope = |text: &str| text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
                let scope = credentials.scope.as_deref().unwrap_or_default();
                rule("scope", is_scope(scope), "must consist of words of visible ASCII characters")
            }
            Self::Mtls(certificate) => certificate.check(now),
        }
    }

    /// Whether requests carry the header `Authorization` for it.
    pub const fn sets_authorization(&self) -> bool {
        matches!(self, Self::Basic { .. } | Self::Bearer { .. } | Self::OAuth2(_))
    }

    /// The value of `Authorization` that does not change from request to request, if there is such a one.
    pub fn authorization(&self) -> Option<String> {
        match self {
            Self::Basic { username, password } => Some(basic(username, password)),
            Self::Bearer { token } => Some(format!("Bearer {token}")),
            Self::OAuth2(_) | Self::Mtls(_) => None,
        }
    }

    /// As it is shown: with this in place of what is secret, and when a certificate expires.
    pub fn shown(&self, mask: &str) -> Value {
        let mut shown = serde_json::to_value(self).expect("texts are JSON");
        for name in SECRET_FIELDS {
            if let Some(secret) = shown.get_mut(name) {
                *secret = mask.into();
            }
        }
        if let Self::Mtls(certificate) = self {
            let at = certificate.expires_at().map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true));
            shown["expires_at"] = at.into();
        }
        shown
    }

    /// As it is stored with its endpoint.
    pub fn seal(&self, keyring: &Keyring, workspace_id: WorkspaceId, endpoint_id: EndpointId) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("texts are JSON");
        keyring.seal(&Purpose::Auth.of(workspace_id, endpoint_id), &json)
    }

    /// Reads what [`ReceiverAuth::seal`] wrote for this endpoint.
    ///
    /// # Errors
    /// [`OpenError`] when the key is gone or the bytes are another endpoint's.
    pub fn open(
        keyring: &Keyring,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        sealed: &[u8],
    ) -> Result<Self, OpenError> {
        let json = keyring.open(&Purpose::Auth.of(workspace_id, endpoint_id), sealed)?;
        serde_json::from_slice(&json).map_err(|_| OpenError::Content)
    }
}

/// The value of `Authorization` for a user and a password.
pub fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// Whether a text can stand behind `Bearer`.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= TOKEN_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic())
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EndpointUrl, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

impl fmt::Debug for ReceiverAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiverAuth({})", self.kind())
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCredentials({} at {})", self.client_id, self.token_url)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kinds() -> [ReceiverAuth; 4] {
        let text = str::to_owned;
        [
            ReceiverAuth::Basic { username: text("us"), password: text("hunter2") },
            ReceiverAuth::Bearer { token: text("hunter2") },
            ReceiverAuth::OAuth2(ClientCredentials {
                token_url: "https://login.example.com/token".parse().expect("a URL"),
                client_id: text("us"),
                client_secret: text("hunter2"),
                scope: Some(text("hooks:write")),
                audience: None,
                client_auth: ClientAuth::Post,
            }),
            ReceiverAuth::Mtls(ClientCertificate {
                certificate_pem: include_str!("../../testkit/data/client.pem").to_owned(),
                private_key_pem: text("hunter2"),
                ca_pem: None,
            }),
        ]
    }

    #[test]
    fn what_is_sealed_opens_for_its_endpoint_only() {
        let keyring = Keyring::new(&crate::sealing::generate_key(), &[]).expect("a keyring");
        let (workspace, endpoint) = (WorkspaceId::generate(), EndpointId::generate());
        for auth in kinds() {
            let sealed = auth.seal(&keyring, workspace, endpoint);

            assert_eq!(ReceiverAuth::open(&keyring, workspace, endpoint, &sealed), Ok(auth));
            let other = ReceiverAuth::open(&keyring, workspace, EndpointId::generate(), &sealed);
            assert_eq!(other, Err(OpenError::Forged));
        }
    }

    #[test]
    fn nothing_secret_is_shown_or_logged() {
        for auth in kinds() {
            let shown = auth.shown("***");

            assert_eq!(shown["type"], auth.kind());
            assert!(!shown.to_string().contains("hunter2") && shown.to_string().contains("***"), "{shown}");
            assert!(!format!("{auth:?}").contains("hunter2"));
        }
        assert_eq!(kinds()[3].shown("***")["expires_at"], "2120-01-01T00:00:00.000Z");
        assert_eq!(kinds()[0].shown("***"), json!({"type": "basic", "username": "us", "password": "***"}));
    }

    #[test]
    fn headers_are_as_the_specifications_have_them() {
        let [basic, bearer, oauth2, mtls] = kinds();
        let example = ReceiverAuth::Basic { username: "Aladdin".into(), password: "open sesame".into() };

        // the example of RFC 7617 section 2
        assert_eq!(example.authorization().as_deref(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert_eq!(bearer.authorization().as_deref(), Some("Bearer hunter2"));
        assert_eq!(oauth2.authorization(), None);
        assert_eq!((mtls.authorization(), mtls.sets_authorization()), (None, false));
        let others = [basic, bearer, oauth2];
        assert!(others.iter().all(|auth| auth.sets_authorization() && auth.check(Utc::now()).is_ok()));
    }

    #[test]
    fn what_would_say_something_else_is_refused() {
        let field = |auth: &ReceiverAuth| auth.check(Utc::now()).err().map(|error| error.field);
        let user = ReceiverAuth::Basic { username: "a:b".into(), password: "x".into() };
        let token = |token: &str| ReceiverAuth::Bearer { token: token.into() };

        assert_eq!(field(&user), Some("username"));
        for wrong in ["", "a b", "a\r\nx: y", "ä"] {
            assert_eq!(field(&token(wrong)), Some("token"), "{wrong}");
        }
        assert_eq!(field(&token(&"x".repeat(TOKEN_BYTES_MAX + 1))), Some("token"));
    }
}
