//! Messages that own nothing: the redirect writes a click where it is wanted, without building it first.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Range;

use chrono::{DateTime, Utc};
use model::click::{ClickedLink, IpQuality};
use model::privacy::Telling;
use model::{AddressTreatment, ClickId, WorkspaceId};
use smallvec::SmallVec;

use crate::messages::Outgoing;
use crate::{codec, shard, topology};

/// A message whose parts can be written one by one; together they are an [`Outgoing`].
pub trait Parts {
    /// Appends where it goes.
    fn append_subject(&self, out: &mut Vec<u8>);

    /// Appends its `Nats-Msg-Id`.
    fn append_id(&self, out: &mut Vec<u8>);

    /// W3C trace context to carry on.
    fn traceparent(&self) -> Option<&str>;

    /// Appends the encoded message.
    fn append_payload(&self, out: &mut Vec<u8>);
}

impl Parts for Outgoing {
    fn append_subject(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.subject.as_bytes());
    }

    fn append_id(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
    }

    fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }

    fn append_payload(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.payload);
    }
}

/// Bytes of a template that stand in it; those of a longer one stand elsewhere.
const TEMPLATE_BYTES: usize = 536;

/// Bytes that a processor fetches from memory at once.
const CACHE_LINE_BYTES: usize = 64;

/// What all clicks of a link have in common until it is changed, encoded once.
#[derive(Debug, Clone)]
pub struct ClickTemplate {
    /// The subject without its shard, the link, its destination, then what is read with it: side by side, because memory
    /// that is not at hand costs more than what is done with it.
    encoded: SmallVec<[u8; TEMPLATE_BYTES]>,
    subject_end: usize,
    link_end: usize,
    destination: Range<usize>,
    /// The shard, if the link says it.
    shard: Option<u64>,
    address_treatment: AddressTreatment,
}

impl ClickTemplate {
    /// Of a link of a workspace that leads to `destination_url`, with what may be kept of its visitors. `beside` is kept in
    /// the same piece of memory, for who reads it with every click.
    pub fn new(
        workspace_id: WorkspaceId,
        link: &ClickedLink,
        destination_url: &str,
        address_treatment: AddressTreatment,
        beside: &[u8],
    ) -> Self {
        let mut encoded = topology::clicks_prefix(workspace_id).into_bytes();
        let subject_end = encoded.len();
        codec::append_link(workspace_id, link, &mut encoded);
        let link_end = encoded.len();
        codec::append_destination(destination_url, &mut encoded);
        let destination = encoded.len() - destination_url.len()..encoded.len();
        encoded.extend_from_slice(beside);
        Self {
            encoded: SmallVec::from_slice(&encoded),
            subject_end,
            link_end,
            destination,
            shard: link.labels.message_id.as_deref().map(shard::of_message),
            address_treatment,
        }
    }

    /// Bytes of it that stand elsewhere in memory.
    pub fn size_elsewhere(&self) -> usize {
        if self.encoded.spilled() { self.encoded.capacity() } else { 0 }
    }

    /// Where the link leads.
    pub fn destination(&self) -> &[u8] {
        &self.encoded[self.destination.clone()]
    }

    /// What is kept beside the encoded link.
    pub fn beside(&self) -> &[u8] {
        &self.encoded[self.destination.end..]
    }

    /// Reads a byte of each of its cache lines, so that they come at once and not one after the other.
    pub fn touch(&self) -> u8 {
        self.encoded
            .iter()
            .step_by(CACHE_LINE_BYTES)
            .chain(self.encoded.last())
            .fold(0, |all, byte| all ^ byte)
    }
}

/// A [`Click`](model::Click) that owns nothing.
#[derive(Debug, Clone)]
pub struct ClickRef<'a> {
    /// What it has in common with the link's other clicks.
    pub template: &'a ClickTemplate,
    /// Its id.
    pub id: ClickId,
    /// The redirect's clock.
    pub clicked_at: DateTime<Utc>,
    /// Where the visitor was sent, if not where the template says.
    pub destination_url: Option<&'a str>,
    /// Whose link was followed, if it is one of many recipients': its contact, whatever the template says.
    pub recipient: Option<u64>,
    /// What the request told.
    pub request: RequestRef<'a>,
    /// What may be told of it after enrichment.
    pub telling: Telling,
    /// W3C trace context of the request, if it had one.
    pub traceparent: Option<&'a str>,
}

/// A [`Request`](model::click::Request) that owns nothing.
#[derive(Debug, Clone, Default)]
pub struct RequestRef<'a> {
    /// `GET`, `HEAD`, or what a link that keeps methods was asked with.
    pub method: &'a str,
    /// The visitor's address, after the walk over trusted proxies.
    pub ip: Option<IpAddr>,
    /// How sure the address is.
    pub ip_quality: IpQuality,
    /// User-Agent, cut at its limit.
    pub user_agent: Option<Cow<'a, str>>,
    /// Referer without its query, cut at its limit.
    pub referrer: Option<Cow<'a, str>>,
    /// Those that are kept: lower-case name, value cut at its limit.
    pub headers: Vec<(&'a str, Cow<'a, str>)>,
}

impl Parts for ClickRef<'_> {
    fn append_subject(&self, out: &mut Vec<u8>) {
        let shard = self.template.shard.unwrap_or_else(|| shard::of_visitor(self.request.ip, self.id));
        out.extend_from_slice(&self.template.encoded[..self.template.subject_end]);
        out.extend_from_slice(topology::shard_token(shard).as_bytes());
    }

    fn append_id(&self, out: &mut Vec<u8>) {
        self.id.append_to(out);
    }

    fn traceparent(&self) -> Option<&str> {
        self.traceparent
    }

    fn append_payload(&self, out: &mut Vec<u8>) {
        let ClickTemplate { encoded, subject_end, link_end, destination, address_treatment, .. } =
            self.template;
        let link_end = if self.destination_url.is_some() { *link_end } else { destination.end };
        codec::append_click(self, &encoded[*subject_end..link_end], *address_treatment, self.telling, out);
    }
}
