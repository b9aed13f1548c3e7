//! How an endpoint lets us in: saved sealed, shown masked, and refused where it cannot work.

use serde_json::{Value, json};
use testkit::certificates::{AUTHORITY, CLIENT, CLIENT_EXPIRED, CLIENT_KEY, OTHER_KEY};

use crate::console::Browser;
use crate::harness::Api;

const ENDPOINTS: &str = "/v1/webhook-endpoints";

fn oauth2() -> Value {
    json!({
        "type": "oauth2", "token_url": "http://127.0.0.1:9/token", "client_id": "us", "client_secret": "hunter2",
        "scope": "hooks:write",
    })
}

#[tokio::test]
async fn what_is_secret_is_masked_and_kept_sealed() {
    let api = Api::start().await;
    for auth in [
        json!({"type": "basic", "username": "us", "password": "hunter2"}),
        json!({"type": "bearer", "token": "hunter2"}),
        oauth2(),
    ] {
        let made = api.post(ENDPOINTS, json!({"url": "http://127.0.0.1:9/hook", "auth": auth})).await;

        assert_eq!(made.status, 201, "{}", made.body);
        assert_eq!(made.body["auth"]["type"], auth["type"]);
        assert!(!made.body.to_string().contains("hunter2"), "{}", made.body);
        let path = format!("{ENDPOINTS}/{}", made.body["id"].as_str().expect("an id"));
        assert_eq!(api.get(&path).await.body["auth"], made.body["auth"]);
        let changed = api.patch(&path, json!({"description": "CRM"})).await;
        assert_eq!(changed.body["auth"], made.body["auth"], "what is left out stays");
        assert_eq!(api.patch(&path, json!({"auth": null})).await.body["auth"], Value::Null);
    }
    let audit = api.get("/v1/audit").await.body.to_string();
    assert!(audit.contains("endpoint.updated") && !audit.contains("hunter2"), "{audit}");
}

#[tokio::test]
async fn what_cannot_work_is_refused_with_the_pointer_to_it() {
    let api = Api::start().await;
    let with = |name: &str, value: Value| {
        let mut auth = oauth2();
        auth[name] = value;
        auth
    };
    for (auth, pointer) in [
        (json!({"type": "digest"}), "/auth/type"),
        (json!({"username": "us"}), "/auth/type"),
        (json!("basic"), "/auth"),
        (json!({"type": "basic", "username": "us"}), "/auth/password"),
        (json!({"type": "basic", "username": "u:s", "password": "x"}), "/auth/username"),
        (json!({"type": "bearer", "token": "a b"}), "/auth/token"),
        (json!({"type": "bearer", "token": "a", "username": "us"}), "/auth/username"),
        (with("token_url", json!("ftp://example.com/")), "/auth/token_url"),
        (with("token_url", json!("http://169.254.169.254/token")), "/auth/token_url"),
        (with("scope", json!("a\u{e9}")), "/auth/scope"),
        (with("client_auth", json!("jwt")), "/auth/client_auth"),
    ] {
        let refused = api.post(ENDPOINTS, json!({"url": "http://127.0.0.1:9/hook", "auth": auth})).await;

        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!(pointer)), "{auth}");
    }
}

