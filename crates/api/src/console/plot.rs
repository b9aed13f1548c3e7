//! Plots, drawn on the server as SVG: clicks over time here, lists with bars in `bars`, a line beside a number in `sparkline`.
//!
//! Widths are percentages and heights are pixels, so that a plot fills whatever it stands in and its letters keep their size.
//! Colours come from the stylesheet, by class: pages allow no inline styles, and light and dark look right by themselves. Each
//! plot has a title and a description for who does not see it, and a table with the numbers.

mod bars;
mod clock;
mod scale;
mod sparkline;

use askama::Template;
use chrono::{DateTime, Utc};

pub use bars::{Bar, BarList};
pub use clock::Clock;
pub use scale::{grouped, short};
pub use sparkline::Sparkline;

use scale::{Scale, percent};

/// From the top of the plot to its base line, in pixels.
const BASE: f64 = 196.0;

/// Room above the highest value.
const TOP: f64 = 10.0;

/// More points than this are drawn as areas: as bars they would be hairs.
const BARS_MAX: usize = 100;

/// Few bars are drawn narrower, or they would be blocks.
const FEW: usize = 14;

/// What of a plot is summed up to a bar: a name, and a class that gives its colour (`people`, `machines`, `good`, `bad`, `wait`).
#[derive(Debug, Clone, Copy)]
pub struct Layer {
    /// Its name in the legend and the table.
    pub name: &'static str,
    /// Its class.
    pub kind: &'static str,
}

/// An interval with the count of each layer.
#[derive(Debug, Clone)]
pub struct Point {
    /// When it begins.
    pub at: DateTime<Utc>,
    /// Counts, in the order of the layers.
    pub values: Vec<u64>,
}

/// Counts over time, layer upon layer: bars, or areas where there are many points.
#[derive(Template)]
#[template(path = "plot_time.html")]
pub struct TimePlot {
    /// Makes the ids of its title and description unique in the page.
    id: &'static str,
    title: String,
    description: String,
    legend: Vec<Legend>,
    lines: Vec<Line>,
    ticks: Vec<Tick>,
    columns: Vec<Column>,
    areas: Vec<Area>,
    zone: String,
}

struct Legend {
    kind: &'static str,
    name: &'static str,
    total: String,
}

/// A line across, with its number.
struct Line {
    y: String,
    text: String,
}

/// A label below.
struct Tick {
    x: String,
    text: String,
    /// Left out where there is little room.
    is_minor: bool,
}

/// An interval: as wide as it may be pointed at, its bar within.
struct Column {
    x: String,
    width: String,
    bar_x: String,
    bar_width: String,
    /// What is told of it.
    label: String,
    exact: String,
    counts: Vec<(&'static str, String)>,
    pieces: Vec<Piece>,
}

struct Piece {
    kind: &'static str,
    y: String,
    height: String,
}

struct Area {
    kind: &'static str,
    /// In a box of 100 by [`BASE`], stretched to the width.
    path: String,
}

impl TimePlot {
    /// The plot of these points, which are in order of time and have one value for each layer.
    pub fn new(
        id: &'static str,
        title: impl Into<String>,
        layers: &[Layer],
        points: &[Point],
        clock: Clock,
    ) -> Self {
        let sum = |point: &Point| point.values.iter().sum::<u64>();
        let highest = points.iter().max_by_key(|point| sum(point));
        let scale = Scale::up_to(highest.map_or(0, sum));
        let total = |at: usize| points.iter().filter_map(|point| point.values.get(at)).sum::<u64>();
        let legend = layers.iter().enumerate().map(|(at, layer)| Legend {
            kind: layer.kind,
            name: layer.name,
            total: grouped(total(at)),
        });
        let lines = scale.ticks().map(|tick| Line { y: pixels(height(tick, scale)), text: short(tick) });
        let is_area = points.len() > BARS_MAX;
        Self {
            id,
            title: title.into(),
            description: describe(points, highest, clock),
            legend: legend.collect(),
            lines: lines.collect(),
            ticks: ticks(points, clock),
            columns: points
                .iter()
                .enumerate()
                .map(|(at, point)| column(at, points.len(), point, layers, scale, clock))
                .collect(),
            areas: if is_area { areas(points, layers, scale) } else { Vec::new() },
            zone: clock.zone_name().to_owned(),
        }
    }

    fn is_empty(&self) -> bool {
        self.columns.iter().all(|column| column.counts.iter().all(|(_, count)| count == "0"))
    }
}

/// Where a value lies, in pixels from the top.
#[expect(clippy::cast_precision_loss, reason = "a pixel is coarser than any count")]
fn height(value: u64, scale: Scale) -> f64 {
    BASE - (BASE - TOP) * value as f64 / scale.max() as f64
}

fn pixels(y: f64) -> String {
    format!("{y:.1}")
}

/// Share of the width that lies before a point, or its middle where `at` is half way.
#[expect(clippy::cast_precision_loss, reason = "there are never so many points")]
fn across(at: f64, points: usize) -> f64 {
    100.0 * at / points.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "there are never so many points")]
