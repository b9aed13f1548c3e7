//! By whose clock a page is written: the viewer's, when their browser has told it, else by UTC.

use std::convert::Infallible;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

/// A cookie that the console's script sets: `Europe/Stockholm`. It is no secret, and what is no zone counts as none.
const COOKIE: &str = "clickwire_zone";

/// The clock of whoever looks at a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(pub Tz);

impl Zone {
    /// The midnight that began the day of `now`, or one of the days before.
    pub fn midnight(self, now: DateTime<Utc>, days_before: u64) -> DateTime<Utc> {
        let today = now.with_timezone(&self.0).date_naive();
        let day = today.checked_sub_days(Days::new(days_before)).unwrap_or(today);
        self.midnight_of(day)
    }

    /// When a day begins.
    pub fn midnight_of(self, day: NaiveDate) -> DateTime<Utc> {
        let mut local = day.and_time(NaiveTime::MIN);
        // where clocks are put forward at midnight the day begins later
        for _ in 0..4 {
            match self.0.from_local_datetime(&local) {
                LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => return at.with_timezone(&Utc),
                LocalResult::None => local += TimeDelta::minutes(30),
            }
        }
        local.and_utc()
    }
}

impl FromRequest for Zone {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let told = request.cookie(COOKIE).and_then(|cookie| cookie.value().parse().ok());
        ready(Ok(Self(told.unwrap_or(Tz::UTC))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn midnight(zone: Tz, now: &str, days_before: u64) -> String {
        let now: DateTime<Utc> = now.parse().expect("a moment");
        Zone(zone).midnight(now, days_before).format("%m-%d %H:%M").to_string()
    }

    #[test]
    fn a_day_begins_where_the_viewer_is() {
        assert_eq!(midnight(Tz::UTC, "2026-11-28T19:00:00Z", 0), "11-28 00:00");
        assert_eq!(midnight(Tz::Asia__Kathmandu, "2026-11-28T19:00:00Z", 0), "11-28 18:15");
        assert_eq!(midnight(Tz::Europe__Stockholm, "2026-03-30T10:00:00Z", 0), "03-29 22:00");
        assert_eq!(midnight(Tz::Europe__Stockholm, "2026-03-30T10:00:00Z", 1), "03-28 23:00");
        // there is no midnight there on that day
        assert_eq!(midnight(Tz::Africa__Cairo, "2024-04-26T10:00:00Z", 0), "04-25 22:00");
    }
}
