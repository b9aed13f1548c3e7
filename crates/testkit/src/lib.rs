//! What the tests of all crates stand on: a real PostgreSQL, a real NATS, a scripted subscriber, and a way to
//! wait for a state.
//!
//! Everything listens on loopback, belongs to one test process and ends with it, also when that process is killed.

pub mod browser;
pub mod certificates;
mod cut;
mod database;
pub mod egress;
pub mod given;
mod name_server;
mod nats;
pub mod proxy;
mod scratch;
pub mod slow;
mod subscriber;
mod until;

pub use cut::Cut;
pub use database::{HeldTable, OwnDatabase, TestDatabase};
pub use name_server::{NameAnswer, NameServer};
pub use nats::{FullStream, TestNats};
pub use scratch::ScratchDir;
pub use subscriber::{Answer, Received, Response, Script, Subscriber};
pub use until::until;

use serde::de::DeserializeOwned;

/// One section of a crate's compiled-in defaults, as its settings.
///
/// # Panics
/// When the defaults do not make up the settings: a mistake in that crate.
pub fn defaults<S: DeserializeOwned>(defaults: &str, section: &str) -> S {
    let mut table: toml::Table = toml::from_str(defaults).expect("defaults are TOML");
    let section = table.remove(section).expect("the defaults have the section");
    section.try_into().expect("the defaults make up the settings")
}
