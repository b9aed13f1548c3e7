//! A click's encoding written straight from what a request holds: the bytes of [`encode_click`](super::encode_click),
//! without building a [`Click`](model::Click) first.
//!
//! The redirect does this once a request. The field numbers are those of `click.proto`; a property test holds the
//! bytes to those of the generated code.

use std::net::IpAddr;

use model::click::ClickedLink;
use model::privacy::Telling;
use model::{AddressTreatment, ClickId, WorkspaceId};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::{address_treatment_to_proto, ip_quality_to_proto, link_to_proto, timestamp};
use crate::borrowed::{ClickRef, RequestRef};

/// Appends fields 3 and 4: the same for all clicks of a link until it is changed.
pub(crate) fn append_link(workspace_id: WorkspaceId, link: &ClickedLink, out: &mut Vec<u8>) {
    text(out, 3, &workspace_id.to_string());
    message(out, 4, &link_to_proto(link));
}

/// Appends field 5.
pub(crate) fn append_destination(url: &str, out: &mut Vec<u8>) {
    text(out, 5, url);
}

/// Appends a click to `out`; `link` is what [`append_link`] made and, if the click does not say where it led to, what
/// [`append_destination`] did.
pub(crate) fn append_click(
    click: &ClickRef<'_>,
    link: &[u8],
    treatment: AddressTreatment,
    telling: Telling,
    out: &mut Vec<u8>,
) {
    head(out, 1, ClickId::TEXT_BYTES);
    click.id.append_to(out);
    message(out, 2, &timestamp(click.clicked_at));
    out.extend_from_slice(link);
    if let Some(url) = click.destination_url {
        append_destination(url, out);
    }
    if let Some(recipient) = click.recipient {
        append_recipient(recipient, out);
    }
    let request = &click.request;
    head(out, 6, request_bytes(request));
    append_request(request, out);
    number(out, 7, address_treatment_to_proto(treatment).into());
    optional(out, 8, click.traceparent);
    number(out, 9, (telling == Telling::Anonymous).into());
    number(out, 10, (telling == Telling::Redacted).into());
}

/// Appends field 4 once more, with nothing but the contact: whoever decodes a message that is there twice puts both together,
/// and of what stands in both the later counts (Protobuf encoding, "Last One Wins").
fn append_recipient(recipient: u64, out: &mut Vec<u8>) {
    let contact_id = recipient.to_string();
    head(out, 4, field_bytes(contact_id.len()));
    text(out, 10, &contact_id);
}

fn append_request(request: &RequestRef<'_>, out: &mut Vec<u8>) {
    text(out, 1, request.method);
    match request.ip {
        None => {}
        Some(IpAddr::V4(ip)) => bytes(out, 2, &ip.octets()),
        Some(IpAddr::V6(ip)) => bytes(out, 2, &ip.octets()),
    }
    number(out, 3, ip_quality_to_proto(request.ip_quality).into());
    optional(out, 4, request.user_agent.as_deref());
    optional(out, 5, request.referrer.as_deref());
    for (name, value) in &request.headers {
        head(out, 6, text_bytes(name) + text_bytes(value));
        text(out, 1, name);
        text(out, 2, value);
    }
}

/// How many bytes [`append_request`] appends.
fn request_bytes(request: &RequestRef<'_>) -> usize {
    let ip = match request.ip {
        None => 0,
        Some(IpAddr::V4(_)) => field_bytes(4),
        Some(IpAddr::V6(_)) => field_bytes(16),
    };
    let headers =
        request.headers.iter().map(|(name, value)| field_bytes(text_bytes(name) + text_bytes(value)));
    text_bytes(request.method)
        + ip
        + number_bytes(ip_quality_to_proto(request.ip_quality).into())
        + optional_bytes(request.user_agent.as_deref())
        + optional_bytes(request.referrer.as_deref())
        + headers.sum::<usize>()
}

/// Key and length of a field; its `length` bytes follow.
fn head(out: &mut Vec<u8>, tag: u32, length: usize) {
    encode_key(tag, WireType::LengthDelimited, out);
    // most lengths are short
    match u8::try_from(length) {
        Ok(length @ ..0x80) => out.push(length),
        _ => encode_varint(length as u64, out),
    }
}

/// Bytes of a field with `length` bytes of content. No key here is longer than a byte.
fn field_bytes(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

fn bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    head(out, tag, bytes.len());
    out.extend_from_slice(bytes);
}

/// Left out when it is empty.
fn text(out: &mut Vec<u8>, tag: u32, text: &str) {
    if !text.is_empty() {
        bytes(out, tag, text.as_bytes());
    }
}

fn text_bytes(text: &str) -> usize {
    if text.is_empty() { 0 } else { field_bytes(text.len()) }
}

/// Left out when it is absent.
fn optional(out: &mut Vec<u8>, tag: u32, text: Option<&str>) {
    if let Some(text) = text {
        bytes(out, tag, text.as_bytes());
    }
}

fn optional_bytes(text: Option<&str>) -> usize {
    text.map_or(0, |text| field_bytes(text.len()))
}

/// A truth, or an enum's number, which is not negative; left out when it is 0.
fn number(out: &mut Vec<u8>, tag: u32, number: i32) {
    if number > 0 {
        encode_key(tag, WireType::Varint, out);
        encode_varint(u64::from(number.unsigned_abs()), out);
    }
}

fn number_bytes(number: i32) -> usize {
    if number > 0 { 1 + encoded_len_varint(u64::from(number.unsigned_abs())) } else { 0 }
}

fn message(out: &mut Vec<u8>, tag: u32, message: &impl Message) {
    encode_key(tag, WireType::LengthDelimited, out);
    message.encode_length_delimited(out).expect("a vector grows");
}
