//! The recorder: keeps enriched clicks for reports.
//!
//! `recorder` writes ENRICHED into `clicks`, `quarantine` copies what was put aside into a table, `outbox` publishes what
//! happened to links, endpoints and deliveries, `partitions` makes the tables' coming days and drops old ones, `rollups`
//! counts what was recorded, `erasures` forgets contacts, `first_clicks` visitors whom nobody can tell any more, and `room`
//! keeps CLICKS from filling up with clicks that were handled.

mod app;
mod erasures;
mod first_clicks;
mod metrics;
mod outbox;
mod partitions;
mod quarantine;
mod recorder;
mod rollups;
mod room;
mod settings;

pub use app::App;
pub use metrics::Metrics;
pub use outbox::Outbox;
pub use quarantine::QuarantineKeeper;
pub use recorder::Recorder;
pub use rollups::Rollups;
pub use settings::{RecordSettings, Settings};
