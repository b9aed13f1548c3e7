//! `record` against a real nats-server and a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod clicks;
mod faults;
mod limits;
mod outbox;
mod quarantine;
mod rollups;
mod support;