#[tokio::test]
async fn a_certificate_is_checked_when_it_is_saved_and_says_when_it_expires() {
    let api = Api::start().await;
    let auth = |certificate: &str, key: &str| json!({"type": "mtls", "certificate_pem": certificate, "private_key_pem": key, "ca_pem": AUTHORITY});
    let save = |url: &str, auth: Value| {
        let body = json!({"url": url, "auth": auth});
        let api = &api;
        async move { api.post(ENDPOINTS, body).await }
    };

    let made = save("https://127.0.0.1:9/hook", auth(CLIENT, CLIENT_KEY)).await;

    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["auth"]["expires_at"], "2120-01-01T00:00:00.000Z");
    assert_eq!(
        (&made.body["auth"]["private_key_pem"], &made.body["auth"]["certificate_pem"]),
        (&json!("***"), &json!(CLIENT))
    );
    for (url, auth, pointer) in [
        ("https", auth(CLIENT, OTHER_KEY), "/auth/private_key_pem"),
        ("https", auth(CLIENT_EXPIRED, CLIENT_KEY), "/auth/certificate_pem"),
        ("https", auth("none", CLIENT_KEY), "/auth/certificate_pem"),
        ("http", auth(CLIENT, CLIENT_KEY), "/auth"),
    ] {
        let refused = save(&format!("{url}://127.0.0.1:9/hook"), auth).await;
        assert_eq!(
            (refused.status, &refused.body["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{}",
            refused.body
        );
    }
    // nor does it become one by another URL
    let path = format!("{ENDPOINTS}/{}", made.body["id"].as_str().expect("an id"));
    let refused = api.patch(&path, json!({"url": "http://127.0.0.1:9/hook"})).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/auth")));
}

#[tokio::test]
async fn where_only_https_is_allowed_a_token_server_is_asked_over_https_too() {
    let api = Api::start_with(|settings| settings.deliver.https_only = true).await;
    let url = "https://127.0.0.1:9/hook";
    let made = api.post(ENDPOINTS, json!({"url": url})).await;
    let path = format!("{ENDPOINTS}/{}", made.body["id"].as_str().expect("an id"));

    for refused in [
        api.post(ENDPOINTS, json!({"url": url, "auth": oauth2()})).await,
        api.patch(&path, json!({"auth": oauth2()})).await,
    ] {
        let error = &refused.body["errors"][0];
        let found = (refused.status, &error["pointer"], &error["code"]);
        assert_eq!(found, (422, &json!("/auth/token_url"), &json!("https_only")), "{}", refused.body);
        assert!(error["detail"].to_string().contains("deliver.https_only"), "{error}");
    }
    let mut encrypted = oauth2();
    encrypted["token_url"] = json!("https://127.0.0.1:9/token");
    assert_eq!(api.patch(&path, json!({"auth": encrypted})).await.status, 200);
}

#[tokio::test]
async fn what_was_saved_for_one_server_is_not_told_to_another() {
    let api = Api::start().await;
    let auth = json!({"type": "bearer", "token": "hunter2"});
    let path = format!("{ENDPOINTS}/{}", api.endpoint().await);
    assert_eq!(api.patch(&path, json!({"auth": auth})).await.status, 200);

    for url in ["http://127.0.0.2:9/hook", "http://[::1]:9/hook"] {
        let refused = api.patch(&path, json!({"url": url})).await;
        let found = (refused.status, &refused.body["errors"][0]["pointer"]);
        assert_eq!(found, (422, &json!("/auth")), "{url}: {}", refused.body);
    }
    let moved = api.patch(&path, json!({"url": "http://127.0.0.1:9/other"})).await;
    assert_eq!((moved.status, &moved.body["auth"]["type"]), (200, &json!("bearer")));
    let moved = api.patch(&path, json!({"url": "http://127.0.0.2:9/hook", "auth": auth})).await;
    assert_eq!(moved.status, 200, "{}", moved.body);
    assert_eq!(api.patch(&path, json!({"url": "http://127.0.0.1:9/hook", "auth": null})).await.status, 200);

    // nor by the settings of the workspace
    let settings = "/v1/settings";
    let alert = |url: &str| json!({"alert": {"url": url}});
    let saved = api.patch(settings, alert("http://127.0.0.1:9/alert")).await;
    let id = saved.body["alert"]["endpoint_id"].as_str().expect("an id").to_owned();
    assert_eq!(api.patch(&format!("{ENDPOINTS}/{id}"), json!({"auth": auth})).await.status, 200);
    let refused = api.patch(settings, alert("http://127.0.0.2:9/alert")).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/alert/url")));
    assert_eq!(api.patch(settings, alert("http://127.0.0.1:9/other")).await.status, 200);
}

#[tokio::test]
async fn headers_that_were_saved_for_one_server_are_not_sent_to_another() {
    let api = Api::start().await;
    let headers = json!({"X-Key": "hunter2"});
    let path = format!("{ENDPOINTS}/{}", api.endpoint().await);
    assert_eq!(api.patch(&path, json!({"headers": headers})).await.status, 200);

    for url in ["http://127.0.0.2:9/hook", "http://127.0.0.1:18123/hook"] {
        let refused = api.patch(&path, json!({"url": url})).await;
        let found = (refused.status, &refused.body["errors"][0]["pointer"]);
        assert_eq!(found, (422, &json!("/headers")), "{url}: {}", refused.body);
        assert!(refused.body.to_string().contains("for another server"), "{}", refused.body);
    }
    let masked = json!({"url": "http://127.0.0.2:9/hook", "headers": {"X-Key": "********"}});
    assert_eq!(api.patch(&path, masked).await.status, 422);
    let moved = api.patch(&path, json!({"url": "http://127.0.0.1:9/other"})).await;
    assert_eq!((moved.status, &moved.body["headers"]), (200, &json!({"x-key": "********"})));
    let moved = api.patch(&path, json!({"url": "http://127.0.0.2:9/hook", "headers": headers})).await;
    assert_eq!((moved.status, &moved.body["headers"]), (200, &json!({"x-key": "********"})));

    // each that is left out is named
    let auth = json!({"auth": {"type": "bearer", "token": "hunter2"}});
    assert_eq!(api.patch(&path, auth).await.status, 200);
    let refused = api.patch(&path, json!({"url": "http://127.0.0.1:9/hook"})).await;
    let pointers: Vec<_> =
        refused.body["errors"].as_array().expect("errors").iter().map(|e| &e["pointer"]).collect();
    assert_eq!(pointers, ["/auth", "/headers"]);
    let bare = json!({"url": "http://127.0.0.1:9/hook", "auth": null, "headers": null});
    assert_eq!(api.patch(&path, bare).await.status, 200);
    let moved = api.patch(&path, json!({"url": "http://127.0.0.2:9/hook"})).await;
    assert_eq!(moved.status, 200, "with nothing saved there is nothing to tell: {}", moved.body);

    // nor by the settings of the workspace
    let settings = "/v1/settings";
    let alert = |url: &str| json!({"alert": {"url": url}});
    let saved = api.patch(settings, alert("http://127.0.0.1:9/alert")).await;
    let id = saved.body["alert"]["endpoint_id"].as_str().expect("an id").to_owned();
    assert_eq!(api.patch(&format!("{ENDPOINTS}/{id}"), json!({"headers": headers})).await.status, 200);
    let refused = api.patch(settings, alert("http://127.0.0.2:9/alert")).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/alert/url")));
    assert_eq!(api.patch(settings, alert("http://127.0.0.1:9/other")).await.status, 200);
}

#[tokio::test]
async fn what_was_saved_for_https_is_not_sent_in_the_clear() {
    let api = Api::start().await;
    let (auth, headers) = (json!({"type": "bearer", "token": "hunter2"}), json!({"X-Key": "hunter2"}));
    let new = json!({"url": "https://127.0.0.1:9/hook", "auth": auth, "headers": headers});
    let made = api.post(ENDPOINTS, new).await;
    let path = format!("{ENDPOINTS}/{}", made.body["id"].as_str().expect("an id"));

    let refused = api.patch(&path, json!({"url": "http://127.0.0.1:9/hook"})).await;
    let pointers: Vec<_> =
        refused.body["errors"].as_array().expect("errors").iter().map(|error| &error["pointer"]).collect();
    assert_eq!((refused.status, pointers), (422, vec![&json!("/auth"), &json!("/headers")]));
    let again = json!({"url": "http://127.0.0.1:9/hook", "auth": auth, "headers": headers});
    assert_eq!(api.patch(&path, again).await.status, 200);
    let encrypted = api.patch(&path, json!({"url": "https://127.0.0.1:9/hook"})).await;
    assert_eq!((encrypted.status, &encrypted.body["auth"]["type"]), (200, &json!("bearer")));
}

#[tokio::test]
async fn the_form_takes_no_masked_header_to_another_server() {
    let api = Api::start().await;
    let path = format!("{ENDPOINTS}/{}", api.endpoint().await);
    let edit = path.replace("/v1/webhook-endpoints", "/settings/webhooks") + "/edit";
    assert_eq!(api.patch(&path, json!({"headers": {"X-Key": "hunter2"}})).await.status, 200);
    let mut browser = Browser::signed_in(&api).await;
    let token = browser.token(&edit).await;
    let fields = |headers: &'static str| {
        [
            ("csrf", token.as_str()),
            ("url", "http://127.0.0.2:9/hook"),
            ("event_types", "link.clicked"),
            ("audience", "everything"),
            ("retry_schedule", "default"),
            ("headers", headers),
        ]
    };

    let (status, page) = browser.submit(&edit, &fields("x-key: ********")).await;
    assert_eq!(status, 422);
    assert!(page.contains("id=\"headers-wrong\"") && page.contains("for another server"), "{page}");
    assert!(!page.contains("hunter2"), "{page}");
    assert_eq!(api.get(&path).await.body["url"], "http://127.0.0.1:9/hook");

    let (status, page) = browser.submit(&edit, &fields("x-key: hunter3")).await;
    assert!(status != 422, "{page}");
    let moved = api.get(&path).await.body;
    assert_eq!(
        (&moved["url"], &moved["headers"]),
        (&json!("http://127.0.0.2:9/hook"), &json!({"x-key": "********"}))
    );
}

