//! Each format by a file of its kind, and what they have in common.

use serde_json::{Value, json};

use super::*;

/// A file of `tests/link_files`.
macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/link_files/", $name)).as_slice()
    };
}

fn rows(file: &[u8], reading: &Reading) -> (Result<Source, FileError>, Vec<Row>) {
    let mut rows = Vec::new();
    let source = read(file, reading, |row| {
        rows.push(row);
        ControlFlow::Continue(())
    });
    (source, rows)
}

/// Whose file it is, and for each row its line with the bodies, or with what is wrong with it.
fn told(file: &[u8]) -> (Source, Vec<(u64, Value)>) {
    let (source, rows) = rows(file, &Reading::default());
    let told = rows.into_iter().map(|row| match row.found {
        Ok(links) => {
            for link in &links {
                assert_eq!(link.body["external_id"], link.external_id.as_str());
            }
            (row.line, links.into_iter().map(|link| Value::Object(link.body)).collect())
        }
        Err(errors) => (row.line, Value::String(format!("{} {}", errors[0].pointer, errors[0].code))),
    });
    (source.expect("a file that can be read"), told.collect())
}

fn notes(file: &[u8]) -> Vec<Vec<String>> {
    let found = rows(file, &Reading::default()).1.into_iter().filter_map(|row| row.found.ok());
    found.map(|links| links.into_iter().flat_map(|link| link.notes).collect()).collect()
}

#[test]
fn bitlys_csv_keeps_the_custom_slug_and_what_has_no_field_becomes_metadata() {
    let (source, rows) = told(file!("bitly.csv"));

    assert_eq!(source, Source::Bitly);
    let spring = json!([{
        "url": "https://example.com/offer?utm_source=sms", "slug": "spring", "domain": "go.example.com",
        "external_id": "bitly:go.example.com/spring", "tags": ["spring", "sale"],
        "metadata": {"title": "Spring sale, part 1", "created_at": "2026-04-01T10:00:00Z", "imported_from": "bitly"},
    }]);
    assert_eq!(rows[0], (2, spring));
    assert_eq!(rows[1].1[0]["slug"], "leaflet");
    assert_eq!(rows[1].1[0]["metadata"]["archived"], "true");
    assert_eq!((&rows[2].1[0]["domain"], &rows[2].1[0]["slug"]), (&json!("bit.ly"), &json!("4AbCdEf")));
    assert_eq!(rows[3], (5, json!("/url required")));
}

#[test]
fn each_short_url_of_a_bitlink_becomes_a_link() {
    let (source, rows) = told(file!("bitly.json"));

    assert_eq!(source, Source::Bitly);
    let links = rows[0].1.as_array().expect("links");
    let places: Vec<&Value> = links.iter().map(|link| &link["external_id"]).collect();
    assert_eq!(
        places,
        ["bitly:go.example.com/april", "bitly:news.example.com/april", "bitly:go.example.com/3xYz12A"]
    );
    assert_eq!(links[0]["metadata"]["title"], "April");
}

#[test]
fn dubs_csv_is_known_by_its_labels_and_tags_in_json_are_read() {
    let (source, rows) = told(file!("dub.csv"));

    assert_eq!(source, Source::Dub);
    assert_eq!(rows[0].1[0]["slug"], "launch");
    assert_eq!(rows[0].1[0]["tags"], json!(["launch", "web"]));
    // a slug with a slash breaks a rule of ours, which is told when it is checked
    assert_eq!(rows[1].1[0]["slug"], "docs/intro");
}

#[test]
fn what_dubs_api_lists_keeps_ids_expiry_and_what_messengers_show() {
    let (source, rows) = told(file!("dub.json"));

    assert_eq!(source, Source::Dub);
    let autumn = json!([{
        "url": "https://example.com/autumn", "slug": "autumn", "domain": "go.example.com", "external_id": "crm-77",
        "tags": ["autumn"], "expires_at": "2027-01-01T00:00:00Z", "expired_url": "https://example.com/over",
        "preview": {"title": "Autumn", "description": "What is new", "image_url": "https://example.com/autumn.png"},
        "metadata": {"title": "Autumn", "description": "What is new", "comments": "for print",
                     "created_at": "2026-09-01T09:00:00Z", "imported_from": "dub"},
    }]);
    assert_eq!(rows[0], (2, autumn));
    assert_eq!(rows[1], (7, json!("/slug invalid")));
    assert_eq!(notes(file!("dub.json")), [["its targets by device or country are not imported"]]);
}

