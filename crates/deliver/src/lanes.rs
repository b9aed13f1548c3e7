//! All lanes of this process: one number of requests in flight for all, and how many slots an endpoint has that does not say.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::lane::Lane;
use crate::rate::Rate;

/// Of all requests in flight no endpoint has more than one in so many, however many it asks for: one that answers late would
/// have those of the others.
const PART: usize = 4;

/// All lanes draw on one number of requests in flight.
#[derive(Debug, Clone)]
pub struct Lanes {
    in_flight: Arc<Semaphore>,
    slots_default: usize,
    /// Most slots of one endpoint.
    slots_max: usize,
}

impl Lanes {
    /// At most `in_flight_max` requests at a time, and `slots_default` for an endpoint that does not say. One that asks for more
    /// gets a quarter of all at most, unless everyone has more.
    pub fn new(in_flight_max: usize, slots_default: usize) -> Self {
        let slots_max = slots_default.max(in_flight_max / PART);
        Self { in_flight: Arc::new(Semaphore::new(in_flight_max)), slots_default, slots_max }
    }

    /// A lane with its own number of slots, if it may have so many, or the default, and its own rate, or none.
    pub fn lane(&self, slots: Option<usize>, rate: Option<Rate>) -> Arc<Lane> {
        Arc::new(Lane::new(Arc::clone(&self.in_flight), self.slots(slots), rate))
    }

    /// How many more requests could be in flight.
    pub fn free(&self) -> usize {
        self.in_flight.available_permits()
    }

    /// Whether a lane has as many slots, and the rate, that [`Lanes::lane`] would give it.
    pub fn fits(&self, lane: &Lane, slots: Option<usize>, rate: Option<Rate>) -> bool {
        lane.is_of(self.slots(slots), rate)
    }

    fn slots(&self, own: Option<usize>) -> usize {
        own.unwrap_or(self.slots_default).min(self.slots_max).max(1)
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::later::Later;

    #[tokio::test]
    async fn all_endpoints_together_have_a_limit() {
        let lanes = Lanes::new(1, 4);
        let slot = lanes.lane(None, None).admit(Utc::now()).expect("free");

        assert_eq!(lanes.lane(None, None).admit(Utc::now()).expect_err("all taken"), Later::Full);
        drop(slot);
        assert_eq!(lanes.free(), 1);
    }

    #[tokio::test]
    async fn whoever_asks_for_all_gets_a_quarter_or_what_everyone_has() {
        for (slots_default, most) in [(4, 25), (40, 40)] {
            let lanes = Lanes::new(100, slots_default);
            let lane = lanes.lane(Some(1000), None);

            let slots: Vec<_> = std::iter::from_fn(|| lane.admit(Utc::now()).ok()).collect();

            assert_eq!((slots.len(), lanes.free()), (most, 100 - most));
            assert!(lanes.fits(&lane, Some(1000), None), "it keeps its lane");
        }
    }
}
