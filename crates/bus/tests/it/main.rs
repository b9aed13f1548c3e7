//! The bus against a real nats-server.

mod consume;
mod faults;
#[path = "../../src/given.rs"]
mod given;
mod notices;
mod publish;
mod setup;
mod support;
