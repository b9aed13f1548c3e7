//! The form of a webhook: a new one, or a change of one. Its filter can be tried before it is saved.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{get, post};
use askama::Template;
use chrono::Utc;
use serde_json::Map;

use model::Ordering;
use model::event_type::{EventTypePattern, LINK_CLICKED};
use model::retry::RetryPreset;
use store::endpoints::{DeliveryMode, Endpoint};
use webhook::filter::Refusal;
use webhook::{Shape, Site};

use super::auth_fields::AuthFields;
use super::flash::ShownAs;
use super::form::{self, Errors, Form};
use super::view::{ClickRow, Layout, click_row, html, html_with};
use super::webhook_choices::{
    EventChoice, ORDERS, SCHEDULES, Wait, auto_disable_text, choices, schedule_text, waits,
};
use super::webhook_fetch::WAYS;
use super::webhook_fields::{BatchFields, Kept, MASK, OWN_SCHEDULE, filter, object};
use super::webhook_payload::{self, PayloadForm};
use super::webhook_row::audience;
use super::{Flash, PageResult, Signed, see_other, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::desk::endpoint_body::FilterPreview;
use crate::desk::entity_tag::etag;
use crate::desk::idempotency::Done;
use crate::desk::{endpoint_auth, endpoint_create, endpoints, payload_body, previews, tryout};
use crate::error::ApiError;
use crate::v1::endpoints::endpoint_id;

/// A filter to begin with.
const FILTER_EXAMPLE: &str =
    r#"{"verdicts": ["human"], "location.country": {"$in": ["SE", "NO"]}, "link.tags": "spring"}"#;

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config.service(new_webhook).service(create).service(edit).service(save);
}

/// What a filter would have let through.
struct Tried {
    sentence: String,
    /// Each click, and why it is kept back; empty when it is sent.
    rows: Vec<(ClickRow, String)>,
}

#[derive(Template)]
#[template(path = "webhook_form.html")]
struct FormPage {
    layout: Layout,
    /// Empty for a new one.
    id: String,
    revision: String,
    url: String,
    description: String,
    choices: Vec<EventChoice>,
    /// `people`, `everything` or `filter`.
    audience: String,
    filter: String,
    filter_example: &'static str,
    may_try: bool,
    schedules: [(&'static str, &'static str); 3],
    retry_schedule: String,
    /// The pauses of a schedule that has no name.
    own_schedule: String,
    rate_per_second: String,
    rate_burst: String,
    waits: Vec<Wait>,
    /// Custom headers, one a line; values that are kept are masked.
    headers: String,
    max_in_flight: String,
    timeout_ms: String,
    auto_disable: bool,
    auto_disable_text: String,
    batch: BatchFields,
    orders: [(&'static str, &'static str); 3],
    ordering: String,
    skip_after: String,
    checkpoint_minutes: String,
    /// Whether webhooks carry an asymmetric signature as well.
    signs_v1a: bool,
    /// How the endpoint lets us in.
    auth: AuthFields,
    tried: Option<Tried>,
    errors: Errors,
    payload: PayloadForm,
    ways: [(&'static str, &'static str); 2],
    /// `push` or `pull`.
    delivery: String,
}

impl FormPage {
    fn blank(signed: &Signed, shared: &Shared) -> Self {
        Self {
            layout: signed.layout("webhooks"),
            id: String::new(),
            revision: String::new(),
            url: String::new(),
            description: String::new(),
            choices: choices(&[LINK_CLICKED]),
            audience: "people".to_owned(),
            filter: String::new(),
            filter_example: FILTER_EXAMPLE,
            may_try: signed.caller.may(Scope::ClicksRead),
            schedules: SCHEDULES,
            retry_schedule: RetryPreset::Default.as_str().to_owned(),
            own_schedule: String::new(),
            rate_per_second: String::new(),
            rate_burst: String::new(),
            waits: waits("0"),
            headers: String::new(),
            max_in_flight: String::new(),
            timeout_ms: String::new(),
            auto_disable: true,
            auto_disable_text: auto_disable_text(shared.auto_disable_after),
            batch: BatchFields::of(None),
            orders: ORDERS,
            ordering: Ordering::None.mode().to_owned(),
            skip_after: String::new(),
            checkpoint_minutes: String::new(),
            signs_v1a: false,
            auth: AuthFields::of(None),
            tried: None,
            errors: Errors::default(),
            payload: payload(signed, shared, Shape::newest()),
            ways: WAYS,
            delivery: DeliveryMode::Push.as_str().to_owned(),
        }
    }

