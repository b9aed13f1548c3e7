//! What an endpoint is set to, in words, for its page and for the list.

use chrono::Utc;
use serde_json::{Value, json};

use model::retry::RetryPreset;
use store::endpoints::Endpoint;

use super::view::{Chip, endpoint_chip};
use super::webhook_fields::carries;
use super::webhook_order::order_text;
use super::webhook_payload;
use crate::desk::payload_body;

/// A webhook and what it chose.
pub(super) struct EndpointRow {
    pub id: String,
    pub url: String,
    pub description: String,
    pub chip: Chip,
    pub sentence: String,
    pub audience: &'static str,
    /// The filter as JSON, where a word does not say it all.
    pub filter: String,
    pub retries: &'static str,
    /// Most requests a second.
    pub rate: String,
    /// How long it waits for evidence.
    pub wait: String,
    pub disables: &'static str,
    /// How its bodies look.
    pub payload: String,
    /// How many events a request carries.
    pub carries: String,
    /// Whether it fetches its events.
    pub is_pulled: bool,
    /// In which order it gets what it is owed.
    pub order: String,
}

pub(super) fn endpoint_row(endpoint: &Endpoint) -> EndpointRow {
    let (chip, sentence) = endpoint_chip(endpoint, Utc::now());
    EndpointRow {
        id: endpoint.id.to_string(),
        url: endpoint.options.url.to_string(),
        description: endpoint.options.description.clone().unwrap_or_default(),
        chip,
        sentence,
        audience: audience(endpoint),
        filter: match (audience(endpoint), &endpoint.options.filter) {
            ("Some clicks", Some(filter)) => filter.to_string(),
            _ => String::new(),
        },
        retries: retries(endpoint),
        rate: match (endpoint.options.rate_per_second, endpoint.options.rate_burst) {
            (None, _) => "As many as it bears".to_owned(),
            (Some(rate), None) => format!("{rate} a second"),
            (Some(rate), Some(burst)) => format!("{rate} a second, {burst} at once after a quiet time"),
        },
        wait: match endpoint.options.settle_ms {
            0 => "Told at once".to_owned(),
            ms => {
                format!("Told {} seconds after the click, with what is known by then", f64::from(ms) / 1000.0)
            }
        },
        disables: if endpoint.options.auto_disable { "When it only fails" } else { "Never by itself" },
        payload: webhook_payload::sentence(&payload_body::shape(endpoint.options.payload.as_ref())),
        carries: carries(endpoint.options.batch),
        is_pulled: endpoint.options.is_pulled(),
        order: order_text(&endpoint.options),
    }
}

fn retries(endpoint: &Endpoint) -> &'static str {
    let schedule = endpoint.options.retry_schedule.as_deref();
    match schedule.map_or(Some(RetryPreset::Default), RetryPreset::of) {
        Some(RetryPreset::Default) => "Ten attempts over three days",
        Some(RetryPreset::Fast) => "Ten attempts within an hour",
        Some(RetryPreset::Long) => "Fourteen attempts over a week",
        None => "A schedule of its own",
    }
}

/// Which clicks an endpoint gets, in a word.
pub(super) fn audience(endpoint: &Endpoint) -> &'static str {
    let Some(filter) = endpoint.options.filter.as_ref().and_then(Value::as_object) else {
        return "Every click";
    };
    let verdicts = filter.get("verdicts").and_then(Value::as_array);
    match verdicts {
        _ if filter.is_empty() => "Every click",
        Some(verdicts) if filter.len() == 1 && !verdicts.contains(&json!("automated")) => "People only",
        _ => "Some clicks",
    }
}
