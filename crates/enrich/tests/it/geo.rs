//! Location files: laid out one way or the other, broken, exchanged.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use enrich::geo::{Geo, GeoFile, GeoFileError};
use model::click::LocationMissing;
use model::location::Location;
use serde_json::{Value, json};
use testkit::until;
use tokio_util::sync::CancellationToken;

use crate::given::{self, data};
use crate::mmdb;

fn open(dir: &Path) -> Geo {
    Geo::open(Some(dir), 4, given::metrics())
}

fn city(geo: &Geo, address: &str) -> Option<String> {
    geo.look_up(address.parse().ok()).location.city
}

#[test]
fn a_file_of_the_nested_layout_is_told_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::copy(data("GeoIP2-City-Test.mmdb"), dir.path().join("city.mmdb")).expect("a copy");
    fs::copy(data("GeoLite2-ASN-Test.mmdb"), dir.path().join("asn.mmdb")).expect("a copy");
    fs::copy(data("GeoIP2-Anonymous-IP-Test.mmdb"), dir.path().join("other.mmdb")).expect("a copy");
    let geo = open(dir.path());

    let place = geo.look_up("89.160.20.128".parse().ok());

    let location = place.location;
    assert_eq!(place.missing, None);
    assert_eq!(location.country.as_deref(), Some("SE"));
    assert_eq!(location.country_name.as_deref(), Some("Sweden"));
    assert_eq!(location.region.as_deref(), Some("Östergötland County"));
    assert_eq!(location.city.as_deref(), Some("Linköping"));
    assert_eq!(location.timezone.as_deref(), Some("Europe/Stockholm"));
    assert_eq!((location.latitude, location.longitude), (Some(58.4167), Some(15.6167)));
    assert_eq!(location.accuracy_km, Some(76));
    assert_eq!((location.continent.as_deref(), location.is_eu), (Some("EU"), Some(true)));
    assert_eq!((location.asn, location.as_organization.as_deref()), (Some(29518), Some("Bredband2 AB")));
    assert_eq!((location.is_anonymizer, location.is_hosting), (Some(false), Some(false)));
}

/// What a folder with one file of this type tells of an address that has this record.
fn told(database_type: &str, record: &Value) -> Location {
    let dir = tempfile::tempdir().expect("a folder");
    let content = mmdb::file(database_type, record, &json!({}));
    fs::write(dir.path().join("one.mmdb"), content).expect("a file");
    open(dir.path()).look_up("9.9.9.9".parse().ok()).location
}

#[test]
fn a_file_may_tell_places_and_networks() {
    let nested = json!({
        "country": { "iso_code": "CA", "names": { "en": "Canada" } },
        "city": { "names": { "en": "Ottawa" } },
        "location": { "latitude": 45.4215, "longitude": -75.6972, "time_zone": "America/Toronto" },
        "traits": { "autonomous_system_number": 239, "autonomous_system_organization": "UTORONTO-AS", "isp": "x" },
    });
    let flat = json!({
        "country": "CA", "country_name": "Canada", "continent": "NA", "continent_name": "North America",
        "asn": "AS239", "as_name": "UTORONTO-AS", "as_domain": "utoronto.ca",
    });
    // the newer form has the names where the older had the codes
    let lite = json!({
        "country": "Canada", "country_code": "CA", "continent": "North America", "continent_code": "NA",
        "asn": "AS239", "as_name": "UTORONTO-AS", "as_domain": "utoronto.ca",
    });

    for (database_type, record) in [
        ("DBIP-Location-ISP (compat=Enterprise)", &nested),
        ("GeoIP2-Enterprise", &nested),
        ("ipinfo generic_country_free_country_asn.mmdb", &flat),
        ("ipinfo lite", &lite),
        ("a name that tells nothing", &flat),
    ] {
        let location = told(database_type, record);

        let country = (location.country.as_deref(), location.country_name.as_deref());
        assert_eq!(country, (Some("CA"), Some("Canada")), "{database_type}");
        assert_eq!(location.continent.as_deref(), Some("NA"), "{database_type}");
        let network = (location.asn, location.as_organization.as_deref());
        assert_eq!(network, (Some(239), Some("UTORONTO-AS")), "{database_type}");
        assert_eq!(location.city.is_some(), record == &nested, "{database_type}");
    }
}

