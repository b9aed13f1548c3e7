//! Settings, telemetry, the ops port and what expires, as a service uses them.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod expiry;
mod ops;
mod settings;
mod telemetry;
