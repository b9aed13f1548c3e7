//! The fields that a filter may ask about, and which values and operators make sense for each.

use std::cell::RefCell;

use model::{EnrichedClick, LinkId};
use serde_json::{Value, json};

use super::FilterError;

/// Longest text that a field is compared with, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// A field of a click, named by its path in the payload's `data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    CampaignId,
    ConversationId,
    ContactId,
    MessageId,
    Channel,
    SequenceId,
    StepId,
    Language,
    LinkId,
    LinkExternalId,
    LinkDomain,
    LinkSlug,
    LinkTags,
    Country,
    Region,
    City,
    DeviceType,
    Os,
    Browser,
    Verdict,
    Score,
    IsFirstClick,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// ISO 3166-1, two letters.
    Country,
    /// `lnk_…`
    LinkId,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Truth,
}

/// A value that a filter names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    Text(String),
    Number(i64),
    Truth(bool),
}

/// A value that a click has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held<'a> {
    Text(&'a str),
    Number(i64),
    Truth(bool),
}

const DEVICE_TYPES: &[&str] = &["mobile", "tablet", "desktop", "tv", "console", "watch", "bot", "unknown"];
const VERDICTS: &[&str] = &["human", "automated", "unknown"];

/// Every field with its path and its kind.
const FIELDS: [(Field, &str, Kind); 22] = [
    (Field::CampaignId, "campaign_id", Kind::Text),
    (Field::ConversationId, "conversation_id", Kind::Text),
    (Field::ContactId, "contact_id", Kind::Text),
    (Field::MessageId, "message_id", Kind::Text),
    (Field::Channel, "channel", Kind::Text),
    (Field::SequenceId, "sequence_id", Kind::Text),
    (Field::StepId, "step_id", Kind::Text),
    (Field::Language, "language", Kind::Text),
    (Field::LinkId, "link.id", Kind::LinkId),
    (Field::LinkExternalId, "link.external_id", Kind::Text),
    (Field::LinkDomain, "link.domain", Kind::Text),
    (Field::LinkSlug, "link.slug", Kind::Text),
    (Field::LinkTags, "link.tags", Kind::Text),
    (Field::Country, "location.country", Kind::Country),
    (Field::Region, "location.region", Kind::Text),
    (Field::City, "location.city", Kind::Text),
    (Field::DeviceType, "device.type", Kind::Word(DEVICE_TYPES)),
    (Field::Os, "device.os", Kind::Text),
    (Field::Browser, "device.browser", Kind::Text),
    (Field::Verdict, "automation.verdict", Kind::Word(VERDICTS)),
    (Field::Score, "automation.score", Kind::Number),
    (Field::IsFirstClick, "is_first_click", Kind::Truth),
];

impl Field {
    /// The field with this path.
    pub fn at(path: &str) -> Option<Self> {
        FIELDS.iter().find(|(_, known, _)| *known == path).map(|(field, ..)| *field)
    }

    /// Every path, for whoever misspelt one.
    pub fn paths() -> String {
        FIELDS.map(|(_, path, _)| format!("`{path}`")).join(", ")
    }

