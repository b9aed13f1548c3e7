//! From an event to the bytes that an endpoint gets.
//!
//! They are signed, sent and, for a retry, stored as they are. What the bytes are, they say themselves ([`content_type`]): a
//! retry sends them so, whatever its endpoint has chosen meanwhile.

use chrono::{DateTime, Utc};
use model::event_type::LINK_CLICK_AMENDED;
use model::{EnrichedClick, EventId, WorkspaceId};
use serde::Serialize;
use serde_json::{Map, Value};

use super::fields::prune;
use super::{Format, Profile, Shape, Site, Version, slack};
use crate::envelope::{Envelope, Timestamp};
use crate::own_event::OwnEvent;
use crate::payload;

/// The media type of most bodies.
const JSON: &str = "application/json";

/// That of CloudEvents ("JSON Event Format", "HTTP Protocol Binding" section 3.2).
const CLOUDEVENTS_JSON: &str = "application/cloudevents+json; charset=UTF-8";

/// How a body in CloudEvents begins, and no other.
const CLOUDEVENTS_BEGINNING: &[u8] = b"{\"specversion\":";

/// What stands around the data of an event.
struct About<'a> {
    id: EventId,
    event_type: &'a str,
    occurred_at: DateTime<Utc>,
    workspace_id: WorkspaceId,
    /// What it tells of, within the workspace.
    subject: Option<String>,
}

/// `specversion` comes first: by it the body is known.
#[derive(Serialize)]
struct CloudEvent<'a, D> {
    specversion: &'static str,
    id: EventId,
    source: String,
    #[serde(rename = "type")]
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: Timestamp,
    datacontenttype: &'static str,
    data: D,
}

#[derive(Serialize)]
struct Request<'a, D> {
    data: D,
    event: &'a str,
    request_id: EventId,
}

impl Shape {
    /// The body that tells of a click in an event of this type: `link.clicked`, or what has changed since.
    pub fn of_click(&self, event_type: &'static str, click: &EnrichedClick, site: &Site) -> Vec<u8> {
        if self.is_whole() && self.format == Format::StandardWebhooks {
            return match self.version {
                Version::V20261101 => payload::of_type(event_type, click),
            };
        }
        let about = About {
            id: payload::event_id(event_type, click),
            event_type,
            occurred_at: click.click.clicked_at,
            workspace_id: click.click.workspace_id,
            subject: Some(click.click.id.to_string()),
        };
        if self.format == Format::Slack {
            return json(&slack::of_click(event_type, &self.data(click, site).into()));
        }
        if self.is_whole() {
            return match self.version {
                Version::V20261101 => self.enclose(&about, payload::view(click), site),
            };
        }
        self.enclose(&about, self.data(click, site), site)
    }

    /// The body of a delivery whose bytes were not kept, rendered again from the recorded click. What tells of the click tells
    /// what is known of it by now; an amendment tells the verdict that it told before. `None`: there was no such amendment.
    pub fn again(
        &self,
        event_type: &'static str,
        click: &EnrichedClick,
        revision: u32,
        site: &Site,
    ) -> Option<Vec<u8>> {
        match event_type {
            LINK_CLICK_AMENDED => Some(self.of_click(event_type, &click.as_of(revision)?, site)),
            _ => Some(self.of_click(event_type, click, site)),
        }
    }

    /// The body that tells of an event of our own: whole, in the format.
    pub fn of_event(&self, event: &OwnEvent, site: &Site) -> Vec<u8> {
        match self.format {
            Format::StandardWebhooks => event.body(),
            Format::Slack => json(&slack::of_event(event)),
            Format::CloudEvents | Format::Request => {
                let about = About {
                    id: event.id,
                    event_type: &event.event_type,
                    occurred_at: event.occurred_at,
                    workspace_id: event.workspace_id,
                    subject: event.endpoint_id().map(|id| id.to_string()),
                };
                self.enclose(&about, event.view(), site)
            }
        }
    }

    /// What is left of a click's `data`.
    fn data(&self, click: &EnrichedClick, site: &Site) -> Map<String, Value> {
        let whole = match self.version {
            Version::V20261101 => serde_json::to_value(payload::view(click)),
        };
        // it is one: its keys are the names of fields
        let Ok(Value::Object(mut data)) = whole else { return Map::new() };
        prune(&mut data, "", &|path: &str| self.keeps(path));
        if self.profile == Profile::Thin {
            data.insert("url".to_owned(), site.click(click.click.id).into());
        }
        data
    }

    /// Puts the data into what stands around it. A message for Slack has no data, and is written elsewhere.
    fn enclose<D: Serialize>(&self, about: &About<'_>, data: D, site: &Site) -> Vec<u8> {
        match self.format {
            Format::CloudEvents => json(&CloudEvent {
                specversion: "1.0",
                id: about.id,
                source: site.workspace(about.workspace_id),
                event_type: about.event_type,
                subject: about.subject.as_deref(),
                time: Timestamp(about.occurred_at),
                datacontenttype: JSON,
                data,
            }),
            Format::Request => json(&Request { data, event: about.event_type, request_id: about.id }),
            Format::StandardWebhooks | Format::Slack => {
                json(&Envelope::new(about.id, about.event_type, about.occurred_at, data))
            }
        }
    }
}

/// The media type of a body that was made here, now or long ago.
pub fn content_type(body: &[u8]) -> &'static str {
    if body.starts_with(CLOUDEVENTS_BEGINNING) { CLOUDEVENTS_JSON } else { JSON }
}

fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("keys are strings, and a Vec takes every byte")
}
