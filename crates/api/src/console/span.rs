//! How far back a plot looks: a choice of a few, made by links.

use chrono::{DateTime, TimeDelta, Utc};

use store::rollups::{Interval, Range};

use super::zone::Zone;
use crate::body::Query;
use crate::error::ApiError;
use crate::fields::{Fields, FromFields};

/// Days until which everything there is is told by days.
const DAYS_BY_DAY_MAX: i64 = 100;

/// Days until which it is told by weeks: two years.
const DAYS_BY_WEEK_MAX: i64 = 731;

/// How far back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// 24 hours, by the hour.
    Day,
    /// 7 days.
    Week,
    /// 30 days.
    Month,
    /// 90 days.
    Quarter,
    /// Since the beginning.
    All,
}

/// What the address of a page with a plot says: how far back it looks, if that is said in a word that there is.
struct AskedSpan(Option<Span>);

impl FromFields for AskedSpan {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let range = fields.optional("range", |value| Ok(value.as_str().and_then(Span::of)));
        Some(Self(range.flatten()))
    }
}

/// One choice, as a link.
pub struct Choice {
    /// What it is called.
    pub words: &'static str,
    /// What the address says.
    pub word: &'static str,
    /// Whether it is the one.
    pub is_current: bool,
}

impl Span {
    /// The span that the address of a page asks for, whatever else it says.
    ///
    /// # Errors
    /// When it asks twice.
    pub fn asked(query: Query) -> Result<Option<Self>, ApiError> {
        let AskedSpan(span) = query.only(&["range"]).read()?;
        Ok(span)
    }

    /// The span that an address asks for; `None` for what is none.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Day, Self::Week, Self::Month, Self::Quarter, Self::All]
            .into_iter()
            .find(|span| span.word() == word)
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
            Self::Quarter => "90d",
            Self::All => "all",
        }
    }

    /// In words, after `Clicks`.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Day => "in the last 24 hours",
            Self::Week => "in the last 7 days",
            Self::Month => "in the last 30 days",
            Self::Quarter => "in the last 90 days",
            Self::All => "since the beginning",
        }
    }

    /// These spans as links.
    pub fn choices(self, spans: &[Self]) -> Vec<Choice> {
        let words = |span: Self| match span {
            Self::Day => "24 hours",
            Self::Week => "7 days",
            Self::Month => "30 days",
            Self::Quarter => "90 days",
            Self::All => "All",
        };
        let choice =
            |span: &Self| Choice { words: words(*span), word: span.word(), is_current: *span == self };
        spans.iter().map(choice).collect()
    }

    /// From when to when, and how far apart its points are; `begin` is when what is looked at came into being.
    pub fn range(self, zone: Zone, now: DateTime<Utc>, begin: DateTime<Utc>) -> (Range, Interval) {
        let days = match self {
            Self::Day => {
                let hour = now - TimeDelta::seconds(now.timestamp().rem_euclid(3600));
                return (Range::new(hour - TimeDelta::hours(23), now), Interval::Hour);
            }
            Self::Week => 7,
            Self::Month => 30,
            Self::Quarter => 90,
            Self::All => {
                let age = (now - begin).num_days();
                if age <= 1 {
                    return Self::Day.range(zone, now, begin);
                }
                let interval = match age {
                    ..=DAYS_BY_DAY_MAX => Interval::Day,
                    _ if age <= DAYS_BY_WEEK_MAX => Interval::Week,
                    _ => Interval::Month,
                };
                let since = zone.midnight(now, age.unsigned_abs());
                return (Range::new(since, now), interval);
            }
        };
        (Range::new(zone.midnight(now, days - 1), now), Interval::Day)
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a moment")
    }

    #[test]
    fn days_are_whole_ones_where_the_viewer_is_and_hours_are_the_last_twenty_four() {
        let zone = Zone(Tz::Europe__Stockholm);
        let now = at("2026-11-28T19:10:00Z");
        let since = |span: Span| span.range(zone, now, at("2026-11-20T12:00:00Z")).0.since();

        assert_eq!(since(Span::Day), at("2026-11-27T20:00:00Z"));
        assert_eq!(since(Span::Week), at("2026-11-21T23:00:00Z"));
        assert_eq!(since(Span::All), at("2026-11-19T23:00:00Z"));
    }

    #[test]
    fn the_older_something_is_the_further_apart_its_points_are() {
        let now = at("2026-11-28T19:10:00Z");
        let interval = |days| Span::All.range(Zone(Tz::UTC), now, now - TimeDelta::days(days)).1;

        let told = [0, 1, 2, 100, 101, 731, 732].map(interval);
        use Interval::{Day, Hour, Month, Week};
        assert_eq!(told, [Hour, Hour, Day, Day, Week, Week, Month]);
        for word in ["24h", "7d", "30d", "90d", "all"] {
            assert_eq!(Span::of(word).map(Span::word), Some(word));
        }
        assert_eq!(Span::of("1y"), None);
    }
}
