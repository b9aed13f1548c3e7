//! How many requests a second an endpoint gets: a bucket of tokens, one a request, that fills at the rate. Pure: takes `now`.

use chrono::{DateTime, Utc};

use crate::circuit::OUT_OF_ORDER_MAX;

/// The bucket holds at least so many seconds' worth, or looking for work now and then would keep it from its rate.
const BURST_SECONDS_MIN: f64 = 0.5;

/// What an endpoint is limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second.
    pub per_second: u32,
    /// Requests that may go at once after a quiet time; `None`: a second's worth.
    pub burst: Option<u32>,
}

/// What of its rate an endpoint has left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    rate: Rate,
    tokens: f64,
    filled_at: Option<DateTime<Utc>>,
}

impl Rate {
    /// What an endpoint gets that has not shown that it wants what is sent to it.
    pub const UNPROVEN: Self = Self { per_second: 1, burst: Some(1) };

    fn capacity(self) -> f64 {
        let per_second = f64::from(self.per_second);
        f64::from(self.burst.unwrap_or(self.per_second)).max(per_second * BURST_SECONDS_MIN).max(1.0)
    }
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate) -> Self {
        Self { rate, tokens: rate.capacity(), filled_at: None }
    }

    /// Whether it is for this rate.
    pub fn is_for(&self, rate: Rate) -> bool {
        self.rate == rate
    }

    /// How many requests may go at `now`.
    pub fn available(&mut self, now: DateTime<Utc>) -> usize {
        if let Some(filled_at) = self.filled_at {
            let seconds = (now - filled_at).as_seconds_f64().max(0.0);
            self.tokens = (self.tokens + seconds * f64::from(self.rate.per_second)).min(self.rate.capacity());
        }
        // a clock that was ahead and was set right must not keep it from filling until then
        let is_set_back = self.filled_at.is_some_and(|filled_at| filled_at > now + OUT_OF_ORDER_MAX);
        self.filled_at = if is_set_back { Some(now) } else { self.filled_at.max(Some(now)) };
        self.tokens.max(0.0) as usize
    }

    /// Empties it as of `at`: until then another process has sent from a bucket of its own.
    pub fn empty_at(&mut self, at: DateTime<Utc>) {
        self.tokens = self.tokens.min(0.0);
        self.filled_at = Some(at);
    }

    /// So many go.
    pub fn take(&mut self, requests: usize) {
        self.tokens -= u32::try_from(requests).map_or(f64::INFINITY, f64::from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use proptest::prelude::*;

    fn at(millis: i64) -> DateTime<Utc> {
        Utc.timestamp_millis_opt(1_800_000_000_000 + millis).unwrap()
    }

    #[test]
    fn after_a_burst_it_fills_at_its_rate() {
        let mut bucket = Bucket::new(Rate { per_second: 10, burst: Some(20) });
        assert_eq!(bucket.available(at(0)), 20);
        bucket.take(20);

        assert_eq!((bucket.available(at(99)), bucket.available(at(100))), (0, 1));
        assert_eq!(bucket.available(at(60_000)), 20);
        assert_eq!(bucket.available(at(0)), 20, "a clock that is set back takes nothing away");
    }

    #[test]
    fn a_clock_that_was_ahead_and_is_set_right_does_not_keep_it_from_filling() {
        let mut bucket = Bucket::new(Rate { per_second: 10, burst: Some(20) });
        assert_eq!(bucket.available(at(90_000)), 20);
        bucket.take(20);

        assert_eq!((bucket.available(at(0)), bucket.available(at(100))), (0, 1));
    }

    #[test]
    fn what_another_process_has_used_is_filled_since_then() {
        let rate = Rate { per_second: 10, burst: Some(20) };
        for (since, left) in [(0, 0), (500, 5), (60_000, 20)] {
            let mut bucket = Bucket::new(rate);
            bucket.empty_at(at(0));

            assert_eq!(bucket.available(at(since)), left, "after {since} ms");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_when_no_more_goes_than_rate_and_burst_allow(
            per_second in 1_u32..100,
            burst in prop::option::of(1_u32..100),
            steps in prop::collection::vec((0_i64..2_000, 0_usize..50), 1..200),
        ) {
            let rate = Rate { per_second, burst };
            let (mut bucket, mut now, mut gone) = (Bucket::new(rate), 0, 0);
            for (pause, wanted) in steps {
                now += pause;
                let takes = wanted.min(bucket.available(at(now)));
                bucket.take(takes);
                gone += takes;
                let allowed = rate.capacity() + f64::from(per_second) * now as f64 / 1000.0;
                prop_assert!(gone as f64 <= allowed + 1e-6, "{gone} of {allowed}");
            }
        }
    }
}
