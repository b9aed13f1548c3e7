//! The last clicks, and who looks.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{mpsc, watch};
use tracing::warn;

use bus::{Message as _, Stored};
use model::{EnrichedClick, WorkspaceId};

/// Clicks that are remembered, of all workspaces.
pub const RING_MAX: usize = 2_000;

/// Bytes of their messages; one takes about 2 KB.
const RING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Clicks that wait for one viewer. Whoever is further behind has lost some.
pub const QUEUE_MAX: usize = 256;

/// A click that has just come in.
pub struct LiveClick {
    /// Its place on ENRICHED: the id of its event.
    pub sequence: u64,
    stored: Stored,
    click: OnceLock<Option<EnrichedClick>>,
}

impl LiveClick {
    /// A message of ENRICHED.
    pub fn new(stored: Stored) -> Self {
        Self { sequence: stored.sequence, stored, click: OnceLock::new() }
    }

    /// The click; `None` when the message cannot be read. It is read once, for the first who looks.
    pub fn click(&self) -> Option<&EnrichedClick> {
        let read = || match EnrichedClick::decode(&self.stored.payload) {
            Ok(click) => Some(click),
            Err(error) => {
                // whoever consumes it puts it aside
                warn!(%error, sequence = self.sequence, "a live click cannot be read");
                None
            }
        };
        self.click.get_or_init(read).as_ref()
    }
}

/// What a viewer is handed.
pub type Seen = Arc<LiveClick>;

/// Who looks, and what came in lately.
#[derive(Default)]
pub struct Hub {
    inner: Mutex<Inner>,
    viewers: watch::Sender<usize>,
}

#[derive(Default)]
struct Inner {
    ring: Option<Ring>,
    viewers: HashMap<WorkspaceId, Vec<Viewer>>,
    last_viewer: u64,
}

/// The last clicks without a gap.
#[derive(Default)]
struct Ring {
    clicks: VecDeque<Seen>,
    bytes: usize,
    /// Every click after this place is in it.
    complete_after: u64,
    /// The last place that was heard of.
    end: u64,
}

struct Viewer {
    number: u64,
    queue: mpsc::Sender<Seen>,
    has_missed: Arc<AtomicBool>,
}

/// What comes to one viewer.
pub struct Queue {
    /// Clicks of the workspace.
    pub clicks: mpsc::Receiver<Seen>,
    has_missed: Arc<AtomicBool>,
}

impl Queue {
    /// Whether clicks were lost since it was asked last, because too many waited.
    pub fn has_missed(&self) -> bool {
        self.has_missed.swap(false, Ordering::Relaxed)
    }
}

/// Looks as long as it is kept.
pub struct Looking<'a> {
    hub: &'a Hub,
    workspace_id: WorkspaceId,
    number: u64,
}

/// What there is to tell to who has seen everything up to some place.
pub enum Behind {
    /// These, and what comes to the queue.
    By(Vec<Seen>),
    /// What is on the stream up to this place, and what comes to the queue.
    Further(u64),
    /// The stream does not reach so far: the place is another stream's.
    Ahead,
    /// Nothing is read at the moment.
    Unknown,
}

impl Hub {
    /// Looks at a workspace from now on.
    pub fn look(&self, workspace_id: WorkspaceId) -> (Looking<'_>, Queue) {
        let (queue, clicks) = mpsc::channel(QUEUE_MAX);
        let has_missed = Arc::new(AtomicBool::new(false));
        let mut inner = self.lock();
        inner.last_viewer += 1;
        let number = inner.last_viewer;
        let viewer = Viewer { number, queue, has_missed: has_missed.clone() };
        inner.viewers.entry(workspace_id).or_default().push(viewer);
        drop(inner);
        self.viewers.send_modify(|viewers| *viewers += 1);
        (Looking { hub: self, workspace_id, number }, Queue { clicks, has_missed })
    }

    /// How many look.
    pub fn viewers(&self) -> watch::Receiver<usize> {
        self.viewers.subscribe()
    }

    /// Begins to remember: everything after this place will be handed over. Whoever looks is let go if there was something before
    /// that does not lead here.
    pub fn begin(&self, after: u64, is_continued: bool) {
        let mut inner = self.lock();
        if !is_continued {
            if inner.ring.is_some() {
                inner.viewers.clear();
            }
            inner.ring = Some(Ring { complete_after: after, end: after, ..Ring::default() });
        }
    }

    /// Forgets everything, if nobody looks.
    pub fn rest(&self) -> bool {
        let mut inner = self.lock();
        let is_resting = inner.viewers.is_empty();
        if is_resting {
            inner.ring = None;
        }
        is_resting
    }

