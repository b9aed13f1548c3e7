//! The figures of a run: named numbers, printed as a table and written as JSON.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Named numbers in the order of their names.
#[derive(Debug, Default)]
pub struct Figures(BTreeMap<String, Figure>);

#[derive(Debug)]
struct Figure {
    value: f64,
    /// Least and greatest of several rounds.
    spread: Option<(f64, f64)>,
    meaning: String,
}

impl Figures {
    /// Adds a figure with what it means.
    pub fn add(&mut self, name: impl Into<String>, value: f64, meaning: impl Into<String>) {
        self.insert(name.into(), Figure { value, spread: None, meaning: meaning.into() });
    }

    /// Adds the median of several rounds, with the least and the greatest of them.
    pub fn add_rounds(&mut self, name: impl Into<String>, rounds: Vec<f64>, meaning: impl Into<String>) {
        let least = rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let spread = Some((least, greatest));
        self.insert(name.into(), Figure { value: median(rounds), spread, meaning: meaning.into() });
    }

    fn insert(&mut self, name: String, figure: Figure) {
        eprintln!("  {name} = {}{}", rounded(figure.value), spread(&figure));
        self.0.insert(name, figure);
    }

    /// Prints a table to standard output.
    pub fn print(&self) {
        println!("| figure | value | what |\n|---|---:|---|");
        for (name, figure) in &self.0 {
            println!("| `{name}` | {}{} | {} |", rounded(figure.value), spread(figure), figure.meaning);
        }
    }

    /// Writes a JSON object of numbers: by the name of each figure and, of several rounds, `.least` and `.greatest`.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut numbers = BTreeMap::new();
        for (name, figure) in &self.0 {
            numbers.insert(name.clone(), figure.value);
            if let Some((least, greatest)) = figure.spread {
                numbers.insert(format!("{name}.least"), least);
                numbers.insert(format!("{name}.greatest"), greatest);
            }
        }
        std::fs::write(path, serde_json::to_string_pretty(&numbers)? + "\n")
    }
}

fn spread(figure: &Figure) -> String {
    figure.spread.map_or_else(String::new, |(least, greatest)| {
        format!(" ({} – {})", rounded(least), rounded(greatest))
    })
}

fn rounded(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The value below which `share` of the sorted `values` lie; 0 when there are none.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the slice")]
    let index = (last as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or(0.0)
}

/// The middle of three or more values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_of_several_rounds_is_written_with_its_least_and_greatest() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut figures = Figures::default();
        figures.add("once", 1.0, "one run");
        figures.add_rounds("rounds", vec![3.0, 2.0, 4.0], "three runs");

        figures.write(file.path()).expect("written");

        let text = std::fs::read_to_string(file.path()).expect("a text");
        let written: BTreeMap<String, f64> = serde_json::from_str(&text).expect("numbers");
        let expected = [("once", 1.0), ("rounds", 3.0), ("rounds.least", 2.0), ("rounds.greatest", 4.0)];
        assert_eq!(written, BTreeMap::from(expected.map(|(name, value)| (name.to_owned(), value))));
    }
}
