//! Brand and marketing name of Android devices by the code that they send: `SM-A546B` is Samsung's
//! Galaxy A54 5G.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use super::{brands, schemes};

/// Google's list of devices (`data/README.md`). Columns: model, brand, marketing name; a line a device.
const KEPT: &str = include_str!("../../data/agents/android-devices.tsv");

/// The first line of a table.
const COLUMNS: &str = "model\tbrand\tmarketing_name";

/// Fewest characters that a code must share with codes of the table before their brand is taken for its own.
const SHARED_CHARS_MIN: usize = 4;

/// Least share of one brand among the codes of the table that begin alike, in per cent.
const SHARED_BRAND_MIN: usize = 70;

/// Most codes that begin alike which are looked at.
const ALIKE_MAX: usize = 512;

/// Most words of a brand's name.
const BRAND_WORDS_MAX: usize = 3;

/// Shortest name of a brand that is looked for at the start of a code: shorter ones are parts of codes.
const BRAND_BYTES_MIN: usize = 3;

/// Brands whose name at the start of a code means something else.
const NO_BRANDS: [&str; 10] =
    ["smart", "smart tv", "android", "tablet", "phone", "mobile", "pad", "tab", "box", "next"];

/// The table, as text with an index: its 37,000 lines as strings of their own would cost ten times the memory.
pub struct Models {
    text: Cow<'static, str>,
    /// Start of each line, in the order of the lines' codes.
    starts: Vec<u32>,
    /// Brands by their names in lower case, for codes that begin with one.
    brands: HashMap<String, String>,
}

/// What the table tells of a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Who makes it, unless several brands use the code.
    pub brand: Option<String>,
    /// What it is sold as, unless under several names.
    pub name: Option<String>,
}

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("a table of devices has the columns model, brand and marketing_name, and at least one line")]
pub struct TableError;

impl Known {
    /// The name, unless the table means a device of another brand.
    pub fn name_by(self, brand: &str) -> Option<String> {
        let is_same = self.brand.is_none_or(|known| known.eq_ignore_ascii_case(brand));
        self.name.filter(|_| is_same)
    }
}

impl Models {
    /// The table that is compiled in.
    pub fn kept() -> Self {
        Self::new(Cow::Borrowed(KEPT))
    }

    /// A table that an operator gives.
    ///
    /// # Errors
    /// When it has other columns, or no line.
    pub fn checked(text: String) -> Result<Self, TableError> {
        let columns = text.lines().next().unwrap_or_default().to_owned();
        let models = Self::new(Cow::Owned(text));
        if columns != COLUMNS || models.starts.is_empty() {
            return Err(TableError);
        }
        Ok(models)
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
        let brands = spelled(starts.iter().filter_map(|start| Some(row(&text, *start)?.1)));
        Self { text, starts, brands }
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
        let has_one_brand = !brand.is_empty() && rows.iter().all(|row| common(row.0) == common(brand));
        let has_one_name = !name.is_empty() && rows.iter().all(|row| row.1 == name);
        Some(Known {
            name: (has_one_brand && has_one_name).then(|| without_brand(name, common(brand)).to_owned()),
            brand: has_one_brand.then(|| common(brand).to_owned()),
        })
    }
}

impl Models {
    /// The brand of a code that the table does not list: of the name that it begins with, else of the scheme that it
    /// follows, else of the codes that begin like it.
    pub fn brand_like(&self, code: &str) -> Option<&str> {
        self.brand_named(code)
            .or_else(|| schemes::brand_of(code))
            .or_else(|| self.brand_of_neighbours(code))
            .or_else(|| self.brand_of_family(code))
            .or_else(|| schemes::likely_brand_of(code))
    }

    /// A brand as most devices of the table have it: of `XiaoMi` and `Xiaomi` one.
    pub fn spelled(&self, brand: String) -> String {
        self.brands.get(&brand.to_lowercase()).cloned().unwrap_or(brand)
    }

    /// `CUBOT KINGKONG 9`, `Cherry Mobile Flare`: its first words. Not what stands before a number in one word, which is
    /// another maker's line of phones more often than not.
    pub fn brand_named(&self, code: &str) -> Option<&str> {
        let ends = code.match_indices([' ', '_', '-', '.']).map(|(at, _)| at).chain([code.len()]);
        let ends: Vec<usize> = ends.take(BRAND_WORDS_MAX).collect();
        let named = |end: usize| {
            let name = code.get(..end)?.replace(['_', '-'], " ").to_lowercase();
            self.brands.get(&name).map(String::as_str)
        };
        ends.into_iter().rev().find_map(named)
    }

    /// The brand of the devices of the same family, where Huawei's scheme tells what that is.
    fn brand_of_family(&self, code: &str) -> Option<&str> {
        self.brand_of_prefix(schemes::family(code)?, |other| schemes::family(other).is_some())
    }

    fn brand_of_neighbours(&self, code: &str) -> Option<&str> {
        let first = self.starts.partition_point(|start| self::code(&self.text, *start) < code);
        let neighbours = [first.checked_sub(1), Some(first)];
        let shared = neighbours
            .into_iter()
            .filter_map(|at| Some(self::code(&self.text, *self.starts.get(at?)?)))
            .map(|other| shared_bytes(code, other))
            .max()?;
        let prefix = &code[..shared];
        if prefix.chars().count() < SHARED_CHARS_MIN {
            return None;
        }
        self.brand_of_prefix(prefix, |_| true)
    }

