//! Webhook endpoints and their secrets over the API.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::egress::Refusal;

use crate::harness::{Api, recorded_click};

#[tokio::test]
async fn an_endpoint_is_made_from_a_url_alone_and_tells_its_secret_once() {
    let api = Api::start().await;

    let made = api.post("/v1/webhook-endpoints", json!({"url": "http://127.0.0.1:9/hook"})).await;

    assert_eq!(made.status, 201, "{}", made.body);
    insta::assert_json_snapshot!(made.body, {
        ".id" => "[id]", ".secret" => "[secret]", ".created_at" => "[time]", ".updated_at" => "[time]",
    }, @r#"
    {
      "auth": null,
      "auto_disable": true,
      "batch": null,
      "checkpoint_minutes": null,
      "created_at": "[time]",
      "delivery": "push",
      "description": null,
      "enabled": true,
      "event_types": [
        "link.clicked"
      ],
      "filter": null,
      "headers": {},
      "health": {
        "delivered": 0,
        "failed": 0,
        "first_failure_at": null,
        "last_failure_at": null,
        "last_success_at": null,
        "paused_until": null
      },
      "held_up_by": [],
      "id": "[id]",
      "max_in_flight": null,
      "ordering": {
        "mode": "none",
        "skip_after": null
      },
      "ownership": {
        "required": false,
        "verified_at": null
      },
      "payload": {
        "fields": null,
        "format": "standard_webhooks",
        "profile": "full",
        "version": "2026-11-01"
      },
      "permanent_statuses": [],
      "rate_burst": null,
      "rate_per_second": null,
      "retry_preset": "default",
      "retry_schedule": null,
      "revision": 1,
      "secret": "[secret]",
      "settle_ms": 0,
      "signatures": [
        "v1"
      ],
      "state": "active",
      "state_reason": null,
      "timeout_ms": null,
      "updated_at": "[time]",
      "url": "http://127.0.0.1:9/hook",
      "warnings": [
        "the URL is not https: contents and headers can be read on the way"
      ]
    }
    "#);
    let path = format!("/v1/webhook-endpoints/{}", made.body["id"].as_str().expect("an id"));
    assert!(api.get(&path).await.body.get("secret").is_none());
    let secrets = api.get(&format!("{path}/secrets")).await;
    assert_eq!(secrets.body["data"][0]["secret"], made.body["secret"]);
    let audit = api.get("/v1/audit").await;
    assert_eq!(audit.body["data"][0]["action"], "secret.revealed");
}

#[tokio::test]
async fn an_endpoint_keeps_what_it_was_given_and_masks_its_headers() {
    let api = Api::start().await;
    let given = json!({
        "url": "https://crm.invalid/hook", "description": "CRM", "event_types": ["link.*"],
        "filter": {"verdicts": ["human", "unknown"]}, "headers": {"Authorization": "Bearer hunter2"},
        "max_in_flight": 7, "rate_per_second": 20, "rate_burst": 5, "retry_schedule": [5, 60], "timeout_ms": 4000, "permanent_statuses": [404],
        "enabled": false, "settle_ms": 10_000,
    });

    let made = api.post("/v1/webhook-endpoints", given).await;

    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["headers"], json!({"authorization": "********"}));
    assert_eq!(made.body["filter"], json!({"verdicts": ["human", "unknown"]}));
    assert_eq!(made.body["retry_schedule"], json!([5, 60]));
    assert_eq!((&made.body["state"], &made.body["settle_ms"]), (&json!("disabled"), &json!(10_000)));
    let warnings = made.body["warnings"].to_string();
    assert!(warnings.contains("could not be resolved"), "{warnings}");
    assert!(!made.body.to_string().contains("hunter2"));
}

#[tokio::test]
async fn of_a_url_that_nothing_is_sent_to_nothing_is_said() {
    let api = Api::start().await;
    let given = json!({"url": "http://crm.invalid/hook", "delivery": "pull"});

    let made = api.post("/v1/webhook-endpoints", given).await;
    assert_eq!((made.status, &made.body["warnings"]), (201, &json!([])), "{}", made.body);

    let path = format!("/v1/webhook-endpoints/{}", made.body["id"].as_str().expect("an id"));
    let changed = api.patch(&path, json!({"url": "http://erp.invalid/hook"})).await;
    assert_eq!((changed.status, &changed.body["warnings"]), (200, &json!([])), "{}", changed.body);
}

