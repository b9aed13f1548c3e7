//! The columns of a link that people set, and how they are read and written.

use std::collections::BTreeMap;
use std::error::Error;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use uuid::Uuid;

use model::link::{LinkKind, LinkLabels, QueryMode, RedirectStatus, Tracking};
use model::{DestinationUrl, PasswordHash, WorkspaceId};

use crate::link_import::NewLink;
use crate::links::LinkOptions;
use crate::schema::links;
use crate::{QueryError, QueryResult};

#[derive(Queryable, Selectable)]
#[diesel(table_name = links)]
pub(crate) struct Row {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub slug: String,
    pub revision: i32,
    pub created_by: Option<String>,
    pub counted_clicks: i32,
    pub exhausted_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub archived_at: Option<DateTime<Utc>>,
    pub blocked_at: Option<DateTime<Utc>>,
    #[diesel(embed)]
    pub options: OptionsRow,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = links)]
pub(crate) struct OptionsRow {
    kind: String,
    original_url: String,
    utm: serde_json::Value,
    external_id: Option<String>,
    campaign_id: Option<String>,
    conversation_id: Option<String>,
    contact_id: Option<String>,
    message_id: Option<String>,
    channel: Option<String>,
    sequence_id: Option<String>,
    step_id: Option<String>,
    tags: Vec<String>,
    metadata: serde_json::Value,
    sent_at: Option<DateTime<Utc>>,
    status_code: i16,
    query_mode: String,
    tracking: String,
    enabled: bool,
    starts_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    max_clicks: Option<i32>,
    password_hash: Option<String>,
    expired_url: Option<String>,
    preview: Option<serde_json::Value>,
}

impl OptionsRow {
    pub(crate) fn read(self) -> QueryResult<LinkOptions> {
        let metadata: BTreeMap<String, String> =
            serde_json::from_value(self.metadata).map_err(unreadable("metadata"))?;
        let status_code = u16::try_from(self.status_code).map_err(unreadable("status_code"))?;
        let kind = LinkKind::ALL.into_iter().find(|kind| kind.as_str() == self.kind);
        let query_mode = QueryMode::ALL.into_iter().find(|mode| mode.as_str() == self.query_mode);
        Ok(LinkOptions {
            // a word of a newer release counts as the default
            kind: kind.unwrap_or_default(),
            original_url: DestinationUrl::of_any_scheme(&self.original_url)
                .map_err(unreadable("original_url"))?,
            utm: serde_json::from_value(self.utm).map_err(unreadable("utm"))?,
            labels: LinkLabels {
                external_id: self.external_id,
                campaign_id: self.campaign_id,
                conversation_id: self.conversation_id,
                contact_id: self.contact_id,
                message_id: self.message_id,
                channel: self.channel,
                sequence_id: self.sequence_id,
                step_id: self.step_id,
                tags: self.tags,
                metadata,
            },
            sent_at: self.sent_at,
            status_code: RedirectStatus::try_from(status_code).map_err(unreadable("status_code"))?,
            query_mode: query_mode.unwrap_or_default(),
            tracking: Tracking::of_kept(&self.tracking),
            enabled: self.enabled,
            starts_at: self.starts_at,
            expires_at: self.expires_at,
            max_clicks: self.max_clicks.map(u32::try_from).transpose().map_err(unreadable("max_clicks"))?,
            password: self
                .password_hash
                .as_deref()
                .map(PasswordHash::from_kept)
                .transpose()
                .map_err(unreadable("password_hash"))?,
            expired_url: self
                .expired_url
                .as_deref()
                .map(str::parse)
                .transpose()
                .map_err(unreadable("expired_url"))?,
            preview: self.preview.map(serde_json::from_value).transpose().map_err(unreadable("preview"))?,
        })
    }
}

/// A column that does not hold what it should: someone must have written past us.
#[derive(Debug, thiserror::Error)]
#[error("column {column} cannot be read")]
struct Unreadable {
    column: &'static str,
    source: Box<dyn Error + Send + Sync>,
}

