//! The records of location files, and what we make of them.

use std::fmt;

use model::location::Location;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::countries::Countries;

/// A record of the flat layout.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Flat<'a> {
    country_code: &'a str,
    state1: &'a str,
    city: &'a str,
    postcode: &'a str,
    timezone: &'a str,
    latitude: Option<Degrees>,
    longitude: Option<Degrees>,
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

/// A record of a file of networks; in the nested layout also part of the record of a place.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Network<'a> {
    autonomous_system_number: Option<Whole>,
    autonomous_system_organization: &'a str,
    is_anonymous: bool,
    is_anonymous_vpn: bool,
    is_hosting_provider: bool,
    is_public_proxy: bool,
    is_residential_proxy: bool,
    is_tor_exit_node: bool,
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
    code: &'a str,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Coordinates<'a> {
    latitude: Option<Degrees>,
    longitude: Option<Degrees>,
    accuracy_radius: Option<Whole>,
    time_zone: &'a str,
}

/// A coordinate: some files hold floats of 32 bits, some of 64, and the format's decoder converts neither.
#[derive(Clone, Copy)]
struct Degrees(f64);

/// A number of 16 or 32 bits: the decoder does not convert these either.
#[derive(Clone, Copy)]
struct Whole(u32);

impl Flat<'_> {
    /// The location that it tells.
    pub fn into_location(self, countries: &Countries, decimals: u8) -> Location {
        let mut location = place(self.country_code, countries);
        location.region = known(self.state1);
        location.city = city(self.city);
        location.postal_code = known(self.postcode);
        location.timezone = known(self.timezone);
        (location.latitude, location.longitude) = coordinates(self.latitude, self.longitude, decimals);
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
        location.postal_code = known(self.postal.code);
        location.timezone = known(self.location.time_zone);
        (location.latitude, location.longitude) =
            coordinates(self.location.latitude, self.location.longitude, decimals);
        location.accuracy_km =
            location.latitude.and(self.location.accuracy_radius).map(|Whole(radius)| radius);
        let network = self.traits.into_location();
        location.asn = network.asn;
        location.as_organization = network.as_organization;
        location.is_anonymizer = network.is_anonymizer;
        location.is_hosting = network.is_hosting;
        location
    }
}

impl Network<'_> {
    /// Files call a provider of servers anonymous too.
    fn is_anonymizer(&self) -> bool {
        let is_told = self.is_anonymous_vpn
            || self.is_public_proxy
            || self.is_residential_proxy
            || self.is_tor_exit_node;
        is_told || (self.is_anonymous && !self.is_hosting_provider)
    }

    /// The network alone.
    pub fn into_location(self) -> Location {
        Location {
            asn: self.autonomous_system_number.map(|Whole(number)| number),
            as_organization: known(self.autonomous_system_organization),
            is_anonymizer: self.is_anonymizer().then_some(true),
            is_hosting: self.is_hosting_provider.then_some(true),
            ..Location::default()
        }
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

/// `Hanover (Buchholz-Kleefeld)`: the district is not part of the name, and rarely right.
fn city(text: &str) -> Option<String> {
    known(text.split(" (").next().unwrap_or(text))
}

/// Both, or neither, with as many digits as policy leaves.
fn coordinates(
    latitude: Option<Degrees>,
    longitude: Option<Degrees>,
    decimals: u8,
) -> (Option<f64>, Option<f64>) {
    let (Some(Degrees(latitude)), Some(Degrees(longitude))) = (latitude, longitude) else {
        return (None, None);
    };
    let is_on_earth = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
    if !is_on_earth {
        return (None, None);
    }
    let factor = 10_f64.powi(i32::from(decimals));
    // adding zero makes -0.0 plain
    let rounded = |degrees: f64| Some((degrees * factor).round() / factor + 0.0);
    (rounded(latitude), rounded(longitude))
}

impl<'de> Deserialize<'de> for Degrees {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyFloat;

        impl Visitor<'_> for AnyFloat {
            type Value = Degrees;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a float")
            }

            fn visit_f32<E: de::Error>(self, value: f32) -> Result<Degrees, E> {
                Ok(Degrees(f64::from(value)))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Degrees, E> {
                Ok(Degrees(value))
            }
        }

        deserializer.deserialize_any(AnyFloat)
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyUnsigned;

        impl Visitor<'_> for AnyUnsigned {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an unsigned number")
            }

            fn visit_u16<E: de::Error>(self, value: u16) -> Result<Whole, E> {
                Ok(Whole(value.into()))
            }

            fn visit_u32<E: de::Error>(self, value: u32) -> Result<Whole, E> {
                Ok(Whole(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Whole, E> {
                u32::try_from(value).map(Whole).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(AnyUnsigned)
    }
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
        let degrees = |degrees| Some(Degrees(degrees));

        assert_eq!(coordinates(degrees(f64::from(58.4109_f32)), degrees(-0.01), 1), (Some(58.4), Some(0.0)));
        assert_eq!(coordinates(degrees(58.4109), degrees(15.6216), 4), (Some(58.4109), Some(15.6216)));
        assert_eq!(coordinates(degrees(58.4), None, 1), (None, None));
        assert_eq!(coordinates(degrees(91.0), degrees(0.0), 1), (None, None));
        assert_eq!(coordinates(degrees(f64::NAN), degrees(0.0), 1), (None, None));
    }
}
