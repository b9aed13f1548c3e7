//! Link settings and domains over the API.

use bus::{Change, Table};
use chrono::Utc;
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use store::link_import::NewLink;
use store::{AsyncConnection as _, QueryError, blocks, settings, workspaces};
use testkit::given;
use tokio::sync::oneshot;

use crate::console::Browser;
use crate::harness::{Api, LIMIT, until_one_waits_for_another};

#[tokio::test]
async fn settings_have_defaults_and_are_changed_one_by_one() {
    let api = Api::start().await;

    let defaults = api.get("/v1/settings/links").await;
    assert_eq!(
        defaults.body,
        json!({"tracking": true, "anonymous": false, "channel_tracking": {}, "campaign_tracking": {}, "gpc_policy": "redact", "dnt_policy": "ignore", "address_policy": "drop", "fallback_url": null, "app_schemes": [], "revision": 0})
    );

    let changed = api
        .patch("/v1/settings/links", json!({"tracking": false, "fallback_url": "https://example.com/"}))
        .await;
    assert_eq!(
        changed.body,
        json!({"tracking": false, "anonymous": false, "channel_tracking": {}, "campaign_tracking": {}, "gpc_policy": "redact", "dnt_policy": "ignore", "address_policy": "drop", "fallback_url": "https://example.com/", "app_schemes": [], "revision": 1})
    );
    let cleared =
        api.patch("/v1/settings/links", json!({"fallback_url": null, "address_policy": "truncate"})).await;
    assert_eq!((&cleared.body["fallback_url"], &cleared.body["revision"]), (&Value::Null, &json!(2)));
    assert_eq!(api.patch("/v1/settings/links", json!({"address_policy": "sell"})).await.status, 422);
    let wishes = json!({"anonymous": true, "gpc_policy": "off", "dnt_policy": "anonymous"});
    let heeded = api.patch("/v1/settings/links", wishes).await.body;
    assert_eq!(
        (&heeded["anonymous"], &heeded["gpc_policy"], &heeded["dnt_policy"]),
        (&json!(true), &json!("off"), &json!("anonymous"))
    );
    assert_eq!(api.patch("/v1/settings/links", json!({"dnt_policy": "drop"})).await.status, 422);
}

#[tokio::test]
async fn a_domain_serves_links_and_stays_while_it_does() {
    let api = Api::start().await;

    let added = api.post("/v1/domains", json!({"host": "Go.Example.COM"})).await;
    assert_eq!((added.status, added.body["host"].as_str()), (201, Some("go.example.com")));
    let path = format!("/v1/domains/{}", added.body["id"].as_str().expect("an id"));
    assert_eq!(api.post("/v1/domains", json!({"host": "go.example.com"})).await.body["code"], "host_taken");
    let link = api
        .post("/v1/links", json!({"url": "https://example.com/", "domain": "go.example.com", "slug": "x1"}))
        .await;
    assert_eq!(link.body["tracked_url"], "http://go.example.com/x1");
    assert_eq!(api.delete(&path).await.body["code"], "domain_in_use");
    assert_eq!(api.post("/v1/domains", json!({"host": "https://x.example/"})).await.status, 422);
    let unused = api.post("/v1/domains", json!({"host": "unused.example"})).await;
    assert_eq!(
        api.delete(&format!("/v1/domains/{}", unused.body["id"].as_str().expect("an id"))).await.status,
        204
    );
}