pub(crate) fn unreadable<E>(column: &'static str) -> impl FnOnce(E) -> QueryError
where
    E: Error + Send + Sync + 'static,
{
    move |error| QueryError::DeserializationError(Box::new(Unreadable { column, source: Box::new(error) }))
}

/// The options as columns, but for the kind, which stays as it was made. Borrowing from `options`, with owned values for what
/// is JSON.
#[derive(AsChangeset, Insertable)]
#[diesel(table_name = links)]
#[diesel(treat_none_as_null = true)]
pub(crate) struct Values<'a> {
    original_url: &'a str,
    utm: serde_json::Value,
    external_id: Option<&'a str>,
    campaign_id: Option<&'a str>,
    conversation_id: Option<&'a str>,
    contact_id: Option<&'a str>,
    message_id: Option<&'a str>,
    channel: Option<&'a str>,
    sequence_id: Option<&'a str>,
    step_id: Option<&'a str>,
    tags: &'a [String],
    metadata: serde_json::Value,
    sent_at: Option<DateTime<Utc>>,
    status_code: i16,
    query_mode: &'a str,
    tracking: &'a str,
    enabled: bool,
    starts_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    max_clicks: Option<i32>,
    password_hash: Option<&'a str>,
    expired_url: Option<&'a str>,
    preview: Option<serde_json::Value>,
    updated_at: DateTime<Utc>,
}

/// A new row. Borrowing from `new`.
#[derive(Insertable)]
#[diesel(table_name = links)]
pub(crate) struct NewRow<'a> {
    id: Uuid,
    workspace_id: Uuid,
    domain_id: Uuid,
    slug: &'a str,
    kind: &'a str,
    created_by: &'a str,
    created_at: DateTime<Utc>,
    #[diesel(embed)]
    values: Values<'a>,
}

pub(crate) fn made<'a>(workspace_id: WorkspaceId, new: &NewLink<'a>, now: DateTime<Utc>) -> NewRow<'a> {
    NewRow {
        id: new.id.uuid(),
        workspace_id: workspace_id.uuid(),
        domain_id: new.domain_id.uuid(),
        slug: new.slug.as_str(),
        kind: new.options.kind.as_str(),
        created_by: new.created_by,
        created_at: now,
        values: values(new.options, now),
    }
}

pub(crate) fn values(options: &LinkOptions, now: DateTime<Utc>) -> Values<'_> {
    let labels = &options.labels;
    let pairs = labels.metadata.iter().map(|(name, value)| (name.clone(), value.clone().into()));
    let utm = options.utm.pairs().map(|(name, value)| (name["utm_".len()..].to_owned(), value.into()));
    Values {
        original_url: options.original_url.as_str(),
        utm: serde_json::Value::Object(utm.collect()),
        external_id: labels.external_id.as_deref(),
        campaign_id: labels.campaign_id.as_deref(),
        conversation_id: labels.conversation_id.as_deref(),
        contact_id: labels.contact_id.as_deref(),
        message_id: labels.message_id.as_deref(),
        channel: labels.channel.as_deref(),
        sequence_id: labels.sequence_id.as_deref(),
        step_id: labels.step_id.as_deref(),
        tags: &labels.tags,
        metadata: serde_json::Value::Object(pairs.collect()),
        sent_at: options.sent_at,
        // 301 to 308
        status_code: options.status_code.code().cast_signed(),
        query_mode: options.query_mode.as_str(),
        tracking: options.tracking.as_str(),
        enabled: options.enabled,
        starts_at: options.starts_at,
        expires_at: options.expires_at,
        max_clicks: options.max_clicks.map(|max| i32::try_from(max).unwrap_or(i32::MAX)),
        password_hash: options.password.as_ref().map(PasswordHash::as_str),
        expired_url: options.expired_url.as_ref().map(DestinationUrl::as_str),
        preview: options.preview.as_ref().map(|preview| {
            serde_json::json!({
                "title": preview.title,
                "description": preview.description,
                "image_url": preview.image_url,
            })
        }),
        updated_at: now,
    }
}
