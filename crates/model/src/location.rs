//! Where a visitor's address is registered.

use serde::{Deserialize, Serialize};

/// A place as far as the location files know it; what they do not know is `None`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct Location {
    /// ISO 3166-1 code of two letters.
    pub country: Option<String>,
    /// English name of the country.
    pub country_name: Option<String>,
    /// First subdivision: county, state, Land.
    pub region: Option<String>,
    /// City, without its district.
    pub city: Option<String>,
    /// Postal code.
    pub postal_code: Option<String>,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// Radius in kilometres around the coordinates, if the file tells one.
    pub accuracy_km: Option<u32>,
    /// Name in the IANA time zone database.
    pub timezone: Option<String>,
    /// Two letters: AF, AN, AS, EU, NA, OC, SA.
    pub continent: Option<String>,
    /// Whether the country is a member of the European Union.
    pub is_eu: Option<bool>,
    /// Autonomous system number of the network.
    pub asn: Option<u32>,
    /// Who runs the network.
    pub as_organization: Option<String>,
    /// Whether visitors hide behind the address: a VPN, a proxy or an exit of Tor. Told where a file tells it.
    pub is_anonymizer: Option<bool>,
    /// Whether the address belongs to a provider of servers.
    pub is_hosting: Option<bool>,
}
