//! Reads a JSON object field by field and gathers everything that is wrong with it.
//!
//! A body names what it reads: `fields.optional("slug", parsed)`. What breaks a rule, has the wrong type or
//! is not known becomes an entry with the field's JSON pointer, so that a caller can mend all of it at once.
//! Forms of the console take the same way: there is one set of rules.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SubsecRound as _, Utc};
use model::TypedSlug;
use serde_json::{Map, Value};

use crate::error::{ApiError, FieldError};

/// Most errors that are named at once: a body of nothing but unknown fields is not to be answered with a hundred times as much.
const ERRORS_MAX: usize = 20;

/// What a body is read from.
pub struct Fields<'a> {
    object: &'a Map<String, Value>,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

/// A body that can be read from fields.
pub trait FromFields: Sized {
    /// Reads every field; `None` when a required one is missing or wrong, which `fields` remembers.
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self>;
}

/// What is wrong with a value; `path` leads from the field to it (`/3`, `/name`), mostly empty.
#[derive(Debug)]
pub struct Wrong {
    path: String,
    code: &'static str,
    detail: String,
}

/// A value that breaks a rule.
pub fn invalid(detail: impl fmt::Display) -> Wrong {
    wrong("invalid", detail)
}

/// A value that breaks a rule with a word of its own.
pub fn wrong(code: &'static str, detail: impl fmt::Display) -> Wrong {
    Wrong { path: String::new(), code, detail: detail.to_string() }
}

fn wrong_type(expected: &str) -> Wrong {
    wrong("wrong_type", format_args!("must be {expected}"))
}

impl Wrong {
    /// The error of the field with this name.
    pub fn of(self, name: &str) -> FieldError {
        FieldError { pointer: format!("/{name}{}", self.path), code: self.code, detail: self.detail }
    }

    /// The error of a part of the value: an entry of a list, a field of an object.
    pub fn at(mut self, step: impl fmt::Display) -> Self {
        let step = step.to_string().replace('~', "~0").replace('/', "~1");
        self.path = format!("/{step}{}", self.path);
        self
    }
}

/// Reads a whole body: every error of every field, unknown fields included.
///
/// # Errors
/// [`ApiError::Invalid`] with an entry for each field that is wrong, up to a limit.
pub fn read<T: FromFields>(value: &Value) -> Result<T, ApiError> {
    let Value::Object(object) = value else {
        return Err(ApiError::field("", "wrong_type", "the body must be a JSON object"));
    };
    let mut fields = Fields { object, known: Vec::new(), errors: Vec::new() };
    let body = T::from_fields(&mut fields);
    fields.refuse_unknown();
    match body {
        Some(body) if fields.errors.is_empty() => Ok(body),
        _ => Err(ApiError::Invalid(fields.errors)),
    }
}

impl<'a> Fields<'a> {
    /// A field that must be there.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&Value) -> Result<T, Wrong>,
    ) -> Option<T> {
        match self.value(name) {
            None | Some(Value::Null) => {
                self.refuse(name, wrong("required", "is required"));
                None
            }
            Some(value) => self.keep(name, read(value)),
        }
    }

    /// A field that may be missing; `null` is the same.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&Value) -> Result<T, Wrong>,
    ) -> Option<T> {
        match self.value(name) {
            None | Some(Value::Null) => None,
            Some(value) => self.keep(name, read(value)),
        }
    }

    /// A change of something that always has a value: missing leaves it as it is, `null` is refused.
    pub fn change<T>(&mut self, name: &'static str, read: impl Fn(&Value) -> Result<T, Wrong>) -> Option<T> {
        match self.value(name) {
            None => None,
            Some(Value::Null) => {
                self.refuse(name, wrong("wrong_type", "cannot be null; leave it out to keep it as it is"));
                None
            }
            Some(value) => self.keep(name, read(value)),
        }
    }

    /// A change of something that may be empty: missing leaves it as it is, `null` empties it.
    pub fn change_or_clear<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&Value) -> Result<T, Wrong>,
    ) -> Option<Option<T>> {
        match self.value(name) {
            None => None,
            Some(Value::Null) => Some(None),
            Some(value) => self.keep(name, read(value)).map(Some),
        }
    }

    /// Notes a rule between fields that is broken.
    pub fn refuse(&mut self, name: &str, wrong: Wrong) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(wrong.of(name));
        }
    }

    fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.object.get(name)
    }

    fn keep<T>(&mut self, name: &str, read: Result<T, Wrong>) -> Option<T> {
        read.map_err(|wrong| self.refuse(name, wrong)).ok()
    }

    fn refuse_unknown(&mut self) {
        let unknown = self.object.keys().filter(|name| !self.known.contains(&name.as_str()));
        let left = ERRORS_MAX.saturating_sub(self.errors.len());
        for (at, name) in unknown.take(left).enumerate() {
            let known = self.known.join("`, `");
            let detail = match at {
                0 if known.is_empty() => "is not a field; none is expected here".to_owned(),
                0 => format!("is not a field; there are `{known}`"),
                _ => "is not a field".to_owned(),
            };
            let at = wrong("unknown_field", detail).at(name);
            self.errors.push(FieldError { pointer: at.path, code: at.code, detail: at.detail });
        }
    }
}

