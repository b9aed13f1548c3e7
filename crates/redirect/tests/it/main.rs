//! The redirect against a real NATS and a real PostgreSQL.

mod client;
mod follow;
mod freshness;
mod house;
mod process;
mod spool;
