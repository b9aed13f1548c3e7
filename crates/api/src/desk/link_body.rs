//! What a request says of a new link.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use utoipa::ToSchema;

use model::link::{LinkKind, LinkLabels, LinkPreview, QueryMode, RedirectStatus, Tracking};
use model::{DestinationUrl, Host, TypedSlug, Utm};
use store::links::LinkOptions;

use super::link_fields::{
    self, KINDS, MAX_CLICKS_MAX, QUERY_MODES, TRACKINGS, external_id, label, metadata, status_code, tags,
};
use super::passwords::TypedPassword;
use crate::fields::{Fields, FromFields, boolean, moment, number, parsed, word};

/// A link to be made. Only `url` is required.
#[derive(Debug, ToSchema)]
pub struct NewLink {
    /// Where the link leads: http or https, at most 8 KiB, not one of your own tracked links, and nowhere that whoever runs this
    /// server has blocked. Also `mailto:`, `tel:` or the URL of an
    /// app, once the link settings name its scheme in `app_schemes`; such a URL gets no campaign parameters, and nothing of the
    /// visitor's query.
    #[schema(value_type = String, example = "https://example.com/offer")]
    url: DestinationUrl,
    /// Its name: letters of one script, digits, `-`, `_` and `.`, at most 100 characters; compared in lower case, unless the
    /// domain's `case` is `sensitive`. Default: 9 random characters, 12 for a link of kind `message`.
    #[schema(value_type = Option<String>, example = "spring-sale")]
    slug: Option<TypedSlug>,
    /// One of your domains. Default: the default one.
    #[schema(value_type = Option<String>, example = "go.example.com")]
    domain: Option<Host>,
    /// `shareable`: for anybody, it may be passed on. `message`: for one recipient of one message. `honeypot`: for
    /// nobody, hidden in a message so that who follows it is a machine. Default: `message` when
    /// `contact_id`, `conversation_id` or `message_id` is given, else `shareable`. It never changes.
    #[schema(value_type = Option<String>, example = "shareable")]
    kind: Option<LinkKind>,
    /// Campaign the link is sent in; at most 128 characters without white space around them, like every
    /// label.
    campaign_id: Option<String>,
    /// Conversation the link is sent in.
    conversation_id: Option<String>,
    /// Who the link is sent to.
    contact_id: Option<String>,
    /// Message the link is sent in.
    message_id: Option<String>,
    /// `sms`, `email`, `whatsapp`, ….
    channel: Option<String>,
    /// Sequence of messages the link is sent in.
    sequence_id: Option<String>,
    /// Step of that sequence.
    step_id: Option<String>,
    /// Your own id of the link, unique in the workspace; at most 255 characters.
    external_id: Option<String>,
    /// At most 20 words of at most 50 characters, without `,` in them.
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
    /// `inherit` (default): clicks are recorded as the link settings say of the campaign, else of the channel, else of all links.
    /// `full`: they are recorded whatever campaign and channel say, if the workspace records any. `anonymous`: so they are, without
    /// what tells who it was (address, User-Agent, contact, conversation, message). `off`: it redirects and records nothing.
    #[schema(value_type = Option<String>, example = "inherit")]
    tracking: Option<Tracking>,
    /// 302 (default), 307, 301 or 308. Browsers keep 301 and 308, so that later clicks are not seen: such a link undercounts.
    #[schema(value_type = Option<u16>, example = 302)]
    status_code: Option<RedirectStatus>,
    /// What becomes of the parameters of a visit. `fill_missing` (default): they are added unless the URL has them. `drop`: they
    /// are not. `append`: all are added, also those that the URL has. `override`: they take the place of the URL's.
    #[schema(value_type = Option<String>, example = "fill_missing")]
    query_mode: Option<QueryMode>,
    /// Campaign parameters that the URL gets on the way; at most 128 characters each.
    #[schema(value_type = Option<UtmText>)]
    utm: Option<Utm>,
    /// When the message with the link is, or was, sent; each click carries it on the bus.
    sent_at: Option<DateTime<Utc>>,
    /// The link leads nowhere after so many clicks, 1 to 1,000,000. Clicks of previews, scanners and other machines do not
    /// count, nor do those that are not recorded. It is a soft limit: clicks within about a second after the last one still
    /// pass. With 1, visitors are shown a page with a button first, and pressing it is the click: who merely looks does not use
    /// the link up. Such a click comes from that page, so that its `referrer` is `null`. Honeypots show no page.
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_clicks: Option<u32>,
    /// What a visitor has to know, 1 to 128 characters. Write only: it is kept as a hash, and shown as `has_password`.
    #[schema(value_type = Option<String>, write_only, max_length = 128)]
    password: Option<TypedPassword>,
    /// What messengers show of the link in place of what its destination says.
    #[schema(value_type = Option<PreviewText>)]
    preview: Option<LinkPreview>,
}

