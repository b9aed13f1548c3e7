//! The domains of the link settings: adding one, what browsers and slugs are told to do there, removing it.

use actix_web::post;
use actix_web::web::{Data, Path, ServiceConfig};
use serde_json::{Map, Value};

use model::SlugCase;
use model::domain_proof::{ProofStatus, record_name, record_value};
use store::domains::Domain;

use super::form::{self, Form};
use super::settings::finish;
use super::{Flash, PageResult, Signed, capital, refused, see_other, session};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::path_id;
use crate::desk::idempotency::Done;
use crate::desk::{domain_proof, domains};
use crate::error::ApiError;

/// Where the page is.
const PATH: &str = "/settings/links";

/// How long browsers may be told to keep to https, in seconds: what people choose from.
const HSTS_CHOICES: [(u32, &str); 4] = [
    (0, "No, forget it"),
    (86_400, "For a day, to try it"),
    (2_592_000, "For 30 days"),
    (31_536_000, "For a year"),
];

/// Adds what forms of the page ask for.
pub fn configure(config: &mut ServiceConfig) {
    config.service(add).service(change).service(verify).service(remove);
}

/// A domain as the page shows it.
pub struct DomainRow {
    /// Its id.
    pub id: String,
    /// The host name.
    pub host: String,
    /// Whether links are made under it unless they name another.
    pub is_default: bool,
    /// Whether capital letters tell its links apart.
    pub is_case_sensitive: bool,
    /// Whether whoever runs the server has it blocked.
    pub is_blocked: bool,
    /// Where visitors go whom no link leads anywhere; empty: as the link settings say.
    pub fallback_url: String,
    /// How long browsers keep to https, to choose from.
    pub hsts: Vec<HstsChoice>,
    /// Name and value of the record that proves whose it is, while nothing does.
    pub record: Option<(String, String)>,
    /// Why the last look-up proved nothing.
    pub failure: Option<&'static str>,
}

/// A time for which browsers may keep to https.
pub struct HstsChoice {
    /// What the form says.
    pub value: String,
    /// What people read.
    pub text: String,
    /// Whether it is so.
    pub is_chosen: bool,
}

impl From<Domain> for DomainRow {
    fn from(domain: Domain) -> Self {
        let record = (record_name(&domain.host), record_value(&domain.proof.token));
        let failure = match domain.proof.status() {
            ProofStatus::Failed(failure) => Some(failure.detail()),
            ProofStatus::Pending | ProofStatus::Verified => None,
        };
        Self {
            record: (!domain.is_verified()).then_some(record),
            failure,
            id: domain.id.to_string(),
            host: domain.host.to_string(),
            is_default: domain.is_default,
            is_case_sensitive: domain.slug_case == SlugCase::Sensitive,
            is_blocked: domain.blocked_at.is_some(),
            fallback_url: domain.fallback_url.map(|url| url.to_string()).unwrap_or_default(),
            hsts: hsts_choices(domain.hsts_max_age),
        }
    }
}

/// The workspace's domains, the default one first.
///
/// # Errors
/// When the database is away.
pub async fn rows(shared: &Shared, caller: &Caller) -> Result<Vec<DomainRow>, ApiError> {
    Ok(domains::list(shared, caller).await?.into_iter().map(DomainRow::from).collect())
}

fn hsts_choices(current: Option<u32>) -> Vec<HstsChoice> {
    let choice = |value: Option<u32>, text: &str| HstsChoice {
        value: value.map(|seconds| seconds.to_string()).unwrap_or_default(),
        text: text.to_owned(),
        is_chosen: value == current,
    };
    let mut choices = vec![choice(None, "As the server is set")];
    choices.extend(HSTS_CHOICES.iter().map(|(seconds, text)| choice(Some(*seconds), text)));
    // one that a program chose stays what it is
    if let Some(other) = current.filter(|current| HSTS_CHOICES.iter().all(|(seconds, _)| seconds != current))
    {
        choices.push(choice(Some(other), &format!("For {other} seconds")));
    }
    choices
}

