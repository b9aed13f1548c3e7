//! Names, continents and EU membership of countries, which the flat location files do not tell.

use std::collections::HashMap;

/// Columns: code, name, continent, eu.
const TABLE: &str = include_str!("../../data/geo/countries.tsv");

/// What is known of each country by its ISO 3166-1 code.
pub struct Countries(HashMap<&'static str, Country>);

/// A country or territory with a code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Country {
    /// Its short English name.
    pub name: &'static str,
    /// Two letters.
    pub continent: &'static str,
    /// Whether it belongs to the European Union.
    pub is_eu: bool,
}

impl Countries {
    /// The table that is compiled in.
    pub fn kept() -> Self {
        Self(TABLE.lines().skip(1).filter_map(row).collect())
    }

    /// The country with this code in upper case.
    pub fn find(&self, code: &str) -> Option<Country> {
        self.0.get(code).copied()
    }
}

fn row(line: &'static str) -> Option<(&'static str, Country)> {
    let mut columns = line.split('\t');
    let mut next = || columns.next();
    let (code, name, continent, eu) = (next()?, next()?, next()?, next()?);
    Some((code, Country { name, continent, is_eu: eu == "yes" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_has_a_name_and_a_continent() {
        let countries = Countries::kept();

        // the 249 of ISO 3166-1 and Kosovo, which location files call XK
        assert_eq!(countries.0.len(), 250);
        for (code, country) in &countries.0 {
            assert_eq!(code.len(), 2);
            assert!(!country.name.is_empty(), "{code}");
            assert!(["AF", "AN", "AS", "EU", "NA", "OC", "SA"].contains(&country.continent), "{code}");
        }
    }

    #[test]
    fn members_of_the_union_are_marked() {
        let countries = Countries::kept();
        let is_eu = |code| countries.find(code).map(|country| country.is_eu);

        assert_eq!((is_eu("SE"), is_eu("RE")), (Some(true), Some(true)));
        assert_eq!((is_eu("GB"), is_eu("CH"), is_eu("NO")), (Some(false), Some(false), Some(false)));
        assert_eq!(is_eu("ZZ"), None);
    }
}
