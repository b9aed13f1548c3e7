//! What a query for clicks says: which, and which page of them.

use chrono::{DateTime, Utc};
use utoipa::IntoParams;

use model::automation::Verdict;
use model::device::DeviceKind;
use model::{ClickId, LinkId};
use serde_json::Value;
use store::click_log::ClickFilter;

use super::link_fields::LABEL_CHARS_MAX;
use crate::fields::{Fields, FromFields, Wrong, invalid, moment, parsed, text, word};
use crate::page::PageRequest;

/// The words of the verdicts.
pub const VERDICTS: &[(&str, Verdict)] =
    &[("human", Verdict::Human), ("automated", Verdict::Automated), ("unknown", Verdict::Unknown)];

const DEVICES: &[(&str, DeviceKind)] = &[
    ("mobile", DeviceKind::Mobile),
    ("tablet", DeviceKind::Tablet),
    ("desktop", DeviceKind::Desktop),
    ("tv", DeviceKind::Tv),
    ("console", DeviceKind::Console),
    ("watch", DeviceKind::Watch),
    ("bot", DeviceKind::Bot),
    ("unknown", DeviceKind::Unknown),
];

/// Which clicks are asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
pub struct ClickQuery {
    /// Of this link.
    link_id: Option<String>,
    /// Of links of this campaign.
    campaign_id: Option<String>,
    /// Of links of this conversation.
    conversation_id: Option<String>,
    /// Of links of this contact.
    contact_id: Option<String>,
    /// Of links of this message.
    message_id: Option<String>,
    /// `human`, `automated` or `unknown`. Default: any.
    verdict: Option<String>,
    /// From this country, by its ISO code.
    #[param(example = "SE")]
    country: Option<String>,
    /// On this kind of device: `mobile`, `tablet`, `desktop`, `tv`, `console`, `watch`, `bot` or `unknown`.
    device: Option<String>,
    /// At this moment or later.
    since: Option<DateTime<Utc>>,
    /// Before this moment.
    until: Option<DateTime<Utc>>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Entries of a page, 1 to 250. Default: 50.
    limit: Option<u32>,
}

/// What a query for clicks says.
pub struct Asked {
    /// Which.
    pub filter: ClickFilter,
    /// Which page.
    pub page: PageRequest<ClickId>,
}

impl FromFields for Asked {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { filter: filter(fields), page: PageRequest::from_fields(fields)? })
    }
}

/// Reads which clicks are meant.
pub fn filter(fields: &mut Fields<'_>) -> ClickFilter {
    ClickFilter {
        link_id: fields.optional("link_id", parsed::<LinkId>),
        campaign_id: fields.optional("campaign_id", text::<LABEL_CHARS_MAX>),
        conversation_id: fields.optional("conversation_id", text::<LABEL_CHARS_MAX>),
        contact_id: fields.optional("contact_id", text::<LABEL_CHARS_MAX>),
        message_id: fields.optional("message_id", text::<LABEL_CHARS_MAX>),
        verdict: fields.optional("verdict", word(VERDICTS)),
        country: fields.optional("country", country),
        device: fields.optional("device", word(DEVICES)),
        since: fields.optional("since", moment),
        until: fields.optional("until", moment),
    }
}

fn country(value: &Value) -> Result<String, Wrong> {
    let code = text::<2>(value)?;
    if code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Ok(code.to_ascii_uppercase());
    }
    Err(invalid("must be an ISO 3166-1 code of two letters, like `SE`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    use crate::fields::read;

    #[test]
    fn what_is_wrong_is_named_by_its_field() {
        let query =
            json!({"country": "Sweden", "device": "phone", "verdict": "bot", "contact_id": "", "limit": "0"});
        let error = read::<Asked>(&query).err().expect("wrong");
        let pointers: Vec<String> = error.field_errors().into_iter().map(|error| error.pointer).collect();
        assert_eq!(pointers, ["/contact_id", "/verdict", "/country", "/device", "/limit"]);

        let Asked { filter, .. } = read(&json!({"country": "se", "device": "tv"})).expect("a query");
        assert_eq!((filter.country.as_deref(), filter.device), (Some("SE"), Some(DeviceKind::Tv)));
    }
}
