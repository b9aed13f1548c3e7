//! The nouns of Clickwire: values that parse themselves and hold what they say. No I/O.
//!
//! In reading order: [`id`], [`link`] with [`host`], [`slug`], [`minting`], [`url`], [`utm`], [`password`] and
//! [`tracking`], [`click`] with [`location`], [`device`], [`automation`], [`privacy`] and [`visitor_address`], [`erasure`]
//! (what is left of one), [`orphan`] (a visit that led nowhere), then what is owed to subscribers: [`event_type`],
//! [`delivery`], [`batching`], [`retry`], [`ordering`], [`checkpoint`], [`alert`], [`address`] and [`egress`],
//! [`ownership`], [`secret`]; who signs in: [`person`], [`token`]; and whose a domain is: [`domain_proof`]. `text` reads
//! and writes what is its own text.

pub mod address;
pub mod alert;
pub mod automation;
pub mod batching;
pub mod checkpoint;
pub mod click;
pub mod delivery;
pub mod device;
pub mod domain_proof;
pub mod egress;
pub mod erasure;
pub mod event_type;
pub mod host;
pub mod id;
pub mod link;
pub mod location;
pub mod minting;
pub mod ordering;
pub mod orphan;
pub mod ownership;
pub mod password;
pub mod person;
pub mod privacy;
pub mod retry;
pub mod secret;
pub mod slug;
mod text;
pub mod token;
pub mod tracking;
pub mod url;
pub mod utm;
pub mod visitor_address;

pub use address::AddressPolicy;
pub use alert::AlertFormat;
pub use batching::Batching;
pub use click::{Click, EnrichedClick};
pub use egress::EgressPolicy;
pub use host::Host;
pub use id::{
    AuditId, BatchId, ClickId, DeliveryId, DomainId, EndpointId, ErasureId, EventId, InvitationId, KeyId,
    LinkId, MintingKeyId, OrphanId, PersonId, QuarantineId, ReplayId, SecretId, SessionId, WorkspaceId,
};
pub use link::Link;
pub use ordering::Ordering;
pub use orphan::Orphan;
pub use password::PasswordHash;
pub use person::{Email, Role};
pub use slug::{Slug, SlugCase, TypedSlug};
pub use token::{Token, TokenHash};
pub use url::{DestinationUrl, EndpointUrl};
pub use utm::Utm;
pub use visitor_address::AddressTreatment;
