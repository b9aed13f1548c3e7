//! `/v1/settings/links`: what a workspace has decided about its links.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, get, patch};
use serde::Serialize;
use utoipa::ToSchema;

use model::AddressTreatment;
use model::link::Tracking;
use model::privacy::SignalPolicy;
use store::settings::LinkSettings;

use super::conditional::{if_match, tagged};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::Body;
use crate::desk::settings::{self, SettingsChange};
use crate::error::{ApiError, Problem};

/// The link settings of a workspace.
#[derive(Serialize, ToSchema)]
pub struct SettingsView {
    /// Off: every link redirects and records nothing.
    tracking: bool,
    /// Clicks of every link are recorded without what tells who it was.
    anonymous: bool,
    /// What is recorded of the clicks of a channel's links, by channel: `full`, `anonymous` or `off`. Of link, campaign and channel
    /// the nearest counts.
    #[schema(value_type = BTreeMap<String, String>, example = json!({"sms": "off"}))]
    channel_tracking: BTreeMap<String, Tracking>,
    /// The same by campaign.
    #[schema(value_type = BTreeMap<String, String>, example = json!({"spring": "anonymous"}))]
    campaign_tracking: BTreeMap<String, Tracking>,
    /// What becomes of a click whose browser sends `Sec-GPC: 1`: `ignore`, `redact`, `anonymous` or `off`.
    #[schema(value_type = String, example = "redact")]
    gpc_policy: SignalPolicy,
    /// The same of `DNT: 1`.
    #[schema(value_type = String, example = "ignore")]
    dnt_policy: SignalPolicy,
    /// What is kept of visitors' addresses: `drop`, `truncate` or `keep`.
    #[schema(value_type = String, example = "drop")]
    address_policy: AddressTreatment,
    /// Where visitors of a closed link go.
    fallback_url: Option<String>,
    /// What links may lead to beside `https` and `http`.
    app_schemes: Vec<String>,
    /// Counts the changes; the `ETag` begins with it.
    revision: i64,
}

fn shown(request: &HttpRequest, saved: LinkSettings) -> HttpResponse {
    let view = SettingsView {
        app_schemes: settings::scheme_words(&saved),
        tracking: saved.is_tracking,
        anonymous: saved.is_anonymous,
        channel_tracking: saved.channel_tracking,
        campaign_tracking: saved.campaign_tracking,
        gpc_policy: saved.signals.gpc,
        dnt_policy: saved.signals.dnt,
        address_policy: saved.address_treatment,
        fallback_url: saved.fallback_url.map(|url| url.to_string()),
        revision: saved.revision,
    };
    tagged(request, StatusCode::OK, saved.revision, &view)
}

/// Show the link settings
#[utoipa::path(tag = "settings", params(("If-None-Match" = Option<String>, Header)),
    security(("api_key" = ["settings:read"])), responses((status = 200, body = SettingsView),
    (status = 304, description = "Nothing is new"),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/settings/links")]
pub async fn show_settings(
    caller: Caller,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::SettingsRead)?;
    Ok(shown(&request, settings::find(&shared, &caller).await?))
}

/// Change the link settings
#[utoipa::path(tag = "settings", params(("If-Match" = Option<String>, Header)), request_body = SettingsChange,
    security(("api_key" = ["settings:write"])), responses((status = 200, body = SettingsView),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[patch("/v1/settings/links")]
pub async fn update_settings(
    caller: Caller,
    body: Body,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::SettingsWrite)?;
    Ok(shown(&request, settings::update(&shared, &caller, if_match(&request), body.read()?).await?))
}
