//! The body of a `link.clicked` webhook: Standard Webhooks 1.0.0, "Payload structure".
//!
//! The order of the fields is the order of the structs below. What is not known is `null` and every
//! object is always there, so that a subscriber never has to ask whether a key exists.
//! The bytes that come out are signed, sent and stored as they are: nobody serialises an event twice.

mod sample;

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::automation::{Automation, Verdict};
use model::click::{Click, EnrichedClick};
use model::device::Device;
use model::event_type::LINK_CLICKED;
use model::location::Location;
use model::{ClickId, EventId, LinkId, WorkspaceId};
use serde::Serialize;

use crate::envelope::{Envelope, Timestamp};

pub use sample::{amended_sample, sample};

/// Room for an ordinary body, so that writing it allocates once.
const BODY_BYTES_USUAL: usize = 2048;

/// The body that tells of a click.
pub fn link_clicked(click: &EnrichedClick) -> Vec<u8> {
    of_type(LINK_CLICKED, click)
}

/// The body that tells of a click in an event of this type: `link.clicked`, or what has changed since.
///
/// The first telling has the id of the click alone, also when the click was amended before it: whoever looks whether it
/// was told finds it under one id. Which revision it tells is in `data.revision`.
pub fn of_type(event_type: &'static str, click: &EnrichedClick) -> Vec<u8> {
    let (id, clicked_at) = (event_id(event_type, click), click.click.clicked_at);
    let envelope = Envelope::new(id, event_type, clicked_at, Data::of(click));
    let mut body = Vec::with_capacity(BODY_BYTES_USUAL);
    serde_json::to_writer(&mut body, &envelope).expect("keys are strings, and a Vec takes every byte");
    body
}

/// The `data` of the body that tells of a click, alone: one line of JSON.
pub fn data(click: &EnrichedClick) -> Vec<u8> {
    let mut data = Vec::with_capacity(BODY_BYTES_USUAL);
    serde_json::to_writer(&mut data, &Data::of(click)).expect("keys are strings, and a Vec takes every byte");
    data
}

/// The `data`, for who writes something else around it.
pub(crate) fn view(click: &EnrichedClick) -> impl Serialize {
    Data::of(click)
}

/// The id of the event of this type that tells of a click.
pub(crate) fn event_id(event_type: &str, click: &EnrichedClick) -> EventId {
    match event_type {
        LINK_CLICKED => EventId::of_click(click.click.id, 0),
        _ => click.event_id,
    }
}

#[derive(Serialize)]
struct Data<'a> {
    click_id: ClickId,
    workspace_id: WorkspaceId,
    clicked_at: Timestamp,
    link: LinkData<'a>,
    campaign_id: Option<&'a str>,
    conversation_id: Option<&'a str>,
    contact_id: Option<&'a str>,
    message_id: Option<&'a str>,
    channel: Option<&'a str>,
    sequence_id: Option<&'a str>,
    step_id: Option<&'a str>,
    location: LocationData<'a>,
    device: &'a Device,
    referrer: Option<&'a str>,
    language: Option<&'a str>,
    ip: Option<IpAddr>,
    user_agent: Option<&'a str>,
    automation: &'a Automation,
    is_first_click: Option<bool>,
    /// Of the click: 0, or how often it was amended.
    revision: u32,
    /// What the revision before said.
    previous_verdict: Option<Verdict>,
    test: bool,
    privacy: Privacy<'a>,
    enrichment: &'static str,
}

#[derive(Serialize)]
struct LinkData<'a> {
    id: LinkId,
    kind: &'static str,
    tracked_url: &'a str,
    original_url: &'a str,
    destination_url: &'a str,
    domain: &'a str,
    slug: &'a str,
    external_id: Option<&'a str>,
    revision: u32,
    tags: &'a [String],
    metadata: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct LocationData<'a> {
    #[serde(flatten)]
    place: &'a Location,
    /// Why there is no place, in words.
    missing: Option<&'static str>,
}

#[derive(Serialize)]
struct Privacy<'a> {
    redacted_fields: &'a [String],
}

impl<'a> Data<'a> {
    fn of(enriched: &'a EnrichedClick) -> Self {
        let click = &enriched.click;
        let labels = &click.link.labels;
        Self {
            click_id: click.id,
            workspace_id: click.workspace_id,
            clicked_at: Timestamp(click.clicked_at),
            link: LinkData::of(click),
            campaign_id: labels.campaign_id.as_deref(),
            conversation_id: labels.conversation_id.as_deref(),
            contact_id: labels.contact_id.as_deref(),
            message_id: labels.message_id.as_deref(),
            channel: labels.channel.as_deref(),
            sequence_id: labels.sequence_id.as_deref(),
            step_id: labels.step_id.as_deref(),
            location: LocationData {
                place: &enriched.location,
                missing: enriched.location_missing.map(|reason| reason.as_str()),
            },
            device: &enriched.device,
            referrer: click.request.referrer.as_deref(),
            language: click.request.language(),
            ip: click.request.ip,
            user_agent: click.request.user_agent.as_deref(),
            automation: &enriched.automation,
            is_first_click: enriched.is_first_click,
            revision: enriched.event_id.revision(),
            previous_verdict: enriched.earlier.last().map(|earlier| earlier.verdict),
            test: enriched.test,
            privacy: Privacy { redacted_fields: &enriched.redacted_fields },
            enrichment: enriched.enrichment.as_str(),
        }
    }
}

impl<'a> LinkData<'a> {
    fn of(click: &'a Click) -> Self {
        let link = &click.link;
        Self {
            id: link.id,
            kind: link.kind.as_str(),
            tracked_url: &link.tracked_url,
            original_url: &link.original_url,
            destination_url: &click.destination_url,
            domain: &link.domain,
            slug: &link.slug,
            external_id: link.labels.external_id.as_deref(),
            revision: link.revision,
            tags: &link.labels.tags,
            metadata: &link.labels.metadata,
        }
    }
}

#[cfg(test)]
mod tests;