#[test]
fn a_file_of_flat_texts_is_told_whole() {
    let location = told(
        "ipinfo standard_location.mmdb",
        &json!({
            "country": "AU", "region": "New South Wales", "city": "Sydney", "postal_code": "2000",
            "lat": "-33.8678", "lng": "151.2073", "timezone": "Australia/Sydney", "geoname_id": "2147714",
        }),
    );

    assert_eq!((location.country.as_deref(), location.is_eu), (Some("AU"), Some(false)));
    assert_eq!(location.region.as_deref(), Some("New South Wales"));
    assert_eq!((location.city.as_deref(), location.postal_code.as_deref()), (Some("Sydney"), Some("2000")));
    assert_eq!((location.latitude, location.longitude), (Some(-33.8678), Some(151.2073)));
    assert_eq!(location.timezone.as_deref(), Some("Australia/Sydney"));
}

#[test]
fn the_network_of_a_file_that_tells_both_completes_the_place_of_another() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::copy(data("GeoIP2-City-Test.mmdb"), dir.path().join("city.mmdb")).expect("a copy");
    let record = json!({ "country": "NO", "asn": "AS29518", "as_name": "Bredband2 AB" });
    let content = mmdb::file("ipinfo generic_country_free_country_asn.mmdb", &record, &record);
    fs::write(dir.path().join("both.mmdb"), content).expect("a file");

    let location = open(dir.path()).look_up("89.160.20.128".parse().ok()).location;

    assert_eq!((location.country.as_deref(), location.city.as_deref()), (Some("SE"), Some("Linköping")));
    assert_eq!((location.asn, location.as_organization.as_deref()), (Some(29518), Some("Bredband2 AB")));
}

#[test]
fn the_country_of_a_networks_operator_is_no_place() {
    let record =
        json!({ "asn": 13335, "country_code": "US", "name": "CLOUDFLARENET", "org": "Cloudflare, Inc." });

    let location = told("ip-to-network", &record);

    assert_eq!((location.country, location.asn), (None, Some(13335)));
    assert_eq!(location.as_organization.as_deref(), Some("Cloudflare, Inc."));
}

#[test]
fn a_file_that_tells_nothing_is_refused_with_what_it_holds() {
    for database_type in ["GeoIP2-Connection-Type", "Some-City", "Some-ASN", "Some-Anonymous-IP"] {
        let record = json!({ "connection_type": "Cable/DSL", "score": 3 });

        let error = GeoFile::open(mmdb::file(database_type, &record, &record).into()).err();

        let expected = format!(
            "no record of this file of type `{database_type}` tells a place or a network: \
             they hold `connection_type`, `score`"
        );
        assert_eq!(error.map(|error| error.to_string()), Some(expected));
    }
}

#[test]
fn when_files_were_built_is_a_metric() {
    let dir = tempfile::tempdir().expect("a folder");
    let files = [("place", "GeoIP2-City-Test.mmdb"), ("network", "GeoLite2-ASN-Test.mmdb")];
    for (_, name) in files {
        fs::copy(data(name), dir.path().join(name)).expect("a copy");
    }
    let metrics = given::metrics();

    let geo = Geo::open(Some(dir.path()), 4, Arc::clone(&metrics));

    for (kind, name) in files {
        let bytes = fs::read(data(name)).expect("a file");
        let file = GeoFile::open(bytes.into()).expect("a good file");
        let built = metrics.geo_build_timestamp_seconds.with_label_values(&[kind]).get();
        assert_eq!(built, file.built_at().timestamp(), "{kind}");
    }
    assert_eq!(metrics.geo_is_extract.get(), 0);
    fs::remove_file(dir.path().join("GeoIP2-City-Test.mmdb")).expect("it is there");
    assert!(geo.refresh());
    assert_eq!(metrics.geo_is_extract.get(), 1);
}

