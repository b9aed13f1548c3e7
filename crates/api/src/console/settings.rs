//! Link settings: tracking, visitors' addresses, fallback. On the same page stand what is in `tracking` and `domains`.

use actix_web::http::StatusCode;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{get, post};
use askama::Template;
use serde_json::Value;

use model::AddressTreatment;

use super::domains::{self, DomainRow, NewDomainForm};
use super::form::{self, Errors, Form};
use super::tracking::{self, TrackingPart};
use super::view::{Layout, html_with};
use super::{Flash, PageResult, Signed, see_other, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::desk::{endpoints, settings};
use crate::error::ApiError;
use crate::page::PageRequest;

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config
        .service(index)
        .service(show)
        .service(save)
        .configure(domains::configure)
        .configure(tracking::configure);
}

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    layout: Layout,
    is_tracking: bool,
    is_anonymous: bool,
    signals: [Signal; 2],
    address_policy: &'static str,
    fallback_url: String,
    app_schemes: String,
    tracking: TrackingPart,
    domains: Vec<DomainRow>,
    new_domain: NewDomainForm,
    endpoints: usize,
    may_change: bool,
    errors: Errors,
}

/// A wish that browsers send along, and what becomes of it.
struct Signal {
    name: &'static str,
    label: &'static str,
    /// Who sends it.
    hint: &'static str,
    policy: &'static str,
}

#[get("/settings")]
async fn index(signed: Signed) -> PageResult {
    Ok(see_other(signed.doors().or_first("/settings/links")))
}

#[get("/settings/links")]
async fn show(signed: Signed, shared: Data<Shared>) -> PageResult {
    page(&signed, &shared, StatusCode::OK, None, Errors::default()).await
}

async fn page(
    signed: &Signed,
    shared: &Shared,
    status: StatusCode,
    typed: Option<&Form>,
    errors: Errors,
) -> PageResult {
    let caller = &signed.caller;
    caller.require(Scope::SettingsRead)?;
    let saved = settings::find(shared, caller).await?;
    let endpoints = endpoints::list(shared, caller, &PageRequest::first(99)).await?.len();
    let app_schemes = settings::scheme_words(&saved).join(", ");
    let tracking = TrackingPart::of(&saved, typed, &errors);
    let typed_text = |name: &str| typed.and_then(|form| form.text(name)).map(str::to_owned);
    let page = SettingsPage {
        layout: signed.layout("settings"),
        is_tracking: saved.is_tracking,
        is_anonymous: saved.is_anonymous,
        signals: [
            Signal {
                name: "gpc_policy",
                label: "Global Privacy Control",
                hint: "Browsers send it for people who do not want their data sold or shared; in some places it binds you. \
                       It decides what becomes of their clicks.",
                policy: saved.signals.gpc.as_str(),
            },
            Signal {
                name: "dnt_policy",
                label: "Do Not Track",
                hint: "The older wish of the same kind. Fewer browsers send it.",
                policy: saved.signals.dnt.as_str(),
            },
        ],
        address_policy: match saved.address_treatment {
            AddressTreatment::Drop => "drop",
            AddressTreatment::Truncate => "truncate",
            AddressTreatment::Keep => "keep",
        },
        fallback_url: typed_text("fallback_url")
            .or_else(|| saved.fallback_url.map(|url| url.to_string()))
            .unwrap_or_default(),
        app_schemes: typed_text("app_schemes").unwrap_or(app_schemes),
        tracking,
        domains: domains::rows(shared, caller).await?,
        new_domain: NewDomainForm::of(typed),
        endpoints,
        may_change: caller.may(Scope::SettingsWrite),
        errors,
    };
    Ok(session::taken(shared, html_with(status, &page), signed.flash.as_ref()))
}

#[post("/settings/links")]
async fn save(signed: Signed, form: Form, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::SettingsWrite)?;
    let mut object = form.object(&["address_policy", "gpc_policy", "dnt_policy"]);
    object.insert("tracking".to_owned(), form.is_set("tracking").into());
    object.insert("anonymous".to_owned(), form.is_set("anonymous").into());
    object.insert("fallback_url".to_owned(), form.text("fallback_url").map_or(Value::Null, Value::from));
    let schemes = form.text("app_schemes").unwrap_or_default().split(',').map(str::trim);
    let schemes = schemes.filter(|scheme| !scheme.is_empty()).map(Value::from);
    object.insert("app_schemes".to_owned(), schemes.collect());
    let saved = match form::read(object) {
        Ok(change) => settings::update(&shared, &signed.caller, None, change).await.map(|_| ()),
        Err(error) => Err(error),
    };
    finish(&signed, &shared, &form, saved, "Saved. Visitors meet it within a second.").await
}

/// Back to the page, which says what was done, or what is wrong beside its field.
pub(super) async fn finish(
    signed: &Signed,
    shared: &Shared,
    form: &Form,
    done: Result<(), ApiError>,
    text: &str,
) -> PageResult {
    match done {
        Ok(()) => Ok(session::leave(shared, see_other("/settings/links"), &Flash::Done(text.to_owned()))),
        Err(error) => {
            let errors = Errors::of(error)?;
            page(signed, shared, StatusCode::UNPROCESSABLE_ENTITY, Some(form), errors).await
        }
    }
}
