//! Tables and queries against a real PostgreSQL; one file a table.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod audit;
mod base;
mod batches;
mod click_log;
mod confirmation;
mod destinations;
mod domains;
mod endpoint_stats;
mod erasures;
mod first_clicks;
mod folding;
mod idempotency;
mod links;
mod minting;
mod partitions;
mod plan;
mod pulled;
mod removed_endpoints;
mod replays;
mod rollups;
mod statements;
