//! The form of a link: what it makes and changes, and what it says of mistakes.

use serde_json::json;

use crate::console::Browser;
use crate::harness::Api;

#[tokio::test]
async fn a_link_is_made_by_form_and_mistakes_are_told_beside_the_field() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let token = browser.token("/links/new").await;

    let fields = [("csrf", token.as_str()), ("url", "javascript:alert(1)"), ("campaign_id", "kept")];
    let (status, page) = browser.submit("/links", &fields).await;
    assert_eq!(status, 422);
    assert!(
        page.contains("id=\"url-wrong\">Must begin with <code>https://</code> or <code>http://</code>"),
        "{page}"
    );
    assert!(page.contains("value=\"kept\""));

    let fields = [
        ("url", "https://example.com/offer"),
        ("slug", "spring"),
        ("tags", "a, b"),
        ("expires_at", "2036-01-01T00:00"),
    ];
    let page = browser.fill("/links/new", "/links", &fields).await;
    assert!(page.contains("http://localhost:8080/spring") && page.contains("The link is live"), "{page}");
    let link = api.get("/v1/links").await.body["data"][0].clone();
    assert_eq!(
        (&link["tags"], &link["expires_at"]),
        (&json!(["a", "b"]), &json!("2036-01-01T00:00:00.000Z"))
    );

    let path = format!("/links/{}", link["id"].as_str().expect("an id"));
    browser.fill(&path, &format!("{path}/switch"), &[("enabled", "false")]).await;
    assert_eq!(api.get("/v1/links").await.body["data"][0]["enabled"], false);
    browser.fill(&path, &format!("{path}/archive"), &[]).await;
    assert_eq!(api.get("/v1/links").await.body["data"], json!([]));
}

#[tokio::test]
async fn a_link_with_everything_is_made_and_changed_by_form() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let fields = [
        ("url", "https://example.com/offer"),
        ("kind", "message"),
        ("contact_id", "cont_9"),
        ("conversation_id", "conv_7"),
        ("campaign_id", "spring,  2026"),
        ("sequence_id", "seq_5"),
        ("step_id", "step_2"),
        ("preview_title", "Half <price>"),
        ("preview_description", "Until Sunday"),
        ("preview_image_url", "https://example.com/a.png"),
        ("external_id", "a, b"),
        ("tags", "spring sale, vip"),
        ("utm_source", "sms"),
        ("utm_campaign", "våren"),
        ("sent_at", "2026-01-01T00:00:01.500"),
        ("max_clicks", "3"),
        ("password", " open sesame "),
        ("status_code", "301"),
        ("query_mode", "append"),
        ("tracking", "anonymous"),
        ("expired_url", "https://example.com/over"),
    ];
    let page = browser.fill("/links/new", "/links", &fields).await;
    for shown in [
        "0 of at most 3",
        "<dt>Sequence</dt><dd>seq_5</dd>",
        "<dt>Made by</dt><dd>key_",
        "utm_source=sms, utm_campaign=våren",
        "Browsers keep this redirect (301, 308)",
        "without what tells who it was",
        "Visitors are asked for it",
        "One recipient",
        "Live, with password",
        "Add all of it",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let link = api.get("/v1/links").await.body["data"][0].clone();
    let path = format!("/links/{}", link["id"].as_str().expect("an id"));
    assert_eq!(link["utm"], json!({"source": "sms", "campaign": "våren"}));
    let preview = json!({"title": "Half <price>", "description": "Until Sunday", "image_url": "https://example.com/a.png"});
    assert_eq!((&link["step_id"], &link["preview"]), (&json!("step_2"), &preview));
    assert_eq!((&link["sent_at"], &link["kind"]), (&json!("2026-01-01T00:00:01.500Z"), &json!("message")));
    let hash = async || {
        let mut conn = api.pool.get().await.expect("the database runs");
        let id = link["id"].as_str().expect("an id").parse().expect("an id");
        let found = store::links::find(&mut conn, api.workspace_id, id).await.expect("a query");
        found.expect("a link").options.password
    };
    assert!(hash().await.expect("a hash").is_of(" open sesame "), "white space counts");

    // the form as it is shown, sent back, changes nothing but the revision
    let (_, form) = browser.open(&format!("{path}/edit")).await;
    assert!(form.contains("value=\"2026-01-01T00:00:01.500\"") && !form.contains("sesame"), "{form}");
    let same: Vec<_> =
        fields.iter().filter(|(name, _)| !matches!(*name, "kind" | "password")).copied().collect();
    let with = |more: &[(&'static str, &'static str)]| {
        same.iter()
            .filter(|(name, _)| !more.iter().any(|(n, _)| n == name))
            .chain(more)
            .copied()
            .collect::<Vec<_>>()
    };
    browser.fill(&format!("{path}/edit"), &path, &with(&[("revision", "1")])).await;
    let mut kept = api.get(&format!("/v1{path}")).await.body;
    assert_eq!(kept["revision"], 2);
    (kept["revision"], kept["updated_at"]) = (link["revision"].clone(), link["updated_at"].clone());
    assert_eq!(kept, link);

    let token = browser.token(&format!("{path}/edit")).await;
    let wrong = [("csrf", token.as_str()), ("url", ""), ("revision", "2"), ("max_clicks", "many")];
    let (status, page) = browser.submit(&path, &wrong).await;
    assert_eq!(status, 422);
    assert!(page.contains("id=\"url-wrong\"") && page.contains("id=\"max_clicks-wrong\""), "{page}");
    let stale = [("csrf", token.as_str()), ("url", "https://example.com/"), ("revision", "1")];
    assert_eq!(browser.submit(&path, &stale).await.0, 412);

    let emptied = [
        ("revision", "2"),
        ("preview_title", ""),
        ("preview_description", ""),
        ("preview_image_url", ""),
        ("utm_source", ""),
        ("max_clicks", ""),
        ("remove_password", "on"),
        ("sent_at", ""),
    ];
    browser.fill(&format!("{path}/edit"), &path, &with(&emptied)).await;
    let changed = api.get(&format!("/v1{path}")).await.body;
    assert_eq!((&changed["utm"], &changed["preview"]), (&json!({"campaign": "våren"}), &json!(null)));
    assert_eq!((&changed["max_clicks"], &changed["sent_at"]), (&json!(null), &json!(null)));
    assert_eq!((&changed["has_password"], &changed["contact_id"]), (&json!(false), &json!("cont_9")));
}