#[tokio::test]
async fn a_domain_says_whether_capital_letters_tell_links_apart_until_it_has_one() {
    let api = Api::start().await;
    let added = api.post("/v1/domains", json!({"host": "go.example.com", "case": "sensitive"})).await;
    assert_eq!((added.status, &added.body["case"]), (201, &json!("sensitive")));
    let usual = api.post("/v1/domains", json!({"host": "plain.example.com"})).await;
    assert_eq!(usual.body["case"], "insensitive");
    let path = |domain: &Value| format!("/v1/domains/{}", domain["id"].as_str().expect("an id"));
    let wrong = api.patch(&path(&usual.body), json!({"case": "upper"})).await;
    assert_eq!((wrong.status, &wrong.body["errors"][0]["pointer"]), (422, &json!("/case")));
    let again = api.patch(&path(&usual.body), json!({"case": "sensitive"})).await;
    assert_eq!((again.status, &again.body["case"]), (200, &json!("sensitive")));
    api.patch(&path(&usual.body), json!({"case": "insensitive"})).await;

    let link =
        |domain: &str, slug: &str| json!({"url": "https://example.com/", "domain": domain, "slug": slug});
    for (domain, slug, status, kept) in [
        ("go.example.com", "Sale", 201, "Sale"),
        ("go.example.com", "sale", 201, "sale"),
        ("go.example.com", "Sale", 409, "Sale"),
        ("plain.example.com", "Sale", 201, "sale"),
        ("plain.example.com", "SALE", 409, "sale"),
    ] {
        let made = api.post("/v1/links", link(domain, slug)).await;
        assert_eq!(made.status, status, "{domain} {slug}: {}", made.body);
        if status == 201 {
            assert_eq!(made.body["slug"], kept);
            assert_eq!(made.body["tracked_url"], format!("http://{domain}/{kept}"));
        } else {
            assert!(
                made.body["detail"].as_str().expect("a text").contains(&format!("`{kept}`")),
                "{}",
                made.body
            );
        }
    }
    let (again, other) = (link("go.example.com", "Offer"), link("go.example.com", "OFFER"));
    let by_id = async |body: &Value| api.put("/v1/links/by-external-id/e1", body.clone()).await;
    assert_eq!(by_id(&again).await.status, 201);
    assert_eq!(by_id(&again).await.status, 200);
    let differs = by_id(&other).await;
    assert_eq!((differs.status, &differs.body["code"]), (409, &json!("link_differs")), "{}", differs.body);
    for domain in [&added.body, &usual.body] {
        let other = if domain["host"] == "go.example.com" { "insensitive" } else { "sensitive" };
        let changed = api.patch(&path(domain), json!({"case": other})).await;
        assert_eq!(
            (changed.status, &changed.body["code"]),
            (409, &json!("domain_in_use")),
            "{}",
            changed.body
        );
    }
    assert_eq!(
        api.patch(&path(&added.body), json!({"case": "sensitive", "hsts_max_age": 5})).await.status,
        200
    );
}

#[tokio::test]
async fn two_changes_of_the_settings_at_once_are_both_kept() {
    let api = Api::start().await;
    let mut conn = api.pool.get().await.expect("the database runs");
    let (begun, has_begun) = oneshot::channel();

    let first = conn.transaction::<_, QueryError, _>(async |conn| {
        workspaces::lock(conn, api.workspace_id).await?;
        let mut saved = settings::find(conn, api.workspace_id).await?;
        saved.is_tracking = false;
        settings::save(conn, api.workspace_id, &saved, Utc::now()).await?;
        begun.send(()).expect("somebody waits");
        until_one_waits_for_another(&api).await;
        Ok(())
    });
    let other = async {
        has_begun.await.expect("it begins");
        api.patch("/v1/settings/links", json!({"address_policy": "keep"})).await
    };
    let (first, other) = tokio::join!(first, other);

    first.expect("saved");
    assert_eq!((other.status, &other.body["revision"]), (200, &json!(2)), "{}", other.body);
    let kept = api.get("/v1/settings/links").await.body;
    assert_eq!((&kept["tracking"], &kept["address_policy"]), (&json!(false), &json!("keep")));
}

