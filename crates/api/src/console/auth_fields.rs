//! The part of a webhook's form that says how its endpoint lets us in. Every field is there at once, so that it works without
//! scripts; those of the chosen kind count.

use serde_json::{Map, Value};

use webhook::ReceiverAuth;

use super::form::Form;

/// Kinds, what each is, and its fields.
const KINDS: [(&str, &str, &[&str]); 5] = [
    ("none", "Nothing: the signature is enough", &[]),
    ("basic", "User and password (Basic)", &["username", "password"]),
    ("bearer", "A token (Bearer)", &["token"]),
    (
        "oauth2",
        "Tokens of an OAuth 2 server (client credentials)",
        &["token_url", "client_id", "client_secret", "scope", "audience", "client_auth"],
    ),
    ("mtls", "A certificate (mutual TLS)", &["certificate_pem", "private_key_pem", "ca_pem"]),
];

/// Fields whose values are never shown: left empty they stay as they are.
const SECRETS: [&str; 4] = ["password", "token", "client_secret", "private_key_pem"];

/// A kind to choose.
pub struct Choice {
    pub word: &'static str,
    pub text: &'static str,
    pub is_chosen: bool,
}

/// What the fields hold.
pub struct AuthFields {
    pub choices: Vec<Choice>,
    values: Map<String, Value>,
    /// The kind that is saved.
    kept: &'static str,
}

impl AuthFields {
    /// As it is saved.
    pub fn of(kept: Option<&ReceiverAuth>) -> Self {
        let values = kept.and_then(|auth| match auth.shown("") {
            Value::Object(values) => Some(values),
            _ => None,
        });
        let kind = kept.map_or("none", ReceiverAuth::kind);
        Self { choices: choices(kind), values: values.unwrap_or_default(), kept: kind }
    }

    /// The same with what was typed; secrets are typed again.
    pub fn typed(self, form: &Form) -> Self {
        let names = KINDS.iter().flat_map(|(_, _, fields)| fields.iter());
        let typed = names
            .filter(|name| !SECRETS.contains(name))
            .filter_map(|name| Some(((*name).to_owned(), Value::from(form.text(&format!("auth_{name}"))?))));
        Self {
            choices: choices(form.text("auth").unwrap_or("none")),
            values: typed.collect(),
            kept: self.kept,
        }
    }

    /// Whether this kind is the chosen one.
    pub fn is_chosen(&self, kind: &str) -> bool {
        self.choices.iter().any(|choice| choice.is_chosen && choice.word == kind)
    }

    /// What stands in a field; nothing secret.
    pub fn text(&self, name: &str) -> &str {
        self.values.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// What a secret field says while it is empty.
    pub fn hint(&self, kind: &str) -> &'static str {
        if self.kept == kind { "stays as it is" } else { "" }
    }
}

fn choices(chosen: &str) -> Vec<Choice> {
    let choice = |(word, text, _)| Choice { word, text, is_chosen: word == chosen };
    KINDS.into_iter().map(choice).collect()
}

/// What the form says of it, as the API takes it.
pub fn value(form: &Form, kept: Option<&ReceiverAuth>) -> Value {
    let chosen = form.text("auth").unwrap_or("none");
    if chosen == "none" {
        return Value::Null;
    }
    let kept = kept.filter(|kept| kept.kind() == chosen).and_then(|kept| serde_json::to_value(kept).ok());
    let fields = KINDS.iter().find(|(word, ..)| *word == chosen).map_or(&[][..], |(_, _, fields)| *fields);
    let mut object = Map::from_iter([("type".to_owned(), chosen.into())]);
    let typed = |name: &str| form.text(&format!("auth_{name}"));
    // what is kept for one server is not for another to learn
    let goes_to = kept.as_ref().and_then(|kept| kept.get("token_url")).and_then(Value::as_str);
    let is_same_server = goes_to.is_none() || goes_to == typed("token_url");
    for name in fields {
        if let Some(text) = typed(name) {
            object.insert((*name).to_owned(), text.into());
        } else if let Some(secret) = kept.as_ref().and_then(|kept| kept.get(name))
            && SECRETS.contains(name)
            && is_same_server
        {
            object.insert((*name).to_owned(), secret.clone());
        }
    }
    Value::Object(object)
}

/// How an endpoint lets us in, with nothing secret.
pub fn described(auth: &ReceiverAuth) -> String {
    match auth {
        ReceiverAuth::Basic { username, .. } => format!("User {username} and a password"),
        ReceiverAuth::Bearer { .. } => "A token".to_owned(),
        ReceiverAuth::OAuth2(credentials) => {
            format!("Tokens of {}, for client {}", credentials.token_url, credentials.client_id)
        }
        ReceiverAuth::Mtls(certificate) => match certificate.expires_at() {
            Some(at) => format!("A certificate, until {}", at.date_naive()),
            None => "A certificate that cannot be read".to_owned(),
        },
    }
}