#[test]
fn a_file_of_anonymizers_tells_who_hides_and_who_hosts() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::copy(data("GeoIP2-Anonymous-IP-Test.mmdb"), dir.path().join("anonymous.mmdb")).expect("a copy");
    let (geo, without) = (open(dir.path()), Geo::open(None, 1, given::metrics()));
    let flags = |geo: &Geo, address: &str| {
        let location = geo.look_up(address.parse().ok()).location;
        (location.is_anonymizer, location.is_hosting)
    };

    assert_eq!(flags(&geo, "1.2.0.1"), (Some(true), Some(false)), "a VPN");
    assert_eq!(flags(&geo, "71.160.223.9"), (Some(false), Some(true)), "a provider of servers");
    assert_eq!(flags(&geo, "81.2.69.1"), (Some(true), Some(true)), "both");
    assert_eq!(flags(&geo, given::ROME), (Some(false), Some(false)), "neither");
    assert_eq!(flags(&without, "1.2.0.1"), (None, None), "no file tells");
    assert_eq!(city(&geo, given::ROME).as_deref(), Some("Rome"), "the extract still serves");
}

#[test]
fn a_file_of_countries_serves_without_cities() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::copy(data("GeoIP2-Country-Test.mmdb"), dir.path().join("country.mmdb")).expect("a copy");

    let location = open(dir.path()).look_up("89.160.20.128".parse().ok()).location;

    assert_eq!((location.country.as_deref(), location.city), (Some("SE"), None));
}

#[test]
fn an_address_that_a_real_file_does_not_know_is_not_found() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::copy(data("GeoIP2-City-Test.mmdb"), dir.path().join("city.mmdb")).expect("a copy");

    let place = open(dir.path()).look_up("9.9.9.9".parse().ok());

    assert_eq!(place.missing, Some(LocationMissing::NotFound));
}

#[test]
fn a_broken_file_is_refused_and_never_panics() {
    let mut count = 0;
    for entry in fs::read_dir(data("bad")).expect("broken files") {
        let path = entry.expect("an entry").path();
        let opened = GeoFile::open(fs::read(&path).expect("the content").into());

        // two are sound files of a kind that tells no location
        assert!(
            matches!(opened, Err(GeoFileError::Broken(_) | GeoFileError::OtherType { .. })),
            "{}",
            path.display()
        );
        count += 1;
    }
    assert_eq!(count, 25);
}

#[test]
fn a_file_that_was_cut_off_is_refused_wherever_it_was_cut() {
    let whole = fs::read(data("GeoIP2-City-Test.mmdb")).expect("the content");

    for length in (0..whole.len()).step_by(997) {
        assert!(GeoFile::open(whole[..length].to_vec().into()).is_err(), "cut at {length}");
    }
}

#[test]
fn while_all_files_are_broken_the_extract_serves() {
    let dir = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(data("bad")).expect("broken files").take(8) {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), dir.path().join(entry.file_name())).expect("a copy");
    }

    assert_eq!(city(&open(dir.path()), given::ROME).as_deref(), Some("Rome"));
}

#[tokio::test]
async fn files_are_exchanged_while_clicks_flow() {
    let dir = tempfile::tempdir().expect("a folder");
    let serving = dir.path().join("city.mmdb");
    let geo = std::sync::Arc::new(open(dir.path()));
    let stop = CancellationToken::new();
    let watching = tokio::spawn(std::sync::Arc::clone(&geo).watch(Duration::from_millis(20), stop.clone()));
    assert_eq!(city(&geo, given::ROME).as_deref(), Some("Rome"));
    let becomes = |city_now: Option<&'static str>| {
        let geo = std::sync::Arc::clone(&geo);
        until(Duration::from_secs(20), move || {
            let is = city(&geo, "89.160.20.128").as_deref() == city_now;
            async move { is.then_some(()) }
        })
    };

    fs::copy(data("GeoIP2-City-Test.mmdb"), dir.path().join("new")).expect("a copy");
    fs::rename(dir.path().join("new"), &serving).expect("a rename");
    becomes(Some("Linköping")).await;

    // a broken one changes nothing: that it was looked at shows in what comes after it
    fs::write(&serving, b"not a location file").expect("a write");
    fs::copy(data("dbip-nested-city.mmdb"), dir.path().join("more.mmdb")).expect("a copy");
    until(Duration::from_secs(20), || async {
        (city(&geo, given::ROME).as_deref() == Some("Rome")).then_some(())
    })
    .await;
    assert_eq!(city(&geo, "89.160.20.128").as_deref(), Some("Linköping"));

    fs::remove_file(&serving).expect("a removal");
    fs::remove_file(dir.path().join("more.mmdb")).expect("a removal");
    becomes(None).await;

    stop.cancel();
    watching.await.expect("watching ends");
}
