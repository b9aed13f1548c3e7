//! Location files: laid out one way or the other, broken, exchanged.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use enrich::geo::{Geo, GeoFile, GeoFileError};
use model::click::LocationMissing;
use testkit::until;
use tokio_util::sync::CancellationToken;

use crate::given::{self, data};

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
            matches!(opened, Err(GeoFileError::Broken(_) | GeoFileError::OtherType(_))),
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
