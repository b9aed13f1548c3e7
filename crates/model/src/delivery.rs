//! Deliveries and attempts: what happened to an event that is owed to an endpoint.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{EndpointId, WorkspaceId};

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// Waits for its next attempt.
    Pending,
    /// The subscriber answered 2xx.
    Delivered,
    /// Its schedule is exhausted, or its endpoint said for good that it does not want it.
    Dead,
    /// Nothing is sent: its endpoint fetches it.
    Offered,
}

impl DeliveryStatus {
    /// The word in the API and in PostgreSQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Offered => "offered",
        }
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The name could not be resolved.
    Dns,
    /// No connection.
    Connect,
    /// No encrypted connection.
    Tls,
    /// No whole answer in time.
    Timeout,
    /// The connection broke, or what came was not HTTP.
    Protocol,
    /// The address policy forbids the address.
    Blocked,
    /// A status other than 2xx.
    Status,
    /// The server that gives tokens for the endpoint gave none.
    Token,
    /// The proxy that webhooks leave through failed: not the endpoint's fault.
    Proxy,
}

impl ErrorClass {
    /// The word in the API, in PostgreSQL and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Blocked => "blocked",
            Self::Status => "status",
            Self::Token => "token",
            Self::Proxy => "proxy",
        }
    }
}

/// What one POST came to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Attempt {
    /// When the request was begun.
    pub started_at: DateTime<Utc>,
    /// Until the whole answer was read, in milliseconds.
    pub duration_ms: u32,
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
    /// Why it failed; `None` for 2xx.
    pub error: Option<ErrorClass>,
    /// The failure in words.
    pub error_detail: Option<String>,
    /// Request headers as sent; values of custom headers are masked.
    pub request_headers: Vec<(String, String)>,
    /// Response headers, cut at a limit.
    pub response_headers: Vec<(String, String)>,
    /// Response body as text, cut at a limit.
    pub response_body: Option<String>,
    /// Address that was connected to.
    pub remote_ip: Option<String>,
    /// Where the time went.
    #[serde(default)]
    pub timings: Timings,
}

/// Where the time of an attempt went, in microseconds; what was not reached has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Timings {
    /// The look-up of the name; none for an address.
    pub dns_us: Option<u32>,
    /// From then until the connection stood, without the handshake of https.
    pub connect_us: Option<u32>,
    /// The handshake of https.
    pub tls_us: Option<u32>,
    /// From the beginning until the first byte of the answer.
    pub first_byte_us: Option<u32>,
    /// Whether the connection was there already, so that it took no time.
    pub is_reused: Option<bool>,
}

impl Timings {
    /// The same in few bytes: which parts there are, then each of them, least byte first. `None` when nothing was noted.
    pub fn pack(&self) -> Option<Vec<u8>> {
        let parts = [self.dns_us, self.connect_us, self.tls_us, self.first_byte_us];
        let mut packed: Vec<u8> = vec![match self.is_reused {
            None => 0,
            Some(false) => 1 << parts.len(),
            Some(true) => 3 << parts.len(),
        }];
        for (bit, part) in parts.into_iter().enumerate() {
            if let Some(part) = part {
                packed[0] |= 1 << bit;
                packed.extend(part.to_le_bytes());
            }
        }
        (packed[0] != 0).then_some(packed)
    }

    /// What [`Timings::pack`] made; bytes that it did not make tell nothing.
    pub fn unpack(packed: &[u8]) -> Self {
        let Some((&kinds, rest)) = packed.split_first() else { return Self::default() };
        let (numbers, left_over) = rest.as_chunks::<4>();
        let mut numbers = numbers.iter().copied().map(u32::from_le_bytes);
        let [dns_us, connect_us, tls_us, first_byte_us] =
            [0, 1, 2, 3].map(|bit| if kinds & (1_u8 << bit) == 0 { None } else { numbers.next() });
        if !left_over.is_empty() || numbers.next().is_some() {
            return Self::default();
        }
        let is_reused = (kinds & (1 << 4) != 0).then_some(kinds & (1 << 5) != 0);
        Self { dns_us, connect_us, tls_us, first_byte_us, is_reused }
    }
}

impl Attempt {
    /// An attempt of which nothing is known but when it began.
    pub fn begun(started_at: DateTime<Utc>) -> Self {
        Self {
            started_at,
            duration_ms: 0,
            status: None,
            error: None,
            error_detail: None,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            response_body: None,
            remote_ip: None,
            timings: Timings::default(),
        }
    }

    /// Whether the subscriber accepted the event.
    pub fn is_success(&self) -> bool {
        self.error.is_none()
    }
}

/// `api` asks `deliver` to send a sample event to an endpoint (request/reply on `clickwire.deliver.test`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct TestRequest {
    /// Whose endpoint.
    pub workspace_id: WorkspaceId,
    /// Which endpoint.
    pub endpoint_id: EndpointId,
    /// What it is to give back, if it is asked whether it wants what is sent to it instead of being sent a sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
}

/// What `deliver` answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum TestReply {
    /// The request was made; the attempt says how it went.
    Attempted {
        /// The attempt.
        attempt: Attempt,
        /// The bytes that were sent.
        request_body: String,
    },
    /// The workspace has no such endpoint.
    NoSuchEndpoint,
    /// It could not be tried, for a reason on our side.
    Failed {
        /// The reason.
        detail: String,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packed_timings_tell_the_same(
            parts in any::<(Option<u32>, Option<u32>, Option<u32>, Option<u32>)>(),
            is_reused in any::<Option<bool>>(),
        ) {
            let (dns_us, connect_us, tls_us, first_byte_us) = parts;
            let timings = Timings { dns_us, connect_us, tls_us, first_byte_us, is_reused };

            let packed = timings.pack();

            prop_assert_eq!(packed.is_none(), timings == Timings::default());
            prop_assert_eq!(packed.map_or_else(Timings::default, |packed| Timings::unpack(&packed)), timings);
        }

        #[test]
        fn any_bytes_can_be_unpacked(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
            Timings::unpack(&bytes);
        }
    }

    #[test]
    fn timings_of_a_kept_connection_are_five_bytes() {
        let timings = Timings { first_byte_us: Some(1234), is_reused: Some(true), ..Timings::default() };

        assert_eq!(timings.pack().map(|packed| packed.len()), Some(5));
    }
}
