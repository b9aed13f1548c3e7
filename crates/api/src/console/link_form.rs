//! The form that makes a link, and changes one. What it sends goes through the rules of the API.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{get, post};
use askama::Template;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use model::LinkId;
use model::link::QueryMode;
use store::links::Link;

use super::form::{self, Errors, Form};
use super::links::done;
use super::view::{Layout, html_with};
use super::{PageResult, Signed, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::body::path_id;
use crate::desk::entity_tag::etag;
use crate::desk::idempotency::Done;
use crate::desk::link_fields::LABEL_NAMES;
use crate::desk::{domains, links};
use crate::error::ApiError;

/// Choices; one is always made.
const CHOICES: [&str; 2] = ["tracking", "query_mode"];

/// Moments, in UTC.
const MOMENTS: [&str; 3] = ["sent_at", "starts_at", "expires_at"];

/// Fields of the form and names within `utm`.
const UTM: [(&str, &str); 6] = [
    ("utm_source", "source"),
    ("utm_medium", "medium"),
    ("utm_campaign", "campaign"),
    ("utm_term", "term"),
    ("utm_content", "content"),
    ("utm_id", "id"),
];

/// Fields of the form and names within `preview`.
const PREVIEW: [(&str, &str); 3] =
    [("preview_title", "title"), ("preview_description", "description"), ("preview_image_url", "image_url")];

/// The group of what clicks tell.
const LABELS: [&str; 9] = [
    "conversation_id",
    "contact_id",
    "message_id",
    "channel",
    "sequence_id",
    "step_id",
    "external_id",
    "sent_at",
    "kind",
];

/// The group of when a link leads somewhere, and for whom.
const LIMITS: [&str; 5] = ["starts_at", "expires_at", "expired_url", "max_clicks", "password"];

/// What becomes of a visitor's query, in words.
const QUERY_MODES: [(QueryMode, &str); 4] = [
    (QueryMode::FillMissing, "Add what the URL does not have"),
    (QueryMode::Drop, "Leave it out"),
    (QueryMode::Append, "Add all of it"),
    (QueryMode::Override, "Let it replace what the URL has"),
];

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config.service(new_link).service(create).service(edit).service(change);
}

/// What becomes of a visitor's query, in words.
pub fn query_words(mode: QueryMode) -> &'static str {
    QUERY_MODES.into_iter().find(|(known, _)| *known == mode).map_or("", |(_, words)| words)
}

#[derive(Template)]
#[template(path = "link_form.html")]
struct LinkFormPage {
    layout: Layout,
    /// The link that is changed; none: a new one.
    changed: Option<Changed>,
    domains: Vec<String>,
    query_modes: [(&'static str, &'static str); 4],
    values: Values,
    errors: Errors,
}

/// What of a link the form cannot change.
struct Changed {
    id: String,
    slug: String,
    revision: String,
    has_password: bool,
}

impl Changed {
    fn of(link: &Link) -> Self {
        Self {
            id: link.id.to_string(),
            slug: link.slug.to_string(),
            revision: link.revision.to_string(),
            has_password: link.options.password.is_some(),
        }
    }
}

impl LinkFormPage {
    fn shows_labels(&self) -> bool {
        self.is_open(&LABELS)
    }

    fn shows_utm(&self) -> bool {
        self.is_open(&UTM.map(|(field, _)| field)) || self.errors.at("utm").is_some()
    }

    fn shows_preview(&self) -> bool {
        self.is_open(&PREVIEW.map(|(field, _)| field)) || self.errors.at("preview").is_some()
    }

    fn shows_limits(&self) -> bool {
        self.is_open(&LIMITS) || self.has_password()
    }

    /// Whether one of these is filled in or wrong, so that it should be seen.
    fn is_open(&self, names: &[&str]) -> bool {
        names.iter().any(|name| !self.values.get(name).is_empty() || self.errors.at(name).is_some())
    }

    fn has_password(&self) -> bool {
        self.changed.as_ref().is_some_and(|link| link.has_password)
    }

    fn is_tracked_as_usual(&self) -> bool {
        matches!(self.values.get("tracking"), "" | "inherit")
    }

    /// Whether one of the choices that have a usual answer has another.
    fn is_unusual(&self) -> bool {
        let is_usual = matches!(self.values.get("status_code"), "" | "302")
            && matches!(self.values.get("query_mode"), "" | "fill_missing");
        !(is_usual && self.is_tracked_as_usual())
    }
}

