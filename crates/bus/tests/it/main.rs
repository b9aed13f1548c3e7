//! The bus against a real nats-server.

mod consume;
mod faults;
#[path = "../../src/given.rs"]
#[expect(dead_code, reason = "unit tests use the rest of it")]
mod given;
mod notices;
mod publish;
mod setup;
mod support;