#[tokio::test]
async fn a_mask_is_no_secret() {
    let api = Api::start().await;
    let path = format!("{ENDPOINTS}/{}", api.endpoint().await);
    for (change, pointer) in [
        (json!({"auth": {"type": "basic", "username": "us", "password": "***"}}), "/auth/password"),
        (json!({"auth": {"type": "bearer", "token": "********"}}), "/auth/token"),
        (json!({"headers": {"X-Tenant": "********"}}), "/headers/X-Tenant"),
    ] {
        let refused = api.patch(&path, change).await;
        let found = (refused.status, &refused.body["errors"][0]["pointer"]);
        assert_eq!(found, (422, &json!(pointer)), "{}", refused.body);
    }
    let starred = json!({"auth": {"type": "basic", "username": "***", "password": "a***"}});
    assert_eq!(api.patch(&path, starred).await.status, 200, "what has stars in it may be one");
}

#[tokio::test]
async fn two_that_set_one_header_do_not_go_together() {
    let api = Api::start().await;
    let path = format!("{ENDPOINTS}/{}", api.endpoint().await);
    let header = json!({"headers": {"Authorization": "Bearer abc"}});
    let auth = json!({"auth": {"type": "bearer", "token": "abc"}});

    assert_eq!(api.patch(&path, header.clone()).await.status, 200);
    let refused = api.patch(&path, auth.clone()).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/auth")));
    assert_eq!(api.patch(&path, json!({"headers": null})).await.status, 200);
    assert_eq!(api.patch(&path, auth).await.status, 200);
    assert_eq!(api.patch(&path, header).await.status, 422);
}

