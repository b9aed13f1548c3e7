//! One location file: opened, verified, asked.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use maxminddb::{LookupResult, MaxMindDbError, Reader, WithinOptions};
use model::location::Location;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::countries::Countries;
use super::record::{Flat, Nested, Network};

/// Records that are looked at to see how a file is laid out; a single one may be all but empty.
const PROBES_MAX: usize = 1000;

/// A verified location file in memory.
pub struct GeoFile {
    reader: Reader<Cow<'static, [u8]>>,
    kind: Kind,
    layout: Layout,
    built_at: DateTime<Utc>,
}

/// What a file tells; the order is the order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Country, region and city.
    City,
    /// The country alone.
    Country,
    /// Who runs the network.
    Network,
    /// Whether visitors hide behind the address.
    Anonymizer,
}

/// How the records of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `country_code`, `state1`, `city`: texts side by side, coordinates of 32 bits.
    Flat,
    /// `country.iso_code`, `city.names.en`: GeoIP2, coordinates of 64 bits.
    Nested,
}

type Found<'a> = LookupResult<'a, Cow<'static, [u8]>>;

/// A decoded record.
enum Record<'a> {
    Flat(Flat<'a>),
    Nested(Box<Nested<'a>>),
    Network(Network<'a>),
}

/// Why a file cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum GeoFileError {
    /// It could not be read.
    #[error("failed to read the file")]
    Read(#[from] std::io::Error),
    /// It is broken or cut off.
    #[error("the file is broken")]
    Broken(#[from] MaxMindDbError),
    /// Its tree has no end.
    #[error("the file is broken: its tree goes round in circles")]
    Endless,
    /// It tells something else.
    #[error("a file of type `{0}` tells no location")]
    OtherType(String),
    /// It has no record of a layout that we know.
    #[error("no record is laid out in a way that is known")]
    UnknownLayout,
    /// It is larger than what is read into memory.
    #[error("the file has {bytes} bytes, more than the {max} that are read into memory")]
    TooLarge {
        /// What it has.
        bytes: u64,
        /// What it may have.
        max: u64,
    },
}

impl GeoFile {
    /// Opens and verifies the content of a file. Some broken files open well and fail at a look-up, hence the
    /// verification, which reads all of it: call it off the runtime.
    pub fn open(content: Cow<'static, [u8]>) -> Result<Self, GeoFileError> {
        let reader = Reader::from_source(content)?;
        let has_description = !reader.metadata().description.is_empty();
        if has_description {
            reader.verify()?;
        }
        let kind = Kind::of_type(&reader.metadata().database_type)
            .ok_or_else(|| GeoFileError::OtherType(reader.metadata().database_type.clone()))?;
        let layout = match kind {
            Kind::Network | Kind::Anonymizer => Layout::Flat,
            Kind::City | Kind::Country => probe(&reader)?.ok_or(GeoFileError::UnknownLayout)?,
        };
        let built_at = i64::try_from(reader.metadata().build_epoch)
            .ok()
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .unwrap_or_default();
        let file = Self { reader, kind, layout, built_at };
        if !has_description {
            file.read_through()?;
        }
        Ok(file)
    }

    /// What it tells.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// When its maker built it.
    pub fn built_at(&self) -> DateTime<Utc> {
        self.built_at
    }

    /// What it knows of an address in canonical form; `None` when that is nothing.
    pub(super) fn look_up(
        &self,
        address: IpAddr,
        countries: &Countries,
        decimals: u8,
    ) -> Result<Option<Location>, MaxMindDbError> {
        if address.is_ipv6() && self.reader.metadata().ip_version == 4 {
            return Ok(None);
        }
        let location = match self.record(&self.reader.lookup(address)?)? {
            Some(Record::Flat(record)) => record.into_location(countries, decimals),
            Some(Record::Nested(record)) => record.into_location(countries, decimals),
            Some(Record::Network(record)) => record.into_location(),
            None => return Ok(None),
        };
        Ok(Some(location).filter(|location| *location != Location::default()))
    }

    fn record<'a>(&'a self, found: &Found<'a>) -> Result<Option<Record<'a>>, MaxMindDbError> {
        Ok(match (self.kind, self.layout) {
            (Kind::Network | Kind::Anonymizer, _) => found.decode()?.map(Record::Network),
            (_, Layout::Flat) => found.decode()?.map(Record::Flat),
            (_, Layout::Nested) => found.decode()?.map(|record| Record::Nested(Box::new(record))),
        })
    }

    /// What the library's verification does, for files without a description: it refuses those, and the free files of
    /// cities have none. Every network is visited and every record decoded as a look-up would.
    fn read_through(&self) -> Result<(), GeoFileError> {
        // a tree of so many nodes has no more networks, unless it goes round in circles
        let networks_max = self.reader.metadata().node_count as usize * 3;
        let mut seen = HashSet::new();
        let options = WithinOptions::default().include_networks_without_data();
        for (count, found) in self.reader.networks(options)?.enumerate() {
            if count > networks_max {
                return Err(GeoFileError::Endless);
            }
            let found = found?;
            if found.offset().is_some_and(|offset| seen.insert(offset)) {
                self.record(&found)?;
            }
        }
        Ok(())
    }
}

impl Kind {
    /// The word in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::City => "city",
            Self::Country => "country",
            Self::Network => "network",
            Self::Anonymizer => "anonymizer",
        }
    }

    /// `GeoLite2-City`, `DBIP-City-Lite`, `city ipv4`, `GeoIP2-Enterprise`, `GeoLite2-ASN`, `GeoIP2-Anonymous-IP`, ….
    fn of_type(database_type: &str) -> Option<Self> {
        let name = database_type.to_ascii_lowercase();
        let has = |word: &str| name.contains(word);
        if has("anonymous") {
            Some(Self::Anonymizer)
        } else if has("asn") || has("isp") {
            Some(Self::Network)
        } else if has("city") || has("enterprise") {
            Some(Self::City)
        } else if has("country") {
            Some(Self::Country)
        } else {
            None
        }
    }
}

/// The keys that tell the layouts apart.
#[derive(Deserialize)]
struct Keys {
    country_code: Option<IgnoredAny>,
    country: Option<IgnoredAny>,
    continent: Option<IgnoredAny>,
    registered_country: Option<IgnoredAny>,
}

fn probe(reader: &Reader<Cow<'static, [u8]>>) -> Result<Option<Layout>, MaxMindDbError> {
    for found in reader.networks(WithinOptions::default())?.take(PROBES_MAX) {
        let Some(keys) = found?.decode::<Keys>()? else { continue };
        if keys.country_code.is_some() {
            return Ok(Some(Layout::Flat));
        }
        if keys.country.is_some() || keys.continent.is_some() || keys.registered_country.is_some() {
            return Ok(Some(Layout::Nested));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
