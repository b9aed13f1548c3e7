//! Answers tracked links, and has each click on disk before it answers.
//!
//! In reading order: [`app`] puts everything together; `follow` answers a request, with `links` (and its `cache`) for
//! where it leads, `visitor` for who asks, `destination` for the query they bring and `pages` for what they are sent;
//! `spool` takes the click and ships it to the stream CLICKS.
//!
//! Promises P1 and P2 of the project begin here: a click that was answered is not lost, and a visitor waits for neither
//! the broker nor, unless the link is new to this process, the database.

mod app;
mod cache;
mod destination;
mod follow;
mod links;
mod metrics;
mod pages;
pub mod settings;
mod spool;
mod visitor;

pub use app::App;
pub use settings::Settings;
