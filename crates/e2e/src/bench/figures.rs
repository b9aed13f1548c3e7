//! The figures of a run: named numbers, printed as a table and written as JSON.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Named numbers in the order of their names.
#[derive(Debug, Default)]
pub struct Figures(BTreeMap<&'static str, (f64, &'static str)>);

impl Figures {
    /// Adds a figure with what it means.
    pub fn add(&mut self, name: &'static str, value: f64, meaning: &'static str) {
        eprintln!("  {name} = {value:.3}");
        self.0.insert(name, (value, meaning));
    }

    /// Prints a table to standard output.
    pub fn print(&self) {
        println!("| figure | value | what |\n|---|---:|---|");
        for (name, (value, meaning)) in &self.0 {
            println!("| `{name}` | {} | {meaning} |", rounded(*value));
        }
    }

    /// Writes a JSON object of numbers.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let numbers: BTreeMap<_, _> = self.0.iter().map(|(name, (value, _))| (*name, *value)).collect();
        std::fs::write(path, serde_json::to_string_pretty(&numbers)? + "\n")
    }
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
