//! What a subscriber gets: the body, its signature, and the choices an endpoint makes. Pure, no I/O.
//!
//! In reading order: [`payload`] writes the body of a click and [`own_event`] that of everything else ([`alert`]: for
//! people; [`batch`]: several in one), both into the same `envelope`; [`numbering`] puts a number into it, [`signature`] signs
//! it (Standard Webhooks 1.0.0), [`asymmetric`] where it is wanted as well, and [`checkup`] says what is wrong where it does not
//! verify; [`verification`] is the challenge that an endpoint gives back; [`filter`], [`headers`], [`auth`] and [`shape`] are
//! what an endpoint's owner sets; [`sealing`] keeps secrets at rest, and `fingerprint` tells bytes apart without keeping them.

pub mod alert;
pub mod asymmetric;
pub mod auth;
pub mod batch;
pub mod checkup;
mod envelope;
pub mod filter;
mod fingerprint;
pub mod headers;
pub mod numbering;
pub mod own_event;
pub mod payload;
pub mod sealing;
pub mod shape;
pub mod signature;
pub mod verification;

pub use auth::ReceiverAuth;
pub use filter::Filter;
pub use fingerprint::Fingerprint;
pub use headers::CustomHeaders;
pub use own_event::OwnEvent;
pub use sealing::Keyring;
pub use shape::{Shape, Site};
