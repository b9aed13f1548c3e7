//! Answers tracked links, and has each click on disk before it answers.
//!
//! In reading order: [`app`] puts everything together; `serve` takes connections, and `preamble` reads who is behind one
//! that a proxy passes on; `follow` answers a request, with `target` for what it asks for, `links` (and its `cache`,
//! `route_key` and `lookups`) for where that leads, `proxies` (with `provider_ranges`) and `visitor` for who asks,
//! `destination` for the query they bring, `passwords` for what they have to know, `methods` for how they may ask,
//! `service::tally` for what they do too often, and `pages`, `style`, `forms`, `previews` and `inspect` for what they are sent;
//! `descriptors` keeps their connections from taking all files; `spool` takes the click and ships it to the stream CLICKS,
//! `orphans` tells of visits that led nowhere.
//!
//! Promises P1 and P2 of the project begin here: a click that was answered is not lost, and a visitor waits for neither
//! the broker nor, unless the link is new to this process, the database.

mod app;
mod cache;
mod descriptors;
mod destination;
mod follow;
mod forms;
mod inspect;
mod links;
mod lookups;
mod methods;
mod metrics;
mod orphans;
mod pages;
mod passwords;
mod preamble;
mod previews;
pub mod provider_ranges;
pub mod proxies;
mod route_key;
mod serve;
pub mod settings;
mod spool;
mod style;
mod target;
mod visitor;

pub use app::App;
pub use settings::Settings;
pub use spool::{Contents, Inspection, Left, OpenError, PutAside, ShipError, Shipped, inspect, ship};