/// Campaign parameters of a link: `source` becomes `utm_source`, and so on. What the URL has of them already is replaced.
#[derive(ToSchema)]
#[schema(as = Utm)]
#[expect(dead_code, reason = "describes `utm` for the OpenAPI document")]
pub struct UtmText {
    /// Who sent the visitor.
    source: Option<String>,
    /// By which means.
    medium: Option<String>,
    /// For which campaign.
    campaign: Option<String>,
    /// For which word.
    term: Option<String>,
    /// Which of several links of one message.
    content: Option<String>,
    /// Id of the campaign.
    id: Option<String>,
}

/// What messengers show of a link. Programs that fetch previews get it as a page that leads nowhere; people are redirected.
#[derive(ToSchema)]
#[schema(as = Preview)]
#[expect(dead_code, reason = "describes `preview` for the OpenAPI document")]
pub struct PreviewText {
    /// The headline, at most 200 characters.
    #[schema(max_length = 200)]
    title: String,
    /// What stands below it, at most 500 characters.
    #[schema(max_length = 500)]
    description: Option<String>,
    /// A picture: http or https, at most 8 KiB.
    image_url: Option<String>,
}

/// A link as it is wanted, with what is usual filled in.
pub struct Wanted {
    /// Its name, unless one is to be drawn.
    pub slug: Option<TypedSlug>,
    /// Where it is served, unless that is the default domain.
    pub domain: Option<Host>,
    /// The kind, if one was named.
    pub kind: Option<LinkKind>,
    /// What a visitor has to know; not in `options` yet, since hashing takes its time.
    pub password: Option<TypedPassword>,
    /// The rest.
    pub options: LinkOptions,
}

impl FromFields for NewLink {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let url = fields.required("url", link_fields::destination);
        let new = Self {
            slug: fields.optional("slug", link_fields::slug),
            domain: fields.optional("domain", parsed),
            kind: fields.optional("kind", word(KINDS)),
            campaign_id: fields.optional("campaign_id", label),
            conversation_id: fields.optional("conversation_id", label),
            contact_id: fields.optional("contact_id", label),
            message_id: fields.optional("message_id", label),
            channel: fields.optional("channel", label),
            sequence_id: fields.optional("sequence_id", label),
            step_id: fields.optional("step_id", label),
            external_id: fields.optional("external_id", external_id),
            tags: fields.optional("tags", tags),
            metadata: fields.optional("metadata", metadata),
            starts_at: fields.optional("starts_at", moment),
            expires_at: fields.optional("expires_at", moment),
            expired_url: fields.optional("expired_url", parsed),
            enabled: fields.optional("enabled", boolean),
            tracking: fields.optional("tracking", word(TRACKINGS)),
            status_code: fields.optional("status_code", status_code),
            query_mode: fields.optional("query_mode", word(QUERY_MODES)),
            utm: fields.optional("utm", link_fields::utm),
            sent_at: fields.optional("sent_at", moment),
            max_clicks: fields.optional("max_clicks", number::<1, MAX_CLICKS_MAX>),
            password: fields.optional("password", link_fields::password),
            preview: fields.optional("preview", link_fields::preview),
            url: url?,
        };
        let utm = new.utm.clone().unwrap_or_default();
        for (name, wrong) in link_fields::broken(Some(&new.url), &utm, new.starts_at, new.expires_at) {
            fields.refuse(name, wrong);
        }
        Some(new)
    }
}

impl NewLink {
    /// Whether visitors will be asked for a password, which takes time to hash.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// What it asks for, with what is usual filled in.
    pub fn into_wanted(self) -> Wanted {
        let is_to_one =
            self.contact_id.is_some() || self.conversation_id.is_some() || self.message_id.is_some();
        let usual = if is_to_one { LinkKind::Message } else { LinkKind::Shareable };
        let options = LinkOptions {
            kind: self.kind.unwrap_or(usual),
            utm: self.utm.unwrap_or_default(),
            labels: LinkLabels {
                external_id: self.external_id,
                campaign_id: self.campaign_id,
                conversation_id: self.conversation_id,
                contact_id: self.contact_id,
                message_id: self.message_id,
                channel: self.channel,
                sequence_id: self.sequence_id,
                step_id: self.step_id,
                tags: self.tags.unwrap_or_default(),
                metadata: self.metadata.unwrap_or_default(),
            },
            sent_at: self.sent_at,
            status_code: self.status_code.unwrap_or_default(),
            query_mode: self.query_mode.unwrap_or_default(),
            tracking: self.tracking.unwrap_or_default(),
            enabled: self.enabled.unwrap_or(true),
            starts_at: self.starts_at,
            expires_at: self.expires_at,
            max_clicks: self.max_clicks,
            expired_url: self.expired_url,
            preview: self.preview,
            ..LinkOptions::to(self.url)
        };
        Wanted { slug: self.slug, domain: self.domain, kind: self.kind, password: self.password, options }
    }
}
