//! Tables and queries against a real PostgreSQL; one file a table.

mod base;
mod partitions;
