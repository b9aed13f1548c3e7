//! The harness itself.

mod database;
mod ends_with_us;
mod subscriber;
mod until;
