//! Delivers: every enriched click to every endpoint that is owed it, at least once, and none slowed by another.
//!
//! Two lanes, which [`app`] opens by its [`settings`]. The fast one ([`dispatch`]) sends a batch of clicks at once from
//! memory (`batch` has them in hand, `claim` keeps two from the same one) and stores the results in one statement
//! (`unstored`: what it does while that fails);
//! [`matching`] finds who is owed what by it, as [`owing`] decides. What cannot go at once ([`later`] says why), or failed,
//! is a row, and the slow one ([`courier`]) works those off, each endpoint its [`fair`] share; what waited for evidence is
//! told as it is known by then ([`settled`]); endpoints that want several events in one request get batches ([`batching`],
//! [`forming`]). Endpoints that are sent to in order have [`lines`], whose heads alone are sent ([`order`]), in [`runs`] of
//! one after the other; `unnumbered` finds what got no number; [`checkpointer`] tells by number what was owed to whom. Who
//! fetches events instead of being sent to hears of them by [`fetch_notices`].
//! Events of our own are rows from the beginning ([`own_events`]), and so is what the alert URL is told ([`alerts`]).
//! Both make attempts in the same way ([`attempter`]): [`sender`] posts ([`send_error`]: why there is no answer; `kept`: what
//! people see of both), [`outcome`] judges, [`schedule`] says when next; a [`lane`] (of all the [`lanes`]) says how much an
//! endpoint may use of us (its [`limit`], its [`rate`], its [`circuit`]), [`destination`] where a request may go
//! ([`service::names`] says who is asked for addresses), [`token`] and [`clients`] what lets it in, [`proxy`] and [`tunnel`]
//! how it leaves the house, [`timings`] where its time went. [`test_requests`] try an endpoint out, those that have not shown
//! that they want it at their rate ([`sparing`]).
//! [`endpoints`] knows who wants what (each an [`endpoint`]), [`recorder`] stores results of leased rows, [`health`] what was
//! learned, and [`life`] acts on it by the rule of [`failing`]; [`metrics`] counts.
//! [`tidying`] ends, offers and counts what waits, now and then.
//! [`replayer`] puts in line again what somebody asked for, [`reconciler`] what was lost on the way; the slow lane sends it.

pub mod alerts;
pub mod app;
pub mod attempter;
mod batch;
pub mod batching;
pub mod checkpointer;
pub mod circuit;
mod claim;
pub mod clients;
pub mod courier;
pub mod destination;
pub mod dispatch;
pub mod endpoint;
pub mod endpoints;
pub mod failing;
pub mod fair;
pub mod fetch_notices;
pub mod forming;
pub mod health;
mod kept;
pub mod lane;
pub mod lanes;
pub mod later;
pub mod life;
pub mod limit;
pub mod lines;
pub mod matching;
pub mod metrics;
pub mod order;
pub mod outcome;
pub mod owing;
pub mod own_events;
pub mod proxy;
pub mod rate;
pub mod reconciler;
pub mod recorder;
pub mod replayer;
pub mod runs;
pub mod schedule;
pub mod send_error;
pub mod sender;
pub mod settings;
pub mod settled;
pub mod sparing;
pub mod test_requests;
pub mod tidying;
pub mod timings;
pub mod token;
pub mod tunnel;
mod unnumbered;
mod unstored;

#[cfg(test)]
mod model_tests;

pub use app::App;
pub use settings::Settings;
