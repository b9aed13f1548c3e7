//! The records of location files, and what we make of them.

use model::location::Location;
use serde::Deserialize;

use super::countries::Countries;
use super::value::Value;

/// Letters in the code of a country or of a continent.
const CODE_LETTERS: usize = 2;

/// A record of the flat layout. Makers differ in what they call things: what goes by one key in one file and by another in the
/// next is one field, and what may stand side by side are two.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Flat<'a> {
    #[serde(borrow)]
    country_code: Value<'a>,
    /// The code, or beside `country_code` the name.
    country: Value<'a>,
    country_name: Value<'a>,
    continent_code: Value<'a>,
    /// The code, or beside `continent_code` the name.
    continent: Value<'a>,
    #[serde(alias = "region", alias = "state", alias = "subdivision")]
    state1: Value<'a>,
    city: Value<'a>,
    #[serde(alias = "postal_code", alias = "postal", alias = "zip")]
    postcode: Value<'a>,
    #[serde(alias = "time_zone")]
    timezone: Value<'a>,
    #[serde(alias = "lat")]
    latitude: Value<'a>,
    #[serde(alias = "lng", alias = "lon")]
    longitude: Value<'a>,
}

/// A record of the nested layout.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Nested<'a> {
    #[serde(borrow)]
    continent: Continent<'a>,
    #[serde(borrow)]
    country: Country<'a>,
    #[serde(borrow)]
    subdivisions: Vec<Named<'a>>,
    #[serde(borrow)]
    city: Named<'a>,
    #[serde(borrow)]
    postal: Postal<'a>,
    #[serde(borrow)]
    location: Coordinates<'a>,
    #[serde(borrow)]
    traits: Network<'a>,
}

/// What a record tells of a network: alone, beside a place, or in the nested layout as a part of it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Network<'a> {
    #[serde(borrow, alias = "asn")]
    autonomous_system_number: Value<'a>,
    #[serde(alias = "as_name")]
    autonomous_system_organization: Value<'a>,
    org: Value<'a>,
    name: Value<'a>,
    is_anonymous: Value<'a>,
    #[serde(alias = "is_vpn")]
    is_anonymous_vpn: Value<'a>,
    #[serde(alias = "is_hosting")]
    is_hosting_provider: Value<'a>,
    #[serde(alias = "is_proxy")]
    is_public_proxy: Value<'a>,
    is_residential_proxy: Value<'a>,
    #[serde(alias = "is_tor")]
    is_tor_exit_node: Value<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Continent<'a> {
    code: &'a str,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Country<'a> {
    iso_code: &'a str,
    is_in_european_union: Option<bool>,
    #[serde(borrow)]
    names: Names<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named<'a> {
    #[serde(borrow)]
    names: Names<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Names<'a> {
    en: &'a str,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Postal<'a> {
    #[serde(borrow)]
    code: Value<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Coordinates<'a> {
    #[serde(borrow)]
    latitude: Value<'a>,
    longitude: Value<'a>,
    accuracy_radius: Value<'a>,
    time_zone: &'a str,
}

impl Flat<'_> {
    /// The location that it tells.
    pub fn into_location(self, countries: &Countries, decimals: u8) -> Location {
        let mut location = place(either(self.country_code.text(), code(self.country.text())), countries);
        location.country_name = location
            .country_name
            .or_else(|| known(either(self.country_name.text(), name(self.country.text()))));
        location.continent =
            known(either(self.continent_code.text(), code(self.continent.text()))).or(location.continent);
        location.region = known(self.state1.text());
        location.city = city(self.city.text());
        location.postal_code = known(self.postcode.text());
        location.timezone = known(self.timezone.text());
        (location.latitude, location.longitude) =
            coordinates(self.latitude.degrees(), self.longitude.degrees(), decimals);
        location
    }
}

impl Nested<'_> {
    /// The location that it tells.
    pub fn into_location(self, countries: &Countries, decimals: u8) -> Location {
        let mut location = place(self.country.iso_code, countries);
        location.country_name = location.country_name.or_else(|| known(self.country.names.en));
        location.continent = known(self.continent.code).or(location.continent);
        // the files leave the flag out where it is false
        location.is_eu = self.country.is_in_european_union.or(location.is_eu);
        location.region = self.subdivisions.first().and_then(|region| known(region.names.en));
        location.city = city(self.city.names.en);
        location.postal_code = known(self.postal.code.text());
        location.timezone = known(self.location.time_zone);
        (location.latitude, location.longitude) =
            coordinates(self.location.latitude.degrees(), self.location.longitude.degrees(), decimals);
        location.accuracy_km = location.latitude.and(self.location.accuracy_radius.whole());
        self.traits.add_to(&mut location);
        location
    }
}

