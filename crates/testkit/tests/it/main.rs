//! The harness itself.

mod database;
mod ends_with_us;
mod nats;
mod subscriber;
mod until;
