//! Model to Protobuf and back: the only place that knows the encoding of `proto/`.
//!
//! Decoding is lenient where an older reader meets a newer writer: an enum number that is not known yet becomes the
//! value that claims least. It is strict where a value would be wrong: an id, a time or a part that must be there.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use model::click::{
    ClickedLink, HEADER_BYTES_MAX, IpQuality, KEPT_HEADERS, REFERRER_BYTES_MAX, Request, USER_AGENT_BYTES_MAX,
};
use model::link::{LinkKind, LinkLabels};
use model::orphan::{Orphan, OrphanReason, PATH_BYTES_MAX};
use model::{AddressTreatment, Click, EnrichedClick};
use prost::Message as _;
use prost_types::Timestamp;

use crate::messages::{DecodeError, Event, Quarantined};

mod borrowed;
mod enriched;

pub(crate) use borrowed::{append_click, append_destination, append_link};

use enriched::{enriched_from_proto, enriched_to_proto};

#[allow(clippy::all, reason = "generated from proto/")]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/clickwire.events.v1.rs"));
}

pub(crate) fn encode_click(click: &Click) -> Vec<u8> {
    click_to_proto(click).encode_to_vec()
}

pub(crate) fn decode_click(bytes: &[u8]) -> Result<Click, DecodeError> {
    click_from_proto(proto::Click::decode(bytes)?)
}

pub(crate) fn encode_enriched(click: &EnrichedClick) -> Vec<u8> {
    enriched_to_proto(click).encode_to_vec()
}

pub(crate) fn decode_enriched(bytes: &[u8]) -> Result<EnrichedClick, DecodeError> {
    enriched_from_proto(proto::EnrichedClick::decode(bytes)?)
}

pub(crate) fn encode_event(event: &Event) -> Vec<u8> {
    proto::Event {
        event_id: event.id.to_string(),
        workspace_id: event.workspace_id.to_string(),
        r#type: event.event_type.clone(),
        occurred_at: Some(timestamp(event.occurred_at)),
        data: event.data.clone(),
    }
    .encode_to_vec()
}

pub(crate) fn decode_event(bytes: &[u8]) -> Result<Event, DecodeError> {
    let event = proto::Event::decode(bytes)?;
    if event.r#type.is_empty() {
        return Err(DecodeError::Missing("type"));
    }
    Ok(Event {
        id: id(&event.event_id, "event_id")?,
        workspace_id: id(&event.workspace_id, "workspace_id")?,
        event_type: event.r#type,
        occurred_at: time(event.occurred_at, "occurred_at")?,
        data: event.data,
    })
}

pub(crate) fn encode_quarantined(message: &Quarantined) -> Vec<u8> {
    proto::Quarantined {
        stream: message.stream.clone(),
        stream_sequence: message.stream_sequence,
        message_id: message.message_id.clone(),
        consumer: message.consumer.clone(),
        subject: message.subject.clone(),
        reason: message.reason.clone(),
        payload: message.payload.to_vec(),
        quarantined_at: Some(timestamp(message.quarantined_at)),
    }
    .encode_to_vec()
}

pub(crate) fn decode_quarantined(bytes: &[u8]) -> Result<Quarantined, DecodeError> {
    let message = proto::Quarantined::decode(bytes)?;
    if message.stream.is_empty() {
        return Err(DecodeError::Missing("stream"));
    }
    Ok(Quarantined {
        stream: message.stream,
        stream_sequence: message.stream_sequence,
        message_id: message.message_id,
        consumer: message.consumer,
        subject: message.subject,
        reason: message.reason,
        payload: message.payload.into(),
        quarantined_at: time(message.quarantined_at, "quarantined_at")?,
    })
}

pub(crate) fn encode_orphan(orphan: &Orphan) -> Vec<u8> {
    proto::Orphan {
        orphan_id: orphan.id.to_string(),
        occurred_at: Some(timestamp(orphan.occurred_at)),
        workspace_id: orphan.workspace_id.map(|id| id.to_string()),
        reason: match orphan.reason {
            OrphanReason::BaseUrl => proto::OrphanReason::BaseUrl,
            OrphanReason::UnknownSlug => proto::OrphanReason::UnknownSlug,
            OrphanReason::BadPath => proto::OrphanReason::BadPath,
            OrphanReason::Disabled => proto::OrphanReason::Disabled,
            OrphanReason::NotStarted => proto::OrphanReason::NotStarted,
            OrphanReason::Expired => proto::OrphanReason::Expired,
            OrphanReason::Exhausted => proto::OrphanReason::Exhausted,
            OrphanReason::Blocked => proto::OrphanReason::Blocked,
        }
        .into(),
        host: orphan.host.clone(),
        path: orphan.path.clone(),
        link_id: orphan.link_id.map(|id| id.to_string()),
        method: orphan.method.clone(),
        user_agent: orphan.user_agent.clone(),
        referrer: orphan.referrer.clone(),
    }
    .encode_to_vec()
}

