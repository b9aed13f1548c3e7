//! Messages that own nothing: the redirect writes a click where it is wanted, without building it first.

use std::borrow::Cow;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use model::click::{ClickedLink, IpQuality};
use model::privacy::Telling;
use model::{AddressTreatment, ClickId, WorkspaceId};

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

/// What all clicks of a link have in common until it is changed, encoded once.
#[derive(Debug, Clone)]
pub struct ClickTemplate {
    /// The subject without its shard, then the link: side by side, because memory that is not at hand costs more than
    /// what is done with it.
    encoded: Box<[u8]>,
    subject_bytes: usize,
    /// The shard, if the link says it.
    shard: Option<u64>,
    address_treatment: AddressTreatment,
}

impl ClickTemplate {
    /// Of a link of a workspace, with what may be kept of its visitors.
    pub fn new(workspace_id: WorkspaceId, link: &ClickedLink, address_treatment: AddressTreatment) -> Self {
        let subject = topology::clicks_prefix(workspace_id);
        Self {
            encoded: [subject.as_bytes(), &codec::encode_link(workspace_id, link)].concat().into(),
            subject_bytes: subject.len(),
            shard: link.labels.message_id.as_deref().map(shard::of_message),
            address_treatment,
        }
    }

    /// Bytes of what is encoded.
    pub fn size(&self) -> usize {
        self.encoded.len()
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
    /// Where the visitor was sent.
    pub destination_url: &'a str,
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
        out.extend_from_slice(&self.template.encoded[..self.template.subject_bytes]);
        out.extend_from_slice(topology::shard_token(shard).as_bytes());
    }

    fn append_id(&self, out: &mut Vec<u8>) {
        self.id.append_to(out);
    }

    fn traceparent(&self) -> Option<&str> {
        self.traceparent
    }

    fn append_payload(&self, out: &mut Vec<u8>) {
        let ClickTemplate { encoded, subject_bytes, address_treatment, .. } = self.template;
        codec::append_click(self, &encoded[*subject_bytes..], *address_treatment, self.telling, out);
    }
}
