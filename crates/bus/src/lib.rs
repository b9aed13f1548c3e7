//! The bus: NATS JetStream. The only crate that names the NATS client.
//!
//! In reading order: [`topology`] says what there is and `shard` what stays together, `setup` makes it, `connect` reaches it
//! by its `settings` (with what `credentials` reads), `server` says what it can, `messages` says what travels (`borrowed` the
//! same without owning it, and `codec` how it is encoded), `publish` sends it, [`consume`] works it off, `recent` reads again
//! what was sent lately, `live` what is sent just now.
//! Beside the streams: [`permissions`] says what each service may do there and `refusals` what it was not let do, [`changes`] tells
//! caches what is stale, [`erased`] empties what names an erased contact, and `test_requests` lets `api` ask `deliver` to send a test.

mod borrowed;
pub mod changes;
mod codec;
mod connect;
pub mod consume;
mod credentials;
pub mod erased;
mod live;
mod messages;
pub mod permissions;
mod publish;
mod recent;
mod refusals;
mod server;
mod settings;
mod setup;
mod shard;
mod test_requests;
pub mod topology;

pub use borrowed::{ClickRef, ClickTemplate, Parts, RequestRef};
pub use changes::{Change, Changed, MINTING_KEYS, Table};
pub use connect::{Bus, ConnectError, PendingError};
pub use consume::{ConsumeError, Consumer, ConsumerMetrics, Handler, Limits, Takeover, Verdict, Verdicts};
pub use live::{EnrichedTail, LiveError, Reread, Stored};
pub use messages::{DecodeError, Event, Message, Outgoing, Quarantined, trace_id};
pub use publish::{PublishError, Publisher};
pub use recent::{Part, RecentError};
pub use refusals::Forbidden;
pub use settings::{DEFAULTS, Settings};
pub use setup::{Fill, FillError, RoomError, SetupError, VerifyError};
pub use test_requests::RequestError;
pub use topology::{ConsumerName, Partition, StreamName};
