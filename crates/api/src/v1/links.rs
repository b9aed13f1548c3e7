//! `/v1/links`: tracked links.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, put};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use model::link::LinkPreview;
use model::{LinkId, Utm};
use store::link_state::LinkState;
use store::links::{Link, LinkFilter};
use store::settings::LinkSettings;

use super::conditional::tagged;
use super::{done, if_match, time};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Body, Query, path_id};
use crate::desk;
use crate::desk::idempotency::IdempotencyKey;
use crate::desk::link_body::{NewLink, PreviewText, UtmText};
use crate::desk::link_change::LinkChange;
use crate::desk::link_fields;
use crate::desk::link_upsert::{self, Upserted};
use crate::desk::links::{self, tracked_url};
use crate::desk::{settings, tracking};
use crate::error::{ApiError, Problem};
use crate::fields::{Fields, FromFields, parsed, text, word};
use crate::page::{Page, PageRequest};

/// A tracked link.
#[derive(Serialize, ToSchema)]
pub struct LinkView {
    #[schema(example = "lnk_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    pub(super) id: String,
    /// What to send to people.
    #[schema(example = "https://go.example.com/k7m2xq9ra")]
    pub(super) tracked_url: String,
    /// Where it leads.
    #[schema(example = "https://example.com/offer")]
    pub(super) url: String,
    pub(super) domain: String,
    pub(super) slug: String,
    /// `shareable`, `message` or `honeypot`.
    pub(super) kind: &'static str,
    pub(super) campaign_id: Option<String>,
    pub(super) conversation_id: Option<String>,
    pub(super) contact_id: Option<String>,
    pub(super) message_id: Option<String>,
    pub(super) channel: Option<String>,
    pub(super) sequence_id: Option<String>,
    pub(super) step_id: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) metadata: BTreeMap<String, String>,
    #[schema(value_type = UtmText)]
    pub(super) utm: Utm,
    pub(super) sent_at: Option<String>,
    pub(super) starts_at: Option<String>,
    pub(super) expires_at: Option<String>,
    pub(super) expired_url: Option<String>,
    pub(super) enabled: bool,
    /// What the link says itself: `inherit`, `full`, `anonymous` or `off`.
    pub(super) tracking: &'static str,
    /// What is recorded of its clicks, all told: `full`, `anonymous` or `off`.
    #[schema(value_type = String, example = "full")]
    pub(super) recording: &'static str,
    /// Who decided that: `link` itself, or what the link settings say of its `campaign`, of its `channel`, or of all links
    /// (`workspace`).
    #[schema(value_type = String, example = "workspace")]
    pub(super) recording_decided_by: &'static str,
    pub(super) status_code: u16,
    /// Browsers keep the redirect (301, 308), so that later clicks are not seen.
    pub(super) undercounts: bool,
    pub(super) query_mode: &'static str,
    /// Soft: clicks within about a second after the last one still pass.
    pub(super) max_clicks: Option<u32>,
    /// Recorded clicks that are not automated, counted while there is a `max_clicks`.
    pub(super) counted_clicks: u32,
    /// Since when it has had `max_clicks` and leads nowhere.
    pub(super) exhausted_at: Option<String>,
    /// Whether a visitor has to know a password.
    pub(super) has_password: bool,
    #[schema(value_type = Option<PreviewText>)]
    pub(super) preview: Option<LinkPreview>,
    /// Counts the changes; the `ETag` begins with it.
    pub(super) revision: u32,
    /// The id of the key that made it; a console session is that of the key it was opened with. Of old links it is not
    /// known.
    #[schema(example = "key_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    pub(super) created_by: Option<String>,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    /// When it was put away; its slug stays taken.
    pub(super) archived_at: Option<String>,
    /// Since when who runs the server has it blocked: visitors get 451.
    pub(super) blocked_at: Option<String>,
}

