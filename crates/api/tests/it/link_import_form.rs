//! Links from a spreadsheet, by the console's form.

use serde_json::json;

use crate::console::Browser;
use crate::harness::Api;

const SHEET: &str = "url,slug,campaign,tags,max_clicks,colour\r\n\
    https://example.com/a,one,Summer,\"vip, sms\",100,red\r\n\
    javascript:alert(1),two,Summer,,,\r\n\
    https://example.com/c,three,Summer,,many,\r\n\
    https://example.com/d,taken,,,,\r\n";

#[tokio::test]
async fn a_sheet_is_shown_with_what_is_wrong_at_its_row_and_column_before_anything_is_made() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let token = browser.token("/links/import").await;

    let fields = [("csrf", token.as_str()), ("text", SHEET)];
    let (status, page) = browser.upload("/links/import/preview", &fields, None).await;

    assert_eq!(status, 200, "{page}");
    assert!(page.contains("2 links can be made") && page.contains("2 rows have something wrong"), "{page}");
    assert!(page.contains("<code>colour</code>"), "{page}");
    assert!(page.contains("<th scope=\"row\">3</th><td class=\"wrong-cell\">javascript:alert(1)<span class=\"wrong\">Must begin"), "{page}");
    assert!(page.contains("<td class=\"wrong-cell\">many<span class=\"wrong\">Must be a number"), "{page}");
    assert_eq!(api.get("/v1/links").await.body["data"], json!([]));
}

#[tokio::test]
async fn a_sheet_makes_links_and_gives_back_what_was_refused() {
    let api = Api::start().await;
    let before = api.post("/v1/links", json!({"url": "https://example.com/", "slug": "taken"})).await;
    assert_eq!(before.status, 201);
    let mut browser = Browser::signed_in(&api).await;
    let token = browser.token("/links/import").await;

    let fields = [("csrf", token.as_str())];
    let (status, page) = browser.upload("/links/import", &fields, Some(SHEET)).await;
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("1 link is live") && page.contains("3 rows were left out"), "{page}");
    assert!(page.contains("http://localhost:8080/one"), "{page}");
    let links = api.get("/v1/links").await.body["data"].clone();
    assert_eq!(links.as_array().expect("a list").len(), 2);
    let made = links.as_array().expect("a list").iter().find(|link| link["slug"] == "one").expect("made");
    assert_eq!(
        (&made["campaign_id"], &made["tags"], &made["max_clicks"]),
        (&json!("Summer"), &json!(["vip", "sms"]), &json!(100))
    );

    let sheet = "url,slug,error\r\nhttps://example.com/d,taken,slug: is taken\r\n";
    let fields = [("csrf", token.as_str()), ("what", "refused"), ("sheet", sheet)];
    let (status, file) = browser.upload("/links/import/download", &fields, None).await;
    assert_eq!((status, file.as_str()), (200, sheet));
}

#[tokio::test]
async fn a_sheet_of_another_session_or_without_links_does_nothing() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let token = browser.token("/links/import").await;

    let foreign = [("csrf", "guess"), ("text", SHEET)];
    assert_eq!(browser.upload("/links/import", &foreign, None).await.0, 403);
    for (text, why) in
        [("", "Choose a file"), ("name\nx\n", "No column is called"), ("url\n", "There is no row")]
    {
        let fields = [("csrf", token.as_str()), ("text", text)];
        let (status, page) = browser.upload("/links/import/preview", &fields, None).await;
        assert_eq!(status, 422, "{text}");
        assert!(page.contains(why), "{why}: {page}");
    }
    assert_eq!(api.get("/v1/links").await.body["data"], json!([]));
}

#[tokio::test]
async fn a_hostile_sheet_is_shown_as_text() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let token = browser.token("/links/import").await;
    let hostile = "url,slug,<img src=x>\n\"</textarea><script>alert(1)</script>\",\"\"\"><img src=x>\",x\n";

    for path in ["/links/import/preview", "/links/import", "/links/import/again"] {
        let fields = [("csrf", token.as_str()), ("text", hostile)];
        let (status, page) = browser.upload(path, &fields, None).await;
        assert_eq!(status, 200, "{path}");
        assert!(!page.contains("<script>alert") && !page.contains("<img src=x"), "{path}: {page}");
    }
}
