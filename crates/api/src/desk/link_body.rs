//! What a request says of a link: a new one, or a change of one.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use utoipa::ToSchema;

use model::link::{LinkLabels, QueryMode, RedirectStatus, Tracking};
use model::{DestinationUrl, Host, Slug};
use store::links::LinkOptions;

use crate::fields::{self, Fields, FromFields, Wrong, boolean, invalid, moment, parsed, text, word};

/// Longest label, in characters.
pub const LABEL_CHARS_MAX: usize = 128;
/// Longest external id, in characters.
pub const EXTERNAL_ID_CHARS_MAX: usize = 255;
/// Most tags of a link.
pub const TAGS_MAX: usize = 20;
/// Longest tag, in characters.
pub const TAG_CHARS_MAX: usize = 50;
/// Most pairs of metadata.
pub const METADATA_PAIRS_MAX: usize = 16;
/// Most bytes of metadata, names and values together.
pub const METADATA_BYTES_MAX: usize = 1024;

const QUERY_MODES: &[(&str, QueryMode)] =
    &[("fill_missing", QueryMode::FillMissing), ("drop", QueryMode::Drop)];
const TRACKINGS: &[(&str, Tracking)] = &[("inherit", Tracking::Inherit), ("off", Tracking::Off)];

/// A link to be made. Only `url` is required.
#[derive(Debug, ToSchema)]
pub struct NewLink {
    /// Where the link leads: http or https, at most 8 KiB, not one of your own tracked links.
    #[schema(value_type = String, example = "https://example.com/offer")]
    url: DestinationUrl,
    /// Its name: letters, digits, `-`, `_` and `.`, at most 100 characters; compared in lower case. Default: 9 random characters.
    #[schema(value_type = Option<String>, example = "spring-sale")]
    slug: Option<Slug>,
    /// One of your domains. Default: the default one.
    #[schema(value_type = Option<String>, example = "go.example.com")]
    domain: Option<Host>,
    /// Campaign the link is sent in; at most 128 characters, like every label.
    campaign_id: Option<String>,
    /// Conversation the link is sent in.
    conversation_id: Option<String>,
    /// Who the link is sent to.
    contact_id: Option<String>,
    /// Message the link is sent in.
    message_id: Option<String>,
    /// `sms`, `email`, `whatsapp`, ….
    channel: Option<String>,
    /// Your own id of the link, unique in the workspace; at most 255 characters.
    external_id: Option<String>,
    /// At most 20 words of at most 50 characters.
    tags: Option<Vec<String>>,
    /// At most 16 pairs of strings, 1 KiB together.
    metadata: Option<BTreeMap<String, String>>,
    /// The link leads nowhere before.
    starts_at: Option<DateTime<Utc>>,
    /// The link leads nowhere from then on.
    expires_at: Option<DateTime<Utc>>,
    /// Where visitors go while the link leads nowhere. Default: the workspace's fallback URL, else a small page.
    #[schema(value_type = Option<String>)]
    expired_url: Option<DestinationUrl>,
    /// Whether the link leads anywhere. Default: true.
    enabled: Option<bool>,
    /// `inherit` (default): clicks are recorded if the workspace records any. `off`: it redirects and records nothing.
    #[schema(value_type = Option<String>, example = "inherit")]
    tracking: Option<Tracking>,
    /// 302 (default), 307, 301 or 308. Browsers keep 301 and 308, so that later clicks are not seen.
    #[schema(value_type = Option<u16>, example = 302)]
    status_code: Option<RedirectStatus>,
    /// `fill_missing` (default): parameters of the visit are added unless the URL has them. `drop`: they are not.
    #[schema(value_type = Option<String>, example = "fill_missing")]
    query_mode: Option<QueryMode>,
}

/// A change of a link: what is left out stays as it is, `null` empties. Slug and domain never change.
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
    /// `inherit` or `off`.
    #[schema(value_type = Option<String>)]
    tracking: Option<Tracking>,
    /// 302, 307, 301 or 308.
    #[schema(value_type = Option<u16>)]
    status_code: Option<RedirectStatus>,
    /// `fill_missing` or `drop`.
    #[schema(value_type = Option<String>)]
    query_mode: Option<QueryMode>,
}