    /// The brand that most codes have which begin so, of those that are `asked`.
    fn brand_of_prefix(&self, prefix: &str, asked: impl Fn(&str) -> bool) -> Option<&str> {
        let from = self.starts.partition_point(|start| self::code(&self.text, *start) < prefix);
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let alike = self.starts[from..].iter().take(ALIKE_MAX).filter_map(|start| row(&self.text, *start));
        for (_, brand, _) in alike.take_while(|row| row.0.starts_with(prefix)).filter(|row| asked(row.0)) {
            *counts.entry(common(brand)).or_default() += 1;
        }
        let all: usize = counts.values().sum();
        let (brand, most) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        (most * 100 >= all * SHARED_BRAND_MIN).then_some(brand)
    }
}

/// Bytes that two codes begin with alike, up to the end of a character.
fn shared_bytes(one: &str, other: &str) -> usize {
    let alike = one.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
    alike.map_or(one.len().min(other.len()), |((at, _), _)| at)
}

fn code(text: &str, start: u32) -> &str {
    row(text, start).map_or("", |row| row.0)
}

fn row(text: &str, start: u32) -> Option<(&str, &str, &str)> {
    let mut columns = text[start as usize..].lines().next()?.split('\t');
    Some((columns.next()?, columns.next()?, columns.next()?))
}

/// The names of brands that are looked for at the start of a code, in lower case, each with its spelling: the one of most devices,
/// of several the first in the order of letters.
fn spelled<'a>(of_devices: impl Iterator<Item = &'a str>) -> HashMap<String, String> {
    let mut devices: BTreeMap<&str, usize> = BTreeMap::new();
    for brand in of_devices.map(common).filter(|brand| brand.len() >= BRAND_BYTES_MIN) {
        *devices.entry(brand).or_default() += 1;
    }
    let mut spellings: HashMap<String, (&str, usize)> = HashMap::new();
    for (brand, count) in devices {
        let spelling = spellings.entry(brand.to_lowercase()).or_insert((brand, count));
        if spelling.1 < count {
            *spelling = (brand, count);
        }
    }
    for brand in brands::names() {
        spellings.entry(brand.replace('-', " ").to_lowercase()).or_insert((brand, 0));
    }
    spellings.retain(|name, _| !NO_BRANDS.contains(&name.as_str()));
    spellings.into_iter().map(|(name, (brand, _))| (name, brand.to_owned())).collect()
}

/// Names of companies and of lines of phones, where people and the other rules know the brand.
fn common(brand: &str) -> &str {
    match brand {
        "LGE" => "LG",
        "TCT (Alcatel)" => "Alcatel",
        "Redmi" | "POCO" | "Poco" | "Mi" => "Xiaomi",
        "Plusone" => "Freetel",
        "Sonimtech" => "Sonim",
        "Surface" => "Microsoft",
        "onn." => "Onn",
        "AGM Mobile" => "AGM",
        "BQru" => "BQ",
        "Advan digital" => "Advan",
        // the list tells namesakes apart by country: `MyPhone (PL)`
        brand => brand.split('(').next().map(str::trim).filter(|brand| !brand.is_empty()).unwrap_or(brand),
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
    fn a_brand_that_is_spelled_in_several_ways_is_told_in_one() {
        let told = |lines: &str| {
            let models = Models::new(Cow::Owned(format!("model\tbrand\tmarketing_name\n{lines}")));
            models.brand_like("odys one").map(str::to_owned)
        };

        for _ in 0..20 {
            assert_eq!(told("a\tOdys\t\nb\tODYS\t\n").as_deref(), Some("ODYS"));
            assert_eq!(told("a\tOdys\t\nb\tODYS\t\nc\tOdys\t\n").as_deref(), Some("Odys"));
        }
    }

    #[test]
    fn an_unknown_code_has_the_brand_that_it_begins_with_or_that_its_neighbours_have() {
        let models = Models::new(Cow::Borrowed(
            "model\tbrand\tmarketing_name\nZQ-100\tAcme\tOne\nZQ-101\tAcme\tTwo\nZQ-109\tOther\tX\nab\tCherry Mobile\tX\n",
        ));

        assert_eq!(models.brand_like("ZQ-105"), None, "two of three are not enough");
        assert_eq!(models.brand_like("ZQ-1005"), Some("Acme"));
        assert_eq!(models.brand_like("ZQ"), None, "too little in common");
        assert_eq!(models.brand_like("CHERRY_MOBILE Flare"), Some("Cherry Mobile"));
        assert_eq!(models.brand_like("acme-9"), Some("Acme"));
        assert_eq!(models.brand_like("KFTRWI"), Some("Amazon"), "by the maker's scheme");
        assert_eq!(models.brand_like("Größe 7"), None);
        assert_eq!(models.brand_like(""), None);
    }

    #[test]
    fn a_table_of_other_columns_is_refused() {
        assert!(Models::checked("model\tbrand\tmarketing_name\nA\tB\tC\n".into()).is_ok());
        assert!(Models::checked("model\tbrand\tmarketing_name\n".into()).is_err());
        assert!(Models::checked("<html>".into()).is_err());
        assert!(Models::checked(String::new()).is_err());
    }

    #[test]
    fn an_empty_table_knows_nothing() {
        assert_eq!(Models::new(Cow::Borrowed("")).find("A1"), None);
    }
}
