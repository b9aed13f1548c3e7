//! Settings, telemetry and the ops port, as a service uses them.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod ops;
mod settings;
mod telemetry;
