//! What sheets say, and what is wrong with them.

use super::*;

fn sheet(text: &str) -> Sheet {
    Sheet::read(text.as_bytes()).unwrap_or_else(|Unreadable(why)| panic!("{why}"))
}

#[test]
fn columns_are_told_by_their_names_whatever_stands_between_them() {
    for text in [
        "\u{feff}URL,Back-half,Tags\nhttps://example.com/,spring,\"a, b\"\n",
        "long url;keyword;tags\r\nhttps://example.com/;spring;a|b\r\n\r\n",
        "destination\tcode\ttags\nhttps://example.com/\tspring\ta;b",
    ] {
        let sheet = sheet(text);
        assert_eq!(sheet.rows.len(), 1, "{text}");
        let wanted = sheet.link(&sheet.rows[0]).unwrap_or_else(|e| panic!("{e}")).into_wanted();
        assert_eq!(wanted.options.original_url.to_string(), "https://example.com/");
        assert!(wanted.slug.is_some());
        assert_eq!(wanted.options.labels.tags, ["a", "b"]);
    }
}

#[test]
fn an_error_is_told_by_its_row_and_column() {
    let sheet =
        sheet("url,max_clicks,utm_source,note\nhttps://example.com/,many,sms,x\n\njavascript:alert(1),3,,\n");

    assert_eq!(sheet.ignored(), ["note"]);
    let told = |at: usize| -> Vec<(u64, Option<usize>)> {
        let row = &sheet.rows[at];
        let errors = match sheet.link(row) {
            Ok(_) => panic!("wrong"),
            Err(error) => error.field_errors(),
        };
        errors.iter().map(|error| (row.number, sheet.column_of(error))).collect()
    };
    assert_eq!(told(0), [(2, Some(1))]);
    assert_eq!(told(1), [(4, Some(0))]);
}

#[test]
fn a_preview_is_filled_by_its_columns() {
    let sheet = sheet(
        "url,preview_title,preview_image_url\nhttps://example.com/,Spring,https://example.com/a.png\n\
         https://example.com/,,https://example.com/b.png\n",
    );

    let wanted = sheet.link(&sheet.rows[0]).unwrap_or_else(|e| panic!("{e}")).into_wanted();
    let preview = wanted.options.preview.expect("a preview");
    assert_eq!((preview.title.as_str(), preview.image_url.is_some()), ("Spring", true));
    let Err(error) = sheet.link(&sheet.rows[1]) else { panic!("a preview needs a title") };
    assert_eq!(sheet.column_of(&error.field_errors()[0]), Some(1));
}

#[test]
fn tags_and_metadata_read_as_an_export_writes_them() {
    let sheet = sheet(
        "url,tags,metadata,metadata.shop\n\
         https://example.com/,\"[\"\"a|b\"\",\"\"c;d\"\"]\",\"{\"\"source\"\":\"\"crm, old\"\"}\",Uppsala\n\
         https://example.com/,,crm,Uppsala\n",
    );

    assert!(sheet.ignored().is_empty());
    let labels = sheet.link(&sheet.rows[0]).unwrap_or_else(|e| panic!("{e}")).into_wanted().options.labels;
    assert_eq!(labels.tags, ["a|b", "c;d"]);
    let metadata: Vec<(&str, &str)> =
        labels.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(metadata, [("shop", "Uppsala"), ("source", "crm, old")]);
    let Err(error) = sheet.link(&sheet.rows[1]) else { panic!("metadata is an object") };
    assert_eq!(sheet.column_of(&error.field_errors()[0]), Some(2));
}

#[test]
fn moments_read_as_spreadsheets_write_them() {
    assert_eq!(moment("expires_at", "2027-01-31"), "2027-01-31T00:00:00Z");
    assert_eq!(moment("expires_at", "2027-01-31 09:30"), "2027-01-31T09:30:00Z");
    assert_eq!(moment("expires_at", "soon"), "soon");
    assert_eq!(moment("url", "2027-01-31"), "2027-01-31");
}

#[test]
fn what_is_no_sheet_of_links_says_why() {
    let why = |bytes: &[u8]| Sheet::read(bytes).err().expect("unreadable").0;

    assert!(why(b"").contains("No column is called"));
    assert!(why(b"name,slug\na,b").contains("url"));
    assert!(why(b"url\n\xff\xfe").contains("UTF-8"));
    let long = format!("url\n{}", "https://example.com/\n".repeat(ROWS_MAX + 1));
    assert!(why(long.as_bytes()).contains("more than 10000 rows"));
    let with_password = "https://example.com/,open sesame\n";
    let most = format!("url,password\n{}https://example.com/, \n", with_password.repeat(PASSWORDS_MAX));
    assert_eq!(sheet(&most).rows.len(), PASSWORDS_MAX + 1);
    assert!(why(format!("{most}{with_password}").as_bytes()).contains("More than 200 rows have a password"));
}

#[test]
fn what_is_written_reads_the_same() {
    let rows = vec![vec!["a,b".to_owned(), "\"c\"".to_owned()], vec!["d".to_owned(), "e\nf".to_owned()]];

    let text = write(rows.clone());

    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    let read: Vec<Vec<String>> =
        reader.records().map(|r| r.expect("a record").iter().map(str::to_owned).collect()).collect();
    assert_eq!(read, rows);
}
