//! Damaged files: refused, or what they answer keeps to its limits.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::geo::EXTRACT;

/// Digits of a coordinate that are kept.
const DECIMALS: u8 = 2;

/// Addresses that are asked of each file, beside random ones: known to the sound files, and the ends of both ranges.
const ASKED: [&str; 6] = [
    "82.90.81.233",
    "89.160.20.128",
    "0.0.0.0",
    "255.255.255.255",
    "::",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

/// Sound files, laid out one way and the other, with cities and with networks. The small ones stand first: they are taken more
/// often.
fn sound() -> [&'static [u8]; 5] {
    [
        include_bytes!("../../../tests/data/GeoIP2-City-Test.mmdb"),
        include_bytes!("../../../tests/data/GeoLite2-ASN-Test.mmdb"),
        include_bytes!("../../../tests/data/GeoIP2-Anonymous-IP-Test.mmdb"),
        EXTRACT[1],
        EXTRACT[0],
    ]
}

fn a_file() -> impl Strategy<Value = &'static [u8]> {
    let [city, network, anonymous, extract_v6, extract_v4] = sound().map(Just);
    prop_oneof![4 => city, 4 => network, 4 => anonymous, 2 => extract_v6, 1 => extract_v4]
}

/// Bytes to be written over a file's: how far from its end, as a share of its length or in bytes, and what. The last bytes say
/// how all others are read.
fn damages() -> impl Strategy<Value = Vec<(Index, bool, u8)>> {
    prop::collection::vec((any::<Index>(), any::<bool>(), any::<u8>()), 1..12)
}

fn damaged(sound: &[u8], damages: &[(Index, bool, u8)]) -> Vec<u8> {
    const LAST_BYTES: usize = 400;
    let mut bytes = sound.to_vec();
    for (at, is_among_last, byte) in damages {
        let range = if *is_among_last { bytes.len().min(LAST_BYTES) } else { bytes.len() };
        let place = bytes.len() - 1 - at.index(range);
        bytes[place] ^= *byte;
    }
    bytes
}

/// What a location may be, whatever the file says.
fn check(location: &Location) -> Result<(), TestCaseError> {
    let Location { country, country_name, region, city, postal_code, timezone, continent, .. } = location;
    for text in [country, country_name, region, city, postal_code, timezone, continent].into_iter().flatten()
    {
        prop_assert!(!text.is_empty() && text.trim() == text, "{text:?}");
    }
    match (location.latitude, location.longitude) {
        (Some(latitude), Some(longitude)) => {
            prop_assert!(latitude.abs() <= 90.0 && longitude.abs() <= 180.0, "{latitude} {longitude}");
        }
        (latitude, longitude) => {
            prop_assert_eq!((latitude, longitude, location.accuracy_km), (None, None, None))
        }
    }
    Ok(())
}

proptest! {
    // each case verifies a whole file
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_damaged_file_is_refused_or_answers_within_limits(
        sound in a_file(),
        damages in damages(),
        random in prop::collection::vec(prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from),
        ], 0..20),
    ) {
        let countries = Countries::kept();
        let asked = ASKED.iter().map(|address| address.parse::<IpAddr>().expect("an address")).chain(random);

        match GeoFile::open(damaged(sound, &damages).into()) {
            Err(error) => prop_assert!(!error.to_string().is_empty()),
            Ok(file) => {
                for address in asked {
                    if let Ok(Some(location)) = file.look_up(address, &countries, DECIMALS) {
                        check(&location)?;
                    }
                }
            }
        }
    }

    #[test]
    fn a_file_is_refused_wherever_it_is_cut(sound in a_file(), at: Index) {
        prop_assert!(GeoFile::open(sound[..at.index(sound.len())].to_vec().into()).is_err());
    }

    #[test]
    fn bytes_that_are_no_file_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..600), is_marked: bool) {
        // what stands before the part that says how a file is read
        let marker: &[u8] = if is_marked { b"\xab\xcd\xefMaxMind.com" } else { b"" };
        let (before, behind) = bytes.split_at(bytes.len() / 2);

        prop_assert!(GeoFile::open([before, marker, behind].concat().into()).is_err());
    }
}
