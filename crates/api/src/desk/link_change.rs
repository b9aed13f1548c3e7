//! What a request says of a change of a link.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use utoipa::ToSchema;

use model::link::{LinkPreview, QueryMode, RedirectStatus, Tracking};
use model::{DestinationUrl, Utm};
use store::links::LinkOptions;

use super::link_body::{PreviewText, UtmText};
use super::link_fields::{
    self, MAX_CLICKS_MAX, QUERY_MODES, TRACKINGS, external_id, label, metadata, status_code, tags,
};
use super::passwords::TypedPassword;
use crate::fields::{Fields, FromFields, boolean, moment, number, parsed, word};

/// A change of a link: what is left out stays as it is, `null` empties. Slug, domain and kind never change.
#[derive(Debug, Default, ToSchema)]
pub struct LinkChange {
    /// Where the link leads.
    #[schema(value_type = Option<String>, example = "https://example.com/offer")]
    url: Option<DestinationUrl>,
    /// Campaign the link is sent in.
    #[schema(value_type = Option<String>)]
    campaign_id: Option<Option<String>>,
    /// Conversation the link is sent in.
    #[schema(value_type = Option<String>)]
    conversation_id: Option<Option<String>>,
    /// Who the link is sent to.
    #[schema(value_type = Option<String>)]
    contact_id: Option<Option<String>>,
    /// Message the link is sent in.
    #[schema(value_type = Option<String>)]
    message_id: Option<Option<String>>,
    /// `sms`, `email`, `whatsapp`, ….
    #[schema(value_type = Option<String>)]
    channel: Option<Option<String>>,
    /// Sequence of messages the link is sent in.
    #[schema(value_type = Option<String>)]
    sequence_id: Option<Option<String>>,
    /// Step of that sequence.
    #[schema(value_type = Option<String>)]
    step_id: Option<Option<String>>,
    /// Your own id of the link.
    #[schema(value_type = Option<String>)]
    external_id: Option<Option<String>>,
    /// All tags.
    tags: Option<Vec<String>>,
    /// All pairs.
    metadata: Option<BTreeMap<String, String>>,
    /// The link leads nowhere before.
    #[schema(value_type = Option<DateTime<Utc>>)]
    starts_at: Option<Option<DateTime<Utc>>>,
    /// The link leads nowhere from then on.
    #[schema(value_type = Option<DateTime<Utc>>)]
    expires_at: Option<Option<DateTime<Utc>>>,
    /// Where visitors go while the link leads nowhere.
    #[schema(value_type = Option<String>)]
    expired_url: Option<Option<DestinationUrl>>,
    /// Whether the link leads anywhere.
    enabled: Option<bool>,
    /// `inherit`, `full`, `anonymous` or `off`.
    #[schema(value_type = Option<String>)]
    tracking: Option<Tracking>,
    /// 302, 307, 301 or 308.
    #[schema(value_type = Option<u16>)]
    status_code: Option<RedirectStatus>,
    /// `fill_missing`, `drop`, `append` or `override`.
    #[schema(value_type = Option<String>)]
    query_mode: Option<QueryMode>,
    /// All campaign parameters: those that are left out go.
    #[schema(value_type = Option<UtmText>)]
    utm: Option<Option<Utm>>,
    /// When the message with the link is, or was, sent.
    #[schema(value_type = Option<DateTime<Utc>>)]
    sent_at: Option<Option<DateTime<Utc>>>,
    /// The link leads nowhere after so many clicks. Clicks that were recorded already count.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
    max_clicks: Option<Option<u32>>,
    /// What a visitor has to know. Write only.
    #[schema(value_type = Option<String>, write_only, max_length = 128)]
    pub password: Option<Option<TypedPassword>>,
    /// What messengers show of the link; all of it.
    #[schema(value_type = Option<PreviewText>)]
    preview: Option<Option<LinkPreview>>,
}

impl FromFields for LinkChange {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            url: fields.change("url", link_fields::destination),
            campaign_id: fields.change_or_clear("campaign_id", label),
            conversation_id: fields.change_or_clear("conversation_id", label),
            contact_id: fields.change_or_clear("contact_id", label),
            message_id: fields.change_or_clear("message_id", label),
            channel: fields.change_or_clear("channel", label),
            sequence_id: fields.change_or_clear("sequence_id", label),
            step_id: fields.change_or_clear("step_id", label),
            external_id: fields.change_or_clear("external_id", external_id),
            tags: fields.change("tags", tags),
            metadata: fields.change("metadata", metadata),
            starts_at: fields.change_or_clear("starts_at", moment),
            expires_at: fields.change_or_clear("expires_at", moment),
            expired_url: fields.change_or_clear("expired_url", parsed),
            enabled: fields.change("enabled", boolean),
            tracking: fields.change("tracking", word(TRACKINGS)),
            status_code: fields.change("status_code", status_code),
            query_mode: fields.change("query_mode", word(QUERY_MODES)),
            utm: fields.change_or_clear("utm", link_fields::utm),
            sent_at: fields.change_or_clear("sent_at", moment),
            max_clicks: fields.change_or_clear("max_clicks", number::<1, MAX_CLICKS_MAX>),
            password: fields.change_or_clear("password", link_fields::password),
            preview: fields.change_or_clear("preview", link_fields::preview),
        })
    }
}

impl LinkChange {
    /// A change of nothing but whether the link leads anywhere.
    pub fn enable(enabled: bool) -> Self {
        Self { enabled: Some(enabled), ..Self::default() }
    }

    /// Whether the link is to lead nowhere after so many clicks.
    pub fn limits_clicks(&self) -> bool {
        self.max_clicks.flatten().is_some()
    }

    /// Changes what it names, but for the password: that takes its time.
    pub fn apply(self, options: &mut LinkOptions) {
        fn set<T>(place: &mut T, change: Option<T>) {
            if let Some(value) = change {
                *place = value;
            }
        }
        set(&mut options.original_url, self.url);
        set(&mut options.labels.campaign_id, self.campaign_id);
        set(&mut options.labels.conversation_id, self.conversation_id);
        set(&mut options.labels.contact_id, self.contact_id);
        set(&mut options.labels.message_id, self.message_id);
        set(&mut options.labels.channel, self.channel);
        set(&mut options.labels.sequence_id, self.sequence_id);
        set(&mut options.labels.step_id, self.step_id);
        set(&mut options.labels.external_id, self.external_id);
        set(&mut options.labels.tags, self.tags);
        set(&mut options.labels.metadata, self.metadata);
        set(&mut options.starts_at, self.starts_at);
        set(&mut options.expires_at, self.expires_at);
        set(&mut options.expired_url, self.expired_url);
        set(&mut options.enabled, self.enabled);
        set(&mut options.tracking, self.tracking);
        set(&mut options.status_code, self.status_code);
        set(&mut options.query_mode, self.query_mode);
        set(&mut options.utm, self.utm.map(Option::unwrap_or_default));
        set(&mut options.sent_at, self.sent_at);
        set(&mut options.max_clicks, self.max_clicks);
        set(&mut options.preview, self.preview);
    }
}