fn column(at: usize, points: usize, point: &Point, layers: &[Layer], scale: Scale, clock: Clock) -> Column {
    let filled = if points <= FEW { 0.46 } else { 0.74 };
    let mut below = 0;
    let mut pieces = Vec::new();
    let mut counts = Vec::new();
    for (layer, value) in layers.iter().zip(&point.values) {
        counts.push((layer.name, grouped(*value)));
        let (base, top) = (height(below, scale), height(below + value, scale));
        below += value;
        if *value > 0 && points <= BARS_MAX {
            pieces.push(Piece { kind: layer.kind, y: pixels(top), height: pixels((base - top).max(1.0)) });
        }
    }
    let at = at as f64;
    Column {
        x: percent(across(at, points)),
        width: percent(across(1.0, points)),
        bar_x: percent(across(at + (1.0 - filled) / 2.0, points)),
        bar_width: percent(across(filled, points)),
        label: clock.label(point.at),
        exact: point.at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        counts,
        pieces,
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are never so many points")]
fn ticks(points: &[Point], clock: Clock) -> Vec<Tick> {
    let labelled = clock.labelled(points);
    let text = |(place, at): (usize, usize)| Tick {
        x: percent(across(at as f64 + 0.5, points.len())),
        text: clock.tick(points[at].at, points.len()),
        is_minor: place % 2 == 1,
    };
    labelled.into_iter().enumerate().map(text).collect()
}

#[expect(clippy::cast_precision_loss, reason = "there are never so many points")]
fn areas(points: &[Point], layers: &[Layer], scale: Scale) -> Vec<Area> {
    let mut below = vec![0; points.len()];
    let mut areas = Vec::with_capacity(layers.len());
    for (at, layer) in layers.iter().enumerate() {
        let above: Vec<u64> = below
            .iter()
            .zip(points)
            .map(|(below, point)| below + point.values.get(at).copied().unwrap_or_default())
            .collect();
        let corner = |(at, value): (usize, &u64)| {
            format!("{:.3} {:.1}", across(at as f64 + 0.5, points.len()), height(*value, scale))
        };
        let there = above.iter().enumerate().map(corner);
        let back = below.iter().enumerate().rev().map(corner);
        let path = format!("M{}Z", there.chain(back).collect::<Vec<_>>().join("L"));
        areas.push(Area { kind: layer.kind, path });
        below = above;
    }
    // what lies below is drawn last, so that its edge is seen
    areas.reverse();
    areas
}

/// The plot in a sentence.
fn describe(points: &[Point], highest: Option<&Point>, clock: Clock) -> String {
    let (Some(first), Some(last), Some(highest)) = (points.first(), points.last(), highest) else {
        return "There is nothing to show yet.".to_owned();
    };
    let most: u64 = highest.values.iter().sum();
    let span = format!("From {} to {}", clock.label(first.at), clock.label(last.at));
    if most == 0 {
        return format!("{span}: none.");
    }
    format!("{span}. Most at once: {} ({}).", grouped(most), clock.label(highest.at))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use store::rollups::Interval;

    use super::*;

    const LAYERS: [Layer; 2] =
        [Layer { name: "People", kind: "people" }, Layer { name: "Automated", kind: "machines" }];

    fn plot(values: &[[u64; 2]]) -> TimePlot {
        let begin: DateTime<Utc> = "2026-11-23T00:00:00Z".parse().expect("a moment");
        let points: Vec<Point> = values
            .iter()
            .zip(0..)
            .map(|(values, hour)| Point { at: begin + TimeDelta::hours(hour), values: values.to_vec() })
            .collect();
        TimePlot::new("clicks", "Clicks <today>", &LAYERS, &points, Clock::utc(Interval::Hour))
    }

    #[test]
    fn layers_stand_upon_each_other_and_share_the_width() {
        let plot = plot(&[[3, 1], [0, 0], [8, 0], [1, 0]]);

        let widths: Vec<_> = plot.columns.iter().map(|c| (c.x.as_str(), c.width.as_str())).collect();
        assert_eq!(widths, [("0%", "25%"), ("25%", "25%"), ("50%", "25%"), ("75%", "25%")]);
        let pieces = |at: usize| -> Vec<_> {
            plot.columns[at].pieces.iter().map(|p| (p.kind, p.y.as_str(), p.height.as_str())).collect()
        };
        // the scale ends at 8: 186 pixels
        assert_eq!(pieces(0), [("people", "126.2", "69.8"), ("machines", "103.0", "23.2")]);
        assert_eq!(pieces(1), []);
        assert_eq!(pieces(2), [("people", "10.0", "186.0")]);
        let lines: Vec<_> = plot.lines.iter().map(|l| (l.y.as_str(), l.text.as_str())).collect();
        assert_eq!(lines, [("196.0", "0"), ("149.5", "2"), ("103.0", "4"), ("56.5", "6"), ("10.0", "8")]);
    }

    #[test]
    fn many_points_are_areas_between_the_layer_below_and_their_own() {
        let plot = plot(&[[2, 2]; 150]);

        assert!(plot.columns.iter().all(|column| column.pieces.is_empty()));
        let [machines, people] = plot.areas.as_slice() else { panic!("two layers") };
        assert_eq!((machines.kind, people.kind), ("machines", "people"));
        assert!(people.path.starts_with("M0.333 103.0L1.000 103.0"), "{}", people.path);
        assert!(people.path.ends_with("L0.333 196.0Z"), "{}", people.path);
        assert!(machines.path.starts_with("M0.333 10.0") && machines.path.ends_with("L0.333 103.0Z"));
    }

    #[test]
    fn what_is_told_in_a_plot_cannot_leave_its_text() {
        let text = plot(&[[3, 1], [0, 2]]).to_string();

        assert!(text.contains("Clicks &#60;today&#62;") && !text.contains("<today>"), "{text}");
        assert!(text.contains("aria-labelledby=\"plot-clicks-title plot-clicks-description\""), "{text}");
        assert!(text.contains("Most at once: 4 (Mon 23 Nov, 00:00)."), "{text}");
        for inline in [" style=", "<style", "<script", " onload="] {
            assert!(!text.contains(inline), "{inline}");
        }
    }

    #[test]
    fn nothing_is_a_plot_too() {
        for empty in [plot(&[]), plot(&[[0, 0]; 3])] {
            assert!(empty.is_empty());
            assert!(!empty.to_string().contains("NaN"));
        }
    }
}