    fn of(signed: &Signed, shared: &Shared, endpoint: &Endpoint, kept: &Kept) -> Self {
        let options = &endpoint.options;
        let number = |number: Option<u32>| number.map(|n| n.to_string()).unwrap_or_default();
        let patterns: Vec<&str> = options.event_types.iter().map(EventTypePattern::as_str).collect();
        let preset = options.retry_schedule.as_deref().map_or(Some(RetryPreset::Default), RetryPreset::of);
        let own = options.retry_schedule.as_deref().filter(|_| preset.is_none());
        Self {
            id: endpoint.id.to_string(),
            revision: endpoint.revision.to_string(),
            url: options.url.to_string(),
            description: options.description.clone().unwrap_or_default(),
            choices: choices(&patterns),
            audience: match audience(endpoint) {
                "Every click" => "everything",
                "People only" => "people",
                _ => "filter",
            }
            .to_owned(),
            filter: options
                .filter
                .as_ref()
                .and_then(|filter| serde_json::to_string_pretty(filter).ok())
                .unwrap_or_default(),
            retry_schedule: preset.map_or(OWN_SCHEDULE, RetryPreset::as_str).to_owned(),
            own_schedule: own.map(schedule_text).unwrap_or_default(),
            rate_per_second: number(options.rate_per_second),
            rate_burst: number(options.rate_burst),
            waits: waits(&options.settle_ms.to_string()),
            headers: kept
                .headers
                .iter()
                .map(|(name, _)| format!("{name}: {MASK}"))
                .collect::<Vec<_>>()
                .join("\n"),
            max_in_flight: number(options.max_in_flight),
            timeout_ms: number(options.timeout_ms),
            auto_disable: options.auto_disable,
            payload: payload(signed, shared, payload_body::shape(options.payload.as_ref())),
            batch: BatchFields::of(options.batch),
            ordering: options.ordering.mode().to_owned(),
            skip_after: number(options.ordering.skip_after()),
            checkpoint_minutes: number(options.checkpoint_minutes),
            signs_v1a: options.signs_v1a,
            auth: AuthFields::of(kept.auth.as_ref()),
            delivery: options.delivery.as_str().to_owned(),
            ..Self::blank(signed, shared)
        }
    }

    /// The same with what was typed.
    fn typed(self, form: &Form) -> Self {
        let text = |name: &str| form.text(name).unwrap_or_default().to_owned();
        Self {
            url: text("url"),
            description: text("description"),
            choices: choices(&form.all("event_types")),
            audience: text("audience"),
            filter: text("filter"),
            retry_schedule: text("retry_schedule"),
            rate_per_second: text("rate_per_second"),
            rate_burst: text("rate_burst"),
            waits: waits(&text("settle_ms")),
            headers: text("headers"),
            max_in_flight: text("max_in_flight"),
            timeout_ms: text("timeout_ms"),
            auto_disable: form.is_set("auto_disable"),
            batch: BatchFields::typed(form),
            ordering: text("ordering"),
            skip_after: text("skip_after"),
            checkpoint_minutes: text("checkpoint_minutes"),
            signs_v1a: form.is_set("v1a"),
            auth: self.auth.typed(form),
            revision: text("revision"),
            payload: self.payload.typed(form),
            delivery: text("delivery"),
            ..self
        }
    }
}

fn payload(signed: &Signed, shared: &Shared, shape: Shape) -> PayloadForm {
    PayloadForm::of(shape, signed.caller.workspace_id, Site::new(&shared.settings.public_url))
}

#[get("/settings/webhooks/new")]
async fn new_webhook(signed: Signed, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::EndpointsWrite)?;
    Ok(session::taken(&shared, html(&FormPage::blank(&signed, &shared)), signed.flash.as_ref()))
}

#[post("/settings/webhooks")]
async fn create(signed: Signed, form: Form, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::EndpointsWrite)?;
    if form.is_set("try") {
        return try_it(&signed, &shared, &form, FormPage::blank(&signed, &shared)).await;
    }
    let made = match object(&form, true, &Kept::default()).and_then(form::read) {
        Ok(wanted) => {
            endpoint_create::create(&shared, &signed.caller, wanted, None).await.map(Done::into_inner)
        }
        Err(error) => Err(error),
    };
    match made {
        Ok(created) => {
            let text = match created.endpoint.options.delivery {
                DeliveryMode::Push => "The webhook is ready. Copy its secret, then try it with a click.",
                DeliveryMode::Pull => {
                    "The webhook is ready. Try it with a click: the event is there to be fetched."
                }
            };
            let text = noted(text, &created.warnings);
            let id = created.endpoint.id;
            // without a link there is a button that makes one, and a test needs none
            if signed.caller.may(Scope::LinksWrite)
                && let Err(error) = tryout::make_test_link(&shared, &signed.caller).await
            {
                error.log();
            }
            let (doors, page) = (signed.doors(), format!("/settings/webhooks/{id}/try"));
            let flash = match doors.opens(&page) {
                true => signed.reveal(text, id, created.secret_id.into_iter().collect(), ShownAs::Made),
                false => {
                    Flash::Done(format!("The webhook {id} is ready; who may see webhooks finds it there."))
                }
            };
            Ok(session::leave(&shared, see_other(doors.or_first(&page)), &flash))
        }
        Err(error) => refused(FormPage::blank(&signed, &shared), &form, error),
    }
}