#[tokio::test]
async fn what_deliver_would_not_send_to_is_refused_when_it_is_saved() {
    let api = Api::start_with(|settings| {
        settings.deliver.allowed_networks = model::AddressPolicy::default();
    })
    .await;

    for (url, refusal) in testkit::egress::forbidden_urls(8080) {
        let refused = api.post("/v1/webhook-endpoints", json!({"url": url})).await;

        assert_eq!(
            (refused.status, refused.body["errors"][0]["pointer"].as_str()),
            (422, Some("/url")),
            "{url}"
        );
        let (code, setting) = match refusal {
            Refusal::Url => ("invalid", ""),
            Refusal::Address => ("forbidden_address", "deliver.allowed_networks"),
            Refusal::Port => ("forbidden_port", "deliver.allowed_ports"),
        };
        assert_eq!(refused.body["errors"][0]["code"], code, "{url}");
        let detail = refused.body["errors"][0]["detail"].as_str().expect("a detail");
        assert!(detail.contains(setting), "{url}: {detail}");
    }
    let refused = api.post("/v1/webhook-endpoints", json!({"url": "http://localhost:8080/"})).await;
    let detail = refused.body["errors"][0]["detail"].as_str().expect("a detail").to_owned();
    assert!(detail.contains("`localhost` leads to"), "{detail}");
}

#[tokio::test]
async fn an_operator_can_ask_for_https() {
    let api = Api::start_with(|settings| settings.deliver.https_only = true).await;

    let refused = api.post("/v1/webhook-endpoints", json!({"url": "http://127.0.0.1:9/"})).await;

    assert_eq!((refused.status, refused.body["errors"][0]["code"].as_str()), (422, Some("https_only")));
    let detail = refused.body["errors"][0]["detail"].to_string();
    assert!(detail.contains("deliver.https_only"), "{detail}");
}

#[tokio::test]
async fn what_can_never_match_is_refused() {
    let api = Api::start().await;
    let url = "http://127.0.0.1:9/";

    for (field, value) in [
        ("filter", json!({"verdict": ["human"]})),
        ("filter", json!({"verdicts": []})),
        ("event_types", json!(["link.created"])),
        ("event_types", json!([])),
        ("headers", json!({"webhook-id": "x"})),
        ("headers", json!({"x-y": 1})),
        ("max_in_flight", json!(0)),
        ("rate_per_second", json!(0)),
        ("rate_burst", json!(1001)),
        ("retry_schedule", json!([0])),
        ("settle_ms", json!(600_001)),
        ("ordering", json!("fifo")),
        ("ordering", json!(5)),
        ("ordering", json!({"mode": "strict", "skip_after": 0})),
        ("ordering", json!({"mode": "per_link", "skip_after": 5})),
        ("ordering", json!({"mode": "strict", "after": 5})),
        ("ordering", json!({})),
        ("checkpoint_minutes", json!(0)),
        ("checkpoint_minutes", json!(1441)),
        ("timeout_ms", json!("fast")),
        ("batch", json!(100)),
        ("batch", json!({"max_events": 1})),
        ("batch", json!({"max_events": 1001})),
        ("batch", json!({"max_wait_ms": 60_001})),
        ("batch", json!({"max_bytes": 4095})),
        ("batch", json!({"max_bytes": 1_048_577})),
        ("batch", json!({"events": 10})),
        ("permanent_statuses", json!([200])),
    ] {
        let refused = api.post("/v1/webhook-endpoints", json!({"url": url, field: value})).await;
        assert_eq!(refused.status, 422, "{field}: {}", refused.body);
        let pointer = refused.body["errors"][0]["pointer"].as_str().expect("a pointer");
        assert!(pointer.starts_with(&format!("/{field}")), "{pointer}");
    }
}

#[tokio::test]
async fn batches_are_switched_on_with_defaults_changed_as_a_whole_and_switched_off() {
    let api = Api::start().await;
    let made = api.post("/v1/webhook-endpoints", json!({"url": "http://127.0.0.1:9/", "batch": {}})).await;
    let usual = json!({"max_events": 100, "max_wait_ms": 1000, "max_bytes": 262_144});
    assert_eq!((made.status, &made.body["batch"]), (201, &usual));
    let path = format!("/v1/webhook-endpoints/{}", made.body["id"].as_str().expect("an id"));

    let changed = api.patch(&path, json!({"batch": {"max_events": 1000, "max_wait_ms": 0}})).await;
    let wanted = json!({"max_events": 1000, "max_wait_ms": 0, "max_bytes": 262_144});
    assert_eq!((changed.status, &changed.body["batch"]), (200, &wanted));
    assert_eq!(api.patch(&path, json!({"description": "CRM"})).await.body["batch"], wanted);
    assert_eq!(api.patch(&path, json!({"batch": null})).await.body["batch"], json!(null));

    let refused = api.patch(&path, json!({"batch": {"max_events": 1, "max_bytes": "all"}})).await;
    assert_eq!(refused.body["errors"][0]["pointer"], "/batch/max_events");
}

