//! A link as a template in the console: made one, closed, and recipients denied, by the rules of the API.

use reqwest::Method;
use serde_json::{Value, json};

use crate::console::Browser;
use crate::harness::Api;
use crate::people::audited;

/// The recipients that the template denies, as the API tells them.
async fn denied(api: &Api, link: &str) -> Vec<String> {
    let body = api.get(&format!("/v1/links/{link}/template/denied-recipients")).await.body;
    let data = body["data"].as_array().expect("entries");
    data.iter().map(|entry| entry["recipient"].as_str().expect("text").to_owned()).collect()
}

/// A link that is a template, and its pages.
async fn template(api: &Api) -> (String, String) {
    let link = api.link().await;
    let opened = api.call(Method::PUT, &format!("/v1/links/{link}/template"), None).await;
    assert_eq!(opened.status, 200, "{}", opened.body);
    let path = format!("/links/{link}/template");
    (link, path)
}

/// The fields of a form with this token.
fn with<'a>(token: &'a str, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![("csrf", token)];
    all.extend_from_slice(fields);
    all
}

#[tokio::test]
async fn a_link_is_made_a_template_on_its_page_closed_and_opened_again() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let link = api.link().await;
    let (page, path) = (format!("/links/{link}"), format!("/links/{link}/template"));
    assert_eq!(browser.open(&path).await.0, 404);

    let told = browser.fill(&page, &path, &[]).await;

    let template = api.get(&format!("/v1{path}")).await.body;
    let (number, prefix) = (&template["number"], template["url_prefix"].as_str().expect("a URL"));
    let command = format!("clickwire mint --template {number} --url-prefix {prefix} --key-file minting.key");
    assert!(told.contains(&command) && told.contains("Nobody is denied"), "{told}");
    let shown = browser.open(&page).await.1;
    assert!(shown.contains(&format!("<a href=\"{path}\">Template {number}</a></dd>")), "{shown}");
    assert!(!shown.contains("Make it a template"), "{shown}");
    let entry = audited(&api, "link.template_opened").await;
    assert_eq!((&entry["subject"], &entry["details"]["template"]), (&json!(link), number), "{entry}");

    let closed = browser.fill(&path, &format!("{path}/close"), &[]).await;
    assert!(closed.contains("This template was closed "), "{closed}");
    assert!(api.get(&format!("/v1{path}")).await.body["closed_at"].is_string());
    assert_eq!(audited(&api, "link.template_closed").await["subject"], json!(link));
    assert!(browser.open(&page).await.1.contains(&format!("Template {number}</a>, closed</dd>")));
    browser.fill(&path, &path, &[]).await;
    assert_eq!(api.get(&format!("/v1{path}")).await.body, template);
}

