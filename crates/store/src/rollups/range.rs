//! The time that is asked for.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;

use super::recount::QUARTER;
use crate::statement::statement;
use crate::{Connection, QueryResult};

/// A span of whole quarters of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    since: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl Range {
    /// The quarters from the one with `since` to the last that begins before `until`; none when that is earlier.
    pub fn new(since: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        let since = floor(since);
        let end = floor(until);
        let until = if end < until { end + QUARTER } else { end };
        Self { since, until: until.max(since) }
    }

    /// The first moment.
    pub const fn since(self) -> DateTime<Utc> {
        self.since
    }

    /// The first moment after it.
    pub const fn until(self) -> DateTime<Utc> {
        self.until
    }
}

/// The beginning of the quarter of an hour that a moment of any year is in.
fn floor(at: DateTime<Utc>) -> DateTime<Utc> {
    let past = at.timestamp().rem_euclid(QUARTER.num_seconds());
    DateTime::from_timestamp(at.timestamp() - past, 0).unwrap_or(at)
}

/// How far apart the points of a time series are, by the clock of its zone: a day has 23 to 25 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// 15 minutes.
    Quarter,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week, which begins on Monday.
    Week,
    /// A month.
    Month,
}

impl Interval {
    /// The beginning of the interval that `bucket` lies in, in the zone `zone`.
    pub(super) fn begin(self, bucket: &str, zone: &str) -> String {
        let field = match self {
            Self::Quarter => return bucket.to_owned(),
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        };
        format!("date_trunc('{field}', {bucket}, {zone})")
    }
}

/// The names of the time zones that PostgreSQL knows (`Asia/Kathmandu`), some 600 of them. It reads them from files: ask once.
pub async fn time_zones(conn: &mut Connection) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Zone {
        #[diesel(sql_type = Text)]
        name: String,
    }
    // what is left out are other names of the same, and the zone of the server
    let zones: Vec<Zone> = statement(
        "SELECT name FROM pg_timezone_names
         WHERE name NOT LIKE 'posix%' AND name NOT LIKE 'right/%' AND name NOT IN ('localtime', 'Factory')",
    )
    .load(conn)
    .await?;
    Ok(zones.into_iter().map(|zone| zone.name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a moment")
    }

    #[test]
    fn a_range_has_whole_quarters() {
        let of = |since, until| {
            let range = Range::new(at(since), at(until));
            (range.since(), range.until())
        };

        let whole = (at("2026-03-01T10:15:00Z"), at("2026-03-01T10:45:00Z"));
        assert_eq!(of("2026-03-01T10:15:00Z", "2026-03-01T10:45:00Z"), whole);
        assert_eq!(of("2026-03-01T10:29:59.999Z", "2026-03-01T10:30:00.001Z"), whole);
        for far in ["0001-03-01T10:15:00Z", "1969-12-31T23:45:00Z", "9999-12-31T23:45:00Z"] {
            assert_eq!(of(far, far), (at(far), at(far)), "years of any distance are themselves");
        }
        assert_eq!(of("1969-12-31T23:59:59.999Z", "9999-12-31T23:59:59Z").0, at("1969-12-31T23:45:00Z"));
        let none = (at("2026-03-01T10:15:00Z"), at("2026-03-01T10:15:00Z"));
        assert_eq!(of("2026-03-01T10:20:00Z", "2026-03-01T09:00:00Z"), none);
    }
}
