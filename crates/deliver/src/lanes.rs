//! All lanes of this process: one number of requests in flight for all, and how many slots an endpoint has that does not say.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::lane::Lane;
use crate::rate::Rate;

/// All lanes draw on one number of requests in flight.
#[derive(Debug, Clone)]
pub struct Lanes {
    in_flight: Arc<Semaphore>,
    slots_default: usize,
}

impl Lanes {
    /// At most `in_flight_max` requests at a time, and `slots_default` for an endpoint that does not say.
    pub fn new(in_flight_max: usize, slots_default: usize) -> Self {
        Self { in_flight: Arc::new(Semaphore::new(in_flight_max)), slots_default }
    }

    /// A lane with its own number of slots, or the default, and its own rate, or none.
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
        own.unwrap_or(self.slots_default).max(1)
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
}