#[get("/settings/webhooks/{id}/edit")]
async fn edit(signed: Signed, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::EndpointsWrite)?;
    let endpoint = endpoints::find(&shared, &signed.caller, endpoint_id(&id)?).await?;
    let kept = kept(&shared, &signed, &endpoint)?;
    Ok(html(&FormPage::of(&signed, &shared, &endpoint, &kept)))
}

#[post("/settings/webhooks/{id}/edit")]
async fn save(signed: Signed, form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::EndpointsWrite)?;
    let id = endpoint_id(&id)?;
    let endpoint = endpoints::find(&shared, &signed.caller, id).await?;
    let kept = kept(&shared, &signed, &endpoint)?;
    let page = FormPage::of(&signed, &shared, &endpoint, &kept);
    if form.is_set("try") {
        return try_it(&signed, &shared, &form, page).await;
    }
    // somebody else's change since the form was opened is not undone
    let revision = form.text("revision").map(etag);
    let saved = match object(&form, false, &kept).and_then(form::read) {
        Ok(wanted) => endpoints::update(&shared, &signed.caller, id, revision.as_deref(), wanted).await,
        Err(error) => Err(error),
    };
    match saved {
        Ok((_, warnings)) => {
            let flash = Flash::Done(noted("Saved. It holds for the next event.", &warnings));
            let page = format!("/settings/webhooks/{id}");
            Ok(session::leave(&shared, see_other(signed.doors().or_first(&page)), &flash))
        }
        Err(error) => refused(page, &form, error),
    }
}

/// What the form does not show and may keep.
fn kept(shared: &Shared, signed: &Signed, endpoint: &Endpoint) -> Result<Kept, ApiError> {
    Ok(Kept {
        headers: endpoints::open_headers(shared, &signed.caller, endpoint)?,
        auth: endpoint_auth::open(shared, &signed.caller, endpoint.id, &endpoint.options)?,
        url: Some(endpoint.options.url.clone()),
    })
}

fn noted(text: &str, warnings: &[String]) -> String {
    warnings.iter().fold(text.to_owned(), |text, warning| format!("{text} Note: {warning}."))
}

fn refused(page: FormPage, form: &Form, error: ApiError) -> PageResult {
    let errors = Errors::of(error)?.apart("auth");
    Ok(html_with(StatusCode::UNPROCESSABLE_ENTITY, &FormPage { errors, ..page.typed(form) }))
}

/// Shows what was asked for of what was typed: a sample, or what the filter does. Nothing is saved.
async fn try_it(signed: &Signed, shared: &Shared, form: &Form, page: FormPage) -> PageResult {
    if !webhook_payload::is_asked(form) {
        return try_filter(signed, shared, form, page).await;
    }
    match webhook_payload::check(form) {
        Ok(()) => Ok(html(&page.typed(form))),
        Err(error) => refused(page, form, error),
    }
}

/// Shows which of the last clicks the typed filter lets through; nothing is saved.
async fn try_filter(signed: &Signed, shared: &Shared, form: &Form, page: FormPage) -> PageResult {
    signed.caller.require(Scope::ClicksRead)?;
    let wanted = filter(form)
        .and_then(|filter| form::read::<FilterPreview>(Map::from_iter([("filter".to_owned(), filter)])));
    let tried = match wanted {
        Ok(wanted) => {
            previews::try_filter(shared, &signed.caller, &wanted.filter.unwrap_or_default(), None).await
        }
        Err(error) => Err(error),
    };
    let clicks = match tried {
        Ok(clicks) => clicks,
        Err(error) => return refused(page, form, error),
    };
    let now = Utc::now();
    let matched = clicks.iter().filter(|(_, refusal)| refusal.is_none()).count();
    let sentence = match clicks.len() {
        0 => "No click was recorded yet: there is nothing to try it on.".to_owned(),
        all => format!("It lets {matched} of the last {all} clicks through. Nothing is saved yet."),
    };
    let why = |refusal: &Option<Refusal>| refusal.as_ref().map(ToString::to_string).unwrap_or_default();
    let rows = clicks.iter().map(|(shown, refusal)| (click_row(shown, now), why(refusal))).collect();
    Ok(html(&FormPage { tried: Some(Tried { sentence, rows }), ..page.typed(form) }))
}