#[test]
fn shlinks_csv_splits_tags_at_bars() {
    let (source, rows) = told(file!("shlink.csv"));

    assert_eq!(source, Source::Shlink);
    assert_eq!(rows[0].1[0]["tags"], json!(["sun", "sea"]));
    assert_eq!(rows[0].1[0]["metadata"]["created_at"], "2026-06-01T10:00:00Z");
    assert_eq!(rows[1].1[0]["external_id"], "shlink:go.example.com/winter");
}

#[test]
fn what_shlinks_api_lists_keeps_when_and_how_often_a_link_leads_somewhere() {
    let (source, rows) = told(file!("shlink.json"));

    assert_eq!(source, Source::Shlink);
    let expo = &rows[0].1[0];
    assert_eq!(rows[0].0, 4);
    assert_eq!(expo["starts_at"], "2026-06-09T22:00:00Z");
    assert_eq!(expo["expires_at"], "2026-06-19T22:00:00Z");
    assert_eq!((&expo["max_clicks"], &expo["query_mode"]), (&json!(500), &json!("drop")));
    assert_eq!((&rows[1].1[0]["max_clicks"], &rows[1].1[0]["enabled"]), (&json!(10), &json!(false)));
    let notes = notes(file!("shlink.json"));
    assert_eq!(notes[0], ["its redirect rules are not imported"]);
    assert!(notes[1][0].starts_with("all of its visits were made"), "{notes:?}");
}

#[test]
fn the_table_of_yourls_is_read_with_and_without_names_and_from_its_api_and_plug_in() {
    let (source, rows) = told(file!("yourls.csv"));
    assert_eq!(source, Source::Yourls);
    let ozh = json!([{"url": "https://example.com/ozh", "slug": "ozh", "external_id": "yourls:/ozh",
        "metadata": {"title": "Ozh's page", "created_at": "2019-03-04T05:06:07Z", "imported_from": "yourls"}}]);
    assert_eq!(rows[0], (1, ozh));
    assert_eq!(rows[1].1[0]["metadata"].get("title"), None);

    let (source, rows) = told(file!("yourls.tsv"));
    assert_eq!((source, &rows[0].1[0]["slug"]), (Source::Yourls, &json!("table")));
    assert_eq!(rows[0].1[0]["metadata"]["title"], "\"A\" table with a tab");

    let (source, rows) = told(file!("yourls.json"));
    assert_eq!((source, rows.len()), (Source::Yourls, 2));
    assert_eq!(rows[1].1[0]["external_id"], "yourls:go.example.com/tats");

    let (source, rows) = told(file!("yourls-plugin.csv"));
    assert_eq!((source, &rows[0].1[0]["slug"]), (Source::Yourls, &json!("plugin")));
}

#[test]
fn our_own_csv_has_the_names_of_the_api_and_a_row_without_a_name_is_recognised_by_what_it_says() {
    let (source, rows) = told(file!("clickwire.csv"));

    assert_eq!(source, Source::Clickwire);
    let one = json!([{
        "url": "https://example.com/one", "slug": "one", "tags": ["spring", "sale"], "campaign_id": "spring-26",
        "external_id": "crm-1", "expires_at": "2027-03-01T00:00:00Z", "max_clicks": 100, "enabled": true,
        "metadata": {"owner": "anna"}, "utm": {"source": "letter"},
    }]);
    assert_eq!(rows[0], (2, one));
    let again = told(file!("clickwire.csv")).1;
    assert_eq!(rows[1].1[0]["external_id"], again[1].1[0]["external_id"]);
    assert_eq!(rows[2].1[0]["external_id"], "import:/three");
}

#[test]
fn what_we_list_can_be_read_again_and_a_line_that_is_no_object_stops_nothing() {
    let (source, rows) = told(file!("clickwire.ndjson"));

    assert_eq!(source, Source::Clickwire);
    let four = json!([{
        "url": "https://example.com/four", "domain": "go.example.com", "slug": "four", "kind": "shareable", "tags": ["a"],
        "metadata": {"owner": "anna"}, "utm": {}, "enabled": true, "external_id": "import:go.example.com/four",
    }]);
    assert_eq!(rows[0], (1, four));
    assert_eq!(rows[2], (3, json!(" malformed")));
    assert!(notes(file!("clickwire.ndjson"))[0][0].starts_with("it had a password"));
}

