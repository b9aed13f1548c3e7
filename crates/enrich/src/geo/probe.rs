//! What a file tells, found out by records at its beginning: makers call files and what stands in them as they like.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use maxminddb::{MaxMindDbError, Reader, WithinOptions};
use model::location::Location;
use serde::de::IgnoredAny;

use super::countries::Countries;
use super::file::{Found, Kind, Layout, Reading, networks_max};
use super::record::{Flat, Nested, Network};

/// Records that are looked at; a single one may be all but empty.
const PROBES_MAX: usize = 1000;

/// Keys of records that are named to people.
const KEYS_MAX: usize = 12;

/// Characters of such a key.
const KEY_CHARACTERS_MAX: usize = 40;

/// What records told, read in each way that is known.
#[derive(Default)]
pub(super) struct Probe {
    flat: Told,
    nested: Told,
    /// By values on the first level.
    network: Told,
    /// Whether countries are those of who runs a network.
    is_about_networks: bool,
    keys: BTreeSet<String>,
}

#[derive(Default)]
struct Told {
    places: bool,
    cities: bool,
    networks: bool,
    /// Who hides, or who hosts.
    anonymizers: bool,
}

impl Probe {
    /// Looks at the beginning of a file.
    pub fn of(reader: &Reader<Cow<'static, [u8]>>) -> Result<Self, MaxMindDbError> {
        let (mut probe, countries) = (Self::default(), Countries::kept());
        let mut records = 0;
        // a tree may have very many networks without data before the first with some
        let options = WithinOptions::default().include_networks_without_data();
        for found in reader.networks(options)?.take(networks_max(reader)) {
            let found = found?;
            if found.has_data() {
                probe.add(&found, &countries);
                records += 1;
            }
            if records == PROBES_MAX {
                break;
            }
        }
        Ok(probe)
    }

    /// A record that is not written in one of the ways fails to be decoded in it, or tells nothing.
    fn add(&mut self, found: &Found<'_>, countries: &Countries) {
        if self.keys.is_empty() || self.tells_nothing() {
            self.add_keys(found);
        }
        if !self.flat.places
            && let Ok(Some(record)) = found.decode::<Nested<'_>>()
        {
            self.nested.add(&record.into_location(countries, 0));
        }
        if !self.nested.places
            && let Ok(Some(record)) = found.decode::<Flat<'_>>()
        {
            self.flat.add(&record.into_location(countries, 0));
        }
        if let Ok(Some(record)) = found.decode::<Network<'_>>() {
            let mut location = Location::default();
            record.add_to(&mut location);
            self.network.add(&location);
            self.is_about_networks |= record.is_subject();
        }
    }

    fn add_keys(&mut self, found: &Found<'_>) {
        if self.keys.len() < KEYS_MAX
            && let Ok(Some(record)) = found.decode::<BTreeMap<String, IgnoredAny>>()
        {
            self.keys.extend(record.into_keys().take(KEYS_MAX));
        }
    }

    fn tells_nothing(&self) -> bool {
        let is_told = [&self.flat, &self.nested, &self.network]
            .iter()
            .any(|told| told.places || told.networks || told.anonymizers);
        !is_told
    }

    /// How to read a file of this type; `None` when that would tell nothing.
    pub fn reading(&self, database_type: &str) -> Option<Reading> {
        let name = database_type.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        if has(&["anonym", "proxy", "vpn"]) {
            // of addresses that hide, what else is told is told of few
            return self.network.anonymizers.then(|| Reading::without_places(Kind::Anonymizer));
        }
        let is_about_networks = self.is_about_networks
            || (has(&["asn", "isp"]) && !has(&["enterprise", "city", "location", "country"]));
        let (layout, told) =
            if self.nested.places { (Layout::Nested, &self.nested) } else { (Layout::Flat, &self.flat) };
        if told.places && !is_about_networks {
            let has_cities = told.cities || has(&["enterprise", "city"]);
            return Some(Reading {
                kind: if has_cities { Kind::City } else { Kind::Country },
                places: Some(layout),
                is_network_beside: self.network.networks || self.network.anonymizers,
                tells_networks: self.network.networks || told.networks,
            });
        }
        if self.network.networks {
            return Some(Reading::without_places(Kind::Network));
        }
        self.network.anonymizers.then(|| Reading::without_places(Kind::Anonymizer))
    }

    /// What stands in the records, for people.
    pub fn keys(&self) -> String {
        let shown = |key: &String| format!("`{}`", key.chars().take(KEY_CHARACTERS_MAX).collect::<String>());
        let keys: Vec<String> = self.keys.iter().take(KEYS_MAX).map(shown).collect();
        if keys.is_empty() { "nothing that has a key".to_owned() } else { keys.join(", ") }
    }
}

impl Told {
    fn add(&mut self, location: &Location) {
        let has_city = location.city.is_some() || location.latitude.is_some();
        self.cities |= has_city;
        self.places |= has_city
            || location.country.is_some()
            || location.country_name.is_some()
            || location.continent.is_some();
        self.networks |= location.asn.is_some() || location.as_organization.is_some();
        self.anonymizers |= location.is_anonymizer.is_some() || location.is_hosting.is_some();
    }
}