    /// Hands clicks over to who looks at their workspace.
    pub fn push(&self, stored: Vec<Stored>) {
        let mut inner = self.lock();
        let Inner { ring: Some(ring), viewers, .. } = &mut *inner else { return };
        for stored in stored {
            let workspace_id = stored.workspace_id;
            let click = Arc::new(LiveClick::new(stored));
            ring.push(click.clone());
            for viewer in viewers.get(&workspace_id).into_iter().flatten() {
                if viewer.queue.try_send(click.clone()).is_err() {
                    viewer.has_missed.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// What there is to tell of a workspace to who has seen everything up to this place.
    pub fn behind(&self, workspace_id: WorkspaceId, seen: u64) -> Behind {
        let inner = self.lock();
        let Some(ring) = &inner.ring else { return Behind::Unknown };
        if seen > ring.end {
            return Behind::Ahead;
        }
        if seen < ring.complete_after {
            return Behind::Further(ring.end);
        }
        let own = |click: &&Seen| click.sequence > seen && click.stored.workspace_id == workspace_id;
        Behind::By(ring.clicks.iter().filter(own).cloned().collect())
    }

    /// The last place that was heard of.
    pub fn end(&self) -> Option<u64> {
        self.lock().ring.as_ref().map(|ring| ring.end)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn push(&mut self, click: Seen) {
        self.end = click.sequence;
        self.bytes += click.stored.payload.len();
        self.clicks.push_back(click);
        while self.clicks.len() > RING_MAX || self.bytes > RING_BYTES_MAX {
            let Some(oldest) = self.clicks.pop_front() else { return };
            self.bytes -= oldest.stored.payload.len();
            self.complete_after = oldest.sequence;
        }
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        let mut inner = self.hub.lock();
        if let Some(viewers) = inner.viewers.get_mut(&self.workspace_id) {
            viewers.retain(|viewer| viewer.number != self.number);
            if viewers.is_empty() {
                inner.viewers.remove(&self.workspace_id);
            }
        }
        drop(inner);
        self.hub.viewers.send_modify(|viewers| *viewers -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(sequence: u64, workspace_id: WorkspaceId) -> Stored {
        Stored { sequence, workspace_id, payload: Vec::new().into() }
    }

    fn sequences(behind: Behind) -> Vec<u64> {
        let Behind::By(clicks) = behind else { panic!("they are in the ring") };
        clicks.iter().map(|click| click.sequence).collect()
    }

    #[test]
    fn a_viewer_gets_the_clicks_of_its_workspace_and_no_other() {
        let (own, other) = (WorkspaceId::generate(), WorkspaceId::generate());
        let hub = Hub::default();
        hub.begin(10, false);
        let (looking, mut queue) = hub.look(own);
        assert_eq!(*hub.viewers().borrow(), 1);

        hub.push(vec![stored(11, other), stored(12, own), stored(14, other)]);

        assert_eq!(queue.clicks.try_recv().ok().map(|click| click.sequence), Some(12));
        assert!(queue.clicks.try_recv().is_err());
        assert_eq!(sequences(hub.behind(own, 10)), [12]);
        assert_eq!(sequences(hub.behind(own, 12)), [] as [u64; 0]);
        assert_eq!(sequences(hub.behind(other, 11)), [14]);
        drop(looking);
        assert_eq!(*hub.viewers().borrow(), 0);
        assert!(hub.lock().viewers.is_empty(), "nothing is kept of who has gone");
    }

    #[test]
    fn what_the_ring_has_not_is_told_from_what_there_never_was() {
        let own = WorkspaceId::generate();
        let hub = Hub::default();
        assert!(matches!(hub.behind(own, 0), Behind::Unknown));
        hub.begin(10, false);
        hub.push((11..11 + RING_MAX as u64 + 5).map(|sequence| stored(sequence, own)).collect());

        assert!(matches!(hub.behind(own, 15), Behind::By(clicks) if clicks.len() == RING_MAX));
        assert!(matches!(hub.behind(own, 14), Behind::Further(_)));
        assert!(matches!(hub.behind(own, 99_999), Behind::Ahead));
    }

    #[test]
    fn who_does_not_keep_up_is_told_and_nobody_waits() {
        let own = WorkspaceId::generate();
        let hub = Hub::default();
        hub.begin(0, false);
        let (_looking, queue) = hub.look(own);

        hub.push((1..=QUEUE_MAX as u64).map(|sequence| stored(sequence, own)).collect());
        assert!(!queue.has_missed());
        hub.push(vec![stored(QUEUE_MAX as u64 + 1, own)]);

        assert!(queue.has_missed());
        assert!(!queue.has_missed(), "once");
    }

    #[test]
    fn on_another_stream_everybody_begins_anew() {
        let own = WorkspaceId::generate();
        let hub = Hub::default();
        hub.begin(10, false);
        let (_looking, mut queue) = hub.look(own);

        hub.begin(10, true);
        hub.push(vec![stored(11, own)]);
        assert!(queue.clicks.try_recv().is_ok());
        hub.begin(2, false);

        assert!(matches!(queue.clicks.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)));
        assert_eq!(hub.end(), Some(2));
    }
}
