//! A list of values with a bar behind each: the longest has most. It is a table, and needs no other.

use askama::Template;

use super::scale::{grouped, percent, share};

/// A value with its count.
#[derive(Debug, Clone)]
pub struct Bar {
    /// What it is called.
    pub label: String,
    /// Where its name leads, on this site.
    pub href: Option<String>,
    /// Its count.
    pub count: u64,
}

/// Values with most first, and the sum of the others.
#[derive(Template)]
#[template(path = "plot_bars.html")]
pub struct BarList {
    title: String,
    counted: &'static str,
    rows: Vec<Row>,
}

struct Row {
    label: String,
    href: Option<String>,
    is_others: bool,
    width: String,
    count: String,
    share: String,
}

impl BarList {
    /// The list of these values, which come in their order; `counted` says of what (`Clicks`).
    pub fn new(title: impl Into<String>, counted: &'static str, bars: Vec<Bar>, others: u64) -> Self {
        let whole = bars.iter().map(|bar| bar.count).sum::<u64>() + others;
        let most = bars.iter().map(|bar| bar.count).max().unwrap_or_default().max(others);
        let row = |label: String, href, count, is_others| Row {
            label,
            href,
            is_others,
            width: width(count, most),
            count: grouped(count),
            share: share(count, whole),
        };
        let mut rows: Vec<Row> =
            bars.into_iter().map(|bar| row(bar.label, bar.href, bar.count, false)).collect();
        if others > 0 {
            rows.push(row("Others".to_owned(), None, others, true));
        }
        Self { title: title.into(), counted, rows }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a pixel is coarser than any count")]
fn width(count: u64, most: u64) -> String {
    percent(100.0 * count as f64 / most.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_has_most_and_shares_are_of_everything() {
        let bar = |label: &str, count| Bar { label: label.to_owned(), href: None, count };

        let list = BarList::new("Countries", "Clicks", vec![bar("Sweden", 60), bar("Norway", 15)], 25);

        let rows: Vec<_> = list.rows.iter().map(|r| (&*r.label, &*r.width, &*r.share)).collect();
        assert_eq!(rows, [("Sweden", "100%", "60%"), ("Norway", "25%", "15%"), ("Others", "41.667%", "25%")]);
        assert!(BarList::new("Countries", "Clicks", Vec::new(), 0).is_empty());
    }

    #[test]
    fn a_hostile_value_is_text() {
        let hostile = r#"<img src=x onerror=alert(1)>""#.to_owned();
        let bars = vec![Bar { label: hostile.clone(), href: Some(format!("/links/{hostile}")), count: 1 }];

        let text = BarList::new(hostile, "Clicks", bars, 0).to_string();

        assert!(!text.contains("<img") && text.contains("&#60;img src=x"), "{text}");
    }
}
