//! A private PostgreSQL and a private nats-server under a directory of ours, started from the programs
//! that are on the machine.
//!
//! `clickwire up` runs on them, and so do the tests. They listen on loopback only, end with the process
//! that started them, however that ends, and a directory is used by one process at a time.

mod cluster;
mod error;
mod leftover;
mod nats;
mod port;
mod postgres;
mod process;
mod programs;
mod ready;

pub use error::EmbeddedError;
pub use nats::{Nats, NatsOptions, SyncInterval};
pub use port::free_port;
pub use postgres::{Postgres, PostgresOptions};
pub use process::{DeathSignal, Launch, Process};
pub use programs::{NATS_SERVER_VERSION_MIN, POSTGRES_VERSION_MIN, versions};
