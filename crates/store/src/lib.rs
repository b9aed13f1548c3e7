//! PostgreSQL: the connection pool, the tables, and query functions: one module a table, or a question about several.
//!
//! A query function takes a connection first, ids and values of `model`, and `now` as an argument; who calls
//! decides what is one transaction. The tables themselves are described in `migrations/`; [`setup`](setup())
//! makes them, services only [`verify`] that they are there.
//!
//! By what they are about:
//!
//! - Links: [`links`] as people manage them (many at once: [`link_import`]), under [`domains`] with their [`domain_proofs`];
//!   [`routes`] is what a redirect asks, [`link_state`] and [`obstacles`] say why one leads nowhere. [`templates`] and
//!   [`minting_keys`] are behind recipients' links, [`blocks`] and [`destinations`] what an operator closes.
//! - Clicks: [`clicks`] keeps them (with [`first_clicks`] and [`visitor_salts`]), [`click_log`] shows them, [`rollups`] counts
//!   them. [`confirmation`] and [`untold`] find those that were lost on the way, [`quarantine`] has what could not be handled.
//!   [`erasures`] empties them of a contact, which [`tombstones`] remember.
//! - Endpoints: [`endpoints`] as people set them, with [`secrets`] and [`ownership`]; [`subscriptions`] for who matches events;
//!   [`endpoint_state`] is what was learned of them, [`endpoint_life`] what becomes of it, [`endpoint_stats`] how they do.
//! - Deliveries: [`deliveries`] is what is owed, [`attempts`] what was tried, [`delivery_log`] how people see both.
//!   [`leases`] says who works on one; [`batches`] (shown by [`batch_log`]), [`lines`] and [`settling`] what goes together, in
//!   order, or later; [`standing`] what is known before sending. [`sequences`] numbers them, [`checkpoints`] proves the numbers,
//!   [`pulled`] has them fetched. [`replays`] (from a [`replay_source`]) puts them in line again; [`given_up`] and [`held`] end
//!   them.
//! - Events of our own: [`events`] causes them, [`outbox`] has them published, [`alerts`] says which a person is told of.
//! - Workspaces: [`workspaces`] with their [`settings`] and their [`audit`]; [`people`], [`memberships`], [`invitations`] and
//!   [`sessions`]; [`api_keys`] and [`key_sessions`]; [`idempotency`] of their requests.
//! - The installation: [`migrations`], [`first_run`] and [`partitions`] make it, [`locks`] are what is waited for, [`backlog`] and
//!   [`expiring`] say how it is, [`sealed`] and [`occurrences`] go through all of it.
//!
//! Underneath: `pool` and `tls` connect, `lost` says why a query failed, `statement` keeps plans, `schema` is generated,
//! `endpoint_row`, `link_row` and `parse` read columns, `folding` mends slugs of before.

pub mod alerts;
pub mod api_keys;
pub mod attempts;
pub mod audit;
pub mod backlog;
pub mod batch_log;
pub mod batches;
pub mod blocks;
pub mod checkpoints;
pub mod click_log;
pub mod clicks;
pub mod confirmation;
pub mod deliveries;
pub mod delivery_log;
pub mod destinations;
pub mod domain_proofs;
pub mod domains;
pub mod endpoint_life;
mod endpoint_row;
pub mod endpoint_state;
pub mod endpoint_stats;
pub mod endpoints;
pub mod erasures;
pub mod events;
pub mod expiring;
pub mod first_clicks;
pub mod first_run;
mod folding;
pub mod given_up;
pub mod held;
pub mod idempotency;
pub mod invitations;
pub mod key_sessions;
pub mod leases;
pub mod lines;
pub mod link_import;
mod link_row;
pub mod link_state;
pub mod links;
pub mod locks;
mod lost;
pub mod memberships;
pub mod migrations;
pub mod minting_keys;
pub mod obstacles;
pub mod occurrences;
pub mod outbox;
pub mod ownership;
mod parse;
pub mod partitions;
pub mod people;
#[cfg(test)]
mod plans;
mod pool;
pub mod pulled;
pub mod quarantine;
pub mod replay_source;
pub mod replays;
pub mod rollups;
pub mod routes;
mod schema;
pub mod sealed;
pub mod secrets;
pub mod sequences;
pub mod sessions;
pub mod settings;
pub mod settling;
pub mod standing;
mod statement;
pub mod subscriptions;
pub mod templates;
mod tls;
pub mod tombstones;
pub mod untold;
pub mod visitor_salts;
pub mod workspaces;

pub use diesel::QueryResult;
pub use diesel::result::Error as QueryError;
/// For `conn.transaction(async |conn| …)`.
pub use diesel_async::AsyncConnection;
pub use lost::{is_connection_lost, is_out_of_time, is_taken, is_unreadable};
pub use migrations::{SetupError, VerifyError, setup, verify};
pub use pool::{ConnectError, Connection, Pool, PoolError, PooledConnection, Settings, connect};

/// The settings of `[database]`, each explained.
pub const DEFAULTS: &str = include_str!("../defaults.toml");
