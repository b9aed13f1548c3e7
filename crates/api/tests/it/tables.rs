//! Every operation of the description against everything that is wrong with a request, and against strangers.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::Api;
use crate::tour::{Operation, Told, World, ask, fill, told};

/// Operations that make what they are asked about, so that no id is unknown to them.
const MAKES_ITS_OWN: [&str; 2] = ["PUT /v1/links/by-external-id/{id}", "POST /v1/contacts/{id}/erase"];

/// Whether the body is one JSON value: of newline-delimited JSON, what is wrong with a line is told in the answer's line (bulk.rs).
fn takes_json(operation: &Operation) -> bool {
    operation.body_type.as_deref() == Some("application/json")
}

/// Asserts that an answer is a problem as RFC 9457 and the description say, with the headers that every answer has.
fn assert_problem(told: &Told, status: u16, code: &str, what: &str) {
    let body = told.json();
    assert_eq!((told.status, &body["code"]), (status, &json!(code)), "{what}: {}", told.text);
    assert_eq!(body["status"], status, "{what}");
    assert_eq!(body["type"], format!("/docs#{code}"), "{what}");
    assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{what}");
    assert_eq!(told.headers["content-type"], "application/problem+json", "{what}");
    for header in ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"] {
        assert!(told.headers.contains_key(header), "{what}: {header}");
    }
}

async fn send(world: &World, operation: &Operation, key: &str, body: Option<(&str, String)>) -> Told {
    let path = world.path(&operation.pattern);
    let mut request = world.api.request(operation.method.clone(), &path).bearer_auth(key);
    if let Some((body_type, body)) = body {
        request = request.header("content-type", body_type).body(body);
    }
    told(request).await
}

#[tokio::test]
async fn every_operation_asks_for_a_key_with_its_scope_before_anything_else() {
    let world = World::begin().await;
    let others = world.api.key_with(&["none"], None).await;
    let unknown = format!("cw_{}", "x".repeat(43));
    let garbage = || Some(("application/json", "{\"".to_owned()));

    for operation in &world.operations {
        let name = operation.name();
        let path = world.path(&operation.pattern);
        let without = told(world.api.request(operation.method.clone(), &path).body("{\"")).await;
        assert_problem(&without, 401, "unauthorized", &name);
        assert_eq!(without.headers["www-authenticate"], "Bearer realm=\"clickwire\"", "{name}");
        let body = operation.is_unsafe().then(garbage).flatten();
        assert_problem(&send(&world, operation, &unknown, body.clone()).await, 401, "unauthorized", &name);
        if operation.scope.is_some() {
            assert_problem(&send(&world, operation, &others, body).await, 403, "forbidden", &name);
        }
    }
}

