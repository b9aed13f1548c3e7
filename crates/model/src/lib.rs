//! The nouns of Clickwire: values that parse themselves and hold what they say. No I/O.
//!
//! In reading order: [`id`], [`link`], [`slug`], [`url`], [`click`] with [`location`], [`device`] and
//! [`automation`], then what is owed to subscribers: [`event_type`], [`delivery`], [`address`], [`secret`].

pub mod address;
pub mod automation;
pub mod click;
pub mod delivery;
pub mod device;
pub mod event_type;
pub mod id;
pub mod link;
pub mod location;
pub mod secret;
pub mod slug;
pub mod url;

pub use address::{AddressPolicy, AddressTreatment};
pub use click::{Click, EnrichedClick};
pub use id::{
    AuditId, ClickId, DeliveryId, DomainId, EndpointId, EventId, KeyId, LinkId, SecretId, WorkspaceId,
};
pub use link::{Host, Link};
pub use slug::Slug;
pub use url::{DestinationUrl, EndpointUrl};
