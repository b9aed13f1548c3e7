//! The REST API: parse, ask the desk, answer. Every route is listed once, for the server and for its description.

pub mod analytics;
mod analytics_view;
pub mod audit;
pub mod bulk;
pub mod checkpoints;
mod click_csv;
pub mod click_export;
pub mod clicks;
pub mod conditional;
pub mod contacts;
pub mod deliveries;
pub mod delivery_batches;
pub mod domains;
mod endpoint_order;
pub mod endpoint_stats;
mod endpoint_view;
pub mod endpoints;
pub mod event_types;
pub mod exports;
pub mod keys;
mod link_csv;
pub mod link_export;
pub mod links;
pub mod live;
pub mod minting_keys;
pub mod ownership;
pub mod people;
pub mod pull;
pub mod qr;
pub mod quarantine;
pub mod replays;
pub mod secrets;
pub mod settings;
pub mod templates;
pub mod workspace;

use actix_web::HttpResponse;
use actix_web::http::header::HeaderValue;
use actix_web::web::ServiceConfig;
use chrono::{DateTime, SecondsFormat, Utc};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use self::conditional::if_match;
use crate::desk::idempotency::{Done, REPLAYED};
use crate::error::ApiError;

/// Serves the handlers and describes them: a route that is not described cannot be served.
macro_rules! routes {
    ($($module:ident::$handler:ident),+ $(,)?) => {
        /// Adds every route of the API.
        pub fn configure(config: &mut ServiceConfig) {
            $(config.service($module::$handler);)+
        }

        /// The description of every route of the API.
        #[derive(OpenApi)]
        #[openapi(
            paths($($module::$handler),+),
            components(schemas(crate::error::Problem)),
            modifiers(&BearerKeys),
            info(
                title = "Clickwire",
                version = "1",
                description = "Tracked links and signed webhooks for every click. Errors are RFC 9457 problems with a \
                               stable `code`; lists are pages with an opaque `next_cursor`; times are RFC 3339 in UTC; \
                               `If-Match` with an `ETag` keeps two editors from undoing each other, and `If-None-Match` \
                               is answered with 304 while nothing is new. Every answer says in `RateLimit-Limit`, \
                               `RateLimit-Remaining` and `RateLimit-Reset` (seconds; draft-ietf-httpapi-ratelimit-headers-07) how \
                               many requests are left; 429 says in `Retry-After` when the next one is answered. What makes or \
                               starts something takes an `Idempotency-Key`, 1 to 255 visible ASCII characters: the same \
                               request again within 24 hours, byte for byte, does nothing; it is answered with what the \
                               first one made, as it is now, and `Idempotency-Replayed: true`. With another body or \
                               path the key is refused with 409; a request that was refused leaves it free."
            )
        )]
        pub struct Described;
    };
}

routes! {
    // words come before `{id}`, which would match them
    links::create_link, links::list_links, link_export::export_links, links::show_link, links::update_link, links::archive_link,
    links::put_link, bulk::create_links, qr::show_qr,
    endpoints::create_endpoint, endpoints::list_endpoints, endpoints::show_endpoint, endpoints::update_endpoint,
    endpoints::delete_endpoint, endpoints::pause_endpoint, endpoints::resume_endpoint, endpoints::test_endpoint,
    endpoints::preview_filter, endpoint_stats::show_endpoint_stats,
    pull::pull_events, ownership::verify_endpoint,
    checkpoints::list_checkpoints,
    secrets::list_secrets, secrets::rotate_secret, secrets::revoke_secret,
    deliveries::list_deliveries, exports::export_deliveries, deliveries::show_delivery, deliveries::retry_delivery,
    deliveries::give_up_delivery, delivery_batches::show_delivery_batch,
    replays::create_replay, replays::list_replays, replays::show_replay, replays::cancel_replay,
    // words come before `{id}`, which would match them
    clicks::list_clicks, live::watch_clicks, click_export::export_clicks, clicks::show_click, clicks::overrule_verdict,
    analytics::show_summary, analytics::show_timeseries, analytics::show_top, analytics::show_link_stats,
    contacts::erase_contact,
    settings::show_settings, settings::update_settings,
    workspace::show_workspace, workspace::update_workspace,
    domains::add_domain, domains::list_domains, domains::show_domain, domains::update_domain, domains::verify_domain,
    domains::remove_domain,
    keys::create_key, keys::list_keys, keys::show_key, keys::rotate_key, keys::revoke_key,
    people::list_people, people::update_person, people::remove_person, people::reset_password,
    people::create_invitation, people::list_invitations, people::revoke_invitation,
    audit::list_audit,
    event_types::list_event_types,
    quarantine::list_quarantine, quarantine::show_quarantined, quarantine::download_quarantined,
    quarantine::replay_quarantined, quarantine::delete_quarantined,
    templates::open_template, templates::show_template, templates::close_template, templates::deny_recipients,
    templates::list_denied_recipients, templates::allow_recipient, templates::show_snippet,
    minting_keys::create_minting_key, minting_keys::list_minting_keys, minting_keys::rotate_minting_key,
    minting_keys::revoke_minting_key,
}

struct BearerKeys;

impl utoipa::Modify for BearerKeys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("cw_…")
            .description(Some("An API key with the scope that the operation names"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("api_key", SecurityScheme::Http(scheme));
    }
}

/// A moment as the API writes it: UTC, to the millisecond.
pub fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Tells what a request led to, and whether it had before.
fn done<T>(
    done: Done<T>,
    answer: impl FnOnce(T) -> Result<HttpResponse, ApiError>,
) -> Result<HttpResponse, ApiError> {
    let is_replayed = matches!(done, Done::Before(_));
    let mut answer = answer(done.into_inner())?;
    if is_replayed {
        answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(answer)
}
