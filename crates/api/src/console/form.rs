//! Forms: their fields, and the token without which nothing they say is done.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::web::{BytesMut, Data};
use actix_web::{FromRequest, HttpRequest};
use futures::StreamExt as _;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

use super::PageError;
use super::session;
use crate::app::Shared;
use crate::desk::passwords::TypedPassword;
use crate::error::{ApiError, FieldError};
use crate::fields::{self, FromFields};

/// Longest entry that is quoted in what is wrong with it, in characters.
const QUOTED_CHARS_MAX: usize = 40;

/// A form whose token is the session's.
pub struct Form(Vec<(String, String)>);

impl Form {
    /// A field without the white space around it; `None` when it was left empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.trim())?;
        (!value.is_empty()).then_some(value)
    }

    /// A password as it was typed, white space and all; empty when it was left out.
    pub fn password(&self, name: &str) -> TypedPassword {
        let value = self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
        TypedPassword::new(value.unwrap_or_default())
    }

    /// Whether the form has such a field, filled in or not.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(field, _)| field == name)
    }

    /// Whether a box is ticked or a button was the one that was pressed.
    pub fn is_set(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// Every value of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The text fields with these names that were filled in, as a JSON object.
    pub fn object(&self, names: &[&str]) -> Map<String, Value> {
        let filled = names.iter().filter_map(|name| Some(((*name).to_owned(), self.text(name)?.into())));
        filled.collect()
    }
}

/// Reads what a form said by the rules of the API; what is wrong is told beside each field.
pub fn read<T: FromFields>(object: Map<String, Value>) -> Result<T, ApiError> {
    fields::read(&Value::Object(object))
}

/// What is wrong with a form, by field.
#[derive(Default)]
pub struct Errors(Vec<FieldError>);

impl Errors {
    /// What is wrong with the fields, or the error itself if it is not about fields.
    pub fn of(error: ApiError) -> Result<Self, PageError> {
        let errors = error.field_errors();
        if errors.is_empty() { Err(PageError(error)) } else { Ok(Self(errors)) }
    }

    /// Takes the parts of a field for fields of their own, as they are in the form: `/auth/token` is `auth_token`.
    pub fn apart(mut self, name: &str) -> Self {
        let begins = format!("/{name}/");
        for error in &mut self.0 {
            if let Some(part) = error.pointer.strip_prefix(&begins) {
                error.pointer = format!("/{name}_{part}");
            }
        }
        self
    }

    /// Says of each wrong entry of a list what was typed there.
    pub fn quoting(mut self, name: &str, typed: &[&str]) -> Self {
        let begins = format!("/{name}/");
        for error in &mut self.0 {
            let at: Option<usize> = error.pointer.strip_prefix(&begins).and_then(|at| at.parse().ok());
            if let Some(entry) = at.and_then(|at| typed.get(at)) {
                let shown: String = entry.chars().take(QUOTED_CHARS_MAX).collect();
                error.detail = format!("“{shown}” {}", error.detail);
            }
        }
        self
    }

    /// What is wrong with one field, as a sentence.
    pub fn at(&self, name: &str) -> Option<String> {
        let is_at = |pointer: &str| pointer.trim_start_matches('/').split('/').next() == Some(name);
        let error = self.0.iter().find(|error| is_at(&error.pointer))?;
        Some(format!("{}.", super::capital(error.detail.trim_end_matches('.'))))
    }
}

impl FromRequest for Form {
    type Error = PageError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PageError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let shared = request.app_data::<Data<Shared>>().expect("the app is made with it").clone();
        let needs_no_session = session::needs_none(request.path());
        let expected = if needs_no_session {
            session::expected_form_token(request, &shared)
        } else {
            session::current(request, &shared).map(|session| session.token)
        };
        let mut payload = payload.take();
        Box::pin(async move {
            let max = shared.settings.body_max_bytes;
            let mut bytes = BytesMut::new();
            while let Some(chunk) = payload.next().await {
                let chunk = chunk.map_err(|error| ApiError::Malformed(error.to_string()))?;
                if bytes.len() + chunk.len() > max {
                    return Err(ApiError::TooLarge(max).into());
                }
                bytes.extend_from_slice(&chunk);
            }
            let form = Self(url::form_urlencoded::parse(&bytes).into_owned().collect());
            // without a session there is nothing to protect: its page sends people to sign in
            let expected = match expected {
                Some(expected) => expected,
                None if needs_no_session => return Err(ApiError::ForeignForm.into()),
                None => return Err(ApiError::Unauthorized("sign in first").into()),
            };
            let given = form.text("csrf").unwrap_or_default();
            let is_own: bool = given.as_bytes().ct_eq(expected.as_bytes()).into();
            if is_own { Ok(form) } else { Err(ApiError::ForeignForm.into()) }
        })
    }
}
