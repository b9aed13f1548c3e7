//! Clicks as pages show them: the plot over time, the lists beside it, and what values are called.

use model::LinkId;
use model::automation::Verdict;
use store::rollups::{Counts, Dimension, Interval, Range, TopList};

use chrono_tz::Tz;

use super::plot::{Bar, BarList, Clock, Layer, Point, TimePlot};
use super::words::{country, device_kind, language};
use super::zone::Zone;
use crate::app::Shared;
use crate::auth::Caller;
use crate::desk::analytics;
use crate::desk::report_query::{Reported, Steps};
use crate::error::ApiError;

/// Who clicked, from the base line up.
const LAYERS: [Layer; 3] = [
    Layer { name: "people", kind: "people" },
    Layer { name: "unclear", kind: "unclear" },
    Layer { name: "automated", kind: "machines" },
];

/// Clicks over time, of a link or of all. A zone that the database does not know counts as UTC.
///
/// # Errors
/// When the database is away.
pub async fn plot(
    shared: &Shared,
    caller: &Caller,
    link_id: Option<LinkId>,
    (range, interval): (Range, Interval),
    Zone(zone): Zone,
    title: String,
) -> Result<TimePlot, ApiError> {
    let points = match points(shared, caller, link_id, (range, interval), zone).await {
        Err(ApiError::Invalid(_)) => {
            let clock = Clock::utc(interval);
            let points = points(shared, caller, link_id, (range, interval), Tz::UTC).await?;
            return Ok(TimePlot::new("clicks", title, &LAYERS, &points, clock));
        }
        points => points?,
    };
    Ok(TimePlot::new("clicks", title, &LAYERS, &points, Clock { zone, interval }))
}

async fn points(
    shared: &Shared,
    caller: &Caller,
    link_id: Option<LinkId>,
    (range, interval): (Range, Interval),
    zone: Tz,
) -> Result<Vec<Point>, ApiError> {
    let steps = Steps { interval, zone: zone.name().to_owned() };
    let all = Reported { link_id, range, verdict: None };
    let people = Reported { verdict: Some(Verdict::Human), ..all };
    let all = analytics::time_series(shared, caller, &all, &steps).await?;
    let people = analytics::time_series(shared, caller, &people, &steps).await?;
    let point = |(all, people): (&store::rollups::Point, &store::rollups::Point)| {
        let Counts { hits, clicks, .. } = all.counts;
        let human = people.counts.clicks;
        let values = [human, clicks - human, hits - clicks].map(natural).to_vec();
        Point { at: all.at, values }
    };
    Ok(all.iter().zip(&people).map(point).collect())
}

/// A list of the values with most clicks of people, and of those of whom it is not clear.
pub fn bars(title: &str, dimension: Dimension, list: &TopList) -> BarList {
    let bar = |top: &store::rollups::Top| Bar {
        label: value_words(dimension, top.value.as_deref()),
        href: None,
        count: natural(top.counts.clicks),
    };
    // what only machines have is no answer to whom a link reached
    let bars = list.values.iter().filter(|top| top.counts.clicks > 0).map(bar).collect();
    BarList::new(title, "Clicks", bars, natural(list.others.clicks))
}

/// What a value of a dimension is called.
fn value_words(dimension: Dimension, value: Option<&str>) -> String {
    let Some(value) = value else {
        return match dimension {
            Dimension::ReferrerHost => "Direct, or not told",
            _ => "Not known",
        }
        .to_owned();
    };
    match dimension {
        Dimension::Country => country(value).to_owned(),
        Dimension::City => match value.rsplit_once(", ") {
            Some((place, code)) => {
                format!("{}, {}", place.split(", ").next().unwrap_or(place), country(code))
            }
            None => value.to_owned(),
        },
        Dimension::Device => device_kind(value).to_owned(),
        Dimension::Language => language(value),
        _ => value.to_owned(),
    }
}

/// Counts are never negative.
pub fn natural(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_in_words() {
        let of = |dimension, value| value_words(dimension, Some(value));

        assert_eq!(of(Dimension::Country, "SE"), "Sweden");
        assert_eq!(of(Dimension::City, "Springfield, Illinois, US"), "Springfield, United States");
        assert_eq!(of(Dimension::Device, "mobile"), "Phone");
        assert_eq!(of(Dimension::Language, "en"), "English");
        assert_eq!(of(Dimension::Browser, "Firefox"), "Firefox");
        assert_eq!(value_words(Dimension::ReferrerHost, None), "Direct, or not told");
    }
}
