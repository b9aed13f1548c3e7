//! Whose backlogs are looked through for deliveries without a number.
//!
//! What is owed to an endpoint that is counted gets its number as it is stored. Without one is only what was stored before it was
//! counted, or just after by a process whose table was older. What of that is asked for again later gets its number then. So a
//! backlog is read often for a while after this process has first seen the endpoint as it is, and then seldom: a delivery without
//! a number stands in no line and would wait for good, whatever the reason. To read all of them each time would cost most where
//! most waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::EndpointId;

/// How long a backlog is read often: far longer than a batch is in hand that was matched with an older table.
const OFTEN_FOR: Duration = Duration::from_secs(600);

/// How seldom from then on.
const SELDOM: Duration = Duration::from_secs(3600);

/// What was looked through, and when.
pub struct Unnumbered<T> {
    seen: HashMap<EndpointId, Seen<T>>,
}

/// A counted endpoint.
struct Seen<T> {
    /// As it was seen. Once it is changed it is another: it may not have been counted in between.
    endpoint: Arc<T>,
    /// When it was first seen so, or last had anything without a number.
    since: Instant,
    looked_at: Option<Instant>,
}

impl<T> Default for Unnumbered<T> {
    fn default() -> Self {
        Self { seen: HashMap::new() }
    }
}

impl<T> Unnumbered<T> {
    /// Those of the counted endpoints whose backlog is to be read now. Others are forgotten.
    pub fn due<'a>(
        &mut self,
        counted: impl Iterator<Item = (EndpointId, &'a Arc<T>)>,
        now: Instant,
    ) -> Vec<EndpointId>
    where
        T: 'a,
    {
        let mut before = std::mem::take(&mut self.seen);
        for (id, endpoint) in counted {
            let known = before.remove(&id).filter(|known| Arc::ptr_eq(&known.endpoint, endpoint));
            let new = || Seen { endpoint: Arc::clone(endpoint), since: now, looked_at: None };
            self.seen.insert(id, known.unwrap_or_else(new));
        }
        self.seen.iter().filter(|(_, seen)| seen.is_due(now)).map(|(id, _)| *id).collect()
    }

    /// These backlogs were read. Where anything was found there may be more: it is looked for again soon.
    pub fn looked(&mut self, endpoint_ids: &[EndpointId], has_found: bool, now: Instant) {
        for id in endpoint_ids {
            if let Some(seen) = self.seen.get_mut(id) {
                seen.looked_at = Some(now);
                if has_found {
                    seen.since = now;
                }
            }
        }
    }
}

impl<T> Seen<T> {
    fn is_due(&self, now: Instant) -> bool {
        let is_new = now.duration_since(self.since) < OFTEN_FOR;
        is_new || self.looked_at.is_none_or(|at| now.duration_since(at) >= SELDOM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks as a process does, half a minute after the last time.
    struct Looking {
        unnumbered: Unnumbered<()>,
        now: Instant,
    }

    impl Looking {
        fn begin() -> Self {
            Self { unnumbered: Unnumbered::default(), now: Instant::now() }
        }

        /// Whose backlog is read, and something found in it or not.
        fn look(&mut self, counted: &[(EndpointId, Arc<()>)], has_found: bool) -> Vec<EndpointId> {
            self.now += Duration::from_secs(30);
            let counted = counted.iter().map(|(id, endpoint)| (*id, endpoint));
            let due = self.unnumbered.due(counted, self.now);
            self.unnumbered.looked(&due, has_found, self.now);
            due
        }

        /// How many of so many looks read the backlog of the one endpoint.
        fn reads(&mut self, counted: &[(EndpointId, Arc<()>)], looks: usize) -> usize {
            (0..looks).map(|_| self.look(counted, false).len()).sum()
        }
    }

    #[test]
    fn a_backlog_is_read_often_while_it_is_new_and_then_seldom() {
        let mut looking = Looking::begin();
        let counted = [(EndpointId::generate(), Arc::new(()))];

        assert_eq!(looking.reads(&counted, 20), 20, "ten minutes");
        assert_eq!(looking.reads(&counted, 118), 0, "until an hour after the last time");
        assert_eq!(looking.reads(&counted, 240), 2, "two hours");
    }

    #[test]
    fn an_endpoint_that_changed_or_was_not_counted_for_a_while_begins_anew() {
        let mut looking = Looking::begin();
        let id = EndpointId::generate();
        let [before, after] = [[(id, Arc::new(()))], [(id, Arc::new(()))]];
        looking.reads(&before, 30);
        assert!(looking.look(&before, false).is_empty());

        assert_eq!(looking.look(&after, false), [id]);
        looking.reads(&after, 30);
        assert!(looking.look(&after, false).is_empty());
        assert!(looking.look(&[], false).is_empty());
        assert_eq!(looking.look(&after, false), [id]);
    }

    #[test]
    fn where_something_was_found_more_is_looked_for() {
        let mut looking = Looking::begin();
        let counted = [(EndpointId::generate(), Arc::new(()))];
        for _ in 0..100 {
            assert_eq!(looking.look(&counted, true).len(), 1);
        }

        looking.reads(&counted, 30);

        assert!(looking.look(&counted, false).is_empty());
    }

    #[test]
    fn a_look_that_failed_is_none() {
        let mut looking = Looking::begin();
        let counted = [(EndpointId::generate(), Arc::new(()))];
        let ask = |unnumbered: &mut Unnumbered<()>, now: Instant| {
            unnumbered.due(counted.iter().map(|(id, endpoint)| (*id, endpoint)), now).len()
        };

        assert_eq!(ask(&mut looking.unnumbered, looking.now), 1);
        let later = looking.now + OFTEN_FOR;
        assert_eq!(ask(&mut looking.unnumbered, later), 1, "nobody has looked");
        looking.unnumbered.looked(&[counted[0].0], false, later);
        assert_eq!(ask(&mut looking.unnumbered, later), 0);
    }
}
