//! Manages and shows: the REST API under `/v1`, its description, and the console that people use.
//!
//! In reading order: [`settings`] and [`app`] say what a process is made of; `auth`, `body`, `ndjson`, `fields`, `page`,
//! `imports` and `error` are what every handler shares; `desk` holds what can be done, `v1` and `console` are the two
//! doors to it. Nothing is sent to a subscriber from here: a test is asked of `deliver` over the bus, a retry is
//! a row that `deliver` finds.

pub mod app;
mod auth;
mod body;
mod console;
mod desk;
mod error;
mod fields;
mod guard;
mod imports;
mod metrics;
mod ndjson;
mod openapi;
mod page;
pub mod settings;
mod v1;

pub use app::App;
pub use auth::Scope;
pub use settings::Settings;

/// Which Clickwire this is, for people who report a fault.
const VERSION: &str = env!("CARGO_PKG_VERSION");
