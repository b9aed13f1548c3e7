//! What a query for analytics says: which clicks, over which time, by which clock.

use chrono::{DateTime, TimeDelta, Utc};

use model::LinkId;
use model::automation::Verdict;
use store::rollups::{Dimension, Interval, POINTS_MAX, Range};

use crate::fields::{Fields, FromFields, moment, parsed, text, whole, word, wrong};

/// Longest time that is reported: a year, and what it is compared with at its ends.
const RANGE_DAYS_MAX: i64 = 400;

/// The time that is reported unless the query says otherwise.
const RANGE_DAYS_DEFAULT: i64 = 30;

/// Most values of a list.
pub const LIMIT_MAX: u32 = 100;

/// Values of a list unless the query says otherwise.
pub const LIMIT_DEFAULT: i64 = 10;

/// Longest name of a time zone that is looked at.
const ZONE_CHARS_MAX: usize = 64;

/// A shorter time is shown by the hour unless the query says otherwise, a longer one by the day.
const HOURS_UNTIL: TimeDelta = TimeDelta::days(3);

const VERDICTS: &[(&str, Option<Verdict>)] = &[
    ("human", Some(Verdict::Human)),
    ("all", None),
    ("automated", Some(Verdict::Automated)),
    ("unknown", Some(Verdict::Unknown)),
];

const INTERVALS: &[(&str, Interval)] = &[
    ("quarter", Interval::Quarter),
    ("15m", Interval::Quarter),
    ("hour", Interval::Hour),
    ("day", Interval::Day),
    ("week", Interval::Week),
    ("month", Interval::Month),
];

const DIMENSIONS: &[(&str, Dimension)] = &[
    ("link", Dimension::Link),
    ("campaign", Dimension::Campaign),
    ("conversation", Dimension::Conversation),
    ("country", Dimension::Country),
    ("city", Dimension::City),
    ("device", Dimension::Device),
    ("os", Dimension::Os),
    ("browser", Dimension::Browser),
    ("referrer_host", Dimension::ReferrerHost),
    ("language", Dimension::Language),
];

/// Which clicks a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// Of this link, or of all.
    pub link_id: Option<LinkId>,
    /// When, in whole quarters of an hour.
    pub range: Range,
    /// With this verdict, or with any.
    pub verdict: Option<Verdict>,
}

/// By which clock, and how far apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    /// How far apart the points are.
    pub interval: Interval,
    /// The zone whose clock it is; not known yet to be one.
    pub zone: String,
}

impl Reported {
    /// The word of its verdict in the API.
    pub fn verdict_word(&self) -> &'static str {
        self.verdict.map_or("all", Verdict::as_str)
    }

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let link_id = fields.optional("link_id", parsed::<LinkId>);
        Some(Self { link_id, ..Self::read_of_one(fields)? })
    }

    fn read_of_one(fields: &mut Fields<'_>) -> Option<Self> {
        let verdict = fields.optional("verdict", word(VERDICTS)).unwrap_or(Some(Verdict::Human));
        let range = range(fields, Utc::now())?;
        Some(Self { link_id: None, range, verdict })
    }
}

/// The time that is asked for: until now and for 30 days, unless it says otherwise.
fn range(fields: &mut Fields<'_>, now: DateTime<Utc>) -> Option<Range> {
    let since = fields.optional("since", moment);
    let until = fields.optional("until", moment);
    let until_or_now = until.unwrap_or(now);
    let since = since.or_else(|| until_or_now.checked_sub_signed(TimeDelta::days(RANGE_DAYS_DEFAULT)));
    let Some(since) = since.filter(|since| *since < until_or_now) else {
        let (field, rule) = match until {
            Some(_) => ("until", "must be later than `since`"),
            None => ("since", "must be in the past, or `until` later than it"),
        };
        fields.refuse(field, wrong("invalid", rule));
        return None;
    };
    if until_or_now - since > TimeDelta::days(RANGE_DAYS_MAX) {
        let rule = format_args!("must be at most {RANGE_DAYS_MAX} days before `until`");
        fields.refuse("since", wrong("too_long", rule));
        return None;
    }
    Some(Range::new(since, until_or_now))
}

fn steps(fields: &mut Fields<'_>, range: Option<Range>) -> Steps {
    let zone = fields.optional("tz", text::<ZONE_CHARS_MAX>).unwrap_or_else(|| "UTC".to_owned());
    let asked = fields.optional("interval", word(INTERVALS));
    let length = range.map_or(TimeDelta::zero(), |range| range.until() - range.since());
    let usual = if length <= HOURS_UNTIL { Interval::Hour } else { Interval::Day };
    let interval = asked.unwrap_or(usual);
    if points(interval, length) > i64::from(POINTS_MAX) {
        let rule = format_args!("makes more than {POINTS_MAX} points of this time: take a longer one");
        fields.refuse("interval", wrong("too_long", rule));
    }
    Steps { interval, zone }
}

