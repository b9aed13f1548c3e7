//! A line beside a number: how it went, without an axis.

use askama::Template;

/// Its box, which is stretched to the room that there is.
const WIDTH: f64 = 100.0;
const HEIGHT: f64 = 28.0;

/// Room above and below the line, for its thickness.
const EDGE: f64 = 2.0;

/// Counts in their order, as a line.
#[derive(Template)]
#[template(path = "plot_sparkline.html")]
pub struct Sparkline {
    title: String,
    line: String,
    area: String,
}

impl Sparkline {
    /// The line of these counts; `title` says in words what it shows.
    #[expect(clippy::cast_precision_loss, reason = "a pixel is coarser than any count")]
    pub fn new(title: impl Into<String>, counts: &[u64]) -> Self {
        let most = counts.iter().copied().max().unwrap_or_default().max(1) as f64;
        let last = counts.len().saturating_sub(1).max(1) as f64;
        let corner = |(at, count): (usize, &u64)| {
            let y = HEIGHT - EDGE - (HEIGHT - 2.0 * EDGE) * *count as f64 / most;
            format!("{:.2} {y:.2}", WIDTH * at as f64 / last)
        };
        let mut corners: Vec<String> = counts.iter().enumerate().map(corner).collect();
        if let [only] = corners.as_slice() {
            // one count is a level
            corners.push(only.replacen("0.00", "100.00", 1));
        }
        if corners.is_empty() {
            corners = vec![format!("0 {}", HEIGHT - EDGE), format!("{WIDTH} {}", HEIGHT - EDGE)];
        }
        let line = format!("M{}", corners.join("L"));
        let area = format!("{line}V{HEIGHT}H0Z");
        Self { title: title.into(), line, area }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_from_edge_to_edge_and_stays_in_its_box() {
        assert_eq!(Sparkline::new("", &[0, 4, 2]).line, "M0.00 26.00L50.00 2.00L100.00 14.00");
        assert_eq!(Sparkline::new("", &[3]).line, "M0.00 2.00L100.00 2.00");
        assert_eq!(Sparkline::new("", &[0, 0]).line, "M0.00 26.00L100.00 26.00");
        assert_eq!(Sparkline::new("", &[]).line, "M0 26L100 26");
    }

    #[test]
    fn its_title_is_text() {
        let text = Sparkline::new("<b>", &[1, 2]).to_string();

        assert!(text.contains("<title>&#60;b&#62;</title>"), "{text}");
    }
}
