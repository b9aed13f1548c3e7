//! The redirect against a real NATS and a real PostgreSQL.

mod asking;
mod case;
mod client;
mod confirm;
mod follow;
mod freshness;
mod guessing;
mod hostile;
mod house;
mod inspect;
mod methods;
mod minted;
mod nowhere;
mod orphans;
mod passwords;
mod privacy;
mod process;
mod proxies;
mod slow;
mod spool;
