//! The bus against a real nats-server.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod consume;
mod credentials;
mod faults;
mod live;
mod notices;
mod permissions;
mod publish;
mod setup;
mod support;
