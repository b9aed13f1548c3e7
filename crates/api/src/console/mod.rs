//! The console: pages rendered here, forms that work without scripts, one stylesheet, one script for what is live.
//!
//! People sign in with e-mail and password, or with an API key. A sealed cookie then holds the token of their session, or the
//! id of the key, so that what is ended elsewhere ends here. Every form carries the session's token. A form that did something answers 303 and leaves a message for the next page.

mod account;
mod activity;
mod alerts;
pub mod assets;
mod attention;
mod auth_fields;
mod click;
mod clicks;
mod deliveries;
mod delivery;
mod domains;
mod doors;
mod findings;
mod flash;
mod form;
mod keys;
mod known;
mod link;
mod link_form;
mod link_import;
mod link_state;
mod link_template;
mod links;
mod live;
mod minting;
mod overview;
mod ownership;
mod people;
pub mod plot;
mod quarantine;
mod replays;
mod report;
mod retention;
mod session;
mod settings;
mod sheet;
mod sign_in;
mod span;
mod tracking;
mod troubleshooting;
mod upload;
mod verify;
pub mod view;
mod webhook;
mod webhook_choices;
mod webhook_fetch;
mod webhook_fields;
mod webhook_form;
mod webhook_order;
mod webhook_payload;
mod webhook_row;
mod webhook_secrets;
mod webhook_stats;
mod webhooks;
mod welcome;
mod wizard;
mod words;
pub mod zone;

use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use askama::Template;

use crate::app::Shared;
use crate::error::ApiError;
use crate::openapi;
use flash::Flash;
use form::Form;
use session::Signed;
pub use upload::{AT_ONCE_MAX as UPLOADS_MAX, OWN_AT_ONCE_MAX as OWN_UPLOADS_MAX};
use view::{Layout, html_with};

/// What the address of a link begins with that invites somebody.
pub const WELCOME: &str = welcome::PATH;

/// Adds every page, and the answer to addresses that nothing else answers.
pub fn configure(config: &mut ServiceConfig) {
    config
        .configure(assets::configure)
        .service(sign_in::page)
        .service(sign_in::submit)
        .service(sign_in::sign_out)
        .service(overview::page)
        .service(clicks::list)
        .service(click::page)
        .service(live::clicks)
        .service(delivery::page)
        .service(delivery::retry)
        .service(delivery::give_up)
        .configure(links::configure)
        // `new` comes before `{id}`, which would match it
        .configure(webhook_form::configure)
        .service(webhooks::list)
        .configure(webhook::configure)
        .service(ownership::verify)
        .configure(wizard::configure)
        .configure(verify::configure)
        .service(deliveries::show)
        .service(troubleshooting::show)
        .configure(alerts::configure)
        .configure(replays::configure)
        .configure(settings::configure)
        .configure(keys::configure)
        .configure(minting::configure)
        .configure(people::configure)
        .configure(account::configure)
        .configure(activity::configure)
        .configure(retention::configure)
        .configure(welcome::configure)
        .configure(quarantine::configure)
        .default_service(web::to(nowhere));
}

async fn nowhere(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    if request.path() == "/v1" || request.path().starts_with("/v1/") {
        return openapi::no_route(&request, &shared);
    }
    PageError(ApiError::NoSuchRoute).error_response()
}

/// What a page can come to other than success, told as a page.
#[derive(Debug)]
pub struct PageError(ApiError);

type PageResult = Result<HttpResponse, PageError>;

impl<E: Into<ApiError>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl std::fmt::Display for PageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    layout: Layout,
    heading: &'static str,
    detail: String,
}

impl ResponseError for PageError {
    fn status_code(&self) -> StatusCode {
        self.0.status_code()
    }

    fn error_response(&self) -> HttpResponse {
        if matches!(self.0, ApiError::Unauthorized(_)) {
            return see_other("/login");
        }
        self.0.log();
        let status = self.status_code();
        let (heading, detail) = match &self.0 {
            ApiError::NoSuchRoute => {
                ("Nothing here", "This page does not exist. Perhaps it was moved.".to_owned())
            }
            ApiError::NotFound(noun) => {
                ("Not found", format!("There is no such {noun} in this workspace, or not any more."))
            }
            ApiError::Forbidden(scope) => (
                "You may not do this",
                format!(
                    "It takes the permission “{}” ({}). Ask an owner of the workspace, or sign in with a key that has it.",
                    scope.meaning(),
                    scope.as_str()
                ),
            ),
            ApiError::Internal(_) => {
                ("Something went wrong", "This is our fault; the log has the reason.".to_owned())
            }
            ApiError::DatabaseAway => {
                ("One moment", "The database cannot be reached. Nothing is lost: try again.".to_owned())
            }
            other => ("That did not work", format!("{}.", capital(&other.to_string()))),
        };
        let mut answer = html_with(status, &ProblemPage { layout: Layout::outside(), heading, detail });
        if let Some(seconds) = self.0.retry_after() {
            answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        answer
    }
}

/// A sentence begins with a capital letter.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Why a form was not heeded, for the next page; what no answer to it would help stays an error.
fn refused(error: ApiError) -> Result<Flash, PageError> {
    let text = match &error {
        ApiError::Invalid(errors) => errors.first().map(|error| error.detail.clone()).unwrap_or_default(),
        ApiError::Conflict { .. } | ApiError::Away(_) => error.to_string(),
        _ => return Err(error.into()),
    };
    Ok(Flash::Failed(format!("{}.", capital(&text))))
}

/// Go there, with GET.
fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, location)).finish()
}