#[tokio::test]
async fn recipients_are_denied_and_allowed_by_the_rules_of_the_api() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let (link, path) = template(&api).await;
    let (deny, allow) = (format!("{path}/deny"), format!("{path}/allow"));

    let page = browser.fill(&path, &deny, &[("recipients", "17, 18446744073709551615\r\n17;  20\n")]).await;

    assert_eq!(denied(&api, &link).await, ["17", "20", "18446744073709551615"]);
    assert!(page.contains("aria-label=\"Allow again: recipient 18446744073709551615\""), "{page}");
    assert_eq!(audited(&api, "link.recipients_denied").await["details"]["recipients"], json!(4));
    let shown = browser.open(&format!("/links/{link}")).await.1;
    assert!(shown.contains(", 3 recipients denied</dd>"), "{shown}");

    browser.fill(&path, &allow, &[("recipient", "20")]).await;
    assert_eq!(denied(&api, &link).await, ["17", "18446744073709551615"]);
    assert_eq!(audited(&api, "link.recipient_allowed").await["subject"], json!(link));
    let token = browser.token(&path).await;
    for nobody in ["", "20", "017", "x"] {
        let fields = [("csrf", token.as_str()), ("recipient", nobody)];
        assert_eq!(browser.submit(&allow, &fields).await.0, 404, "{nobody}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_recipients_is_said_beside_the_field_and_stays_there() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let (link, path) = template(&api).await;
    let token = browser.token(&path).await;
    let numbers = |range: std::ops::Range<u32>| -> String {
        range.map(|number| number.to_string()).collect::<Vec<_>>().join("\n")
    };

    let too_many = numbers(0..1001);
    for (typed, wrong) in [
        ("", "Must name at least one recipient."),
        ("18\ncont_9", "“cont_9” must be a whole number from 0 to 18446744073709551615."),
        ("<script>alert(1)</script>", "must be a whole number"),
        (too_many.as_str(), "Must have at most 1000 entries."),
    ] {
        let fields = [("csrf", token.as_str()), ("recipients", typed)];
        let (status, page) = browser.submit(&format!("{path}/deny"), &fields).await;
        assert_eq!(status, 422, "{wrong}: {page}");
        let (_, beside) = page.split_once("id=\"recipients-wrong\"").expect("what is wrong");
        assert!(beside.contains(wrong) && !page.contains("<script>alert"), "{wrong}: {page}");
        let kept = typed.lines().next().unwrap_or_default().replace('<', "&#60;").replace('>', "&#62;");
        assert!(page.contains(&format!("aria-describedby=\"recipients-wrong\">{kept}")), "{wrong}: {page}");
    }
    assert_eq!(denied(&api, &link).await, Vec::<String>::new());

    browser.fill(&path, &format!("{path}/deny"), &[("recipients", &numbers(0..1000))]).await;
    let fields = [("csrf", token.as_str()), ("recipients", "5000")];
    let (status, page) = browser.submit(&format!("{path}/deny"), &fields).await;
    assert_eq!(status, 422, "{page}");
    assert!(page.contains("A template denies at most 1000 recipients") && page.contains(">5000</textarea>"));
    assert_eq!(denied(&api, &link).await.len(), 1000);
}

#[tokio::test]
async fn a_template_is_changed_by_who_may_and_with_the_sessions_token_alone() {
    let api = Api::start().await;
    let (link, path) = template(&api).await;
    let before = api.get(&format!("/v1{path}")).await.body;
    let deny = [("recipients", "17")];
    let changes: [(&str, &[(&str, &str)]); 4] =
        [("", &[]), ("/close", &[]), ("/deny", &deny), ("/allow", &[("recipient", "17")])];

    let reader = api.key_with(&["links:read"], None).await;
    let mut reader = Browser::signed_in_with(&api, &reader).await;
    let (status, page) = reader.open(&path).await;
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("clickwire mint") && !page.contains(&format!("action=\"{path}")), "{page}");
    assert!(page.contains("Owners of the workspace make them"), "{page}");
    let (_, other) = api.other_workspace().await;
    let mut other = Browser::signed_in_with(&api, &other).await;
    assert_eq!(other.open(&path).await.0, 404);
    let mut own = Browser::signed_in(&api).await;
    let (reader_token, other_token) = (reader.token("/account").await, other.token("/account").await);

    for (change, fields) in changes {
        let action = format!("{path}{change}");
        assert_eq!(reader.submit(&action, &with(&reader_token, fields)).await.0, 403, "{action}");
        assert_eq!(other.submit(&action, &with(&other_token, fields)).await.0, 404, "{action}");
        assert_eq!(own.submit(&action, &with(&other_token, fields)).await.0, 403, "{action}");
    }
    assert_eq!(api.get(&format!("/v1{path}")).await.body, before);
    assert_eq!(denied(&api, &link).await, Vec::<String>::new());
    assert_eq!(audited(&api, "link.recipients_denied").await, Value::Null);
}

#[tokio::test]
async fn a_link_that_was_archived_is_no_template_to_be() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let (link, path) = template(&api).await;
    let plain = api.link().await;
    for id in [&link, &plain] {
        assert_eq!(api.delete(&format!("/v1/links/{id}")).await.status, 204);
    }

    let page = browser.open(&path).await.1;
    assert!(page.contains("This link was archived") && !page.contains(&format!("action=\"{path}")), "{page}");
    assert!(!browser.open(&format!("/links/{plain}")).await.1.contains("Make it a template"));
    let token = browser.token("/account").await;
    assert_eq!(browser.submit(&format!("/links/{plain}/template"), &[("csrf", &token)]).await.0, 404);
}