#[test]
fn rules_of_fields_are_checked_without_asking_anybody() {
    let checked = |file: &[u8]| {
        let found =
            rows(file, &Reading::default()).1.into_iter().flat_map(|row| row.found.unwrap_or_default());
        found.map(|link| link.check().err().map(|errors| errors[0].pointer.clone())).collect::<Vec<_>>()
    };

    assert_eq!(checked(file!("bitly.csv")), [None, None, None]);
    assert_eq!(checked(file!("dub.json")), [None]);
    assert_eq!(checked(file!("shlink.json")), [None, None]);
    assert_eq!(checked(file!("dub.csv")), [None, Some("/slug".to_owned())]);
    assert_eq!(checked(file!("clickwire.csv")), [None, None, Some("/max_clicks".to_owned())]);
    assert_eq!(checked(file!("clickwire.ndjson")), [None, Some("/colour".to_owned())]);
}

#[test]
fn a_domain_that_is_named_takes_all_links() {
    let reading = Reading { domain: Some("a.example".parse().expect("a host")), ..Reading::default() };

    let (_, read) = rows(file!("bitly.csv"), &reading);

    let links: Vec<&FoundLink> = read.iter().filter_map(|row| row.found.as_ref().ok()).flatten().collect();
    assert!(links.iter().all(|link| link.body["domain"] == "a.example"), "{links:?}");
    assert_eq!(links[0].external_id, "bitly:go.example.com/spring");
    let (_, read) = rows(file!("yourls.csv"), &reading);
    let first = &read[0].found.as_ref().expect("a link")[0];
    assert_eq!(
        (&first.body["domain"], first.external_id.as_str()),
        (&json!("a.example"), "yourls:a.example/ozh")
    );
}

#[test]
fn what_cannot_be_read_is_told_with_what_to_do() {
    let failure = |file: &[u8]| rows(file, &Reading::default()).0.expect_err("wrong").to_string();

    assert!(failure(b"").contains("is empty"));
    assert!(failure(b"name,colour\na,b\n").contains("(name, colour): name whose it is with --from"));
    assert!(failure(b"\xff\xfeu\0r\0l\0").contains("CSV UTF-8"));
    assert!(failure(b"-- MySQL dump 10.13\nINSERT INTO").contains("mysql --batch"));
    assert_eq!(
        failure(b"[{\"url\": \"https://example.com/\"},\n{\"url\": }]").split(':').next(),
        Some("line 2 is not JSON")
    );
    let endless = format!("[{{\"url\": \"{}\"}}]", "x".repeat(ROW_BYTES_MAX + 1));
    let error = rows(endless.as_bytes(), &Reading::default()).0.expect_err("too long");
    assert!(matches!(error, FileError::Read(_)), "{error:?}");
}

#[test]
fn a_row_out_of_shape_is_refused_by_its_line_and_the_rest_is_read() {
    let (_, rows) = told(b"\xef\xbb\xbfurl,slug\nhttps://example.com/a,a,b\nhttps://example.com/b,b\nhttps://example.com/\xff,c\n");

    assert_eq!(rows[0], (2, json!(" malformed")));
    assert_eq!(rows[1].1[0]["slug"], "b");
    assert_eq!(rows[2], (4, json!(" malformed")));
}

#[test]
fn who_has_had_enough_is_handed_nothing_more() {
    let list = format!("[{}]", vec!["{\"url\": \"https://example.com/\"}"; 100].join(",\n"));
    for file in [
        list.clone(),
        list[1..list.len() - 1].replace(",\n", "\n"),
        format!("url\n{}", "https://example.com/\n".repeat(100)),
    ] {
        let mut taken = 0;

        let source = read(file.as_bytes(), &Reading::default(), |_| {
            taken += 1;
            if taken == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });

        assert_eq!((taken, source.expect("a source")), (3, Source::Clickwire));
    }
}

#[test]
fn a_long_title_is_cut_and_said_to_be() {
    let file = format!("keyword,url,title\nlong,https://example.com/,\"{}\nend\"\n", "ä".repeat(300));

    let (_, rows) = rows(file.as_bytes(), &Reading::default());

    let link = &rows[0].found.as_ref().expect("a link")[0];
    let title = link.body["metadata"]["title"].as_str().expect("a title");
    assert_eq!((title.chars().count(), title.chars().last()), (201, Some('…')));
    assert_eq!(link.notes, ["the title was cut to 200 characters"]);
    assert_eq!(link.check(), Ok(()));
}
