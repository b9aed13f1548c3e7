//! Adds to each click where it came from, on which device, and whether a person made it.
//!
//! In reading order: [`app`] puts the parts together; [`enricher`] works off CLICKS and publishes ENRICHED; it asks
//! [`look_up`], which asks [`geo`] for the place and [`agent`] (and newer data in `agent_files`) for [`device`] and
//! [`automation`]; and [`first_clicks`], whether the [`visitor`] was there before; [`evidence`] tells what clicks show of each
//! other, those of before a takeover with what was `told` of them. No look-up leaves the process but that for the first click,
//! which is never waited for long. Tests begin with the click of `sample`.

pub mod agent;
mod agent_files;
pub mod app;
pub mod automation;
pub mod device;
pub mod enricher;
pub mod evidence;
pub mod first_clicks;
pub mod geo;
pub mod look_up;
pub mod metrics;
pub mod settings;
mod told;
pub mod visitor;

#[cfg(test)]
mod sample;

pub use app::App;
pub use geo::{ATTRIBUTION, ATTRIBUTION_URL};
pub use settings::Settings;