pub(crate) fn decode_orphan(bytes: &[u8]) -> Result<Orphan, DecodeError> {
    let orphan = proto::Orphan::decode(bytes)?;
    let reason = match orphan.reason() {
        proto::OrphanReason::BaseUrl => OrphanReason::BaseUrl,
        proto::OrphanReason::Unspecified | proto::OrphanReason::UnknownSlug => OrphanReason::UnknownSlug,
        proto::OrphanReason::BadPath => OrphanReason::BadPath,
        proto::OrphanReason::Disabled => OrphanReason::Disabled,
        proto::OrphanReason::NotStarted => OrphanReason::NotStarted,
        proto::OrphanReason::Expired => OrphanReason::Expired,
        proto::OrphanReason::Exhausted => OrphanReason::Exhausted,
        proto::OrphanReason::Blocked => OrphanReason::Blocked,
    };
    Ok(Orphan {
        id: id(&orphan.orphan_id, "orphan_id")?,
        occurred_at: time(orphan.occurred_at, "occurred_at")?,
        workspace_id: orphan.workspace_id.map(|text| id(&text, "workspace_id")).transpose()?,
        reason,
        host: orphan.host,
        path: bounded(orphan.path, PATH_BYTES_MAX),
        link_id: orphan.link_id.map(|text| id(&text, "link_id")).transpose()?,
        method: orphan.method,
        user_agent: orphan.user_agent.map(|text| bounded(text, USER_AGENT_BYTES_MAX)),
        referrer: orphan.referrer.map(|text| bounded(text, REFERRER_BYTES_MAX)),
    })
}

fn click_to_proto(click: &Click) -> proto::Click {
    proto::Click {
        click_id: click.id.to_string(),
        clicked_at: Some(timestamp(click.clicked_at)),
        workspace_id: click.workspace_id.to_string(),
        link: Some(link_to_proto(&click.link)),
        destination_url: click.destination_url.clone(),
        request: Some(request_to_proto(&click.request)),
        address_treatment: address_treatment_to_proto(click.address_treatment).into(),
        traceparent: click.traceparent.clone(),
        anonymous: click.is_anonymous,
        redacted: click.is_redacted,
    }
}

fn address_treatment_to_proto(treatment: AddressTreatment) -> proto::AddressTreatment {
    match treatment {
        AddressTreatment::Drop => proto::AddressTreatment::Drop,
        AddressTreatment::Truncate => proto::AddressTreatment::Truncate,
        AddressTreatment::Keep => proto::AddressTreatment::Keep,
    }
}

fn click_from_proto(click: proto::Click) -> Result<Click, DecodeError> {
    let treatment = click.address_treatment();
    Ok(Click {
        id: id(&click.click_id, "click_id")?,
        clicked_at: time(click.clicked_at, "clicked_at")?,
        workspace_id: id(&click.workspace_id, "workspace_id")?,
        link: link_from_proto(click.link.ok_or(DecodeError::Missing("link"))?)?,
        destination_url: click.destination_url,
        request: request_from_proto(click.request.ok_or(DecodeError::Missing("request"))?)?,
        address_treatment: match treatment {
            // who is not understood gets the most private treatment
            proto::AddressTreatment::Unspecified | proto::AddressTreatment::Drop => AddressTreatment::Drop,
            proto::AddressTreatment::Truncate => AddressTreatment::Truncate,
            proto::AddressTreatment::Keep => AddressTreatment::Keep,
        },
        is_anonymous: click.anonymous,
        is_redacted: click.redacted,
        traceparent: click.traceparent,
    })
}

fn link_to_proto(link: &ClickedLink) -> proto::Link {
    let labels = &link.labels;
    proto::Link {
        link_id: link.id.to_string(),
        revision: link.revision,
        domain: link.domain.clone(),
        slug: link.slug.clone(),
        tracked_url: link.tracked_url.clone(),
        original_url: link.original_url.clone(),
        external_id: labels.external_id.clone(),
        campaign_id: labels.campaign_id.clone(),
        conversation_id: labels.conversation_id.clone(),
        contact_id: labels.contact_id.clone(),
        message_id: labels.message_id.clone(),
        channel: labels.channel.clone(),
        tags: labels.tags.clone(),
        metadata: labels.metadata.clone(),
        kind: match link.kind {
            LinkKind::Shareable => proto::LinkKind::Unspecified,
            LinkKind::Message => proto::LinkKind::Message,
            LinkKind::Honeypot => proto::LinkKind::Honeypot,
        }
        .into(),
        sent_at: link.sent_at.map(timestamp),
        sequence_id: labels.sequence_id.clone(),
        step_id: labels.step_id.clone(),
    }
}

