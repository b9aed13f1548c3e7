//! What the parts of the service share, and the parts that are made of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use store::Pool;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::alerts::Alerts;
use crate::attempter::Attempter;
use crate::batching::Batches;
use crate::courier::Courier;
use crate::dispatch::{self, Dispatcher};
use crate::endpoints::Endpoints;
use crate::fetch_notices::FetchNotices;
use crate::lanes::Lanes;
use crate::lines::Lines;
use crate::matching::Matching;
use crate::metrics::Metrics;
use crate::own_events::OwnEvents;
use crate::recorder::Recorder;
use crate::runs::Runner;
use crate::settings::DeliverSettings;
use crate::tidying::Tidying;
use crate::unstored::Unstored;

/// What the parts share.
pub(super) struct Shared {
    /// Who wants what.
    pub endpoints: Arc<Endpoints>,
    /// Sends.
    pub attempter: Arc<Attempter>,
    /// Takes results.
    pub recorder: Arc<Recorder>,
    /// Tells who fetches events that there are some.
    pub notices: Arc<FetchNotices>,
    /// Holds what waits.
    pub pool: Pool,
    /// Requests that are under way, of both lanes.
    pub tasks: TaskTracker,
    /// Says that there is work.
    pub work: Arc<Notify>,
    /// Counts.
    pub metrics: Metrics,
}

impl Shared {
    /// The fast lane.
    pub fn dispatcher(&self, patience: Duration) -> Dispatcher {
        Dispatcher {
            matching: Matching {
                endpoints: Arc::clone(&self.endpoints),
                pool: self.pool.clone(),
                metrics: self.metrics.clone(),
            },
            attempter: Arc::clone(&self.attempter),
            recorder: Arc::clone(&self.recorder),
            pool: self.pool.clone(),
            patience,
            tasks: self.tasks.clone(),
            work: Arc::clone(&self.work),
            notices: Arc::clone(&self.notices),
            metrics: self.metrics.clone(),
            in_hand: Mutex::default(),
            at_once: dispatch::at_once(),
            unstored: Unstored::default(),
            begin_max: dispatch::BEGIN_MAX,
        }
    }

    /// The slow lane.
    pub fn courier(&self, lanes: Lanes, settings: &DeliverSettings) -> Courier {
        Courier {
            endpoints: Arc::clone(&self.endpoints),
            lanes,
            runner: self.runner(settings.patience),
            pool: self.pool.clone(),
            poll_interval: settings.poll_interval,
            work: Arc::clone(&self.work),
            round: Mutex::default(),
            batches: Batches::default(),
            lines: Lines::default(),
            metrics: self.metrics.clone(),
        }
    }

    fn runner(&self, patience: Duration) -> Runner {
        Runner {
            endpoints: Arc::clone(&self.endpoints),
            attempter: Arc::clone(&self.attempter),
            recorder: Arc::clone(&self.recorder),
            pool: self.pool.clone(),
            patience,
            tasks: self.tasks.clone(),
            begun: TaskTracker::new(),
            work: Arc::clone(&self.work),
            metrics: self.metrics.clone(),
        }
    }

    /// What tells alert URLs, of one endpoint once in `pause`.
    pub fn alerts(&self, pause: Duration) -> Alerts {
        Alerts {
            endpoints: Arc::clone(&self.endpoints),
            pool: self.pool.clone(),
            work: Arc::clone(&self.work),
            metrics: self.metrics.clone(),
            pause,
            counted: Notify::new(),
        }
    }

    /// What makes deliveries of our own events.
    pub fn own_events(&self, alerts: &Arc<Alerts>) -> OwnEvents {
        OwnEvents {
            endpoints: Arc::clone(&self.endpoints),
            alerts: Arc::clone(alerts),
            pool: self.pool.clone(),
            work: Arc::clone(&self.work),
            notices: Arc::clone(&self.notices),
            metrics: self.metrics.clone(),
        }
    }

    /// What looks after what waits.
    pub fn tidying(&self, pause_hold: Duration) -> Tidying {
        Tidying {
            endpoints: Arc::clone(&self.endpoints),
            pool: self.pool.clone(),
            pause_hold,
            work: Arc::clone(&self.work),
            metrics: self.metrics.clone(),
        }
    }
}