/// About how many points a time has.
fn points(interval: Interval, length: TimeDelta) -> i64 {
    match interval {
        Interval::Quarter => length.num_minutes() / 15,
        Interval::Hour => length.num_hours() + 1,
        Interval::Day | Interval::Week | Interval::Month => length.num_days() + 1,
    }
}

/// The word of an interval in the API.
pub fn interval_word(interval: Interval) -> &'static str {
    INTERVALS.iter().find(|(_, known)| *known == interval).map_or("day", |(word, _)| word)
}

/// A query for a sum.
pub struct AskedSummary(pub Reported);

impl FromFields for AskedSummary {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Reported::read(fields).map(Self)
    }
}

/// A query for a time series.
pub struct AskedSeries {
    /// Of which clicks.
    pub reported: Reported,
    /// By which clock.
    pub steps: Steps,
}

impl FromFields for AskedSeries {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let reported = Reported::read(fields);
        let steps = steps(fields, reported.map(|reported| reported.range));
        Some(Self { reported: reported?, steps })
    }
}

/// A query for the values with most clicks.
pub struct AskedTop {
    /// Of which clicks.
    pub reported: Reported,
    /// Values of what.
    pub by: Dimension,
    /// So many at most.
    pub limit: i64,
}

impl FromFields for AskedTop {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let reported = Reported::read(fields);
        let by = fields.required("by", word(DIMENSIONS));
        let limit = limit(fields);
        Some(Self { reported: reported?, by: by?, limit })
    }
}

/// A query for all there is to tell of one link.
pub struct AskedStats {
    /// Which of its clicks.
    pub reported: Reported,
    /// By which clock.
    pub steps: Steps,
    /// So many values at most.
    pub limit: i64,
}

impl FromFields for AskedStats {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let reported = Reported::read_of_one(fields);
        let steps = steps(fields, reported.map(|reported| reported.range));
        let limit = limit(fields);
        Some(Self { reported: reported?, steps, limit })
    }
}

fn limit(fields: &mut Fields<'_>) -> i64 {
    fields.optional("limit", whole::<1, LIMIT_MAX>).map_or(LIMIT_DEFAULT, i64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::{Value, json};

    use crate::fields::read;

    fn wrong_fields<T: FromFields>(query: Value) -> Vec<String> {
        let Err(error) = read::<T>(&query) else { return Vec::new() };
        error.field_errors().into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn without_a_word_it_is_what_people_did_in_the_last_thirty_days() {
        let AskedSummary(reported) = read(&json!({})).expect("a query");

        let length = reported.range.until() - reported.range.since();
        assert!((TimeDelta::days(30)..TimeDelta::days(30) + TimeDelta::minutes(30)).contains(&length));
        assert_eq!((reported.verdict, reported.link_id), (Some(Verdict::Human), None));
        let AskedSeries { steps, .. } = read(&json!({})).expect("a query");
        assert_eq!(steps, Steps { interval: Interval::Day, zone: "UTC".to_owned() });
        let day = json!({"since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z"});
        assert_eq!(read::<AskedSeries>(&day).expect("a query").steps.interval, Interval::Hour);
        assert_eq!(read::<AskedTop>(&json!({"by": "city"})).expect("a query").limit, 10);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field() {
        let of = wrong_fields::<AskedSeries>;
        assert_eq!(of(json!({"since": "yesterday"})), ["/since"]);
        assert_eq!(of(json!({"since": "2999-01-01T00:00:00Z"})), ["/since"]);
        let turned = json!({"since": "2026-03-02T00:00:00Z", "until": "2026-03-01T00:00:00Z"});
        assert_eq!(of(turned), ["/until"]);
        let long = json!({"since": "2024-01-01T00:00:00Z", "until": "2026-03-01T00:00:00Z"});
        assert_eq!(of(long), ["/since"]);
        let fine =
            json!({"since": "2026-01-01T00:00:00Z", "until": "2026-12-01T00:00:00Z", "interval": "15m"});
        assert_eq!(of(fine), ["/interval"]);
        assert_eq!(
            of(json!({"interval": "minute", "verdict": "bot", "x": "1"})),
            ["/verdict", "/interval", "/x"]
        );
        assert_eq!(of(json!({"link_id": "clk_01jd8m3x5v9k2n4p6q8r0s1t3w"})), ["/link_id"]);
        assert_eq!(wrong_fields::<AskedTop>(json!({"limit": "101"})), ["/by", "/limit"]);
        assert_eq!(wrong_fields::<AskedStats>(json!({"link_id": "x"})), ["/link_id"]);
    }

    #[test]
    fn every_dimension_that_is_counted_can_be_asked_for() {
        assert_eq!(DIMENSIONS.len(), Dimension::ALL.len());
        for (word, dimension) in DIMENSIONS {
            assert_eq!(dimension.as_str(), *word);
        }
    }
}
