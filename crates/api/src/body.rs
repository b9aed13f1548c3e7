//! Request bodies and queries, read by the handler once it knows who asks. Bodies are bounded, and JSON by their own account.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::{Bytes, BytesMut, Data};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use futures::StreamExt as _;

use crate::app::Shared;
use crate::error::{ApiError, FieldError};
use crate::fields::{self, FromFields};

/// A body whose bytes have arrived, or what is wrong with them: the handler is told when it reads, which is after it has looked
/// at who asks. An empty body counts as `{}`.
pub struct Body {
    bytes: Bytes,
    value: Result<serde_json::Value, Unreadable>,
}

/// Why a body cannot be read.
#[derive(Debug, Clone)]
enum Unreadable {
    BrokenOff(String),
    TooLarge(usize),
    ContentType,
    NotJson(String),
}

impl From<Unreadable> for ApiError {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::BrokenOff(detail) | Unreadable::NotJson(detail) => Self::Malformed(detail),
            Unreadable::TooLarge(max) => Self::TooLarge(max),
            Unreadable::ContentType => Self::ContentType("application/json"),
        }
    }
}

impl Body {
    /// What the body says.
    ///
    /// # Errors
    /// When it is too large, or not JSON; [`ApiError::Invalid`] names every field that is wrong.
    pub fn read<T: FromFields>(&self) -> Result<T, ApiError> {
        match &self.value {
            Ok(value) => fields::read(value),
            Err(unreadable) => Err(unreadable.clone().into()),
        }
    }

    /// All of it, as it was sent; nothing when it cannot be read.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl FromRequest for Body {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let shared = request.app_data::<Data<Shared>>().expect("the app is made with it").clone();
        let names_json = names_json(request);
        let mut payload = payload.take();
        Box::pin(async move {
            let gathered = gather(&mut payload, shared.settings.body_max_bytes).await;
            Ok(match gathered {
                Err(unreadable) => Self { bytes: Bytes::new(), value: Err(unreadable) },
                Ok(bytes) if bytes.is_empty() => Self { bytes, value: Ok(serde_json::json!({})) },
                Ok(_) if !names_json => Self { bytes: Bytes::new(), value: Err(Unreadable::ContentType) },
                Ok(bytes) => {
                    let value = serde_json::from_slice(&bytes);
                    Self { bytes, value: value.map_err(|error| Unreadable::NotJson(error.to_string())) }
                }
            })
        })
    }
}

/// All bytes of a body, if they are not too many.
async fn gather(payload: &mut Payload, max: usize) -> Result<Bytes, Unreadable> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| Unreadable::BrokenOff(error.to_string()))?;
        if bytes.len() + chunk.len() > max {
            return Err(Unreadable::TooLarge(max));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// Whether Content-Type is `application/json` or ends in `+json`.
fn names_json(request: &HttpRequest) -> bool {
    if !request.headers().contains_key(header::CONTENT_TYPE) {
        return false;
    }
    let media_type = request.content_type();
    media_type.eq_ignore_ascii_case("application/json") || media_type.ends_with("+json")
}

/// The query of a request: `?name=value`, each name once.
pub struct Query {
    value: serde_json::Value,
    /// Names that came again: which of the values is meant nobody knows, and proxies and programs would each take another.
    repeated: Vec<String>,
}

impl Query {
    /// What the query says.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] names every parameter that is wrong, those that are unknown or came twice included.
    pub fn read<T: FromFields>(&self) -> Result<T, ApiError> {
        let repeated = self.repeated.iter().map(|name| {
            fields::wrong("repeated", "must be given once").of(&name.replace('~', "~0").replace('/', "~1"))
        });
        let mut errors: Vec<FieldError> = repeated.collect();
        let read = match fields::read(&self.value) {
            Err(ApiError::Invalid(others)) => {
                errors.extend(others);
                None
            }
            Err(other) => return Err(other),
            Ok(read) => Some(read),
        };
        for error in &mut errors {
            error.pointer.replace_range(..1, "?");
        }
        read.filter(|_| errors.is_empty()).ok_or(ApiError::Invalid(errors))
    }
}

impl Query {
    /// What a form says that sends every field, those left empty among them.
    pub fn filled(mut self) -> Self {
        if let serde_json::Value::Object(object) = &mut self.value {
            object.retain(|_, value| value.as_str().is_none_or(|text| !text.trim().is_empty()));
        }
        self
    }

    /// What a page reads of its address. Other names are forgiven: whoever shares an address hangs theirs on.
    pub fn only(mut self, names: &[&str]) -> Self {
        if let serde_json::Value::Object(object) = &mut self.value {
            object.retain(|name, _| names.contains(&name.as_str()));
        }
        self.repeated.retain(|name| names.contains(&name.as_str()));
        self
    }

    /// Reads a value another way, as a form has it that knows dates only; what cannot be read stays.
    pub fn translated(mut self, name: &str, to: impl Fn(&str) -> Option<String>) -> Self {
        let value = self.value.get_mut(name);
        if let Some(value) = value
            && let Some(translated) = value.as_str().and_then(to)
        {
            *value = translated.into();
        }
        self
    }

    fn parse(text: &str) -> Self {
        let (mut object, mut repeated) = (serde_json::Map::new(), Vec::new());
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let before = object.insert(name.clone().into_owned(), value.into_owned().into());
            if before.is_some() && !repeated.iter().any(|known| *known == name) {
                repeated.push(name.into_owned());
            }
        }
        Self { value: serde_json::Value::Object(object), repeated }
    }
}

impl FromRequest for Query {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(Ok(Self::parse(request.query_string())))
    }
}

/// The id in the path. One that cannot be an id names nothing, like one that does not exist.
pub fn path_id<T: FromStr>(text: &str, noun: &'static str) -> Result<T, ApiError> {
    text.parse().map_err(|_| ApiError::NotFound(noun))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::fields::{Fields, text};

    #[derive(Debug)]
    struct Named(Option<String>);

    impl FromFields for Named {
        fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
            Some(Self(fields.optional("name", text::<5>)))
        }
    }

    #[test]
    fn a_parameter_that_comes_twice_is_refused_by_its_name_beside_what_else_is_wrong() {
        let errors = |text: &str| -> Vec<(String, &'static str)> {
            let error = Query::parse(text).read::<Named>().expect_err("wrong");
            error.field_errors().into_iter().map(|error| (error.pointer, error.code)).collect()
        };

        let Named(name) = Query::parse("name=ada").read().expect("a query");
        assert_eq!(name.as_deref(), Some("ada"));
        assert_eq!(errors("name=ada&name=ada"), [("?name".to_owned(), "repeated")]);
        assert_eq!(errors("name=ada&na%6de=&name=x"), [("?name".to_owned(), "repeated")]);
        assert_eq!(
            errors("a/b=1&a/b=2&name=longer"),
            [
                ("?a~1b".to_owned(), "repeated"),
                ("?name".to_owned(), "too_long"),
                ("?a~1b".to_owned(), "unknown_field"),
            ]
        );
    }

    #[test]
    fn a_page_reads_the_names_it_knows_and_forgives_the_others() {
        let read = |text: &str| Query::parse(text).only(&["name"]).read::<Named>();

        let Named(name) = read("utm_source=mail&name=ada&ref=a&ref=b").expect("a query");
        assert_eq!(name.as_deref(), Some("ada"));
        let error = read("utm_source=mail&name=ada&name=ada").expect_err("given twice");
        assert_eq!(error.field_errors()[0].code, "repeated");
    }
}
