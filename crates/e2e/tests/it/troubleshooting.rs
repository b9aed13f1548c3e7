//! Why did no webhook come? Each cause is made, on the real processes, and found by all three that look: the wizard of a
//! webhook, the page of a link, and `clickwire why`; each names what to do. Causes that no process makes at will are in the
//! tests of `api` (`causes.rs`).

mod trial;

use chrono::{TimeDelta, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{Answer, NameAnswer, NameServer, Response, Subscriber, TestDatabase, TestNats, until};

use crate::services::{LIMIT, Service, Services};
use crate::stack::{Database, HOST, PERSON, ROME, Stack};
use trial::Trial;

/// What deployments give the users of NATS.
const PERMISSIONS: &str = include_str!("../../../../deploy/nats/permissions.conf");

#[tokio::test]
async fn a_click_that_triggers_nothing_is_explained() {
    let mut stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    {
        let trial = Trial::of(&stack).await;
        trial.link_is_told(HOST, &trial.link, "no_endpoint").await;
        trial.why_tells(&format!("https://{HOST}/never-made"), "link_not_found").await;
        let archived = stack.link(json!({})).await;
        trial.delete(&format!("/v1/links/{}", archived.id)).await;
        trial.link_is_told(HOST, &archived, "link_archived").await;
        trial.link_of_a_domain_that_is_only_claimed().await;

        let endpoint = stack.endpoint(&subscriber, json!({})).await;
        for (broken, mended, code) in [
            (json!({"tracking": false}), json!({"tracking": true}), "tracking_off"),
            (json!({"gpc_policy": "off"}), json!({"gpc_policy": "redact"}), "signals_off"),
        ] {
            trial.patch_settings(broken).await;
            trial.is_told(&endpoint, Utc::now(), code).await;
            trial.patch_settings(mended).await;
        }
        let soon = Utc::now() + TimeDelta::seconds(2);
        for (broken, mended, code) in [
            (json!({"tracking": "off"}), json!({"tracking": "inherit"}), "link_tracking_off"),
            (json!({"enabled": false}), json!({"enabled": true}), "link_disabled"),
            (json!({"starts_at": "2036-01-01T00:00:00Z"}), json!({"starts_at": null}), "link_not_started"),
            (json!({"expires_at": soon}), json!({"expires_at": null}), "link_expired"),
        ] {
            trial.patch_link(broken).await;
            trial.is_told(&endpoint, Utc::now(), code).await;
            trial.patch_link(mended).await;
        }
        trial.patch_settings(json!({"app_schemes": ["myapp"]})).await;
        trial.patch_link(json!({"url": "myapp://offer"})).await;
        trial.patch_settings(json!({"app_schemes": []})).await;
        trial.is_told(&endpoint, Utc::now(), "link_scheme").await;
        trial.patch_link(json!({"url": "https://example.com/"})).await;
        trial.operator("block").await;
        trial.is_told(&endpoint, Utc::now(), "link_blocked").await;
        trial.operator("unblock").await;
        trial.destination_that_became_a_link_domain(&endpoint).await;

        trial.is_told(&endpoint, Utc::now(), "no_click").await;
        trial.clicks_that_are_used_up(&endpoint).await;
        trial.remove(endpoint).await;
    }

    for (service, codes) in [
        (Service::Enrich, &["enrich_behind"][..]),
        (Service::Record, &["record_behind"][..]),
        (Service::Deliver, &["not_told", "deliver_behind"][..]),
    ] {
        stack.services.kill(service).await;
        let endpoint = stack.endpoint(&subscriber, json!({})).await;
        {
            let trial = Trial::again(&stack).await;
            let since = Utc::now();
            stack.click(&trial.link).await;
            for code in codes {
                trial.is_told(&endpoint, since, code).await;
            }
            trial.remove(endpoint).await;
        }
        stack.services.launch(service);
        stack.services.wait_ready(service).await;
    }

    stack.nats.kill().await;
    let endpoint = stack.endpoint(&subscriber, json!({})).await;
    Trial::again(&stack).await.is_told(&endpoint, Utc::now(), "broker_away").await;
}

#[tokio::test]
async fn a_broker_that_lets_nobody_ask_is_explained() {
    let (others, of_console) = PERMISSIONS.split_once("\nAPI: ").expect("the last role");
    let lacking = of_console.replace("      \"$JS.API.CONSUMER.INFO.ENRICHED.*\"\n", "");
    assert_ne!(of_console, lacking);
    let nats = TestNats::start_guarded(&format!("{others}\nAPI: {lacking}")).await;
    let database = Database::Shared(TestDatabase::new().await);
    let mut services = Services::new(database.url(), nats.url());
    for service in Service::ALL {
        services.set_for(service, "NATS__URL", nats.url_of(service.name()));
    }
    let stack = Stack::start_around(database, nats, services).await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let trial = Trial::of(&stack).await;
    let endpoint = stack.endpoint(&subscriber, json!({})).await;

    let told = trial.wizard_tells(&endpoint, Utc::now(), "broker_refuses").await;

    assert!(told.contains("publish to $JS.API.CONSUMER.INFO.ENRICHED.*"), "{told}");
}

#[tokio::test]
async fn a_webhook_that_gets_no_data_is_explained() {
    let stack = Stack::start().await;
    let trial = Trial::of(&stack).await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;

    trial.click_is_told(&subscriber, json!({"filter": {"location.country": "NO"}}), "filtered").await;
    trial.click_is_told(&subscriber, json!({"event_types": ["endpoint.*"]}), "event_type").await;
    trial.click_is_told(&subscriber, json!({"enabled": false}), "endpoint_disabled").await;

    let paused = stack.endpoint(&subscriber, json!({})).await;
    let path = format!("/v1/webhook-endpoints/{}/pause", paused.id);
    assert_eq!(stack.api(Method::POST, &path, Value::Null).await.0, StatusCode::OK);
    let since = Utc::now();
    stack.click(&trial.link).await;
    trial.is_told(&paused, since, "endpoint_paused").await;
    trial.is_told(&paused, since, "pending").await;
    trial.remove(paused).await;

    let people = stack.endpoint(&subscriber, json!({"filter": {"verdicts": ["human", "unknown"]}})).await;
    let since = Utc::now();
    stack.visit(&trial.link.slug, &[("user-agent", "curl/8.5.0"), ("x-forwarded-for", ROME)]).await;
    trial.is_told(&people, since, "automated").await;
    trial.link_is_told(HOST, &trial.link, "no_delivery").await;
    trial.remove(people).await;
    let late = stack.endpoint(&subscriber, json!({})).await;
    trial.is_told(&late, since, "too_old").await;
}

#[tokio::test]
async fn what_is_missing_or_late_is_explained() {
    let stack = Stack::start().await;
    let trial = Trial::of(&stack).await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;

    // without files of the operator's own, only an extract is asked
    let everything = stack.endpoint(&subscriber, json!({})).await;
    for (address, code) in [("10.1.2.3", "location_no_public_address"), ("9.9.9.9", "location_no_data")] {
        let since = Utc::now();
        let mut headers = PERSON;
        headers[1].1 = address;
        stack.visit(&trial.link.slug, &headers).await;
        trial.is_told(&everything, since, code).await;
    }
    let since = Utc::now();
    let asking = PERSON.into_iter().chain([("sec-gpc", "1")]).collect::<Vec<_>>();
    stack.visit(&trial.link.slug, &asking).await;
    let redacted = trial.is_told(&everything, since, "redacted").await;
    assert!(redacted.contains("Sec-GPC") && redacted.contains("user_agent"), "{redacted}");
    trial.remove(everything).await;

    trial.click_is_told(&subscriber, json!({"settle_ms": 600_000}), "settling").await;

    let slow = stack.endpoint(&subscriber, json!({"rate_per_second": 1, "rate_burst": 1})).await;
    let since = Utc::now();
    for _ in 0..240 {
        stack.click(&trial.link).await;
    }
    trial.is_told(&slow, since, "rate_limited").await;
    trial.remove(slow).await;

    let held = Subscriber::start(Answer::Held).await;
    let full = stack.endpoint(&held, json!({"max_in_flight": 1, "timeout_ms": 30_000})).await;
    stack.click(&trial.link).await;
    held.received(1).await;
    let since = Utc::now();
    stack.click(&trial.link).await;
    trial.is_told(&full, since, "no_slot").await;
    held.release();
    trial.remove(full).await;

    let busy = Subscriber::start(Answer::Cut).await;
    let failing = stack.endpoint(&busy, json!({"retry_schedule": [600, 600]})).await;
    let since = Utc::now();
    let opened = async || {
        stack.click(&trial.link).await;
        let path = format!("/v1/deliveries?endpoint_id={}&limit=1", failing.id);
        let (_, deliveries) = stack.api(Method::GET, &path, Value::Null).await;
        (deliveries["data"][0]["attempt_count"] == 0).then_some(())
    };
    until(LIMIT, opened).await;
    trial.is_told(&failing, since, "circuit_open").await;
}

#[tokio::test]
async fn an_answer_that_is_wrong_is_explained() {
    let names = NameServer::start(|_, _| NameAnswer::Unknown).await;
    let database = Database::Shared(TestDatabase::new().await);
    let stack = Stack::start_as(database, &[("DELIVER__DNS_SERVERS", &names.addr().to_string())]).await;
    let trial = Trial::of(&stack).await;
    let sign_in =
        Response::new(200).header("content-type", "text/html").body("<!doctype html><h1>Sign in</h1>");

    for (answer, code) in [
        (Answer::Status(500), "answer_error"),
        (Answer::Status(401), "answer_refused"),
        (Answer::Status(404), "answer_no_route"),
        (Answer::Status(413), "answer_too_large"),
        (Answer::Status(422), "answer_unreadable"),
        (Answer::Status(418), "answer_other"),
        (Answer::Redirect("https://example.com/".to_owned()), "answer_redirect"),
        (Answer::Response(sign_in), "html_answer"),
        (Answer::Hang, "timeout"),
        (Answer::Cut, "protocol"),
    ] {
        let subscriber = Subscriber::start(answer).await;
        let options = json!({"timeout_ms": 500, "retry_schedule": [600]});
        trial.click_is_told(&subscriber, options, code).await;
    }

    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let encrypted = subscriber.url().replace("http://", "https://");
    let nobody = format!("http://127.0.0.1:{}/", embedded::free_port());
    for (url, code) in [(encrypted, "tls"), (nobody, "connect"), ("http://nobody.test/".to_owned(), "dns")] {
        trial.click_is_told(&subscriber, json!({"url": url, "retry_schedule": [600]}), code).await;
    }
    let dead = Subscriber::start(Answer::Status(500)).await;
    trial.click_is_told(&dead, json!({"retry_schedule": []}), "dead").await;

    let pause = Response::new(429).header("retry-after", "600");
    let gone = Answer::Status(410);
    for (answer, codes, words) in [
        (Answer::Response(pause), ["answer_too_many", "endpoint_waits"], "Retry-After"),
        (gone, ["dead", "endpoint_disabled"], "410"),
    ] {
        let subscriber = Subscriber::start(answer).await;
        let endpoint = stack.endpoint(&subscriber, json!({})).await;
        let since = Utc::now();
        stack.click(&trial.link).await;
        for code in codes {
            let told = trial.is_told(&endpoint, since, code).await;
            assert!(told.contains(words), "{code}: {told}");
        }
        trial.remove(endpoint).await;
    }

    let (status, refused) =
        stack.api(Method::POST, "/v1/webhook-endpoints", json!({"url": "http://10.0.0.1/"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.to_string().contains("private address"), "{refused}");
    trial.address_that_is_forbidden_later().await;
}
