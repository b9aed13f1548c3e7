//! How a webhook does, in words and as a plot.

use chrono::{DateTime, Utc};

use store::rollups::Interval;

use super::plot::{Clock, Layer, Point, TimePlot};
use crate::desk::endpoint_stats::{Figures, Stats};

/// Figures of an endpoint in words; empty where there is nothing to tell.
pub struct FiguresText {
    /// `99.8 %`.
    pub success: String,
    /// What that is of: `of 1,204 in 24 h`, `of the newest 200`.
    pub of: String,
    /// `340 ms`, `2.1 s`: from the click until it was accepted.
    pub p95: String,
    /// Half of them.
    pub p50: String,
    /// Length of an attempt.
    pub answer_p95: String,
    /// `3 waiting, 1 due since 12 s`.
    pub backlog: String,
    /// `good`, `wait`, `bad` or `plain`.
    pub kind: &'static str,
}

impl FiguresText {
    /// Figures and what waits.
    pub fn of(figures: Figures, waiting: i64, due: i64, is_backlog_complete: bool) -> Self {
        let tally = figures.tally;
        let rate = tally.success_rate();
        let tried = tally.delivered + tally.dead + tally.retrying;
        let more = if is_backlog_complete { "" } else { "+" };
        Self {
            success: rate.map(percent).unwrap_or_default(),
            of: match figures.is_complete {
                true => format!("of {tried} in 24 h"),
                false => format!("of the newest {tried}"),
            },
            p95: tally.accepted_p95_ms.map(span).unwrap_or_default(),
            p50: tally.accepted_p50_ms.map(span).unwrap_or_default(),
            answer_p95: tally.answer_p95_ms.map(|ms| span(ms.into())).unwrap_or_default(),
            backlog: match (waiting, due) {
                (0, _) => "nothing waits".to_owned(),
                (waiting, 0) => format!("{waiting}{more} waiting, none due"),
                (waiting, due) => format!("{waiting}{more} waiting, {due} due now"),
            },
            kind: match rate {
                None => "plain",
                Some(rate) if rate >= 0.99 => "good",
                Some(rate) if rate >= 0.9 => "wait",
                Some(_) => "bad",
            },
        }
    }
}

/// `100 %`, `99.8 %`; never rounded up to 100.
fn percent(rate: f64) -> String {
    if rate >= 1.0 { "100 %".to_owned() } else { format!("{:.1} %", (rate * 1000.0).floor() / 10.0) }
}

/// A span of time in the unit that reads best.
pub fn span(ms: i64) -> String {
    match ms {
        ..1000 => format!("{} ms", ms.max(0)),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

/// What became of each hour's deliveries.
pub fn stats_plot(stats: &Stats) -> TimePlot {
    let layers = [
        Layer { name: "Accepted", kind: "good" },
        Layer { name: "Waiting or retrying", kind: "wait" },
        Layer { name: "Given up", kind: "bad" },
    ];
    let natural = |count: i64| u64::try_from(count).unwrap_or_default();
    let point = |(at, figures): &(DateTime<Utc>, Figures)| {
        let tally = figures.tally;
        let values = [tally.delivered, tally.waiting + tally.retrying, tally.dead].map(natural).to_vec();
        Point { at: *at, values }
    };
    let points: Vec<Point> = stats.hours.iter().map(point).collect();
    TimePlot::new("stats", "Deliveries of the last 24 hours", &layers, &points, Clock::utc(Interval::Hour))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_never_rounded_up_to_a_hundred() {
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.9999), "99.9 %");
        assert_eq!(percent(0.0), "0.0 %");
    }

    #[test]
    fn a_span_is_told_in_the_unit_that_reads_best() {
        let told: Vec<String> = [-3, 340, 2150, 61_000, 7_300_000].into_iter().map(span).collect();
        assert_eq!(told, ["0 ms", "340 ms", "2.1 s", "1 min", "2 h"]);
    }
}
