//! Prefixed, time-sortable ids: `clk_`, `lnk_`, `whe_` … and a ULID in lower case.
//!
//! Each kind of id is its own type, so that a link cannot be asked for with the id of a click.
//! In PostgreSQL an id is a `uuid` column with the same 128 bits; both forms sort by time.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;
use uuid::Uuid;

/// Length of the ULID that follows the prefix.
const ULID_LEN: usize = 26;

/// Crockford's base 32, in lower case.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Why a text is not the id that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be an id like `{prefix}01jd8m3x5v9k2n4p6q8r0s1t3w`")]
pub struct IdError {
    /// The prefix that the id should have had, with its underscore.
    pub prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// What stands before the ULID.
            pub const PREFIX: &'static str = $prefix;

            /// Length of every id's text.
            pub const TEXT_BYTES: usize = $prefix.len() + ULID_LEN;

            /// A new id of this moment.
            pub fn generate() -> Self {
                Self(Uuid::from_bytes(Ulid::generate().to_bytes()))
            }

            /// A new id that sorts at `at`; moments before 1970 count as 1970.
            pub fn generate_at(at: DateTime<Utc>) -> Self {
                Self(Uuid::from_bytes(Ulid::from_datetime(system_time(at)).to_bytes()))
            }

            /// The id with these 128 bits, as PostgreSQL holds them.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The 128 bits, as PostgreSQL holds them.
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// Appends its text, without a detour over a `String`.
            pub fn append_to(self, out: &mut Vec<u8>) {
                out.extend_from_slice($prefix.as_bytes());
                out.extend_from_slice(ulid_text(self.0, &mut [0; ULID_LEN]).as_bytes());
            }

            /// The moment in the id, in whole milliseconds.
            pub fn timestamp(self) -> DateTime<Utc> {
                timestamp(self.0)
            }