/// The fields that a body knows, for checking its description.
#[cfg(test)]
pub fn known_fields<T: FromFields>() -> Vec<&'static str> {
    let object = Map::new();
    let mut fields = Fields { object: &object, known: Vec::new(), errors: Vec::new() };
    let _ = T::from_fields(&mut fields);
    fields.known
}

/// A text that a type of `model` parses.
pub fn parsed<T>(value: &Value) -> Result<T, Wrong>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    let text = value.as_str().ok_or_else(|| wrong_type("a string"))?;
    text.parse().map_err(invalid)
}

/// A slug for a new link, which visitors can reach.
pub fn chosen_slug(value: &Value) -> Result<TypedSlug, Wrong> {
    let text = value.as_str().ok_or_else(|| wrong_type("a string"))?;
    TypedSlug::chosen(text).map_err(invalid)
}

/// A text of at most `MAX` characters that is not empty and has no control characters.
pub fn text<const MAX: usize>(value: &Value) -> Result<String, Wrong> {
    let text = value.as_str().ok_or_else(|| wrong_type("a string"))?;
    if text.trim().is_empty() {
        return Err(invalid("must not be empty; leave it out or send null instead"));
    }
    if text.chars().count() > MAX {
        return Err(wrong("too_long", format_args!("must be at most {MAX} characters long")));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid("must not contain control characters"));
    }
    Ok(text.to_owned())
}

/// `true` or `false`.
pub fn boolean(value: &Value) -> Result<bool, Wrong> {
    value.as_bool().ok_or_else(|| wrong_type("true or false"))
}

/// A whole number within bounds.
pub fn number<const MIN: u32, const MAX: u32>(value: &Value) -> Result<u32, Wrong> {
    if !value.is_number() {
        return Err(wrong_type("a number"));
    }
    value
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| (MIN..=MAX).contains(number))
        .ok_or_else(|| invalid(format_args!("must be a whole number from {MIN} to {MAX}")))
}

/// A whole number within bounds, as it stands in a query.
pub fn whole<const MIN: u32, const MAX: u32>(value: &Value) -> Result<u32, Wrong> {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .filter(|number| (MIN..=MAX).contains(number))
        .ok_or_else(|| invalid(format_args!("must be a whole number from {MIN} to {MAX}")))
}

/// A moment, as RFC 3339; kept in UTC to the millisecond.
pub fn moment(value: &Value) -> Result<DateTime<Utc>, Wrong> {
    let text = value.as_str().ok_or_else(|| wrong_type("a string"))?;
    let moment = DateTime::parse_from_rfc3339(text)
        .map_err(|_| invalid("must be a time as in RFC 3339, like `2026-11-23T14:16:12Z`"))?;
    Ok(moment.with_timezone(&Utc).trunc_subsecs(3))
}

/// One of a few words.
pub fn word<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Value) -> Result<T, Wrong> {
    move |value| {
        let text = value.as_str().ok_or_else(|| wrong_type("a string"))?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meant)| *meant);
        found.ok_or_else(|| {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            invalid(format_args!("must be one of {}", words.join(", ")))
        })
    }
}

/// A list of at most `max` values.
pub fn list<T>(
    max: usize,
    read: impl Fn(&Value) -> Result<T, Wrong>,
) -> impl Fn(&Value) -> Result<Vec<T>, Wrong> {
    move |value| {
        let values = value.as_array().ok_or_else(|| wrong_type("a list"))?;
        if values.len() > max {
            return Err(wrong("too_long", format_args!("must have at most {max} entries")));
        }
        let read_at = |(at, value)| read(value).map_err(|wrong: Wrong| wrong.at(at));
        values.iter().enumerate().map(read_at).collect()
    }
}