/// What the fields hold: what was typed, so that nobody types it twice, or what the link has.
#[derive(Default)]
struct Values(Vec<(&'static str, String)>);

impl Values {
    fn typed(form: &Form) -> Self {
        let fixed =
            ["url", "slug", "domain", "kind", "tags", "expired_url", "max_clicks", "status_code", "revision"];
        let utm = UTM.into_iter().chain(PREVIEW).map(|(field, _)| field);
        let names = fixed.into_iter().chain(LABEL_NAMES).chain(CHOICES).chain(MOMENTS).chain(utm);
        Self(names.map(|name| (name, form.text(name).unwrap_or_default().to_owned())).collect())
    }

    fn of(link: &Link) -> Self {
        let (options, labels) = (&link.options, &link.options.labels);
        let (utm, preview) = (&options.utm, options.preview.as_ref());
        let given = [
            ("url", Some(options.original_url.to_string())),
            ("tags", Some(labels.tags.join(", "))),
            ("max_clicks", options.max_clicks.map(|most| most.to_string())),
            ("status_code", Some(options.status_code.code().to_string())),
            ("tracking", Some(options.tracking.as_str().to_owned())),
            ("query_mode", Some(options.query_mode.as_str().to_owned())),
            ("campaign_id", labels.campaign_id.clone()),
            ("conversation_id", labels.conversation_id.clone()),
            ("contact_id", labels.contact_id.clone()),
            ("message_id", labels.message_id.clone()),
            ("channel", labels.channel.clone()),
            ("sequence_id", labels.sequence_id.clone()),
            ("step_id", labels.step_id.clone()),
            ("external_id", labels.external_id.clone()),
            ("expired_url", options.expired_url.as_ref().map(ToString::to_string)),
            ("sent_at", options.sent_at.map(local)),
            ("starts_at", options.starts_at.map(local)),
            ("expires_at", options.expires_at.map(local)),
            ("utm_source", utm.source.clone()),
            ("utm_medium", utm.medium.clone()),
            ("utm_campaign", utm.campaign.clone()),
            ("utm_term", utm.term.clone()),
            ("utm_content", utm.content.clone()),
            ("utm_id", utm.id.clone()),
            ("preview_title", preview.map(|preview| preview.title.clone())),
            ("preview_description", preview.and_then(|preview| preview.description.clone())),
            ("preview_image_url", preview.and_then(|preview| Some(preview.image_url.as_ref()?.to_string()))),
        ];
        Self(given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| *field == name).map_or("", |(_, value)| value)
    }
}

/// A moment as `datetime-local` takes it, as short as it can be.
fn local(at: DateTime<Utc>) -> String {
    let is_minute = at.timestamp_millis() % 60_000 == 0;
    at.format(if is_minute { "%Y-%m-%dT%H:%M" } else { "%Y-%m-%dT%H:%M:%S%.3f" }).to_string()
}

/// A moment as the API takes it. A browser sends `2026-11-23T14:16`, mostly without seconds; the form says that it is UTC.
fn moment(local: &str) -> String {
    let seconds = if local.len() == "2026-11-23T14:16".len() { ":00Z" } else { "Z" };
    format!("{local}{seconds}")
}

/// What the form says as a body of the API: of a change everything that it shows, of a new link what is filled in.
fn body(form: &Form, is_change: bool) -> Map<String, Value> {
    let mut body = Map::new();
    let mut put = |name: &str, value: Option<Value>| match value {
        Some(value) => drop(body.insert(name.to_owned(), value)),
        None if is_change => drop(body.insert(name.to_owned(), Value::Null)),
        None => {}
    };
    for name in LABEL_NAMES.into_iter().chain(["expired_url"]) {
        put(name, form.text(name).map(Value::from));
    }
    for name in MOMENTS {
        put(name, form.text(name).map(|local| moment(local).into()));
    }
    put("max_clicks", form.text("max_clicks").map(number));
    let utm = UTM.iter().filter_map(|(field, name)| Some(((*name).to_owned(), form.text(field)?.into())));
    put("utm", Some(utm.collect::<Map<_, _>>().into()));
    let preview: Map<String, Value> = PREVIEW
        .iter()
        .filter_map(|(field, name)| Some(((*name).to_owned(), form.text(field)?.into())))
        .collect();
    put("preview", (!preview.is_empty()).then(|| preview.into()));
    let tags = form.text("tags").unwrap_or_default().split(',').map(str::trim).filter(|tag| !tag.is_empty());
    put("tags", Some(tags.map(Value::from).collect()));
    for name in CHOICES {
        if let Some(choice) = form.text(name) {
            put(name, Some(choice.into()));
        }
    }
    if let Some(code) = form.text("status_code") {
        put("status_code", Some(number(code)));
    }
    // white space counts in a password
    let password = form.all("password").into_iter().find(|typed| !typed.is_empty());
    if let Some(password) = password {
        put("password", Some(password.into()));
    } else if form.is_set("remove_password") {
        put("password", Some(Value::Null));
    }
    if is_change {
        put("url", Some(form.text("url").unwrap_or_default().into()));
        return body;
    }
    for name in ["url", "slug", "domain", "kind"] {
        put(name, form.text(name).map(Value::from));
    }
    body
}

/// A number, if it is one; what is not is refused by the rules of the API.
fn number(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from)
}

#[get("/links/new")]
async fn new_link(signed: Signed, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    page(&signed, &shared, None, StatusCode::OK, Values::default(), Errors::default()).await
}

async fn page(
    signed: &Signed,
    shared: &Shared,
    changed: Option<Changed>,
    status: StatusCode,
    values: Values,
    errors: Errors,
) -> PageResult {
    let domains = domains::list(shared, &signed.caller).await?;
    let domains = domains.into_iter().map(|domain| domain.host.to_string()).collect();
    let query_modes = QUERY_MODES.map(|(mode, words)| (mode.as_str(), words));
    let page = LinkFormPage { layout: signed.layout("links"), changed, domains, query_modes, values, errors };
    Ok(session::taken(shared, html_with(status, &page), signed.flash.as_ref()))
}

#[post("/links")]
async fn create(signed: Signed, form: Form, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    let made = match form::read(body(&form, false)) {
        Ok(wanted) => links::create(&shared, &signed.caller, wanted, None).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(Done::Now(link) | Done::Before(link)) => {
            let (doors, page) = (signed.doors(), format!("/links/{}", link.id));
            let told = match doors.opens(&page) {
                true => "The link is live. Copy it below and send it.".to_owned(),
                false => format!("The link is live: {}", links::tracked_url(&shared, &link)),
            };
            Ok(done(&shared, doors.or_first(&page), &told))
        }
        Err(error) => {
            let errors = Errors::of(error)?;
            page(&signed, &shared, None, StatusCode::UNPROCESSABLE_ENTITY, Values::typed(&form), errors).await
        }
    }
}

#[get("/links/{id}/edit")]
async fn edit(signed: Signed, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    let link = find_live(&signed, &shared, &id).await?;
    let (changed, values) = (Changed::of(&link), Values::of(&link));
    page(&signed, &shared, Some(changed), StatusCode::OK, values, Errors::default()).await
}

#[post("/links/{id}")]
async fn change(signed: Signed, form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    let link_id: LinkId = path_id(&id, "link")?;
    // what the form shows is what was seen: two editors do not undo each other
    let seen = form.text("revision").map(etag);
    let saved = match form::read(body(&form, true)) {
        Ok(wanted) => links::update(&shared, &signed.caller, link_id, seen.as_deref(), wanted).await,
        Err(error) => Err(error),
    };
    match saved {
        Ok(link) => {
            let page = format!("/links/{}", link.id);
            Ok(done(&shared, signed.doors().or_first(&page), "The link is changed."))
        }
        Err(error) => {
            let errors = Errors::of(error)?;
            let link = find_live(&signed, &shared, &id).await?;
            let revision = form.text("revision").unwrap_or_default().to_owned();
            let changed = Changed { revision, ..Changed::of(&link) };
            let (status, values) = (StatusCode::UNPROCESSABLE_ENTITY, Values::typed(&form));
            page(&signed, &shared, Some(changed), status, values, errors).await
        }
    }
}

/// The link, unless it is archived: what leads nowhere for good is not changed.
async fn find_live(signed: &Signed, shared: &Shared, id: &str) -> Result<Link, ApiError> {
    let link = links::find(shared, &signed.caller, path_id(id, "link")?).await?;
    if link.archived_at.is_some() {
        return Err(ApiError::NotFound("link"));
    }
    Ok(link)
}