#[tokio::test]
async fn two_first_domains_at_once_are_both_added_and_one_is_the_default() {
    let api = Api::start().await;
    let mut conn = api.pool.get().await.expect("the database runs");
    let other = given::workspace(&mut conn).await;
    let key = given::api_key(&mut conn, other).await.reveal().to_owned();
    let (begun, has_begun) = oneshot::channel();

    let first = conn.transaction::<_, QueryError, _>(async |conn| {
        workspaces::lock(conn, other).await?;
        given::domain(conn, other, "one.example").await;
        begun.send(()).expect("somebody waits");
        until_one_waits_for_another(&api).await;
        Ok(())
    });
    let second = async {
        has_begun.await.expect("it begins");
        api.call_as(&key, Method::POST, "/v1/domains", Some(json!({"host": "two.example"}))).await
    };
    let (first, second) = tokio::join!(first, second);

    first.expect("added");
    assert_eq!((second.status, &second.body["default"]), (201, &json!(false)), "{}", second.body);
}

#[tokio::test]
async fn a_domain_under_which_a_link_is_being_made_stays() {
    let api = Api::start().await;
    let added = api.post("/v1/domains", json!({"host": "go.example.com"})).await.body;
    let id = added["id"].as_str().expect("an id");
    let mut conn = api.pool.get().await.expect("the database runs");
    let (begun, has_begun) = oneshot::channel();
    let options = store::links::LinkOptions::to("https://example.com/".parse().expect("a URL"));
    let (link, slug) = (model::LinkId::generate(), "x1".parse().expect("a slug"));
    let domain_id = id.parse().expect("an id");

    let made = conn.transaction::<_, QueryError, _>(async |conn| {
        store::links::insert(
            conn,
            api.workspace_id,
            &NewLink { id: link, domain_id, slug: &slug, options: &options, created_by: "test" },
            Utc::now(),
        )
        .await?;
        begun.send(()).expect("somebody waits");
        until_one_waits_for_another(&api).await;
        Ok(())
    });
    let removed = async {
        has_begun.await.expect("it begins");
        api.delete(&format!("/v1/domains/{id}")).await
    };
    let (made, removed) = tokio::join!(made, removed);

    made.expect("a link");
    assert_eq!((removed.status, &removed.body["code"]), (409, &json!("domain_in_use")), "{}", removed.body);
}

#[tokio::test]
async fn a_blocked_domain_is_not_removed_until_that_is_lifted() {
    let api = Api::start().await;
    let added = api.post("/v1/domains", json!({"host": "go.example.com"})).await.body;
    let path = format!("/v1/domains/{}", added["id"].as_str().expect("an id"));
    let host = "go.example.com".parse().expect("a host");
    let mut conn = api.pool.get().await.expect("the database runs");
    blocks::set_domain(&mut conn, &host, Some(Utc::now())).await.expect("no error").expect("a domain");

    let refused = api.delete(&path).await;
    blocks::set_domain(&mut conn, &host, None).await.expect("no error").expect("a domain");
    let removed = api.delete(&path).await;

    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("domain_blocked")), "{}", refused.body);
    assert_eq!(removed.status, 204, "{}", removed.body);
}

