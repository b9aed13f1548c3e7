//! Tracked links: make, find, change, put away.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use utoipa::ToSchema;

use bus::{Changed, Table};
use model::link::{LinkLabels, QueryMode, RedirectStatus, Tracking};
use model::{DestinationUrl, Host, LinkId, Slug};
use store::links::{self, Insertion, Link, LinkFilter, LinkOptions};
use store::{AsyncConnection as _, Connection, domains};

use super::{Change, announce, check_match, now};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields::{self, Fields, FromFields, Wrong, boolean, invalid, moment, parsed, text, word};
use crate::page::PageRequest;

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

/// How often a generated slug is drawn again when it is taken; one in 2.6e13 is, for each link there is.
const SLUG_DRAWS_MAX: usize = 5;

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
        return Err(invalid(format_args!("must be at most {METADATA_BYTES_MAX} bytes, names and values together")));
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
    fn into_parts(self) -> (Option<Slug>, Option<Host>, LinkOptions) {
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

    fn apply(self, options: &mut LinkOptions) {
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

/// Makes a link.
///
/// # Errors
/// When the slug or the external id is taken, the domain is not the workspace's, or the URL would be a loop.
pub async fn create(shared: &Shared, caller: &Caller, new: NewLink) -> Result<Link, ApiError> {
    let now = now();
    let (slug, host, options) = new.into_parts();
    let mut conn = shared.pool.get().await?;
    let link = conn
        .transaction::<_, ApiError, _>(async |conn| {
            check_destinations(shared, conn, &options).await?;
            let domain = match &host {
                Some(host) => domains::find_by_host(conn, caller.workspace_id, host).await?.ok_or_else(|| {
                    ApiError::field("/domain", "invalid", format!("`{host}` is not a domain of this workspace"))
                })?,
                None => domains::default(conn, caller.workspace_id).await?.ok_or_else(no_domain)?,
            };
            let id = LinkId::generate_at(now);
            let mut draws = 0;
            loop {
                let drawn = slug.clone().unwrap_or_else(Slug::generate);
                match links::insert(conn, caller.workspace_id, id, domain.id, &drawn, &options, now).await? {
                    Insertion::Inserted => break,
                    Insertion::ExternalIdTaken => return Err(external_id_taken()),
                    Insertion::SlugTaken if slug.is_none() && draws < SLUG_DRAWS_MAX => draws += 1,
                    Insertion::SlugTaken => {
                        return Err(ApiError::Conflict {
                            code: "slug_taken",
                            pointer: Some("/slug"),
                            detail: format!("`{drawn}` is in use under {}, or was", domain.host),
                        });
                    }
                }
            }
            let link = links::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
            announce(conn, change(caller, now, "link.created", &link)).await?;
            Ok(link)
        })
        .await?;
    drop(conn);
    notify(shared, caller, &link).await;
    Ok(link)
}

/// The workspace's link with this id, archived or not.
///
/// # Errors
/// When there is none.
pub async fn find(shared: &Shared, caller: &Caller, id: LinkId) -> Result<Link, ApiError> {
    let mut conn = shared.pool.get().await?;
    links::find(&mut conn, caller.workspace_id, id).await?.ok_or(ApiError::NotFound("link"))
}

/// One page of the workspace's links and one row more.
///
/// # Errors
/// When the database is away.
pub async fn list(
    shared: &Shared,
    caller: &Caller,
    filter: &LinkFilter,
    page: &PageRequest<LinkId>,
) -> Result<Vec<Link>, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(links::list(&mut conn, caller.workspace_id, filter, page.before, page.rows()).await?)
}

/// Changes a link; its revision counts up.
///
/// # Errors
/// When it is not there, has another revision, or the change breaks a rule.
pub async fn update(
    shared: &Shared,
    caller: &Caller,
    id: LinkId,
    if_match: Option<&str>,
    wanted: LinkChange,
) -> Result<Link, ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    let link = conn
        .transaction::<_, ApiError, _>(async |conn| {
            if !links::lock(conn, caller.workspace_id, id).await? {
                return Err(ApiError::NotFound("link"));
            }
            let link = links::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
            check_match(if_match, link.revision)?;
            let mut options = link.options;
            wanted.apply(&mut options);
            if options.starts_at.zip(options.expires_at).is_some_and(|(starts, expires)| expires <= starts) {
                return Err(ApiError::field("/expires_at", "invalid", "must be later than `starts_at`"));
            }
            check_destinations(shared, conn, &options).await?;
            if let Some(external_id) = &options.labels.external_id {
                let holder = links::find_by_external_id(conn, caller.workspace_id, external_id).await?;
                if holder.is_some_and(|holder| holder != id) {
                    return Err(external_id_taken());
                }
            }
            // someone else may have taken the external id since it was looked up
            links::update(conn, caller.workspace_id, id, &options, now).await.map_err(|error| {
                if store::is_taken(&error) { external_id_taken() } else { error.into() }
            })?;
            let link = links::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
            announce(conn, change(caller, now, "link.updated", &link)).await?;
            Ok(link)
        })
        .await?;
    drop(conn);
    notify(shared, caller, &link).await;
    Ok(link)
}

