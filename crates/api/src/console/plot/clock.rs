//! The clock by which a plot's intervals are named.

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use chrono_tz::Tz;
use store::rollups::Interval;

use super::Point;

/// Labels below a plot at most.
const TICKS_MAX: usize = 8;

/// More hours than these are labelled by their day.
const HOURS_LABELLED_MAX: usize = 48;

/// A time zone, and how far points are apart.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Whose clock.
    pub zone: Tz,
    /// Distance of the points.
    pub interval: Interval,
}

impl Clock {
    /// The clock of Greenwich.
    pub const fn utc(interval: Interval) -> Self {
        Self { zone: Tz::UTC, interval }
    }

    /// The name of its zone: `Europe/Stockholm`.
    pub fn zone_name(self) -> &'static str {
        self.zone.name()
    }

    /// An interval in words.
    pub fn label(self, at: DateTime<Utc>) -> String {
        let at = at.with_timezone(&self.zone);
        let format = match self.interval {
            Interval::Quarter | Interval::Hour => "%a %-d %b, %H:%M",
            Interval::Day => "%a %-d %b %Y",
            Interval::Week => "week of %-d %b %Y",
            Interval::Month => "%B %Y",
        };
        at.format(format).to_string()
    }

    /// What stands below an interval, of a plot of so many.
    pub fn tick(self, at: DateTime<Utc>, points: usize) -> String {
        let at = at.with_timezone(&self.zone);
        let format = match self.interval {
            Interval::Quarter | Interval::Hour if points <= HOURS_LABELLED_MAX => "%H:%M",
            Interval::Quarter | Interval::Hour => "%a %-d",
            Interval::Day | Interval::Week => "%-d %b",
            Interval::Month if at.month() == 1 => "%Y",
            Interval::Month => "%b",
        };
        at.format(format).to_string()
    }

    /// Which points have a label below, counted from the last one.
    pub fn labelled(self, points: &[Point]) -> Vec<usize> {
        let is_by_day =
            matches!(self.interval, Interval::Quarter | Interval::Hour) && points.len() > HOURS_LABELLED_MAX;
        let fit: Vec<usize> = if is_by_day {
            let begins_day = |at: &usize| {
                let local = points[*at].at.with_timezone(&self.zone);
                local.hour() == 0 && local.minute() == 0
            };
            (0..points.len()).filter(begins_day).collect()
        } else {
            (0..points.len()).collect()
        };
        let every = fit.len().div_ceil(TICKS_MAX).max(1);
        let mut kept: Vec<usize> = fit.into_iter().rev().step_by(every).collect();
        kept.reverse();
        kept
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn points(count: i64, step: TimeDelta) -> Vec<Point> {
        let begin: DateTime<Utc> = "2026-11-22T23:00:00Z".parse().expect("a moment");
        let point = |at| Point { at: begin + step * i32::try_from(at).expect("few"), values: Vec::new() };
        (0..count).map(point).collect()
    }

    fn texts(clock: Clock, points: &[Point]) -> Vec<String> {
        clock.labelled(points).into_iter().map(|at| clock.tick(points[at].at, points.len())).collect()
    }

    #[test]
    fn a_day_is_labelled_by_hours_and_a_week_by_its_midnights_where_the_viewer_is() {
        let clock = Clock { zone: Tz::Europe__Stockholm, interval: Interval::Hour };

        let day = texts(clock, &points(24, TimeDelta::hours(1)));
        assert_eq!(day, ["02:00", "05:00", "08:00", "11:00", "14:00", "17:00", "20:00", "23:00"]);
        let week = texts(clock, &points(168, TimeDelta::hours(1)));
        assert_eq!(week, ["Mon 23", "Tue 24", "Wed 25", "Thu 26", "Fri 27", "Sat 28", "Sun 29"]);
        assert_eq!(clock.label(points(1, TimeDelta::hours(1))[0].at), "Mon 23 Nov, 00:00");
    }

    #[test]
    fn a_plot_has_few_labels_and_the_last_point_is_one() {
        for count in 1..200 {
            let points = points(count, TimeDelta::days(1));
            let labelled = Clock::utc(Interval::Day).labelled(&points);
            assert!(labelled.len() <= TICKS_MAX, "{count}");
            assert_eq!(labelled.last(), Some(&(points.len() - 1)));
        }
    }
}
