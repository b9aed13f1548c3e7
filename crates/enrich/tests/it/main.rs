//! Enrichment against kept cases, broken files, and a real broker and database.

mod accuracy;
mod agents;
mod first_clicks;
mod flow;
mod geo;
mod given;
mod hostile;
mod mmdb;
