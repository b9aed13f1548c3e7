//! What can be chosen of a shape, each by its word, and how that is read.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::fields::{self, Mask};

/// What a shape can say.
const NAMES: [&str; 4] = ["profile", "fields", "format", "version"];

/// How much of a click an endpoint gets. Other events are told whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Everything that is known of it.
    #[default]
    Full,
    /// What most receivers want: without coordinates, network, address and what the browser said word for word.
    Standard,
    /// Ids and times, and where the rest can be asked for.
    Thin,
}

/// What stands around the data of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Standard Webhooks 1.0.0.
    #[default]
    StandardWebhooks,
    /// CloudEvents 1.0, structured.
    CloudEvents,
    /// `{data, event, request_id}`.
    Request,
    /// A message as Slack's incoming webhooks read it.
    Slack,
}

/// Which version of the fields of `data`. A version only grows; what cannot be changed like that is a new one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// The first.
    #[default]
    V20261101,
}

impl Version {
    /// The one that a new endpoint gets.
    pub const NEWEST: Self = Self::V20261101;
}

/// Gives a choice its words.
macro_rules! words {
    ($choice:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $choice {
            /// Everything that can be chosen.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in the API and in PostgreSQL.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }

            fn read(value: &Value) -> Result<Self, ShapeError> {
                let word = value.as_str().ok_or_else(|| ShapeError::new("must be a string"))?;
                let found = Self::ALL.iter().copied().find(|choice| choice.as_str() == word);
                found.ok_or_else(|| {
                    let words: Vec<&str> = Self::ALL.iter().map(|choice| choice.as_str()).collect();
                    ShapeError::new(format!("must be one of `{}`", words.join("`, `")))
                })
            }
        }

        impl Serialize for $choice {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

words! { Profile { Full = "full", Standard = "standard", Thin = "thin" } }
words! { Format {
    StandardWebhooks = "standard_webhooks",
    CloudEvents = "cloudevents",
    Request = "request",
    Slack = "slack",
} }
words! { Version { V20261101 = "2026-11-01" } }

impl Profile {
    /// Whether it has this field.
    pub(super) fn keeps(self, path: &str) -> bool {
        match self {
            Self::Full => true,
            Self::Standard => !fields::is_among(fields::NOT_STANDARD, path),
            Self::Thin => fields::is_among(fields::THIN, path),
        }
    }
}

/// What is chosen anew of a shape; what is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShapeChange {
    /// How much of a click.
    pub profile: Option<Profile>,
    /// Which fields of that; `Some(None)`: all.
    pub fields: Option<Option<Mask>>,
    /// What stands around it.
    pub format: Option<Format>,
    /// Which version of the fields.
    pub version: Option<Version>,
}

impl ShapeChange {
    /// Reads an object with some of `profile`, `fields`, `format` and `version`. `null` stands for the default; of the version
    /// there is none, it is only ever named.
    ///
    /// # Errors
    /// [`ShapeError`] says where and which rule is broken.
    pub fn parse(value: &Value) -> Result<Self, ShapeError> {
        let object = value.as_object().ok_or_else(|| ShapeError::new("must be an object"))?;
        let mut change = Self::default();
        for (name, value) in object {
            change.read(name, value).map_err(|error| error.within(name))?;
        }
        Ok(change)
    }

    fn read(&mut self, name: &str, value: &Value) -> Result<(), ShapeError> {
        let chosen = Some(value).filter(|value| !value.is_null());
        match name {
            "profile" => self.profile = Some(chosen.map(Profile::read).transpose()?.unwrap_or_default()),
            "fields" => self.fields = Some(chosen.map(Mask::read).transpose()?),
            "format" => self.format = Some(chosen.map(Format::read).transpose()?.unwrap_or_default()),
            "version" => self.version = Some(Version::read(value)?),
            _ => {
                let known = NAMES.join("`, `");
                return Err(ShapeError::new(format!("is not a field; there are `{known}`")));
            }
        }
        Ok(())
    }
}

/// Why a JSON value says no shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeError {
    /// Where: keys and positions, from the shape inward.
    pub path: Vec<String>,
    /// Which rule is broken.
    pub rule: String,
}

impl ShapeError {
    pub(super) fn new(rule: impl Into<String>) -> Self {
        Self { path: Vec::new(), rule: rule.into() }
    }

    pub(super) fn within(mut self, step: impl fmt::Display) -> Self {
        self.path.insert(0, step.to_string());
        self
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path.join("/"))?;
        }
        f.write_str(&self.rule)
    }
}

impl std::error::Error for ShapeError {}
