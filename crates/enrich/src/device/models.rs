//! Brand and marketing name of Android devices by the code that they send: `SM-A546B` is Samsung's
//! Galaxy A54 5G.

use std::borrow::Cow;

/// Google's list of devices (`data/README.md`). Columns: model, brand, marketing name; a line a device.
const KEPT: &str = include_str!("../../data/agents/android-devices.tsv");

/// The table, as text with an index: its 37,000 lines as strings of their own would cost ten times the memory.
pub struct Models {
    text: Cow<'static, str>,
    /// Start of each line, in the order of the lines' codes.
    starts: Vec<u32>,
}

/// What the table tells of a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Who makes it, unless several brands use the code.
    pub brand: Option<String>,
    /// What it is sold as, unless under several names.
    pub name: Option<String>,
}

impl Models {
    /// The table that is compiled in.
    pub fn kept() -> Self {
        Self::new(Cow::Borrowed(KEPT))
    }

    /// A table of the same columns; what is beyond 4 GiB is not read.
    pub fn new(text: Cow<'static, str>) -> Self {
        let mut start = 0;
        let mut starts = Vec::new();
        for line in text.split_inclusive('\n') {
            let Ok(at) = u32::try_from(start) else { break };
            starts.push(at);
            start += line.len();
        }
        // the first line names the columns
        let mut starts = starts.split_off(1.min(starts.len()));
        starts.sort_by_key(|start| code(&text, *start));
        Self { text, starts }
    }

    /// What the table tells of a code.
    pub fn find(&self, code: &str) -> Option<Known> {
        let first = self.starts.partition_point(|start| self::code(&self.text, *start) < code);
        let rows: Vec<(&str, &str)> = self.starts[first..]
            .iter()
            .map_while(|start| row(&self.text, *start).filter(|row| row.0 == code))
            .map(|(_, brand, name)| (brand, name))
            .collect();
        let (brand, name) = *rows.first()?;
        let has_one_brand = !brand.is_empty() && rows.iter().all(|row| row.0 == brand);
        let has_one_name = !name.is_empty() && rows.iter().all(|row| row.1 == name);
        Some(Known {
            name: (has_one_brand && has_one_name).then(|| without_brand(name, brand).to_owned()),
            brand: has_one_brand.then(|| common(brand).to_owned()),
        })
    }
}

fn code(text: &str, start: u32) -> &str {
    row(text, start).map_or("", |row| row.0)
}

fn row(text: &str, start: u32) -> Option<(&str, &str, &str)> {
    let mut columns = text[start as usize..].lines().next()?.split('\t');
    Some((columns.next()?, columns.next()?, columns.next()?))
}

/// Names of companies, where people and the other rules know the brand.
fn common(brand: &str) -> &str {
    match brand {
        "LGE" => "LG",
        "TCT (Alcatel)" => "Alcatel",
        brand => brand,
    }
}

/// `Xiaomi 14` by Xiaomi is a 14: the brand is a field of its own.
fn without_brand<'a>(name: &'a str, brand: &str) -> &'a str {
    name.strip_prefix(brand)
        .and_then(|rest| rest.strip_prefix(' '))
        .filter(|rest| !rest.is_empty())
        .unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_leads_to_brand_and_name() {
        let known = Models::kept().find("SM-A546B").expect("a phone of 2023");

        assert_eq!(known.brand.as_deref(), Some("Samsung"));
        assert_eq!(known.name.as_deref(), Some("Galaxy A54 5G"));
    }

    #[test]
    fn what_is_ambiguous_is_not_told() {
        let models = Models::new(Cow::Borrowed(
            "model\tbrand\tmarketing_name\nB1\tAcme\tOne\nA1\tAcme\tAcme 7\nB1\tAcme\tTwo\nC1\tAcme\tX\nC1\tOther\tX\n",
        ));

        let find = |code| models.find(code).map(|known| (known.brand, known.name));
        assert_eq!(find("A1"), Some((Some("Acme".into()), Some("7".into()))));
        assert_eq!(find("B1"), Some((Some("Acme".into()), None)));
        assert_eq!(find("C1"), Some((None, None)));
        assert_eq!(find("D1"), None);
        assert_eq!(find(""), None);
    }

    #[test]
    fn an_empty_table_knows_nothing() {
        assert_eq!(Models::new(Cow::Borrowed("")).find("A1"), None);
    }
}