/// Puts a link away; its slug is never given out again.
///
/// # Errors
/// When it is not there, or has another revision.
pub async fn archive(
    shared: &Shared,
    caller: &Caller,
    id: LinkId,
    if_match: Option<&str>,
) -> Result<(), ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    let link = conn
        .transaction::<_, ApiError, _>(async |conn| {
            if !links::lock(conn, caller.workspace_id, id).await? {
                return Err(ApiError::NotFound("link"));
            }
            let link = links::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
            check_match(if_match, link.revision)?;
            links::archive(conn, caller.workspace_id, id, now).await?;
            announce(conn, change(caller, now, "link.archived", &link)).await?;
            Ok(link)
        })
        .await?;
    drop(conn);
    notify(shared, caller, &link).await;
    Ok(())
}

/// The URL that is sent to people: under `links.public_url` if that has the link's host, else under its host alone.
pub fn tracked_url(shared: &Shared, link: &Link) -> String {
    let public_url = &shared.public_url;
    let mut url = public_url.clone();
    let path = if public_url.host_str() == Some(link.host.as_str()) {
        format!("{}/{}", public_url.path().trim_end_matches('/'), link.slug)
    } else {
        let is_moved = url.set_host(Some(link.host.as_str())).is_ok() && url.set_port(None).is_ok();
        debug_assert!(is_moved, "a host is one");
        format!("/{}", link.slug)
    };
    url.set_path(&path);
    url.into()
}

/// Refuses a destination under which links are served: it could lead back to itself.
pub async fn check_loop(
    shared: &Shared,
    conn: &mut Connection,
    pointer: &str,
    url: &DestinationUrl,
) -> Result<(), ApiError> {
    let own = &shared.public_url;
    let is_public_url = url.url().host() == own.host() && url.url().port_or_known_default() == own.port_or_known_default();
    // where the default domain is a machine's own name, other ports of it are other things
    let is_same_host = url.url().host() == own.host();
    let host: Option<Host> = url.url().host_str().and_then(|host| host.parse().ok());
    let is_served = match host {
        Some(host) if !is_same_host => domains::is_served(conn, &host).await?,
        _ => false,
    };
    if is_public_url || is_served {
        return Err(ApiError::field(pointer, "loop", "leads to a tracked link: visitors could go round in circles"));
    }
    Ok(())
}

async fn check_destinations(shared: &Shared, conn: &mut Connection, options: &LinkOptions) -> Result<(), ApiError> {
    check_loop(shared, conn, "/url", &options.original_url).await?;
    if let Some(url) = &options.expired_url {
        check_loop(shared, conn, "/expired_url", url).await?;
    }
    Ok(())
}

fn change<'a>(caller: &'a Caller, now: DateTime<Utc>, action: &'a str, link: &Link) -> Change<'a> {
    let details = json!({
        "domain": link.host,
        "slug": link.slug,
        "original_url": link.options.original_url,
        "revision": link.revision,
        "enabled": link.options.enabled,
    });
    Change { caller, now, action, subject: link.id.to_string(), details }
}

async fn notify(shared: &Shared, caller: &Caller, link: &Link) {
    let keys = vec![format!("{}/{}", link.host, link.slug)];
    shared.bus.notify(&Changed { table: Table::Links, workspace_id: caller.workspace_id, keys }).await;
}

fn no_domain() -> ApiError {
    ApiError::Conflict {
        code: "no_domain",
        pointer: None,
        detail: "the workspace has no domain yet: add one with POST /v1/domains".to_owned(),
    }
}

fn external_id_taken() -> ApiError {
    ApiError::Conflict {
        code: "external_id_taken",
        pointer: Some("/external_id"),
        detail: "another link of this workspace has this external id".to_owned(),
    }
}

fn vanished() -> ApiError {
    ApiError::Internal(anyhow::anyhow!("a row that is locked by this transaction was not found"))
}
