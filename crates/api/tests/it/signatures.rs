//! Which signatures an endpoint's webhooks carry, and the public keys of the asymmetric ones.

use reqwest::Method;
use serde_json::{Value, json};

use crate::console::Browser;
use crate::harness::{Answer, Api, answer, failed_delivery, recorded_click};

/// What anybody is told of the keys of an endpoint.
async fn published(api: &Api, endpoint: &str) -> Answer {
    let path = format!("/.well-known/clickwire-webhook-keys?endpoint_id={endpoint}");
    answer(api.request(Method::GET, &path).send().await.expect("an answer")).await
}

/// One field of each key.
fn each<'a>(keys: &'a Value, list: &str, field: &str) -> Vec<&'a str> {
    let keys = keys[list].as_array().expect("a list");
    keys.iter().map(|key| key[field].as_str().expect("a text")).collect()
}

#[tokio::test]
async fn public_keys_are_told_without_a_key_and_go_along_with_a_rotation() {
    let api = Api::start().await;
    let body = json!({"url": "http://127.0.0.1:9/hook", "signatures": ["v1a", "v1"]});
    let made = api.post("/v1/webhook-endpoints", body).await;
    assert_eq!((made.status, &made.body["signatures"]), (201, &json!(["v1", "v1a"])), "{}", made.body);
    let id = made.body["id"].as_str().expect("an id");
    let secrets = format!("/v1/webhook-endpoints/{id}/secrets");

    let path = format!("/.well-known/clickwire-webhook-keys?endpoint_id={id}");
    let told = api.request(Method::GET, &path).send().await.expect("an answer");
    let header = |name: &str| told.headers()[name].to_str().expect("text").to_owned();
    assert_eq!(header("cache-control"), "public, max-age=300");
    assert_eq!(header("content-type"), "application/jwk-set+json");
    let first = answer(told).await.body;
    let own = api.get(&secrets).await.body;
    insta::assert_json_snapshot!(first, {
        ".keys[].kid" => "[id]", ".keys[].x" => "[key]", ".keys[].whpk" => "[key]",
    }, @r#"
    {
      "keys": [
        {
          "alg": "EdDSA",
          "crv": "Ed25519",
          "kid": "[id]",
          "kty": "OKP",
          "use": "sig",
          "whpk": "[key]",
          "x": "[key]"
        }
      ]
    }
    "#);
    assert_eq!(each(&first, "keys", "whpk"), each(&own, "data", "public_key"));
    assert_eq!(each(&first, "keys", "kid"), each(&own, "data", "id"));

    let rotated = api.post(&secrets, json!({})).await;
    assert_eq!(rotated.status, 201, "{}", rotated.body);
    let both = published(&api, id).await.body;
    let new = rotated.body["public_key"].as_str().expect("a key");
    assert_eq!(each(&both, "keys", "whpk"), [new, each(&first, "keys", "whpk")[0]]);

    let old = each(&first, "keys", "kid")[0];
    assert_eq!(api.delete(&format!("{secrets}/{old}")).await.status, 204);
    assert_eq!(each(&published(&api, id).await.body, "keys", "whpk"), [new]);

    // who does without for a while has the same key again
    let path = format!("/v1/webhook-endpoints/{id}");
    assert_eq!(api.patch(&path, json!({"signatures": ["v1"]})).await.status, 200);
    assert_eq!(published(&api, id).await.status, 404);
    assert_eq!(api.patch(&path, json!({"signatures": ["v1", "v1a"]})).await.status, 200);
    assert_eq!(each(&published(&api, id).await.body, "keys", "whpk"), [new]);
    assert_eq!(api.delete(&path).await.status, 204);
    assert_eq!(published(&api, id).await.status, 404);
}

#[tokio::test]
async fn an_endpoint_without_keys_is_told_of_like_one_that_is_not_there() {
    let api = Api::start().await;
    let endpoint = api.endpoint().await;

    let (without, absent) =
        (published(&api, &endpoint).await, published(&api, "whe_01jd8m3x5v9k2n4p6q8r0s1t3w").await);

    assert_eq!((without.status, absent.status), (404, 404));
    assert_eq!(without.body, absent.body);
    let path = "/.well-known/clickwire-webhook-keys";
    let bare = answer(api.request(Method::GET, path).send().await.expect("an answer")).await;
    assert_eq!((bare.status, &bare.body["errors"][0]["pointer"]), (422, &json!("?endpoint_id")));
}

#[tokio::test]
async fn v1_stays_and_unknown_versions_are_refused() {
    let api = Api::start().await;
    for (signatures, pointer) in [
        (json!(["v1a"]), "/signatures"),
        (json!([]), "/signatures"),
        (json!(["v1", "v2"]), "/signatures/1"),
        (json!("v1"), "/signatures"),
        (json!(["v1", "v1a", "v1"]), "/signatures"),
    ] {
        let body = json!({"url": "http://127.0.0.1:9/hook", "signatures": signatures});
        let refused = api.post("/v1/webhook-endpoints", body).await;

        assert_eq!(
            (refused.status, &refused.body["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{signatures}"
        );
    }
}

#[tokio::test]
async fn asymmetric_signatures_are_chosen_in_the_form() {
    let api = Api::start().await;
    let endpoint = api.endpoint().await;
    let (path, edit) =
        (format!("/settings/webhooks/{endpoint}"), format!("/settings/webhooks/{endpoint}/edit"));
    let mut browser = Browser::signed_in(&api).await;

    let fields = [
        ("revision", "1"),
        ("url", "http://127.0.0.1:9/hook"),
        ("event_types", "link.clicked"),
        ("audience", "everything"),
        ("retry_schedule", "default"),
        ("v1a", "on"),
    ];
    let page = browser.fill(&path, &edit, &fields).await;

    let told = published(&api, &endpoint).await.body;
    assert!(page.contains(each(&told, "keys", "whpk")[0]), "{page}");
    let (_, form) = browser.open(&edit).await;
    assert!(form.contains("name=\"v1a\" value=\"on\" checked"), "{form}");
}

#[tokio::test]
async fn each_signature_of_a_request_is_judged_and_one_version_alone_is_told_of() {
    let api = Api::start().await;
    let body = json!({"url": "http://127.0.0.1:9/hook", "signatures": ["v1", "v1a"]});
    let made = api.post("/v1/webhook-endpoints", body).await.body;
    let (endpoint, secret) =
        (made["id"].as_str().expect("an id"), made["secret"].as_str().expect("a secret"));
    let click = recorded_click(&api, &api.link().await).await;
    let delivery = failed_delivery(&api, endpoint, &click).await;
    let key = each(&published(&api, endpoint).await.body, "keys", "whpk")[0].to_owned();
    let mut browser = Browser::signed_in(&api).await;
    let (_, page) = browser.open(&format!("/deliveries/{delivery}")).await;
    let (_, curl) = page.split_once("curl --globoff").expect("a command");
    let sent = |name: &str| {
        let (_, rest) = curl.split_once(&format!("{name}: ")).expect("a header");
        rest.split(['&', '\'']).next().expect("a value").to_owned()
    };
    let (timestamp, both) = (sent("webhook-timestamp"), sent("webhook-signature"));
    let (v1, v1a) = both.split_once(' ').expect("two signatures");
    let value = v1a.strip_prefix("v1a,").expect("an asymmetric one");
    let first = if value.starts_with('A') { "B" } else { "A" };
    let (mixed, no_v1) = (format!("{v1} v1a,{first}{}", &value[1..]), format!("v1,{first} {v1a}"));
    let path = format!("/settings/webhooks/{endpoint}/verify");
    let token = browser.token(&path).await;
    let mut told = async |signature: &str, typed: &str| {
        let id = click.event_id;
        let headers =
            format!("webhook-id: {id}\nwebhook-timestamp: {timestamp}\nwebhook-signature: {signature}");
        let fields = [("csrf", token.as_str()), ("headers", &headers), ("body", "{}"), ("secret", typed)];
        let (status, page) = browser.submit(&path, &fields).await;
        assert_eq!(status, 200, "{page}");
        assert!(!page.contains(secret), "no secret comes back: {page}");
        page
    };
    let chip = |version: &str, kind: &str, word: &str| {
        format!("<code>{version}</code> <span class=\"chip {kind}\">{word}</span>")
    };
    let (right, right_v1a) = (chip("v1", "good", "Right"), chip("v1a", "good", "Right"));
    let (wrong_v1a, malformed) = (chip("v1a", "bad", "Wrong"), chip("v1", "bad", "Malformed"));
    let (right, right_v1a) = (right.as_str(), right_v1a.as_str());
    let (both, mixed, no_v1, key) = (both.as_str(), mixed.as_str(), no_v1.as_str(), key.as_str());

    for (signature, typed, is_good, expected) in [
        (both, "", true, [right, right_v1a, "The signature matches"]),
        (both, secret, true, [right, right_v1a, "The signature matches"]),
        (both, key, true, [right, right_v1a, "The signature matches"]),
        (both, "whpk_abc", false, [right, right_v1a, "not a whole public key"]),
        (mixed, "", false, [right, wrong_v1a.as_str(), "No v1a signature was made"]),
        (mixed, secret, true, [right, wrong_v1a.as_str(), "The signature matches"]),
        (no_v1, "", false, [malformed.as_str(), right_v1a, "No v1 signature was made"]),
        (v1, "", true, [right, "has v1 alone", "The signature matches"]),
        (v1, key, false, [right, "has v1 alone", "A public key verifies v1a"]),
        (v1a, "", false, [right_v1a, "has v1a alone", "The signature matches"]),
        (v1a, secret, false, [right_v1a, "has v1a alone", "take the header whole"]),
        (v1a, key, true, [right_v1a, "The signature matches", "All is well"]),
    ] {
        let page = told(signature, typed).await;
        assert_eq!(page.contains("All is well"), is_good, "{signature} {typed}: {page}");
        for words in expected {
            assert!(page.contains(words), "{signature} {typed}, {words}: {page}");
        }
    }

    let change = json!({"signatures": ["v1"]});
    assert_eq!(api.patch(&format!("/v1/webhook-endpoints/{endpoint}"), change).await.status, 200);
    assert!(told(v1, key).await.contains("requests carry v1 alone"));
    assert!(told(both, key).await.contains("The signature matches"), "what was sent before is still judged");
}
