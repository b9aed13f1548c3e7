//! What a subscriber gets: the body, its signature, and the choices an endpoint makes. Pure, no I/O.
//!
//! In reading order: [`payload`] writes the body of a click and [`own_event`] that of everything else ([`alert`]: for people),
//! [`signature`] signs it (Standard Webhooks 1.0.0) and [`checkup`] says what is wrong where it does not verify,
//! [`filter`] and [`headers`] are what an endpoint's owner sets, [`sealing`] keeps secrets at rest.

pub mod alert;
pub mod checkup;
pub mod filter;
mod fingerprint;
pub mod headers;
pub mod own_event;
pub mod payload;
pub mod sealing;
pub mod signature;

pub use filter::Filter;
pub use fingerprint::Fingerprint;
pub use headers::CustomHeaders;
pub use own_event::OwnEvent;
pub use sealing::Keyring;
