//! Links from a spreadsheet, by the console's form.

use std::time::Duration;

use reqwest::{Body, Method};
use serde_json::json;
use testkit::until;

use crate::console::Browser;
use crate::harness::{Api, LIMIT};
use crate::people::join;

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

#[tokio::test]
async fn a_sheet_with_more_passwords_than_there_is_time_for_is_refused_before_anything_is_made() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let token = browser.token("/links/import").await;
    let sheet = format!("url,password\n{}", "https://example.com/,open sesame\n".repeat(201));

    for path in ["/links/import/preview", "/links/import"] {
        let fields = [("csrf", token.as_str())];
        let (status, page) = browser.upload(path, &fields, Some(&sheet)).await;
        assert_eq!(status, 422, "{path}");
        assert!(page.contains("More than 200 rows have a password"), "{path}: {page}");
    }
    assert_eq!(api.get("/v1/links").await.body["data"], json!([]));
}

#[tokio::test]
async fn a_sheet_that_time_runs_out_for_tells_what_was_made_and_what_was_not() {
    let api = Api::start_with(|settings| {
        settings.api.bulk_batch_max = 1;
        settings.api.test_timeout = Duration::from_millis(100);
        settings.api.request_timeout = Duration::from_secs(6);
    })
    .await;
    let mut browser = Browser::signed_in(&api).await;
    let token = browser.token("/links/import").await;
    // a transaction a row: more than anybody's database does in that time
    let sheet = format!("url\n{}", "https://example.com/\n".repeat(10_000));

    let (status, page) = browser.upload("/links/import", &[("csrf", token.as_str())], Some(&sheet)).await;

    assert_eq!(status, 200, "{page}");
    assert!(page.contains("this row was not looked at, since time ran out"), "{page}");
    let mut conn = api.pool.get().await.expect("the database runs");
    let made = store::links::list(&mut conn, api.workspace_id, &Default::default(), None, 20_000).await;
    let made = made.expect("links").len();
    assert!((1..10_000).contains(&made), "{made}");
    assert!(page.contains(&format!("{made} links are live")), "{made}: {page}");
    assert!(page.contains(&format!("{} rows were left out", 10_000 - made)), "{made}: {page}");
}

#[tokio::test]
async fn files_that_are_never_whole_hold_up_nobody_but_who_sends_them() {
    let api = Api::start().await;
    let (browser, again) = (Browser::signed_in(&api).await, Browser::signed_in(&api).await);
    let other = join(&api, "ada@example.com", "operator").await;
    let mut gone = Browser::signed_in(&api).await;
    let cookies = gone.cookies.clone();
    let token = gone.token("/links/import").await;
    assert_eq!(gone.submit("/logout", &[("csrf", &token)]).await.0, 303);
    gone.cookies = cookies;
    let send = |browser: &Browser<'_>, body: Body| {
        let request = api.request(Method::POST, "/links/import").header("cookie", browser.cookie());
        request.header("content-type", "multipart/form-data; boundary=form").body(body).send()
    };
    let field = "--form\r\ncontent-disposition: form-data; name=\"text\"\r\n\r\nurl\r\n--form--\r\n";
    let whole = || Body::from(field);
    let never = || Body::wrap_stream(futures::stream::pending::<Result<String, std::io::Error>>());
    let hanging = std::cell::RefCell::new(Vec::new());

    let status =
        async |browser: &Browser<'_>| send(browser, whole()).await.expect("an answer").status().as_u16();
    until(LIMIT, async || {
        // one that came while we asked was refused itself, so another is sent each time
        hanging.borrow_mut().push(tokio::spawn(send(&browser, never())));
        (status(&browser).await == 503).then_some(())
    })
    .await;
    assert_eq!(status(&again).await, 503, "to sign in again gives no other share");
    assert_eq!(status(&gone).await, 303, "a session that has ended has none");
    assert_eq!(status(&other).await, 403, "somebody else has their own");

    hanging.borrow().iter().for_each(tokio::task::JoinHandle::abort);
    until(LIMIT, async || (status(&browser).await == 403).then_some(())).await;
}
