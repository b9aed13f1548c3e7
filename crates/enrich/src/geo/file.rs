//! One location file: opened, verified, asked.

use std::borrow::Cow;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use maxminddb::{LookupResult, MaxMindDbError, Reader, WithinOptions};
use model::location::Location;

use super::countries::Countries;
use super::probe::Probe;
use super::record::{Flat, Nested, Network};

/// A verified location file in memory.
pub struct GeoFile {
    reader: Reader<Cow<'static, [u8]>>,
    reading: Reading,
    built_at: DateTime<Utc>,
}

/// What a file tells and where it is written, found out once, by some of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// What it tells above all.
    pub kind: Kind,
    /// How places are written, if any are told.
    pub places: Option<Layout>,
    /// Whether values of networks stand on the first level, alone or beside a place.
    pub is_network_beside: bool,
    /// Whether networks are told, there or as a part of nested places.
    pub tells_networks: bool,
}

/// What a file tells above all; the order is the order of preference.
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

/// How places are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// `country_code` or `country`, `city`, `latitude`: values side by side.
    Flat,
    /// `country.iso_code`, `city.names.en`: GeoIP2.
    Nested,
}

pub(super) type Found<'a> = LookupResult<'a, Cow<'static, [u8]>>;

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
    /// It tells something else, or in a way that we do not know.
    #[error("no record of this file of type `{database_type}` tells a place or a network: they hold {keys}")]
    OtherType {
        /// How its maker calls it.
        database_type: String,
        /// What stands in its records.
        keys: String,
    },
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
        let bytes = content.len();
        let reader = Reader::from_source(content)?;
        let has_description = !reader.metadata().description.is_empty();
        if has_description {
            reader.verify()?;
        }
        let probe = Probe::of(&reader)?;
        let reading = probe.reading(&reader.metadata().database_type).ok_or_else(|| {
            let database_type = reader.metadata().database_type.clone();
            GeoFileError::OtherType { database_type, keys: probe.keys() }
        })?;
        let built_at = i64::try_from(reader.metadata().build_epoch)
            .ok()
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .unwrap_or_default();
        let file = Self { reader, reading, built_at };
        if !has_description {
            file.read_through(bytes)?;
        }
        Ok(file)
    }

    /// What it tells above all.
    pub fn kind(&self) -> Kind {
        self.reading.kind
    }

    /// Whether it tells where an address is.
    pub fn tells_places(&self) -> bool {
        self.reading.places.is_some()
    }

    /// Whether it tells who runs the network of an address; a file of places may tell that as well.
    pub fn tells_networks(&self) -> bool {
        self.reading.tells_networks
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
        let found = self.reader.lookup(address)?;
        let place = match self.reading.places {
            Some(Layout::Flat) => {
                found.decode::<Flat<'_>>()?.map(|record| record.into_location(countries, decimals))
            }
            Some(Layout::Nested) => {
                found.decode::<Nested<'_>>()?.map(|record| record.into_location(countries, decimals))
            }
            None => None,
        };
        let mut location = place.unwrap_or_default();
        if self.reading.is_network_beside
            && let Some(network) = found.decode::<Network<'_>>()?
        {
            network.add_to(&mut location);
        }
        Ok(Some(location).filter(|location| *location != Location::default()))
    }

    /// Decodes a record as a look-up would.
    fn try_out(&self, found: &Found<'_>) -> Result<(), MaxMindDbError> {
        match self.reading.places {
            Some(Layout::Flat) => {
                found.decode::<Flat<'_>>()?;
            }
            Some(Layout::Nested) => {
                found.decode::<Nested<'_>>()?;
            }
            None => {}
        }
        if self.reading.is_network_beside {
            found.decode::<Network<'_>>()?;
        }
        Ok(())
    }

    /// What the library's verification does, for files without a description: it refuses those, and the free files of
    /// cities have none. Every network is visited and every record decoded as a look-up would.
    fn read_through(&self, bytes: usize) -> Result<(), GeoFileError> {
        let networks_max = networks_max(&self.reader);
        let mut seen = Seen::below(bytes);
        let options = WithinOptions::default().include_networks_without_data();
        for (count, found) in self.reader.networks(options)?.enumerate() {
            if count > networks_max {
                return Err(GeoFileError::Endless);
            }
            let found = found?;
            if found.offset().is_some_and(|offset| seen.insert(offset)) {
                self.try_out(&found)?;
            }
        }
        Ok(())
    }
}

/// Places in a file that were met, a bit each: a set of all records of a file of cities takes a third of the time to read it.
struct Seen(Vec<u64>);

impl Seen {
    fn below(bytes: usize) -> Self {
        Self(vec![0; bytes.div_ceil(64)])
    }

    /// Whether it is met for the first time, as far as it is in the file.
    fn insert(&mut self, offset: usize) -> bool {
        let Some(word) = self.0.get_mut(offset / 64) else { return true };
        let bit = 1 << (offset % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

impl Reading {
    /// Values of networks alone.
    pub const fn without_places(kind: Kind) -> Self {
        Self { kind, places: None, is_network_beside: true, tells_networks: matches!(kind, Kind::Network) }
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
}

/// A tree of so many nodes has no more networks, unless it goes round in circles.
pub(super) fn networks_max(reader: &Reader<Cow<'static, [u8]>>) -> usize {
    reader.metadata().node_count as usize * 3
}

#[cfg(test)]
mod tests;