#[tokio::test]
async fn every_body_is_refused_that_is_not_what_is_described() {
    let world = World::begin().await;
    let json = "application/json";
    let operations =
        world.operations.iter().filter(|operation| operation.is_unsafe() && takes_json(operation));

    for operation in operations {
        let name = operation.name();
        let ask = async |body_type, body| send(&world, operation, &world.key, Some((body_type, body))).await;
        assert_problem(&ask(json, "{\"".to_owned()).await, 400, "malformed", &name);
        assert_problem(&ask("text/plain", "{}".to_owned()).await, 415, "unsupported_media_type", &name);
        let large = format!("{{\"x\": \"{}\"}}", "x".repeat(70_000));
        assert_problem(&ask(json, large).await, 413, "body_too_large", &name);
        assert_problem(&ask(json, "[]".to_owned()).await, 422, "invalid", &name);

        let mut body: Value = serde_json::from_str(&world.body(operation).expect("a body")).expect("JSON");
        body["no_such_field"] = json!(1);
        let unknown = ask(json, body.to_string()).await;
        assert_problem(&unknown, 422, "invalid", &name);
        let error = &unknown.json()["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&json!("/no_such_field"), &json!("unknown_field")));

        assert!(!operation.fields.is_empty(), "{name} describes no field");
        for field in &operation.fields {
            let mut body: Value =
                serde_json::from_str(&world.body(operation).expect("a body")).expect("JSON");
            body[field] = json!([[1]]);
            let refused = ask(json, body.to_string()).await;
            assert_problem(&refused, 422, "invalid", &format!("{name} {field}"));
            let errors = refused.json()["errors"].as_array().cloned().unwrap_or_default();
            let is_named = |error: &Value| {
                error["pointer"].as_str().is_some_and(|pointer| pointer.starts_with(&format!("/{field}")))
            };
            assert!(errors.iter().any(is_named), "{name} {field}: {}", refused.text);
        }
    }
}

#[tokio::test]
async fn every_query_is_refused_that_is_not_what_is_described() {
    let world = World::begin().await;

    for operation in world.operations.iter().filter(|operation| !operation.query.is_empty()) {
        let name = operation.name();
        let path = world.path(&operation.pattern);
        let ask = async |query: &str| {
            told(
                world
                    .api
                    .request(operation.method.clone(), &format!("{path}?{query}"))
                    .bearer_auth(&world.key),
            )
            .await
        };
        let unknown = ask("no_such_parameter=1").await;
        assert_problem(&unknown, 422, "invalid", &name);
        let errors = unknown.json()["errors"].as_array().cloned().unwrap_or_default();
        assert!(
            errors.iter().any(|error| error["pointer"] == "?no_such_parameter"),
            "{name}: {}",
            unknown.text
        );
        for (parameter, wrong) in [("limit", "0"), ("cursor", "x"), ("since", "yesterday"), ("until", "")] {
            if operation.query.iter().any(|known| known == parameter) {
                let refused = ask(&format!("{parameter}={wrong}")).await;
                assert_problem(&refused, 422, "invalid", &format!("{name} {parameter}"));
            }
        }
        let many = vec!["x=1"; 51].join("&");
        assert_problem(&ask(&many).await, 400, "too_many_parameters", &name);
    }
}

#[tokio::test]
async fn an_id_of_nothing_is_not_found_by_any_operation() {
    let world = World::begin().await;
    let about_one = world.operations.iter().filter(|operation| operation.pattern.contains('{'));

    for operation in about_one.filter(|operation| !MAKES_ITS_OWN.contains(&operation.name().as_str())) {
        let real = world.path(&operation.pattern);
        let nothing = fill(&operation.pattern, |resource| {
            let real = world.path(&format!("{resource}/{{id}}"));
            let prefix = real.rsplit('/').next().and_then(|id| id.split('_').next()).expect("a prefix");
            format!("{prefix}_01jd8m3x5v9k2n4p6q8r0s1t3w")
        });
        assert_ne!(real, nothing);
        for path in [nothing, fill(&operation.pattern, |_| "x".to_owned())] {
            let told = ask(&world.api, &world.key, operation, &path, world.body(operation)).await;
            assert_problem(&told, 404, "not_found", &format!("{} {path}", operation.method));
        }
    }
}

#[tokio::test]
async fn no_operation_shows_or_changes_anything_of_another_workspace() {
    let world = World::begin().await;
    let (other, stranger) = world.api.other_workspace().await;
    let before = world.api.dump("links").await + &world.api.dump("endpoints").await;

    for operation in world.in_order() {
        // the operator's, whatever the workspace
        if operation.tag == "quarantine" {
            continue;
        }
        let name = operation.name();
        let told =
            ask(&world.api, &stranger, &operation, &world.path(&operation.pattern), world.body(&operation))
                .await;
        for id in world.ids().chain([world.api.workspace_id.to_string().as_str()]) {
            let is_echo = world.body(&operation).is_some_and(|body| body.contains(id));
            assert!(is_echo || !told.text.contains(id), "{name} shows {id}: {}", told.text);
        }
        if operation.pattern.contains('{') && !MAKES_ITS_OWN.contains(&name.as_str()) {
            assert_problem(&told, 404, "not_found", &name);
        } else {
            assert!(told.status < 500, "{name}: {}", told.text);
        }
    }

    let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let after = lines(&(world.api.dump("links").await + &world.api.dump("endpoints").await));
    for line in lines(&before) {
        assert!(after.contains(&line), "{other} has changed {line}");
    }
}

#[tokio::test]
async fn a_request_may_be_so_large_and_no_larger() {
    let api = Api::start().await;
    let ask = async |path: &str, header: &str| {
        told(api.request(Method::GET, path).bearer_auth(&api.key).header("x-filler", header)).await
    };

    assert_problem(
        &ask(&format!("/v1/links?q={}", "x".repeat(8192)), "").await,
        414,
        "uri_too_long",
        "address",
    );
    assert_problem(&ask("/v1/links", &"x".repeat(16_384)).await, 431, "headers_too_large", "bytes");
    let many = (0..64).fold(api.request(Method::GET, "/v1/links").bearer_auth(&api.key), |request, n| {
        request.header(format!("x-{n}"), "x")
    });
    assert_problem(&told(many).await, 431, "headers_too_large", "headers");
    assert_eq!(ask(&format!("/v1/links?q={}", "x".repeat(150)), &"x".repeat(8000)).await.status, 200);
    for (path, status, code) in
        [("/v1/nothing", 404, "no_such_route"), ("/v1/links/x/y", 404, "no_such_route")]
    {
        assert_problem(&ask(path, "").await, status, code, path);
    }
}