/// An object, whatever its names.
pub fn any_object(value: &Value) -> Result<&Map<String, Value>, Wrong> {
    value.as_object().ok_or_else(|| wrong_type("an object"))
}

/// An object with some of these names and no other.
pub fn object<'a>(known: &[&str], value: &'a Value) -> Result<&'a Map<String, Value>, Wrong> {
    let object = any_object(value)?;
    match object.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(object),
        Some(name) => {
            let known = known.join("`, `");
            Err(wrong("unknown_field", format_args!("is not a field; there are `{known}`")).at(name))
        }
    }
}

/// An object with some of these names, whose values are texts of at most `MAX` characters; `null` is the same as missing.
pub fn texts<const MAX: usize>(
    known: &'static [&'static str],
) -> impl Fn(&Value) -> Result<BTreeMap<&'static str, String>, Wrong> {
    move |value| {
        let mut texts = BTreeMap::new();
        let object = object(known, value)?;
        for name in known {
            if let Some(value) = object.get(*name).filter(|value| !value.is_null()) {
                texts.insert(*name, text::<MAX>(value).map_err(|wrong| wrong.at(name))?);
            }
        }
        Ok(texts)
    }
}

/// An object with fields of its own; the first that is wrong is told.
pub fn nested<T: FromFields>(value: &Value) -> Result<T, Wrong> {
    read(value).map_err(|error| match error.field_errors().into_iter().next() {
        Some(FieldError { pointer, code, detail }) => Wrong { path: pointer, code, detail },
        None => wrong_type("an object"),
    })
}

/// An object whose values are strings.
pub fn pairs(value: &Value) -> Result<BTreeMap<String, String>, Wrong> {
    let object = any_object(value)?;
    let pair = |(name, value): (&String, &Value)| match value.as_str() {
        Some(text) => Ok((name.clone(), text.to_owned())),
        None => Err(wrong_type("a string").at(name)),
    };
    object.iter().map(pair).collect()
}

#[cfg(test)]
mod hostile_tests;

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    #[derive(Debug)]
    struct Sample {
        name: String,
        tags: Vec<String>,
    }

    impl FromFields for Sample {
        fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
            let name = fields.required("name", text::<5>);
            let tags = fields.optional("tags", list(2, text::<5>));
            Some(Self { name: name?, tags: tags.unwrap_or_default() })
        }
    }

    fn errors(value: &Value) -> Vec<(String, &'static str)> {
        let error = read::<Sample>(value).expect_err("wrong");
        error.field_errors().into_iter().map(|error| (error.pointer, error.code)).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        assert_eq!(
            errors(&json!({"tags": ["a", 1], "a/b": 1})),
            [
                ("/name".to_owned(), "required"),
                ("/tags/1".to_owned(), "wrong_type"),
                ("/a~1b".to_owned(), "unknown_field"),
            ]
        );
        assert_eq!(errors(&json!({"name": "too long"})), [("/name".to_owned(), "too_long")]);
        assert_eq!(errors(&json!([])), [(String::new(), "wrong_type")]);
    }

    #[test]
    fn a_body_of_nothing_but_errors_is_answered_shortly() {
        let object: Map<String, Value> = (0..10_000).map(|n| (format!("{n}"), Value::Null)).collect();

        let error = read::<Sample>(&Value::Object(object)).expect_err("wrong");

        let errors = error.field_errors();
        assert_eq!((errors.len(), errors[0].pointer.as_str()), (ERRORS_MAX, "/name"));
        let listing = errors.iter().filter(|error| error.detail.contains("there are `name`, `tags`"));
        assert_eq!(listing.count(), 1, "what there is is told once");
        let problem = serde_json::to_string(&error.problem()).expect("JSON");
        assert!(problem.len() < 3000, "{problem}");
        assert!(error.to_string().ends_with("; and 17 more"), "{error}");
        let long = json!({"name": "x", "y".repeat(60_000): 1});
        assert!(read::<Sample>(&long).expect_err("wrong").to_string().len() < 500);
    }

    #[test]
    fn null_is_the_same_as_missing() {
        let sample: Sample = read(&json!({"name": "x", "tags": null})).expect("a sample");

        assert_eq!((sample.name.as_str(), sample.tags.len()), ("x", 0));
    }

    #[test]
    fn a_moment_is_kept_in_utc_to_the_millisecond() {
        let read = moment(&json!("2026-11-23T15:16:12.3456789+01:00")).expect("a moment");

        assert_eq!(read.to_rfc3339(), "2026-11-23T14:16:12.345+00:00");
        assert!(moment(&json!("2026-11-23")).is_err());
    }
}