impl FromFields for NewLink {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let url = fields.required("url", parsed);
        let new = Self {
            slug: fields.optional("slug", parsed),
            domain: fields.optional("domain", parsed),
            campaign_id: fields.optional("campaign_id", label),
            conversation_id: fields.optional("conversation_id", label),
            contact_id: fields.optional("contact_id", label),
            message_id: fields.optional("message_id", label),
            channel: fields.optional("channel", label),
            external_id: fields.optional("external_id", text::<EXTERNAL_ID_CHARS_MAX>),
            tags: fields.optional("tags", tags),
            metadata: fields.optional("metadata", metadata),
            starts_at: fields.optional("starts_at", moment),
            expires_at: fields.optional("expires_at", moment),
            expired_url: fields.optional("expired_url", parsed),
            enabled: fields.optional("enabled", boolean),
            tracking: fields.optional("tracking", word(TRACKINGS)),
            status_code: fields.optional("status_code", status_code),
            query_mode: fields.optional("query_mode", word(QUERY_MODES)),
            url: url?,
        };
        check_times(fields, new.starts_at, new.expires_at);
        Some(new)
    }
}

impl FromFields for LinkChange {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            url: fields.change("url", parsed),
            campaign_id: fields.change_or_clear("campaign_id", label),
            conversation_id: fields.change_or_clear("conversation_id", label),
            contact_id: fields.change_or_clear("contact_id", label),
            message_id: fields.change_or_clear("message_id", label),
            channel: fields.change_or_clear("channel", label),
            external_id: fields.change_or_clear("external_id", text::<EXTERNAL_ID_CHARS_MAX>),
            tags: fields.change("tags", tags),
            metadata: fields.change("metadata", metadata),
            starts_at: fields.change_or_clear("starts_at", moment),
            expires_at: fields.change_or_clear("expires_at", moment),
            expired_url: fields.change_or_clear("expired_url", parsed),
            enabled: fields.change("enabled", boolean),
            tracking: fields.change("tracking", word(TRACKINGS)),
            status_code: fields.change("status_code", status_code),
            query_mode: fields.change("query_mode", word(QUERY_MODES)),
        })
    }
}

fn label(value: &Value) -> Result<String, Wrong> {
    text::<LABEL_CHARS_MAX>(value)
}

fn tags(value: &Value) -> Result<Vec<String>, Wrong> {
    fields::list(TAGS_MAX, text::<TAG_CHARS_MAX>)(value)
}

fn metadata(value: &Value) -> Result<BTreeMap<String, String>, Wrong> {
    let pairs = fields::pairs(value)?;
    if pairs.len() > METADATA_PAIRS_MAX {
        return Err(invalid(format_args!("must have at most {METADATA_PAIRS_MAX} pairs")));
    }
    let size: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > METADATA_BYTES_MAX {
        return Err(invalid(format_args!(
            "must be at most {METADATA_BYTES_MAX} bytes, names and values together"
        )));
    }
    if pairs.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
        return Err(invalid("must not contain the character U+0000"));
    }
    Ok(pairs)
}

fn status_code(value: &Value) -> Result<RedirectStatus, Wrong> {
    let code = fields::number::<301, 308>(value)?;
    let code = u16::try_from(code).map_err(invalid)?;
    RedirectStatus::try_from(code).map_err(invalid)
}

fn check_times(fields: &mut Fields<'_>, starts_at: Option<DateTime<Utc>>, expires_at: Option<DateTime<Utc>>) {
    if starts_at.zip(expires_at).is_some_and(|(starts_at, expires_at)| expires_at <= starts_at) {
        fields.refuse("expires_at", invalid("must be later than `starts_at`"));
    }
}

impl NewLink {
    /// Slug and domain, if it names them, and the rest with what is usual filled in.
    pub fn into_parts(self) -> (Option<Slug>, Option<Host>, LinkOptions) {
        let options = LinkOptions {
            original_url: self.url,
            labels: LinkLabels {
                external_id: self.external_id,
                campaign_id: self.campaign_id,
                conversation_id: self.conversation_id,
                contact_id: self.contact_id,
                message_id: self.message_id,
                channel: self.channel,
                tags: self.tags.unwrap_or_default(),
                metadata: self.metadata.unwrap_or_default(),
            },
            status_code: self.status_code.unwrap_or_default(),
            query_mode: self.query_mode.unwrap_or_default(),
            tracking: self.tracking.unwrap_or_default(),
            enabled: self.enabled.unwrap_or(true),
            starts_at: self.starts_at,
            expires_at: self.expires_at,
            expired_url: self.expired_url,
        };
        (self.slug, self.domain, options)
    }
}

impl LinkChange {
    /// A change of nothing but whether the link leads anywhere.
    pub fn enable(enabled: bool) -> Self {
        Self { enabled: Some(enabled), ..Self::default() }
    }

    /// Changes what it names.
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
    }
}
