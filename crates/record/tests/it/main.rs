//! `record` against a real nats-server and a real PostgreSQL.

mod clicks;
mod faults;
#[path = "../../../bus/src/given.rs"]
mod given;
mod outbox;
mod quarantine;
mod support;