            /// The UTC day in the id: the partition that its row lives in.
            pub fn day(self) -> NaiveDate {
                self.timestamp().date_naive()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                write_ulid(f, self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix)
                    .and_then(parse_ulid)
                    .map(Self)
                    .ok_or(IdError { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

ids! {
    /// A tenant: every link, endpoint, click and key belongs to one.
    WorkspaceId = "wks_";
    /// A host name under which links are served.
    DomainId = "dom_";
    /// A tracked link.
    LinkId = "lnk_";
    /// One request to a tracked link that was answered with a redirect.
    ClickId = "clk_";
    /// One request that led nowhere.
    OrphanId = "orp_";
    /// A subscriber's URL with its options (`webhook-endpoints` in the API).
    EndpointId = "whe_";
    /// A signing secret of an endpoint.
    SecretId = "sec_";
    /// One event owed to one endpoint.
    DeliveryId = "dlv_";
    /// Deliveries of one endpoint that go in one request; `webhook-id` of that request.
    BatchId = "bat_";
    /// A job that puts deliveries in line again.
    ReplayId = "rpl_";
    /// A message that was put aside.
    QuarantineId = "qua_";
    /// The erasure of a contact.
    ErasureId = "ers_";
    /// An API key.
    KeyId = "key_";
    /// Somebody who signs in with e-mail and password.
    PersonId = "per_";
    /// A link with which somebody becomes a person of a workspace, or sets another password.
    InvitationId = "inv_";
    /// A sign-in of a person.
    SessionId = "ses_";
    /// An entry of the audit log.
    AuditId = "aud_";
    /// A key with which senders make recipients' links.
    MintingKeyId = "mky_";
}

/// The id of an event: `evt_` and the ULID of the click it tells of; amendments append `_1`, `_2`, ….
///
/// It is the body's `id`, the header `webhook-id` (the same on every retry and replay,
/// Standard Webhooks 1.0.0 "Webhook headers") and ENRICHED's `Nats-Msg-Id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    uuid: Uuid,
    revision: u32,
}

impl EventId {
    /// What stands before the ULID.
    pub const PREFIX: &'static str = "evt_";

    /// A new id of this moment, for an event that does not tell of a click.
    pub fn generate() -> Self {
        Self::from_parts(Uuid::from_bytes(Ulid::generate().to_bytes()), 0)
    }

    /// The event that tells of a click, or with `revision` above 0 of what was learned about it later.
    pub const fn of_click(click: ClickId, revision: u32) -> Self {
        Self::from_parts(click.uuid(), revision)
    }

    /// The id with these 128 bits and this revision, as PostgreSQL holds them.
    pub const fn from_parts(uuid: Uuid, revision: u32) -> Self {
        Self { uuid, revision }
    }

    /// The 128 bits without the revision.
    pub const fn uuid(self) -> Uuid {
        self.uuid
    }

    /// 0 for the event itself, 1 and more for its amendments.
    pub const fn revision(self) -> u32 {
        self.revision
    }

    /// The moment in the id, in whole milliseconds.
    pub fn timestamp(self) -> DateTime<Utc> {
        timestamp(self.uuid)
    }

    /// The UTC day in the id: the partition that its deliveries live in.
    pub fn day(self) -> NaiveDate {
        self.timestamp().date_naive()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::PREFIX)?;
        write_ulid(f, self.uuid)?;
        match self.revision {
            0 => Ok(()),
            revision => write!(f, "_{revision}"),
        }
    }
}

impl FromStr for EventId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = IdError { prefix: Self::PREFIX };
        let rest = text.strip_prefix(Self::PREFIX).ok_or(error.clone())?;
        let (ulid, revision) = match rest.split_once('_') {
            None => (rest, 0),
            Some((ulid, revision)) => {
                let number = revision.parse().map_err(|_| error.clone())?;
                let canonical = number > 0 && revision.bytes().all(|b| b.is_ascii_digit());
                if !canonical || revision.starts_with('0') {
                    return Err(error);
                }
                (ulid, number)
            }
        };
        let uuid = parse_ulid(ulid).ok_or(error)?;
        Ok(Self { uuid, revision })
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn write_ulid(f: &mut fmt::Formatter<'_>, uuid: Uuid) -> fmt::Result {
    f.write_str(ulid_text(uuid, &mut [0; ULID_LEN]))
}

/// 26 digits of 5 bits, the last ones first.
fn ulid_text(uuid: Uuid, buffer: &mut [u8; ULID_LEN]) -> &str {
    let (mut high, mut low) = uuid.as_u64_pair();
    for digit in buffer.iter_mut().rev() {
        *digit = DIGITS[(low & 31) as usize];
        low = low >> 5 | high << 59;
        high >>= 5;
    }
    std::str::from_utf8(buffer).expect("DIGITS are ASCII")
}

/// Lower case only: an id has one spelling, so that texts can be compared.
fn parse_ulid(text: &str) -> Option<Uuid> {
    let well_formed =
        text.len() == ULID_LEN && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
    if !well_formed {
        return None;
    }
    let uuid = Uuid::from_bytes(Ulid::from_string(text).ok()?.to_bytes());
    // the alphabet has aliases (`i` for `1`) and a first digit above 7 overflows: both have a second spelling
    let canonical = Ulid::from_bytes(*uuid.as_bytes()).to_string().eq_ignore_ascii_case(text);
    canonical.then_some(uuid)
}

fn timestamp(uuid: Uuid) -> DateTime<Utc> {
    let millis = Ulid::from_bytes(*uuid.as_bytes()).timestamp_ms();
    i64::try_from(millis).ok().and_then(DateTime::from_timestamp_millis).unwrap_or(DateTime::UNIX_EPOCH)
}

fn system_time(at: DateTime<Utc>) -> SystemTime {
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        let id = LinkId::generate();

        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(LinkId::from_uuid(id.uuid()), id);
        let mut appended = b"x".to_vec();
        id.append_to(&mut appended);
        assert_eq!(appended, format!("x{id}").into_bytes());
        assert_eq!(id.to_string().len(), LinkId::TEXT_BYTES);
        assert_eq!(serde_json::to_value(id).expect("serialise"), serde_json::json!(id.to_string()));
    }

    #[test]
    fn ids_sort_by_time_as_text_and_as_bits() {
        let earlier = ClickId::generate_at(Utc.with_ymd_and_hms(2026, 11, 23, 9, 0, 0).unwrap());
        let later = ClickId::generate_at(Utc.with_ymd_and_hms(2026, 11, 24, 9, 0, 0).unwrap());

        assert!(earlier < later);
        assert!(earlier.to_string() < later.to_string());
        assert_eq!(later.day().to_string(), "2026-11-24");
    }

    #[test]
    fn another_kind_of_id_is_refused() {
        let text = LinkId::generate().to_string();

        assert_eq!(text.parse::<ClickId>(), Err(IdError { prefix: "clk_" }));
    }

    #[test]
    fn an_id_has_one_spelling() {
        let text = "lnk_01jd8m3x5v9k2n4p6q8r0s1t3w";
        assert!(text.parse::<LinkId>().is_ok());

        for other in [
            "lnk_01JD8M3X5V9K2N4P6Q8R0S1T3W",
            "lnk_o1jd8m3x5v9k2n4p6q8r0s1t3w",
            "lnk_81jd8m3x5v9k2n4p6q8r0s1t3w",
            "lnk_01jd8m3x5v9k2n4p6q8r0s1t3",
            "lnk_01jd8m3x5v9k2n4p6q8r0s1t3é",
            "lnk_",
            "",
        ] {
            assert!(other.parse::<LinkId>().is_err(), "{other}");
        }
    }

    #[test]
    fn an_amendment_has_the_click_and_a_number() {
        let click = ClickId::generate();
        let event = EventId::of_click(click, 0);
        let amendment = EventId::of_click(click, 2);

        assert_eq!(event.to_string().replace("evt_", "clk_"), click.to_string());
        assert_eq!(amendment.to_string(), format!("{event}_2"));
        assert_eq!(amendment.to_string().parse(), Ok(amendment));
        for other in ["_0", "_01", "_+1", "_", "_x", "_99999999999"] {
            assert!(format!("{event}{other}").parse::<EventId>().is_err(), "{other}");
        }
    }
}
