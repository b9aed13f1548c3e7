//! Settings, telemetry and the ops port, as a service uses them.

mod ops;
mod settings;
mod telemetry;
