//! Settings: tracking, visitors' addresses, fallback, domains. Webhooks are one step further.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{get, post};
use askama::Template;
use serde_json::Value;

use model::AddressTreatment;
use model::domain_proof::{ProofStatus, record_name, record_value};
use store::domains::Domain;

use super::form::{self, Errors, Form};
use super::view::{Layout, html_with};
use super::{Flash, PageResult, Signed, see_other, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::body::path_id;
use crate::desk::{domain_proof, endpoints, settings};
use crate::error::ApiError;
use crate::page::PageRequest;

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config.service(index).service(show).service(save);
    config.service(add_domain).service(verify_domain).service(remove_domain);
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
    domains: Vec<DomainRow>,
    host: String,
    endpoints: usize,
    may_change: bool,
    errors: Errors,
}

/// A domain, and what is still to be done for it.
struct DomainRow {
    domain: Domain,
    /// Name and value of the record that proves whose it is, while nothing does.
    record: Option<(String, String)>,
    /// Why the last look-up proved nothing.
    failure: Option<&'static str>,
}

impl From<Domain> for DomainRow {
    fn from(domain: Domain) -> Self {
        let record = (record_name(&domain.host), record_value(&domain.proof.token));
        let failure = match domain.proof.status() {
            ProofStatus::Failed(failure) => Some(failure.detail()),
            ProofStatus::Pending | ProofStatus::Verified => None,
        };
        Self { record: (!domain.is_verified()).then_some(record), failure, domain }
    }
}

/// A wish that browsers send along, and what becomes of it.
struct Signal {
    name: &'static str,
    label: &'static str,
    policy: &'static str,
}

#[get("/settings")]
async fn index(_signed: Signed) -> PageResult {
    Ok(see_other("/settings/links"))
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
    let typed_text = |name: &str| typed.and_then(|form| form.text(name)).map(str::to_owned);
    let page = SettingsPage {
        layout: signed.layout("settings"),
        is_tracking: saved.is_tracking,
        is_anonymous: saved.is_anonymous,
        signals: [
            Signal {
                name: "gpc_policy",
                label: "Global Privacy Control",
                policy: saved.signals.gpc.as_str(),
            },
            Signal { name: "dnt_policy", label: "Do Not Track", policy: saved.signals.dnt.as_str() },
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
        domains: settings::domains(shared, caller).await?.into_iter().map(DomainRow::from).collect(),
        host: typed_text("host").unwrap_or_default(),
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

#[post("/settings/domains")]
async fn add_domain(signed: Signed, form: Form, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::SettingsWrite)?;
    let mut object = form.object(&["host"]);
    if form.is_set("default") {
        object.insert("default".to_owned(), true.into());
    }
    let added = match form::read(object) {
        Ok(new) => settings::add_domain(&shared, &signed.caller, new, None).await,
        Err(error) => Err(error),
    };
    let (added, text) = match added {
        Ok(domain) => (
            Ok(()),
            match domain.into_inner().is_verified() {
                true => "The domain is added. Point it at the redirect.",
                false => "The domain is added. Now show that it is yours: see below.",
            },
        ),
        Err(error) => (Err(error), ""),
    };
    finish(&signed, &shared, &form, added, text).await
}

#[post("/settings/domains/{id}/verify")]
async fn verify_domain(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::SettingsWrite)?;
    let flash = match domain_proof::verify(&shared, &signed.caller, path_id(&id, "domain")?).await {
        Ok(domain) => match domain.proof.status() {
            ProofStatus::Verified => {
                Flash::Done(format!("{} is yours: links are served under it.", domain.host))
            }
            ProofStatus::Failed(failure) => Flash::Failed(format!("{}.", super::capital(failure.detail()))),
            ProofStatus::Pending => Flash::Failed("Nothing was found.".to_owned()),
        },
        Err(error @ ApiError::Conflict { .. }) => {
            Flash::Failed(format!("{}.", super::capital(&error.to_string())))
        }
        Err(error) => return Err(error.into()),
    };
    Ok(session::leave(&shared, see_other("/settings/links"), &flash))
}

#[post("/settings/domains/{id}/remove")]
async fn remove_domain(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::SettingsWrite)?;
    let flash = match settings::remove_domain(&shared, &signed.caller, path_id(&id, "domain")?, None).await {
        Ok(()) => Flash::Done("The domain is removed.".to_owned()),
        Err(error @ ApiError::Conflict { .. }) => {
            Flash::Failed(format!("{}.", super::capital(&error.to_string())))
        }
        Err(error) => return Err(error.into()),
    };
    Ok(session::leave(&shared, see_other("/settings/links"), &flash))
}

async fn finish(
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