impl LinkView {
    /// A link of a workspace with these settings.
    pub fn of(shared: &Shared, settings: &LinkSettings, link: Link) -> Self {
        let tracked_url = tracked_url(shared, &link);
        let (recording, decided_by) = tracking::of(&link, settings);
        let options = link.options;
        Self {
            id: link.id.to_string(),
            tracked_url,
            url: options.original_url.to_string(),
            domain: link.host.to_string(),
            slug: link.slug.to_string(),
            kind: options.kind.as_str(),
            campaign_id: options.labels.campaign_id,
            conversation_id: options.labels.conversation_id,
            contact_id: options.labels.contact_id,
            message_id: options.labels.message_id,
            channel: options.labels.channel,
            sequence_id: options.labels.sequence_id,
            step_id: options.labels.step_id,
            external_id: options.labels.external_id,
            tags: options.labels.tags,
            metadata: options.labels.metadata,
            utm: options.utm,
            sent_at: options.sent_at.map(time),
            starts_at: options.starts_at.map(time),
            expires_at: options.expires_at.map(time),
            expired_url: options.expired_url.map(|url| url.to_string()),
            enabled: options.enabled,
            tracking: options.tracking.as_str(),
            recording: recording.as_str(),
            recording_decided_by: decided_by.as_str(),
            status_code: options.status_code.code(),
            undercounts: options.status_code.is_cacheable(),
            query_mode: options.query_mode.as_str(),
            max_clicks: options.max_clicks,
            counted_clicks: link.counted_clicks,
            exhausted_at: link.exhausted_at.map(time),
            has_password: options.password.is_some(),
            preview: options.preview,
            revision: link.revision,
            created_by: link.created_by,
            created_at: time(link.created_at),
            updated_at: time(link.updated_at),
            archived_at: link.archived_at.map(time),
            blocked_at: link.blocked_at.map(time),
        }
    }
}

/// Which links are asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
struct LinkQuery {
    /// With your own id.
    external_id: Option<String>,
    /// Sent in this campaign.
    campaign_id: Option<String>,
    /// With this tag.
    tag: Option<String>,
    /// Whose slug or URL contains this.
    q: Option<String>,
    /// Served under this host.
    domain: Option<String>,
    /// Which are, as of now, `live`, `off`, `not_started`, `expired`, `exhausted` or `blocked`.
    state: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Entries of a page, 1 to 250. Default: 50.
    limit: Option<u32>,
}

/// The states of links by their words.
pub const LINK_STATES: &[(&str, LinkState)] = &[
    ("live", LinkState::Live),
    ("off", LinkState::Off),
    ("not_started", LinkState::NotStarted),
    ("expired", LinkState::Expired),
    ("exhausted", LinkState::Exhausted),
    ("blocked", LinkState::Blocked),
];

/// What a query for links says.
pub struct Asked {
    /// Which.
    pub filter: LinkFilter,
    /// Which page.
    pub page: PageRequest<LinkId>,
}

impl FromFields for Asked {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let filter = filter(fields);
        Some(Self { filter, page: PageRequest::from_fields(fields)? })
    }
}

/// The conditions of a query.
pub fn filter(fields: &mut Fields<'_>) -> LinkFilter {
    LinkFilter {
        external_id: fields.optional("external_id", text::<{ link_fields::EXTERNAL_ID_CHARS_MAX }>),
        campaign_id: fields.optional("campaign_id", text::<{ link_fields::LABEL_CHARS_MAX }>),
        tag: fields.optional("tag", text::<{ link_fields::TAG_CHARS_MAX }>),
        text: fields.optional("q", text::<200>),
        host: fields.optional("domain", parsed),
        state: fields.optional("state", word(LINK_STATES)).map(|state| (state, desk::now())),
    }
}

