//! What becomes of a row: the body of a link that grows field by field, with what the API has no field for in `metadata`.

use model::Host;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use url::Url;

use super::record::{Record, error};
use super::{FoundLink, Source};
use crate::error::FieldError;

/// Longest value that is put into `metadata`, in characters: all of it has 1 KiB.
const TOLD_CHARS_MAX: usize = 200;

/// A link in the making.
#[derive(Debug, Default)]
pub(super) struct Draft {
    body: Map<String, Value>,
    metadata: Map<String, Value>,
    /// What it is recognised by, when the file says so.
    external_id: Option<String>,
    /// The host that it was under.
    host: Option<String>,
    notes: Vec<String>,
    errors: Vec<FieldError>,
}

/// Where a link was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub host: Option<String>,
    pub slug: String,
}

impl Place {
    /// From a short URL, with or without `https://`: `bit.ly/abc`.
    pub(super) fn of_url(text: &str) -> Result<Self, FieldError> {
        let wrong = |detail: String| error("/slug", "invalid", detail);
        let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url: Url = whole.parse().map_err(|_| wrong(format!("`{text}` is not a short URL")))?;
        let path = url.path().trim_matches('/');
        let slug = percent_decode_str(path).decode_utf8();
        let slug = slug.map_err(|_| wrong(format!("`{path}` is not UTF-8 once it is percent-decoded")))?;
        if slug.is_empty() {
            return Err(wrong(format!("`{text}` is a domain without a slug")));
        }
        Ok(Self { host: url.host_str().map(str::to_owned), slug: slug.into_owned() })
    }
}

impl Draft {
    /// A link to `url`, which was at `place`.
    pub(super) fn new(record: &Record, url: &[&str], place: Result<Place, FieldError>) -> Self {
        let mut draft = Self::default();
        match record.text(url) {
            Some(url) => draft.set("url", url),
            None => draft.errors.push(error("/url", "required", "is required")),
        }
        match place {
            Ok(Place { host, slug }) => {
                draft.set("slug", slug);
                draft.host = host;
            }
            Err(error) => draft.errors.push(error),
        }
        draft
    }

    /// One whose fields are named as the API names them.
    pub(super) fn of(body: Map<String, Value>) -> Self {
        Self { body, ..Self::default() }
    }

    /// Sets a field.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.body.insert(name.to_owned(), value.into());
    }

    /// Sets a field if there is something to set.
    pub(super) fn set_some(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// Sets a time that has to be one.
    pub(super) fn set_time(&mut self, name: &str, time: Option<Result<String, String>>) {
        match time {
            None => {}
            Some(Ok(time)) => self.set(name, time),
            Some(Err(text)) => {
                let detail =
                    format!("`{text}` is not a time that can be read: write it as `2026-11-23T14:16:12Z`");
                self.errors.push(error(&format!("/{name}"), "invalid", detail));
            }
        }
    }

    /// Tells something in `metadata`, cut to what fits.
    pub(super) fn tell(&mut self, name: &str, text: Option<String>) {
        let Some(text) = text else { return };
        // a title may have been written over several lines
        let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut kept: String = line.chars().take(TOLD_CHARS_MAX).collect();
        if kept.len() < line.len() {
            kept.push('…');
            self.note(format!("the {name} was cut to {TOLD_CHARS_MAX} characters"));
        }
        self.metadata.insert(name.to_owned(), kept.into());
    }

    /// Tells what links of other shorteners have in common.
    pub(super) fn tell_usual(&mut self, record: &Record, title: &[&str], created_at: &[&str], tags: &[&str]) {
        self.tell("title", record.text(title));
        self.tell("created_at", record.told_time(created_at));
        let tags = record.texts(tags);
        if !tags.is_empty() {
            self.set("tags", tags);
        }
        if record.flag(&["archived"]) == Some(true) {
            // a link that is put away still leads somewhere
            self.tell("archived", Some("true".to_owned()));
        }
    }

    /// Says what of the link could not be kept.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// What it is recognised by, instead of where it was.
    pub(super) fn known_as(&mut self, external_id: Option<String>) {
        self.external_id = external_id;
    }

    /// The link, under this domain if one is given.
    pub(super) fn finish(
        mut self,
        source: Source,
        domain: Option<&Host>,
    ) -> Result<FoundLink, Vec<FieldError>> {
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let was = self.host.take().or_else(|| domain.map(ToString::to_string)).unwrap_or_default();
        let slug = self.body.get("slug").and_then(Value::as_str).unwrap_or_default();
        let external_id = match self.external_id.take() {
            Some(external_id) => external_id,
            None => format!("{}:{was}/{slug}", source.as_str()),
        };
        let wanted = domain.map(ToString::to_string).or(Some(was)).filter(|host| !host.is_empty());
        if source != Source::Clickwire {
            self.set_some("domain", wanted);
            self.tell("imported_from", Some(source.as_str().to_owned()));
        } else if let Some(domain) = domain {
            self.set("domain", domain.to_string());
        }
        self.set("external_id", external_id.clone());
        if !self.metadata.is_empty() {
            self.body.insert("metadata".to_owned(), Value::Object(self.metadata));
        }
        Ok(FoundLink { external_id, body: self.body, notes: self.notes })
    }
}