#[tokio::test]
async fn the_form_keeps_a_secret_that_is_left_empty_and_says_what_is_wrong_beside_its_field() {
    let api = Api::start().await;
    let path = format!("{ENDPOINTS}/{}", api.endpoint().await);
    let edit = path.replace("/v1/webhook-endpoints", "/settings/webhooks") + "/edit";
    let mut browser = Browser::signed_in(&api).await;
    let base = [
        ("url", "http://127.0.0.1:9/hook"),
        ("event_types", "link.clicked"),
        ("audience", "everything"),
        ("retry_schedule", "default"),
    ];
    let oauth2 = [
        ("auth", "oauth2"),
        ("auth_token_url", "http://127.0.0.1:9/token"),
        ("auth_client_id", "us"),
        ("auth_client_auth", "post"),
    ];
    let secret = [("auth_client_secret", "hunter2")];

    let page = browser.fill(&edit, &edit, &[&base[..], &oauth2, &secret].concat()).await;
    assert!(page.contains("Tokens of http://127.0.0.1:9/token, for client us"), "{page}");
    let (_, form) = browser.open(&edit).await;
    assert!(form.contains("value=\"oauth2\" selected") && !form.contains("hunter2"), "{form}");

    browser.fill(&edit, &edit, &[&base[..], &oauth2, &[("auth_scope", "hooks")]].concat()).await;
    let saved = api.get(&path).await.body["auth"].clone();
    assert_eq!((&saved["scope"], &saved["client_auth"]), (&json!("hooks"), &json!("post")));

    // another server is not told the secret of this one
    let token = browser.token(&edit).await;
    let mut elsewhere = [&[("csrf", token.as_str())][..], &base, &oauth2].concat();
    elsewhere[6].1 = "http://127.0.0.1:9/elsewhere";
    assert_eq!(elsewhere[6].0, "auth_token_url");
    let (status, page) = browser.submit(&edit, &elsewhere).await;
    assert_eq!(status, 422);
    assert!(page.contains("id=\"auth_client_secret-wrong\"") && page.contains("/elsewhere"), "{page}");
    let mut moved = [&[("csrf", token.as_str())][..], &base, &oauth2].concat();
    moved[1] = ("url", "http://127.0.0.2:9/hook");
    let (status, page) = browser.submit(&edit, &moved).await;
    assert_eq!(status, 422);
    assert!(page.contains("id=\"auth_client_secret-wrong\""), "{page}");

    browser.fill(&edit, &edit, &[&base[..], &[("auth", "none")]].concat()).await;
    assert_eq!(api.get(&path).await.body["auth"], Value::Null);
}
