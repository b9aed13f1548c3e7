//! The shape of the bodies that an endpoint gets: how much of a click, in which format, in which version.
//!
//! It is read when it is saved ([`choice`]), field by field ([`fields`]), so that what there is not is refused where somebody
//! sees it. [`render`] is the one place where an event becomes bytes for an endpoint. What nobody chose differently is the body
//! of [`payload`](crate::payload), at no more cost. A shape only leaves out: what privacy took is in none.

mod choice;
mod fields;
mod render;
mod slack;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use model::{ClickId, WorkspaceId};
use serde::Serialize;
use serde_json::Value;

pub use choice::{Format, Profile, ShapeChange, ShapeError, Version};
pub use fields::{FIELDS, GROUPS, Mask};
pub use render::content_type;

/// What an endpoint's owner chose; by default what every endpoint got before there was a choice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Shape {
    /// How much of a click.
    pub profile: Profile,
    /// Which fields of that; `None`: all.
    pub fields: Option<Mask>,
    /// What stands around it.
    pub format: Format,
    /// Which version of the fields. It is the newest when the endpoint is made, and stays until somebody changes it.
    pub version: Version,
}

impl Shape {
    /// The shape of an endpoint that is made now, if nobody chooses another.
    pub fn newest() -> Self {
        Self { version: Version::NEWEST, ..Self::default() }
    }

    /// Reads what is stored with an endpoint. One that was made before there was a choice has nothing there, and the first
    /// version.
    ///
    /// # Errors
    /// [`ShapeError`] when it was stored by a release that knows more.
    pub fn stored(stored: Option<&Value>) -> Result<Self, ShapeError> {
        match stored {
            None => Ok(Self::default()),
            Some(value) => ShapeChange::parse(value).map(|all| Self::default().changed(all)),
        }
    }

    /// As it is stored, and shown.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("words and lists of words are JSON")
    }

    /// The shape with what was chosen anew; the rest stays.
    pub fn changed(self, change: ShapeChange) -> Self {
        Self {
            profile: change.profile.unwrap_or(self.profile),
            fields: change.fields.unwrap_or(self.fields),
            format: change.format.unwrap_or(self.format),
            version: change.version.unwrap_or(self.version),
        }
    }

    /// The defaults again. The version stays: another one is a choice of its own.
    pub fn reset(&self) -> Self {
        Self { version: self.version, ..Self::default() }
    }

    /// Whether it says a click whole, as it is.
    fn is_whole(&self) -> bool {
        self.profile == Profile::Full && self.fields.is_none()
    }

    /// Whether a body has this field.
    fn keeps(&self, path: &str) -> bool {
        self.profile.keeps(path) && self.fields.as_ref().is_none_or(|mask| mask.keeps(path))
    }
}

/// Where people and programs reach this installation, for what bodies say of it. Nobody knows it where `api.public_url` is not
/// set: what would begin with it begins with its path then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site(Arc<str>);

impl Site {
    /// The installation at this URL; empty when that is not known.
    pub fn new(public_url: &str) -> Self {
        Self(Arc::from(public_url.trim().trim_end_matches('/')))
    }

    /// The workspace, as where events come from.
    fn workspace(&self, id: WorkspaceId) -> String {
        format!("{}/workspaces/{id}", self.0)
    }

    /// Where the API tells all of a click.
    fn click(&self, id: ClickId) -> String {
        format!("{}/v1/clicks/{id}", self.0)
    }
}