#[tokio::test]
async fn a_filter_is_refused_with_the_pointer_to_what_is_wrong() {
    let api = Api::start().await;
    let filter = json!({"$or": [{"channel": "sms"}, {"location.country": {"$in": ["SE", "Norway"]}}]});

    let refused =
        api.post("/v1/webhook-endpoints", json!({"url": "http://127.0.0.1:9/", "filter": filter})).await;

    assert_eq!(refused.status, 422);
    assert_eq!(refused.body["errors"][0]["pointer"], "/filter/$or/1/location.country/$in/1");
    let detail = refused.body["errors"][0]["detail"].as_str().expect("a detail");
    assert!(detail.contains("two capital letters"), "{detail}");
}

#[tokio::test]
async fn a_filter_can_be_tried_on_the_last_clicks() {
    let api = Api::start().await;
    let id = api.endpoint().await;
    let path = format!("/v1/webhook-endpoints/{id}/preview-filter");
    let link_id = model::LinkId::generate().to_string();
    for _ in 0..3 {
        recorded_click(&api, &link_id).await;
    }

    let some = api.post(&path, json!({"filter": {"location.country": "SE"}, "clicks": 2})).await;
    let none = api.post(&path, json!({"filter": {"$not": {"link.tags": "spring"}}})).await;
    api.patch(&format!("/v1/webhook-endpoints/{id}"), json!({"filter": {"verdicts": ["automated"]}})).await;
    let own = api.post(&path, json!({})).await;

    assert_eq!((some.status, &some.body["examined"], &some.body["matched"]), (200, &json!(2), &json!(2)));
    assert_eq!(some.body["data"][0]["matches"], true);
    assert_eq!((&none.body["examined"], &none.body["matched"]), (&json!(3), &json!(0)));
    assert_eq!((&own.body["examined"], &own.body["matched"]), (&json!(3), &json!(0)));
    let wrong = api.post(&path, json!({"filter": {"country": "SE"}})).await;
    assert_eq!(wrong.body["errors"][0]["pointer"], "/filter/country");
    let reader = api.key_with(&["endpoints:read"], None).await;
    assert_eq!(api.call_as(&reader, Method::POST, &path, Some(json!({}))).await.status, 403);
}

#[tokio::test]
async fn a_schedule_of_retries_is_chosen_by_name_or_in_seconds() {
    let api = Api::start().await;
    let path = format!("/v1/webhook-endpoints/{}", api.endpoint().await);
    let shown = |body: &Value| (body["retry_preset"].clone(), body["retry_schedule"].clone());

    let fast = api.patch(&path, json!({"retry_schedule": "fast"})).await.body;
    let long = api.patch(&path, json!({"retry_schedule": "long"})).await.body;
    let own = api.patch(&path, json!({"retry_schedule": [1, 2]})).await.body;
    let default = api.patch(&path, json!({"retry_schedule": "default"})).await.body;
    let unknown = api.patch(&path, json!({"retry_schedule": "slow"})).await;

    assert_eq!(shown(&fast), (json!("fast"), json!([5, 15, 30, 60, 120, 300, 600, 900, 900])));
    assert_eq!(
        (&long["retry_preset"], long["retry_schedule"].as_array().map(Vec::len)),
        (&json!("long"), Some(13))
    );
    assert_eq!(shown(&own), (Value::Null, json!([1, 2])));
    assert_eq!(shown(&default), (json!("default"), Value::Null));
    assert_eq!(
        (unknown.status, unknown.body["errors"][0]["pointer"].as_str()),
        (422, Some("/retry_schedule"))
    );
}

#[tokio::test]
async fn an_endpoint_is_paused_resumed_disabled_and_removed() {
    let api = Api::start().await;
    let path = format!("/v1/webhook-endpoints/{}", api.endpoint().await);
    let state = |answer: Value| answer["state"].as_str().expect("a state").to_owned();

    assert_eq!(state(api.post(&format!("{path}/pause"), json!({})).await.body), "paused");
    assert_eq!(state(api.post(&format!("{path}/resume"), json!({})).await.body), "active");
    assert_eq!(state(api.patch(&path, json!({"enabled": false})).await.body), "disabled");
    assert_eq!(api.post(&format!("{path}/pause"), json!({})).await.body["code"], "endpoint_disabled");
    assert_eq!(state(api.patch(&path, json!({"enabled": true})).await.body), "active");
    assert_eq!(api.delete(&path).await.status, 204);
    assert_eq!(api.get(&path).await.status, 404);
    assert_eq!(api.get("/v1/webhook-endpoints").await.body["data"], json!([]));
}