/// Make a link
#[utoipa::path(tag = "links", params(("Idempotency-Key" = Option<String>, Header)),
    request_body = NewLink, security(("api_key" = ["links:write"])), responses(
    (status = 201, body = LinkView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/links")]
pub async fn create_link(
    caller: Caller,
    body: Body,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::LinksWrite)?;
    let key = IdempotencyKey::of(&shared, &request, body.bytes())?;
    let new = body.read()?;
    let settings = settings::find(&shared, &caller).await?;
    let made = links::create(&shared, &caller, new, key.as_ref()).await?;
    done(made, |link| Ok(created(&request, &LinkView::of(&shared, &settings, link))))
}

/// List links, newest first
#[utoipa::path(tag = "links", params(LinkQuery), security(("api_key" = ["links:read"])), responses(
    (status = 200, body = Page<LinkView>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/links")]
pub async fn list_links(
    caller: Caller,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::LinksRead)?;
    let Asked { filter, page } = query.read()?;
    let rows = links::list(&shared, &caller, &filter, &page).await?;
    let settings = settings::find(&shared, &caller).await?;
    Ok(HttpResponse::Ok().json(page.page(
        rows,
        |link| link.id,
        |link| LinkView::of(&shared, &settings, link),
    )))
}

/// Show a link
#[utoipa::path(tag = "links", params(("id" = String, Path), ("If-None-Match" = Option<String>, Header)),
    security(("api_key" = ["links:read"])), responses(
    (status = 200, body = LinkView), (status = 304, description = "Nothing is new"), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/links/{id}")]
pub async fn show_link(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::LinksRead)?;
    let link = links::find(&shared, &caller, path_id(&id, "link")?).await?;
    let settings = settings::find(&shared, &caller).await?;
    Ok(shown(&request, &LinkView::of(&shared, &settings, link)))
}

/// Change a link
///
/// What is left out stays as it is. Visitors meet the change within a second.
#[utoipa::path(tag = "links", params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = LinkChange, security(("api_key" = ["links:write"])), responses(
    (status = 200, body = LinkView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[patch("/v1/links/{id}")]
pub async fn update_link(
    caller: Caller,
    id: Path<String>,
    body: Body,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::LinksWrite)?;
    let id = path_id(&id, "link")?;
    let change = body.read()?;
    let settings = settings::find(&shared, &caller).await?;
    let link = links::update(&shared, &caller, id, if_match(&request), change).await?;
    Ok(shown(&request, &LinkView::of(&shared, &settings, link)))
}

/// Make or change the link with your own id
///
/// The link with this external id is made if there is none (201), else it becomes what the body says (200): what the body
/// leaves out gets its default. The same body again changes nothing, not even the revision. Slug, domain and kind never
/// change: leave them out, or name those that the link has. An archived link leads nowhere for good: 409.
#[utoipa::path(tag = "links", params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = NewLink, security(("api_key" = ["links:write"])), responses(
    (status = 200, body = LinkView), (status = 201, body = LinkView),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[put("/v1/links/by-external-id/{id}")]
pub async fn put_link(
    caller: Caller,
    id: Path<String>,
    body: Body,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::LinksWrite)?;
    let id = link_fields::external_id(&id.into_inner().into())
        .map_err(|wrong| ApiError::Invalid(vec![wrong.of("external_id")]))?;
    let wanted = body.read()?;
    let settings = settings::find(&shared, &caller).await?;
    Ok(match link_upsert::upsert(&shared, &caller, id, if_match(&request), wanted).await? {
        Upserted::Created(link) => created(&request, &LinkView::of(&shared, &settings, link)),
        Upserted::Kept(link) => shown(&request, &LinkView::of(&shared, &settings, link)),
    })
}

/// Archive a link
///
/// It leads nowhere from then on; its slug is never given out again.
#[utoipa::path(tag = "links", params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    security(("api_key" = ["links:write"])), responses(
    (status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[delete("/v1/links/{id}")]
pub async fn archive_link(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::LinksWrite)?;
    links::archive(&shared, &caller, path_id(&id, "link")?, if_match(&request)).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn created(request: &HttpRequest, view: &LinkView) -> HttpResponse {
    let location = format!("/v1/links/{}", view.id);
    let location = HeaderValue::from_str(&location).expect("an id is visible ASCII");
    let mut answer = tagged(request, StatusCode::CREATED, view.revision, view);
    answer.headers_mut().insert(header::LOCATION, location);
    answer
}

fn shown(request: &HttpRequest, view: &LinkView) -> HttpResponse {
    tagged(request, StatusCode::OK, view.revision, view)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::known_fields;

    #[test]
    fn a_query_knows_what_its_description_says() {
        let described: Vec<String> = LinkQuery::into_params(|| None).into_iter().map(|p| p.name).collect();

        assert_eq!(known_fields::<Asked>(), described);
    }
}
