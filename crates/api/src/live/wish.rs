//! What a viewer asks for.

use actix_web::HttpRequest;

use model::automation::Verdict;
use model::{EnrichedClick, LinkId};

use crate::desk::click_query::VERDICTS;
use crate::desk::link_fields::LABEL_CHARS_MAX;
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, invalid, parsed, text, word};

/// Which clicks a viewer wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveFilter {
    /// Of this link.
    pub link_id: Option<LinkId>,
    /// Of links of this campaign.
    pub campaign_id: Option<String>,
    /// With this verdict.
    pub verdict: Option<Verdict>,
}

impl LiveFilter {
    /// Whether the click is wanted.
    pub fn lets_through(&self, click: &EnrichedClick) -> bool {
        let link = &click.click.link;
        self.link_id.is_none_or(|id| id == link.id)
            && self.campaign_id.as_ref().is_none_or(|id| link.labels.campaign_id.as_ref() == Some(id))
            && self.verdict.is_none_or(|verdict| verdict == click.automation.verdict)
    }
}

/// What a viewer asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Which clicks.
    pub filter: LiveFilter,
    /// They have seen everything up to there.
    pub last_event_id: Option<u64>,
}

impl FromFields for Wish {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let filter = LiveFilter {
            link_id: fields.optional("link_id", parsed::<LinkId>),
            campaign_id: fields.optional("campaign_id", text::<LABEL_CHARS_MAX>),
            verdict: fields.optional("verdict", word(VERDICTS)),
        };
        let last_event_id = fields.optional("last_event_id", |value| {
            let id = value.as_str().and_then(|text| text.parse().ok());
            id.ok_or_else(|| invalid("must be the id of an event of this stream"))
        });
        Some(Self { filter, last_event_id })
    }
}

impl Wish {
    /// With what the browser says by itself when it comes back, which is newer than the address that it was given.
    ///
    /// # Errors
    /// When the header `Last-Event-ID` is no id of this stream.
    pub fn resumed(mut self, request: &HttpRequest) -> Result<Self, ApiError> {
        if let Some(value) = request.headers().get("last-event-id").filter(|value| !value.is_empty()) {
            let id = value.to_str().ok().and_then(|text| text.trim().parse().ok());
            let rule = "the header `Last-Event-ID` must be the id of an event of this stream";
            self.last_event_id = Some(id.ok_or_else(|| ApiError::field("?last_event_id", "invalid", rule))?);
        }
        Ok(self)
    }
}
