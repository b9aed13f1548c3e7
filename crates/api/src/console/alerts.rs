//! The alert URL: a card on the page of webhooks. Its own page is that of an endpoint.

use actix_web::http::StatusCode;
use actix_web::post;
use actix_web::web::{Data, ServiceConfig};
use serde_json::{Map, Value};

use model::AlertFormat;
use store::endpoints::Endpoint;

use super::flash::ShownAs;
use super::form::{self, Errors, Form};
use super::view::{Chip, endpoint_chip, html_with};
use super::{Flash, PageResult, Signed, see_other, session, webhooks};
use crate::app::Shared;
use crate::auth::Scope;
use crate::desk::alerts::{self, NewAlert};

/// Adds what the card does.
pub fn configure(config: &mut ServiceConfig) {
    config.service(save).service(remove);
}

/// The alert URL as the card shows it.
pub struct AlertCard {
    /// Empty while there is none.
    pub id: String,
    /// How it is.
    pub chip: Option<Chip>,
    /// That in words.
    pub sentence: String,
    /// What stands in the form.
    pub url: String,
    /// Whether the form says Slack.
    pub is_slack: bool,
    /// What is wrong with the form.
    pub errors: Errors,
}

impl AlertCard {
    /// The card; what was typed stands in its form rather than what is saved.
    pub fn of(saved: Option<&Endpoint>, typed: Option<(&Form, Errors)>) -> Self {
        let state = saved.map(|endpoint| endpoint_chip(endpoint, chrono::Utc::now()));
        let (chip, sentence) = state.map_or((None, String::new()), |(chip, sentence)| (Some(chip), sentence));
        let format = saved.and_then(|endpoint| endpoint.options.kind.alert_format());
        let mut card = Self {
            id: saved.map(|endpoint| endpoint.id.to_string()).unwrap_or_default(),
            chip,
            sentence,
            url: saved.map(|endpoint| endpoint.options.url.to_string()).unwrap_or_default(),
            is_slack: format == Some(AlertFormat::Slack),
            errors: Errors::default(),
        };
        if let Some((form, errors)) = typed {
            card.url = form.text("url").unwrap_or_default().to_owned();
            card.is_slack = form.text("format") == Some(AlertFormat::Slack.as_str());
            card.errors = errors;
        }
        card
    }
}

#[post("/settings/alerts")]
async fn save(signed: Signed, form: Form, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::EndpointsWrite)?;
    let object: Map<String, Value> = form.object(&["url", "format"]);
    let saved = match form::read::<NewAlert>(object) {
        Ok(wanted) => alerts::save(&shared, &signed.caller, None, wanted).await,
        Err(error) => Err(error),
    };
    match saved {
        Ok(saved) => {
            let mut text = "The alert URL is saved. Send it a test.".to_owned();
            for warning in saved.warnings {
                text = format!("{text} Note: {warning}.");
            }
            let id = saved.endpoint.id;
            let flash = match saved.secret_id {
                Some(secret_id) => signed.reveal(text, id, vec![secret_id], ShownAs::Made),
                None => Flash::Done(text),
            };
            Ok(session::leave(&shared, see_other(&format!("/settings/webhooks/{id}")), &flash))
        }
        Err(error) => {
            let errors = Errors::of(error)?;
            let page = webhooks::list_page(&signed, &shared, Some((&form, errors))).await?;
            Ok(html_with(StatusCode::UNPROCESSABLE_ENTITY, &page))
        }
    }
}

#[post("/settings/alerts/remove")]
async fn remove(signed: Signed, _form: Form, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::EndpointsWrite)?;
    alerts::remove(&shared, &signed.caller, None).await?;
    let flash = Flash::Done("Nobody is alerted any more.".to_owned());
    Ok(session::leave(&shared, see_other("/settings/webhooks"), &flash))
}
