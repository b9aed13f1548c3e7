//! The shape of a webhook's bodies, in its form and on its page, with a sample of what arrives.

use chrono::Utc;
use serde_json::{Value, json};

use model::WorkspaceId;
use model::event_type::LINK_CLICKED;
use webhook::shape::{Format, Mask, Profile, ShapeChange};
use webhook::{Shape, Site};

use super::form::Form;
use super::view::pretty;
use crate::desk::payload_body;
use crate::error::ApiError;

/// Formats, and what they are in words.
const FORMATS: [(Format, &str); 4] = [
    (Format::StandardWebhooks, "Standard Webhooks"),
    (Format::CloudEvents, "CloudEvents 1.0"),
    (Format::Request, "data, event and request_id"),
    (Format::Slack, "A message for Slack"),
];

/// Profiles, and what they are in words.
const PROFILES: [(Profile, &str); 3] = [
    (Profile::Full, "Everything that is known of a click"),
    (Profile::Standard, "Without coordinates, network, address and user agent"),
    (Profile::Thin, "Ids and times, and the URL that tells the rest"),
];

/// One of several words.
pub struct Choice {
    pub word: &'static str,
    pub text: &'static str,
    pub is_chosen: bool,
}

/// The part of the form that is about the payload.
pub struct PayloadForm {
    pub formats: Vec<Choice>,
    pub profiles: Vec<Choice>,
    /// `all`, `include` or `exclude`.
    pub mask: String,
    /// Paths, one a line.
    pub fields: String,
    pub version: &'static str,
    /// What arrives, with line breaks; empty where what was typed says nothing.
    pub sample: String,
    /// Whether the sample was asked for.
    pub is_asked: bool,
    shape: Shape,
    workspace_id: WorkspaceId,
    site: Site,
}

impl PayloadForm {
    pub fn of(shape: Shape, workspace_id: WorkspaceId, site: Site) -> Self {
        let (mask, paths) = match &shape.fields {
            None => ("all", <&[&str]>::default()),
            Some(Mask::Include(paths)) => ("include", paths.as_slice()),
            Some(Mask::Exclude(paths)) => ("exclude", paths.as_slice()),
        };
        let click = webhook::payload::sample(workspace_id, Utc::now());
        let body = shape.of_click(LINK_CLICKED, &click, &site);
        Self {
            formats: FORMATS
                .map(|(format, text)| choice(format.as_str(), text, shape.format.as_str()))
                .into(),
            profiles: PROFILES
                .map(|(profile, text)| choice(profile.as_str(), text, shape.profile.as_str()))
                .into(),
            mask: mask.to_owned(),
            fields: paths.join("\n"),
            version: shape.version.as_str(),
            sample: pretty(&String::from_utf8_lossy(&body)),
            is_asked: false,
            shape,
            workspace_id,
            site,
        }
    }

    /// Whether nothing of it was chosen, so that the form may keep it folded.
    pub fn is_usual(&self) -> bool {
        let first_of = |choices: &[Choice]| choices.first().is_some_and(|choice| choice.is_chosen);
        self.mask == "all" && first_of(&self.formats) && first_of(&self.profiles)
    }

    /// The same with what was typed.
    pub fn typed(self, form: &Form) -> Self {
        let Some(chosen) = chosen(form) else { return self };
        let Self { shape, workspace_id, site, .. } = self;
        let is_asked = is_asked(form);
        match ShapeChange::parse(&chosen) {
            Ok(change) => Self { is_asked, ..Self::of(shape.changed(change), workspace_id, site) },
            // to be mended where it was typed
            Err(_) => Self {
                mask: form.text("payload_mask").unwrap_or_default().to_owned(),
                fields: form.text("payload_fields").unwrap_or_default().to_owned(),
                sample: String::new(),
                ..Self::of(shape, workspace_id, site)
            },
        }
    }
}

fn choice(word: &'static str, text: &'static str, chosen: &str) -> Choice {
    Choice { word, text, is_chosen: word == chosen }
}

/// Whether the form asks for the sample, and not to be saved.
pub fn is_asked(form: &Form) -> bool {
    form.text("try") == Some("payload")
}

/// The shape that the form says, as the API takes it; `None`: it says nothing of it.
pub fn chosen(form: &Form) -> Option<Value> {
    let format = form.text("payload_format")?;
    let typed = form.text("payload_fields").unwrap_or_default();
    let paths: Vec<&str> =
        typed.split(|c: char| c == ',' || c.is_whitespace()).filter(|path| !path.is_empty()).collect();
    let fields = match form.text("payload_mask") {
        Some("include") => json!({ "include": paths }),
        Some("exclude") => json!({ "exclude": paths }),
        _ => Value::Null,
    };
    let profile = form.text("payload_profile");
    Some(json!({ "format": format, "profile": profile, "fields": fields }))
}

/// Refuses what the form says, as the API does.
pub fn check(form: &Form) -> Result<(), ApiError> {
    let read = payload_body::payload(&chosen(form).unwrap_or_else(|| json!({})));
    read.map(drop).map_err(|wrong| ApiError::Invalid(vec![wrong.of("payload")]))
}

/// A shape in words.
pub fn sentence(shape: &Shape) -> String {
    let format = FORMATS.iter().find(|(format, _)| *format == shape.format);
    let profile = PROFILES.iter().find(|(profile, _)| *profile == shape.profile);
    let (format, profile) = (
        format.map(|(_, text)| *text).unwrap_or_default(),
        profile.map(|(_, text)| *text).unwrap_or_default(),
    );
    let fields = match &shape.fields {
        None => String::new(),
        Some(Mask::Include(paths)) => format!("; of that {} alone", paths.join(", ")),
        Some(Mask::Exclude(paths)) => format!("; of that all but {}", paths.join(", ")),
    };
    format!("{format}. {profile}{fields}. Version {}", shape.version.as_str())
}