fn link_from_proto(link: proto::Link) -> Result<ClickedLink, DecodeError> {
    Ok(ClickedLink {
        id: id(&link.link_id, "link.link_id")?,
        kind: match link.kind() {
            proto::LinkKind::Unspecified => LinkKind::Shareable,
            proto::LinkKind::Message => LinkKind::Message,
            proto::LinkKind::Honeypot => LinkKind::Honeypot,
        },
        sent_at: link.sent_at.map(|at| time(Some(at), "link.sent_at")).transpose()?,
        revision: link.revision,
        domain: link.domain,
        slug: link.slug,
        tracked_url: link.tracked_url,
        original_url: link.original_url,
        labels: LinkLabels {
            external_id: link.external_id,
            campaign_id: link.campaign_id,
            conversation_id: link.conversation_id,
            contact_id: link.contact_id,
            message_id: link.message_id,
            channel: link.channel,
            sequence_id: link.sequence_id,
            step_id: link.step_id,
            tags: link.tags,
            metadata: link.metadata,
        },
    })
}

fn request_to_proto(request: &Request) -> proto::Request {
    proto::Request {
        method: request.method.clone(),
        ip: match request.ip {
            None => Vec::new(),
            Some(IpAddr::V4(ip)) => ip.octets().to_vec(),
            Some(IpAddr::V6(ip)) => ip.octets().to_vec(),
        },
        ip_quality: ip_quality_to_proto(request.ip_quality).into(),
        user_agent: request.user_agent.clone(),
        referrer: request.referrer.clone(),
        headers: request
            .headers
            .iter()
            .map(|(name, value)| proto::Header { name: name.clone(), value: value.clone() })
            .collect(),
    }
}

fn ip_quality_to_proto(quality: IpQuality) -> proto::IpQuality {
    match quality {
        IpQuality::Direct => proto::IpQuality::Direct,
        IpQuality::Proxied => proto::IpQuality::Proxied,
        IpQuality::Obfuscated => proto::IpQuality::Obfuscated,
    }
}

fn request_from_proto(request: proto::Request) -> Result<Request, DecodeError> {
    let ip_quality = match proto::IpQuality::try_from(request.ip_quality) {
        Ok(proto::IpQuality::Unspecified | proto::IpQuality::Direct) => IpQuality::Direct,
        Ok(proto::IpQuality::Proxied) => IpQuality::Proxied,
        Ok(proto::IpQuality::Obfuscated) | Err(_) => IpQuality::Obfuscated,
    };
    Ok(Request {
        method: request.method,
        ip: ip(&request.ip)?,
        ip_quality,
        user_agent: request.user_agent.map(|text| bounded(text, USER_AGENT_BYTES_MAX)),
        referrer: request.referrer.map(|text| bounded(text, REFERRER_BYTES_MAX)),
        headers: request
            .headers
            .into_iter()
            .take(KEPT_HEADERS.len())
            .map(|header| (bounded(header.name, HEADER_BYTES_MAX), bounded(header.value, HEADER_BYTES_MAX)))
            .collect(),
    })
}

fn id<T: std::str::FromStr<Err = model::id::IdError>>(
    text: &str,
    field: &'static str,
) -> Result<T, DecodeError> {
    text.parse().map_err(|source| DecodeError::Id { field, source })
}

fn timestamp(at: DateTime<Utc>) -> Timestamp {
    // a leap second counts as the last moment of the second before it
    let nanos = at.timestamp_subsec_nanos().min(999_999_999);
    Timestamp { seconds: at.timestamp(), nanos: nanos.cast_signed() }
}

fn time(timestamp: Option<Timestamp>, field: &'static str) -> Result<DateTime<Utc>, DecodeError> {
    let timestamp = timestamp.ok_or(DecodeError::Missing(field))?;
    u32::try_from(timestamp.nanos)
        .ok()
        .filter(|&nanos| nanos < 1_000_000_000)
        .and_then(|nanos| DateTime::from_timestamp(timestamp.seconds, nanos))
        .ok_or(DecodeError::Time(field))
}

fn ip(bytes: &[u8]) -> Result<Option<IpAddr>, DecodeError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ok(Some(octets.into()));
    }
    <[u8; 16]>::try_from(bytes)
        .map(|octets| Some(octets.into()))
        .map_err(|_| DecodeError::Address("request.ip"))
}

/// `text`, cut before the character that would pass `bytes_max`.
fn bounded(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod hostile_tests;