#[tokio::test]
async fn another_domain_becomes_the_default() {
    let api = Api::start().await;
    let added = api.post("/v1/domains", json!({"host": "go.example.com"})).await.body;
    let path = format!("/v1/domains/{}", added["id"].as_str().expect("an id"));

    let refused = api.patch("/v1/domains/dom_01jd8m3x5v9k2n4p6q8r0s1t3w", json!({"default": true})).await;
    assert_eq!(refused.status, 404);
    let (_, other) = api.other_workspace().await;
    let foreign = api.call_as(&other, Method::PATCH, &path, Some(json!({"default": true}))).await;
    assert_eq!(foreign.status, 404);
    let changed = api.patch(&path, json!({"default": true})).await;

    assert_eq!((changed.status, &changed.body["default"]), (200, &json!(true)), "{}", changed.body);
    let domains = api.get("/v1/domains").await.body["data"].clone();
    let defaults: Vec<_> =
        domains.as_array().expect("a list").iter().filter(|d| d["default"] == true).collect();
    assert_eq!(defaults, [&changed.body]);
    let link = api.post("/v1/links", json!({"url": "https://example.com/"})).await.body;
    assert_eq!(link["domain"], "go.example.com");
    assert_eq!(api.patch(&path, json!({"default": false})).await.status, 422);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_of_domains_is_announced() {
    let api = Api::start_with_nats().await;
    let mut changes = api.bus.as_ref().expect("a bus").changes(Table::Settings);
    assert_eq!(changes.next().await, Some(Change::Reconnected));
    let mut announced = async || match tokio::time::timeout(LIMIT, changes.next()).await.expect("a notice") {
        Some(Change::Row(changed)) => changed.workspace_id,
        other => panic!("{other:?}"),
    };

    let added = api.post("/v1/domains", json!({"host": "go.example.com"})).await.body;
    assert_eq!(announced().await, api.workspace_id);
    let default = api.get("/v1/domains").await.body["data"][0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/domains/{}", added["id"].as_str().expect("an id"));
    assert_eq!(api.patch(&path, json!({"default": true})).await.status, 200);
    assert_eq!(announced().await, api.workspace_id);
    assert_eq!(api.delete(&format!("/v1/domains/{default}")).await.status, 204);
    assert_eq!(announced().await, api.workspace_id);
}

#[tokio::test]
async fn links_lead_to_apps_whose_schemes_the_settings_name() {
    let api = Api::start().await;
    let mail = json!({"url": "mailto:a@example.com?subject=x"});
    let schemes =
        async |schemes: Value| api.patch("/v1/settings/links", json!({"app_schemes": schemes})).await;

    let refused = api.post("/v1/links", mail.clone()).await;
    let allowed = schemes(json!(["tel", "MailTo", "tel"])).await;
    let made = api.post("/v1/links", mail).await;

    assert_eq!(refused.body["errors"][0]["code"], "scheme", "{}", refused.body);
    assert_eq!(allowed.body["app_schemes"], json!(["mailto", "tel"]), "{}", allowed.body);
    assert_eq!((made.status, &made.body["url"]), (201, &json!("mailto:a@example.com?subject=x")));
    for (scheme, pointer) in [
        ("javascript", "/app_schemes/0"),
        ("DATA", "/app_schemes/0"),
        ("https", "/app_schemes/0"),
        ("a b", "/app_schemes/0"),
    ] {
        let refused = schemes(json!([scheme])).await;
        assert_eq!(
            (refused.status, &refused.body["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{scheme}"
        );
    }
    assert_eq!(schemes(json!(vec!["a"; 17])).await.status, 422);
    let bad = api.post("/v1/links", json!({"url": "javascript:alert(1)"})).await;
    assert_eq!(bad.body["errors"][0]["code"], "invalid");
    // what a link has already may stay
    assert_eq!(schemes(json!([])).await.status, 200);
    let path = format!("/v1/links/{}", made.body["id"].as_str().expect("an id"));
    assert_eq!(api.patch(&path, json!({"channel": "sms"})).await.status, 200);
}

#[tokio::test]
async fn a_domain_says_how_long_browsers_keep_to_https() {
    let api = Api::start().await;
    let new = json!({"host": "go.example.com", "hsts_max_age": 600});

    let added = api.post("/v1/domains", new).await.body;

    assert_eq!((&added["hsts_max_age"], &added["blocked_at"]), (&json!(600), &Value::Null));
    let path = format!("/v1/domains/{}", added["id"].as_str().expect("an id"));
    assert_eq!(api.patch(&path, json!({"hsts_max_age": 63_072_001})).await.status, 422);
    assert_eq!(api.patch(&path, json!({"default": true})).await.body["hsts_max_age"], 600);
    assert_eq!(api.patch(&path, json!({"hsts_max_age": null})).await.body["hsts_max_age"], Value::Null);
}

#[tokio::test]
async fn a_domain_is_changed_by_form() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let page = browser
        .fill("/settings/links", "/settings/domains", &[("host", "go.example.com"), ("case_sensitive", "on")])
        .await;
    assert!(page.contains("go.example.com") && page.contains("Case-sensitive"), "{page}");
    let domains = api.get("/v1/domains").await.body;
    let added =
        domains["data"].as_array().expect("a list").iter().find(|domain| domain["host"] == "go.example.com");
    let path = format!("/settings/domains/{}", added.expect("it is there")["id"].as_str().expect("an id"));

    let fields = [("default", "on"), ("has_case", "yes"), ("hsts_max_age", "86400")];
    browser.fill("/settings/links", &path, &fields).await;

    let domain = api.get("/v1/domains").await.body["data"][0].clone();
    let told = (&domain["host"], &domain["default"], &domain["hsts_max_age"], &domain["case"]);
    assert_eq!(told, (&json!("go.example.com"), &json!(true), &json!(86400), &json!("insensitive")));
    let page = browser.fill("/settings/links", &format!("{path}/remove"), &[]).await;
    assert!(page.contains("make another one the default first"), "{page}");
}

#[tokio::test]
async fn a_domain_names_where_visitors_go_whom_no_link_leads_anywhere() {
    let api = Api::start().await;
    let new = json!({"host": "go.example.com", "fallback_url": "https://example.com/over"});
    let added = api.post("/v1/domains", new).await;
    assert_eq!((added.status, &added.body["fallback_url"]), (201, &json!("https://example.com/over")));
    let path = format!("/v1/domains/{}", added.body["id"].as_str().expect("an id"));

    for own in ["https://go.example.com/x", "http://localhost/x"] {
        let refused = api.patch(&path, json!({"fallback_url": own})).await;
        assert_eq!(
            (refused.status, &refused.body["errors"][0]["pointer"], &refused.body["errors"][0]["code"]),
            (422, &json!("/fallback_url"), &json!("loop")),
            "{own}"
        );
    }
    let refused = api.patch(&path, json!({"fallback_url": "javascript:alert(1)"})).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/fallback_url")));
    let kept = api.patch(&path, json!({"hsts_max_age": 60})).await.body;
    assert_eq!(kept["fallback_url"], "https://example.com/over", "what is left out stays");
    let loops = json!({"host": "round.example.com", "fallback_url": "https://round.example.com/"});
    assert_eq!(api.post("/v1/domains", loops).await.status, 422);
    let hosts = api.get("/v1/domains").await.body["data"].as_array().map(Vec::len);
    assert_eq!(hosts, Some(2), "a refused domain is not added");

    let cleared = api.patch(&path, json!({"fallback_url": null})).await;
    assert_eq!((cleared.status, &cleared.body["fallback_url"]), (200, &Value::Null));
    assert_ne!(cleared.etag, added.etag);
}

#[tokio::test]
async fn a_domains_fallback_is_named_by_form_and_told_where_its_links_are_closed() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let domain = api.get("/v1/domains").await.body["data"][0].clone();
    let form = format!("/settings/domains/{}", domain["id"].as_str().expect("an id"));
    let link = api.link().await;
    assert_eq!(api.patch(&format!("/v1/links/{link}"), json!({"enabled": false})).await.status, 200);
    assert!(browser.open(&format!("/links/{link}")).await.1.contains("there is no fallback"));

    let fields = [("fallback_url", "https://example.com/over")];
    let page = browser.fill("/settings/links", &form, &fields).await;

    assert!(page.contains("name=\"fallback_url\" type=\"url\" value=\"https://example.com/over\""), "{page}");
    assert_eq!(api.get("/v1/domains").await.body["data"][0]["fallback_url"], "https://example.com/over");
    assert!(browser.open(&format!("/links/{link}")).await.1.contains("Visitors go to the fallback"));
    let page = browser.fill("/settings/links", &form, &[("fallback_url", "http://localhost/x")]).await;
    assert!(page.to_lowercase().contains("leads to a tracked link"), "{page}");
    browser.fill("/settings/links", &form, &[("fallback_url", "")]).await;
    assert_eq!(api.get("/v1/domains").await.body["data"][0]["fallback_url"], Value::Null);
}