/// What was typed of a new domain.
pub struct NewDomainForm {
    /// The host name.
    pub host: String,
    /// Whether it is to be the default one.
    pub is_default: bool,
    /// Whether capital letters are to tell its links apart.
    pub is_case_sensitive: bool,
}

impl NewDomainForm {
    /// What was typed, if anything.
    pub fn of(typed: Option<&Form>) -> Self {
        Self {
            host: typed.and_then(|form| form.text("host")).unwrap_or_default().to_owned(),
            is_default: typed.is_some_and(|form| form.is_set("default")),
            is_case_sensitive: typed.is_some_and(|form| form.is_set("case_sensitive")),
        }
    }
}

#[post("/settings/domains")]
async fn add(signed: Signed, form: Form, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::SettingsWrite)?;
    let mut object = form.object(&["host"]);
    if form.is_set("default") {
        object.insert("default".to_owned(), true.into());
    }
    if form.is_set("case_sensitive") {
        object.insert("case".to_owned(), SlugCase::Sensitive.as_str().into());
    }
    let added = match form::read(object) {
        Ok(new) => domains::add(&shared, &signed.caller, new, None).await,
        Err(error) => Err(error),
    };
    let added = added.map(Done::into_inner);
    let is_verified = added.as_ref().is_ok_and(Domain::is_verified);
    let text = if is_verified {
        "The domain is added. Point it at the redirect."
    } else {
        "The domain is added. Now show that it is yours: see below."
    };
    finish(&signed, &shared, &form, added.map(|_| ()), text).await
}

#[post("/settings/domains/{id}/verify")]
async fn verify(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::SettingsWrite)?;
    let flash = match domain_proof::verify(&shared, &signed.caller, path_id(&id, "domain")?).await {
        Ok(domain) => match domain.proof.status() {
            ProofStatus::Verified => {
                Flash::Done(format!("{} is yours: links are served under it.", domain.host))
            }
            ProofStatus::Failed(failure) => Flash::Failed(format!("{}.", capital(failure.detail()))),
            ProofStatus::Pending => Flash::Failed("Nothing was found.".to_owned()),
        },
        Err(error) => refused(error)?,
    };
    Ok(session::leave(&shared, see_other(PATH), &flash))
}

#[post("/settings/domains/{id}")]
async fn change(signed: Signed, form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::SettingsWrite)?;
    let id = path_id(&id, "domain")?;
    let mut object = Map::new();
    if form.is_set("default") {
        object.insert("default".to_owned(), true.into());
    }
    if form.has("hsts_max_age") {
        let seconds = form.text("hsts_max_age");
        let value =
            seconds.map_or(Value::Null, |text| text.parse::<u32>().map_or_else(|_| text.into(), Value::from));
        object.insert("hsts_max_age".to_owned(), value);
    }
    if form.has("fallback_url") {
        object.insert("fallback_url".to_owned(), form.text("fallback_url").map_or(Value::Null, Value::from));
    }
    // a box that is not ticked is not sent: the form says that it has one
    if form.has("has_case") {
        let is_sensitive = form.is_set("case_sensitive");
        let case = if is_sensitive { SlugCase::Sensitive } else { SlugCase::Insensitive };
        object.insert("case".to_owned(), case.as_str().into());
    }
    let changed = match form::read(object) {
        Ok(change) => domains::change(&shared, &signed.caller, id, None, change).await.map(|_| ()),
        Err(error) => Err(error),
    };
    done(&shared, changed, "Saved. Visitors of the domain meet it within a second.")
}

#[post("/settings/domains/{id}/remove")]
async fn remove(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::SettingsWrite)?;
    let removed = domains::remove(&shared, &signed.caller, path_id(&id, "domain")?, None).await;
    done(&shared, removed, "The domain is removed.")
}

fn done(shared: &Shared, told: Result<(), ApiError>, text: &str) -> PageResult {
    let flash = match told {
        Ok(()) => Flash::Done(text.to_owned()),
        Err(error) => refused(error)?,
    };
    Ok(session::leave(shared, see_other(PATH), &flash))
}