    /// Its path.
    pub fn path(self) -> &'static str {
        self.entry().1
    }

    /// What it holds.
    pub fn kind(self) -> Kind {
        self.entry().2
    }

    fn entry(self) -> (Self, &'static str, Kind) {
        *FIELDS.iter().find(|(field, ..)| *field == self).expect("every field has an entry")
    }

    /// The values that the click has there.
    pub fn values(self, click: &EnrichedClick) -> Vec<Value> {
        let values = RefCell::new(Vec::new());
        self.any(click, |held| {
            values.borrow_mut().push(match held {
                Held::Text(text) => json!(text),
                Held::Number(number) => json!(number),
                Held::Truth(truth) => json!(truth),
            });
            false
        });
        values.into_inner()
    }

    /// Whether any of the values that the click has there passes: none where it is not known, several for tags.
    pub fn any(self, click: &EnrichedClick, passes: impl Fn(Held<'_>) -> bool) -> bool {
        let text = |value: Option<&str>| value.is_some_and(|text| passes(Held::Text(text)));
        let (link, location, device) = (&click.click.link, &click.location, &click.device);
        let labels = &link.labels;
        match self {
            Self::CampaignId => text(labels.campaign_id.as_deref()),
            Self::ConversationId => text(labels.conversation_id.as_deref()),
            Self::ContactId => text(labels.contact_id.as_deref()),
            Self::MessageId => text(labels.message_id.as_deref()),
            Self::Channel => text(labels.channel.as_deref()),
            Self::SequenceId => text(labels.sequence_id.as_deref()),
            Self::StepId => text(labels.step_id.as_deref()),
            Self::Language => text(click.click.request.language()),
            Self::LinkId => text(Some(&link.id.to_string())),
            Self::LinkExternalId => text(labels.external_id.as_deref()),
            Self::LinkDomain => text(Some(&link.domain)),
            Self::LinkSlug => text(Some(&link.slug)),
            Self::LinkTags => labels.tags.iter().any(|tag| passes(Held::Text(tag))),
            Self::Country => text(location.country.as_deref()),
            Self::Region => text(location.region.as_deref()),
            Self::City => text(location.city.as_deref()),
            Self::DeviceType => text(Some(device.kind.as_str())),
            Self::Os => text(device.os.as_deref()),
            Self::Browser => text(device.browser.as_deref()),
            Self::Verdict => text(Some(click.automation.verdict.as_str())),
            Self::Score => passes(Held::Number(click.automation.score.into())),
            Self::IsFirstClick => click.is_first_click.is_some_and(|is| passes(Held::Truth(is))),
        }
    }
}

impl Kind {
    /// A value that such a field can have.
    ///
    /// # Errors
    /// The rule that it breaks: such a value would never match.
    pub fn operand(self, value: &Value) -> Result<Operand, FilterError> {
        let text = || value.as_str().ok_or_else(|| FilterError::new("must be a string"));
        match self {
            Self::Text => match text()? {
                "" => Err(FilterError::new(
                    "must not be empty; ask for what is not known with {\"$exists\": false}",
                )),
                text if text.len() > TEXT_BYTES_MAX => {
                    Err(FilterError::new(format!("must be at most {TEXT_BYTES_MAX} bytes long")))
                }
                text => Ok(Operand::Text(text.to_owned())),
            },
            Self::Word(words) => match text()? {
                word if words.contains(&word) => Ok(Operand::Text(word.to_owned())),
                _ => Err(FilterError::new(format!("must be one of `{}`", words.join("`, `")))),
            },
            Self::Country => match text()? {
                code if code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase()) => {
                    Ok(Operand::Text(code.to_owned()))
                }
                _ => Err(FilterError::new("must be a country code of two capital letters, like `SE`")),
            },
            Self::LinkId => match text()?.parse::<LinkId>() {
                Ok(id) => Ok(Operand::Text(id.to_string())),
                Err(_) => {
                    Err(FilterError::new("must be the id of a link, like `lnk_01jd8m3x5v9k2n4p6q8r0s1t3w`"))
                }
            },
            Self::Number => {
                let number = value.as_i64().ok_or_else(|| FilterError::new("must be a whole number"))?;
                Ok(Operand::Number(number))
            }
            Self::Truth => {
                let truth = value.as_bool().ok_or_else(|| FilterError::new("must be true or false"))?;
                Ok(Operand::Truth(truth))
            }
        }
    }

    /// The operators that make sense.
    pub const fn operators(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["$eq", "$ne", "$in", "$nin", "$startsWith", "$exists"],
            Self::Word(_) | Self::Country | Self::LinkId => &["$eq", "$ne", "$in", "$nin", "$exists"],
            Self::Number => &["$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte"],
            Self::Truth => &["$eq", "$ne", "$exists"],
        }
    }
}

impl Operand {
    /// As it was written.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Number(number) => json!(number),
            Self::Truth(truth) => json!(truth),
        }
    }
}

impl PartialEq<Held<'_>> for Operand {
    fn eq(&self, held: &Held<'_>) -> bool {
        match (self, held) {
            (Self::Text(text), Held::Text(held)) => text == held,
            (Self::Number(number), Held::Number(held)) => number == held,
            (Self::Truth(truth), Held::Truth(held)) => truth == held,
            _ => false,
        }
    }
}
