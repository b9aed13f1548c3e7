//! What every process does alike: memory, settings, logs and traces, shutdown, the ops port, what expires, who is asked for
//! names, and how often somebody may try.
//!
//! In reading order: `args`, [`settings`] and [`telemetry`] begin a process, [`parts`] of it run side by side, [`shutdown`] ends
//! it; [`ops`] answers probes and Prometheus, with [`metrics`]; [`expiry`] looks at credentials, [`names`] asks name servers,
//! [`tally`] counts tries, [`tls`] picks its provider, and [`memory`] the allocator and its pages.
//!
//! Knows nothing of the bus or the database: a service hands its own checks and metrics to [`ops::Ops`].

mod args;
pub mod expiry;
pub mod memory;
pub mod metrics;
pub mod names;
pub mod ops;
pub mod parts;
pub mod settings;
pub mod shutdown;
pub mod tally;
pub mod telemetry;
pub mod tls;

pub use args::Args;

/// The settings of `[telemetry]`, each explained.
pub const DEFAULTS: &str = include_str!("../defaults.toml");