#[tokio::test]
async fn a_workspace_has_so_many_endpoints_and_no_more() {
    let api = Api::start().await;
    for _ in 0..5 {
        api.endpoint().await;
    }

    let refused = api.post("/v1/webhook-endpoints", json!({"url": "http://127.0.0.1:9/"})).await;

    assert_eq!((refused.status, refused.body["code"].as_str()), (409, Some("limit_reached")));
}

#[tokio::test]
async fn a_new_secret_signs_first_and_the_last_one_stays() {
    let api = Api::start().await;
    let path = format!("/v1/webhook-endpoints/{}/secrets", api.endpoint().await);

    let rotated = api.post(&path, json!({})).await;

    assert_eq!(rotated.status, 201);
    let live = api.get(&path).await.body["data"].clone();
    assert_eq!(live[0]["id"], rotated.body["id"]);
    assert_eq!(live[0]["expires_at"], Value::Null);
    assert!(live[1]["expires_at"].is_string());
    assert_eq!(api.post(&path, json!({})).await.status, 201);
    assert_eq!(api.post(&path, json!({})).await.body["code"], "limit_reached");
    let live = api.get(&path).await.body["data"].clone();
    let newest = live[0]["id"].as_str().expect("an id");
    let oldest = live[2]["id"].as_str().expect("an id");
    assert_eq!(api.delete(&format!("{path}/{newest}")).await.body["code"], "last_secret");
    assert_eq!(api.delete(&format!("{path}/{oldest}")).await.status, 204);
    assert_eq!(api.delete(&format!("{path}/{oldest}")).await.status, 404);
}

#[tokio::test]
async fn whoever_rotates_a_secret_says_how_long_the_old_ones_go_on() {
    let api = Api::start().await;
    let path = format!("/v1/webhook-endpoints/{}/secrets", api.endpoint().await);
    let too_long = api.post(&path, json!({"overlap_seconds": 7 * 24 * 3600 + 1})).await;
    assert_eq!((too_long.status, &too_long.body["errors"][0]["pointer"]), (422, &json!("/overlap_seconds")));

    for _ in 0..2 {
        assert_eq!(api.post(&path, json!({"overlap_seconds": 7200})).await.status, 201);
    }
    let live = api.get(&path).await.body["data"].clone();
    let ends_at: DateTime<Utc> = live[1]["expires_at"].as_str().expect("an end").parse().expect("a moment");
    let left = ends_at - Utc::now();
    assert!(left > TimeDelta::minutes(110) && left <= TimeDelta::hours(2), "{left}");
    assert_eq!(live.as_array().map(Vec::len), Some(3));

    // as many sign as may, but they are not to go on
    let alone = api.post(&path, json!({"overlap_seconds": 0})).await;
    assert_eq!(alone.status, 201, "{}", alone.body);
    let live = api.get(&path).await.body["data"].clone();
    assert_eq!((live.as_array().map(Vec::len), &live[0]["id"]), (Some(1), &alone.body["id"]));
}

#[tokio::test]
async fn event_types_come_with_a_sample() {
    let api = Api::start().await;
    let any = api.key_with(&["links:read"], None).await;

    let types = api.call_as(&any, Method::GET, "/v1/event-types", None).await;

    assert_eq!(types.body["data"][0]["type"], "link.clicked");
    assert_eq!(types.body["data"][0]["sample"]["data"]["test"], true);
    let types = types.body["data"].as_array().expect("a list").clone();
    assert_eq!(types.len(), model::event_type::EVENT_TYPES.len());
    for event_type in types {
        assert_eq!(event_type["sample"]["type"], event_type["type"]);
        assert!(event_type["description"].as_str().is_some_and(|text| !text.is_empty()), "{event_type}");
    }
}

#[tokio::test]
async fn whoever_switches_an_endpoint_off_or_on_has_it_told_of() {
    let api = Api::start().await;
    let path = format!("/v1/webhook-endpoints/{}", api.endpoint().await);

    let off = api.patch(&path, json!({"enabled": false, "auto_disable": false})).await;
    api.patch(&path, json!({"enabled": true})).await;
    api.patch(&path, json!({"enabled": true})).await;

    assert_eq!(off.body["auto_disable"], false);
    let mut conn = api.pool.get().await.expect("a connection");
    let told = store::outbox::lock_oldest(&mut conn, 100).await.expect("events");
    let states = told.iter().filter(|event| {
        matches!(event.event_type.as_str(), "endpoint.disabled" | "endpoint.resumed" | "endpoint.paused")
    });
    let states: Vec<_> =
        states.map(|event| (event.event_type.as_str(), event.data["details"]["reason"].as_str())).collect();
    assert_eq!(states, [("endpoint.disabled", Some("switched off")), ("endpoint.resumed", None)]);
}
