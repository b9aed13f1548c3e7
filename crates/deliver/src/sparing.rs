//! Tests of endpoints that have not shown that they want what is sent: one a second each, as with everything else. Here for
//! each process; what waits in PostgreSQL is held to it for all of them together.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use model::EndpointId;

/// Between two tests of an endpoint.
const PAUSE: Duration = Duration::from_secs(1);

/// Who was tested just now: as many as tests are made within [`PAUSE`].
#[derive(Debug, Clone, Default)]
pub struct Sparing(Arc<Mutex<HashMap<EndpointId, Instant>>>);

impl Sparing {
    /// Whether a test may be sent now; it counts as sent.
    pub fn may(&self, id: EndpointId, now: Instant) -> bool {
        let mut tested = self.0.lock().expect("nobody panics with this in hand");
        tested.retain(|_, at| now.saturating_duration_since(*at) < PAUSE);
        match tested.entry(id) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(now);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_tested_once_a_second_and_nothing_is_kept_of_it() {
        let (sparing, begin) = (Sparing::default(), Instant::now());
        let [one, two] = [(); 2].map(|()| EndpointId::generate());
        let at = |millis| begin + Duration::from_millis(millis);

        assert!(sparing.may(one, at(0)) && sparing.may(two, at(10)));
        assert!(!sparing.may(one, at(999)));
        assert!(sparing.may(one, at(1000)));
        assert!(sparing.may(two, at(3000)));
        assert_eq!(sparing.0.lock().expect("no panic").len(), 1);
    }
}