impl Network<'_> {
    /// Tells the network beside what is told already.
    pub fn add_to(&self, location: &mut Location) {
        location.asn = self.number().or(location.asn);
        location.as_organization = self.organization().or_else(|| location.as_organization.take());
        location.is_anonymizer = self.is_anonymizer().then_some(true).or(location.is_anonymizer);
        location.is_hosting = self.is_hosting_provider.is_up().then_some(true).or(location.is_hosting);
    }

    /// Whether the record is about the network itself, so that a country in it is that of who runs the network, and visitors may
    /// be anywhere.
    pub fn is_subject(&self) -> bool {
        let has_own_name = self.org != Value::Other || self.name != Value::Other;
        self.number().is_some() && has_own_name && self.autonomous_system_organization == Value::Other
    }

    /// Numbers begin at one; some files write zero for what they do not know.
    fn number(&self) -> Option<u32> {
        self.autonomous_system_number.whole().filter(|number| *number > 0)
    }

    fn organization(&self) -> Option<String> {
        // without a number it is not said whose name that is
        let own = || self.number().and_then(|_| known(either(self.org.text(), self.name.text())));
        known(self.autonomous_system_organization.text()).or_else(own)
    }

    /// Files call a provider of servers anonymous too.
    fn is_anonymizer(&self) -> bool {
        let is_told = self.is_anonymous_vpn.is_up()
            || self.is_public_proxy.is_up()
            || self.is_residential_proxy.is_up()
            || self.is_tor_exit_node.is_up();
        is_told || (self.is_anonymous.is_up() && !self.is_hosting_provider.is_up())
    }
}

/// What follows from the country's code.
fn place(code: &str, countries: &Countries) -> Location {
    let Some(code) = known(code) else { return Location::default() };
    let country = countries.find(&code);
    Location {
        country_name: country.map(|country| country.name.to_owned()),
        continent: country.map(|country| country.continent.to_owned()),
        is_eu: country.map(|country| country.is_eu),
        country: Some(code),
        ..Location::default()
    }
}

/// Files write an empty text for what they do not know.
fn known(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The first text, unless that is unknown.
fn either<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.trim().is_empty() { second } else { first }
}

/// The text, if it is a code and not a name.
fn code(text: &str) -> &str {
    if text.trim().len() == CODE_LETTERS { text } else { "" }
}

/// The text, if it is a name and not a code.
fn name(text: &str) -> &str {
    if text.trim().len() > CODE_LETTERS { text } else { "" }
}

/// `Hanover (Buchholz-Kleefeld)`: the district is not part of the name, and rarely right.
fn city(text: &str) -> Option<String> {
    known(text.split(" (").next().unwrap_or(text))
}

/// Both, or neither, with as many digits as policy leaves.
fn coordinates(latitude: Option<f64>, longitude: Option<f64>, decimals: u8) -> (Option<f64>, Option<f64>) {
    let (Some(latitude), Some(longitude)) = (latitude, longitude) else { return (None, None) };
    let is_on_earth = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
    if !is_on_earth {
        return (None, None);
    }
    let factor = 10_f64.powi(i32::from(decimals));
    // adding zero makes -0.0 plain
    let rounded = |degrees: f64| Some((degrees * factor).round() / factor + 0.0);
    (rounded(latitude), rounded(longitude))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_city_loses_its_district() {
        assert_eq!(city("Hanover (Buchholz-Kleefeld)").as_deref(), Some("Hanover"));
        assert_eq!(city("Murten/Morat").as_deref(), Some("Murten/Morat"));
        assert_eq!(city(""), None);
    }

    #[test]
    fn coordinates_are_rounded_and_come_in_pairs() {
        assert_eq!(coordinates(Some(f64::from(58.4109_f32)), Some(-0.01), 1), (Some(58.4), Some(0.0)));
        assert_eq!(coordinates(Some(58.4109), Some(15.6216), 4), (Some(58.4109), Some(15.6216)));
        assert_eq!(coordinates(Some(58.4), None, 1), (None, None));
        assert_eq!(coordinates(Some(91.0), Some(0.0), 1), (None, None));
        assert_eq!(coordinates(Some(f64::NAN), Some(0.0), 1), (None, None));
    }
}
