//! Clicks as they come in, for many who look: one reader of ENRICHED for the process, and a stream of events for each of them.
//!
//! ```text
//! ENRICHED ──► feed ──► hub: ring of the last clicks ──► a queue for each viewer ──► SSE
//! ```
//! [`feed`](self::feed) reads only while somebody looks. [`hub`](self::hub) hands each click to the viewers of its workspace and
//! remembers the last ones, so that who comes back misses nothing; what is older is read again from the stream, and what is too old
//! for that is told as a gap. [`stream`](self::stream) is one viewer. Nobody waits for anybody: a viewer that does not keep up loses
//! clicks, and is told.

mod feed;
mod hub;
mod stream;
mod wish;

pub use feed::follow;
use hub::{LiveClick, Seen};
pub use stream::{answer, data};
pub use wish::Wish;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::at_once::AtOnce;
use hub::Hub;

/// Whether ENRICHED is read at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody looks, or somebody does since a moment ago.
    Resting,
    /// It is.
    Following,
    /// The broker is away.
    Away,
}

/// The live clicks of this process.
pub struct Live {
    hub: Hub,
    state: watch::Sender<State>,
    /// Streams that are open, by workspace.
    streams: AtOnce,
    /// The same by key.
    streams_of_keys: AtOnce<String>,
    /// Ends every stream.
    stop: CancellationToken,
}

impl Live {
    /// Nobody looks yet. So many streams at a time, so many of one workspace, so many of one key.
    pub fn new(streams_max: usize, workspace_streams_max: usize, key_streams_max: usize) -> Self {
        Self {
            hub: Hub::default(),
            state: watch::Sender::new(State::Resting),
            streams: AtOnce::new(streams_max, workspace_streams_max),
            streams_of_keys: AtOnce::new(streams_max, key_streams_max),
            stop: CancellationToken::new(),
        }
    }

    /// Ends every stream: the process stops.
    pub fn end(&self) {
        self.stop.cancel();
    }
}
