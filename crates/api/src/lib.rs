//! Manages and shows: the REST API under `/v1`, its description, and the console that people use.
//!
//! In reading order: [`settings`] and [`app`] say what a process is made of, `guard` what stands around every request, and
//! `metrics` what is counted; `auth` (with `roles`), `body`, `ndjson`, `fields`, `page`, `at_once`, `limits`, `export`, `csv`
//! and `error` are what every handler shares, `client` and `sign_ins` what slows guessing; `live` tells of clicks as they
//! come in, `pulls` wakes who waits for events; [`link_files`] reads what other shorteners export, `qr` draws codes and
//! `prose` sets sentences; `desk` holds what can be done, `v1` (described by `openapi`) and `console` are the two doors to
//! it, and `public_keys` is open to everybody. Nothing is sent to a subscriber from here: a test is asked of `deliver` over
//! the bus, a retry is a row that `deliver` finds.

pub mod app;
mod at_once;
mod auth;
mod body;
mod client;
mod console;
mod csv;
mod desk;
mod error;
mod export;
mod fields;
mod guard;
mod limits;
pub mod link_files;
mod live;
mod metrics;
mod ndjson;
mod openapi;
mod page;
mod prose;
mod public_keys;
mod pulls;
mod qr;
mod roles;
pub mod settings;
mod sign_ins;
mod v1;

pub use app::App;
pub use auth::Scope;
pub use desk::diagnosis;
pub use error::FieldError;
pub use settings::Settings;

/// Which Clickwire this is, for people who report a fault.
const VERSION: &str = env!("CARGO_PKG_VERSION");
