//! One trace from the visit to the subscriber's answer, as a collector sees it.

use std::collections::BTreeMap;

use prost::Message;
use serde_json::{Value, json};
use testkit::{Answer, Subscriber, TestDatabase, until};

use crate::services::{LIMIT, Service};
use crate::stack::{Database, PERSON, Stack};

/// Of OTLP's request (opentelemetry/proto/collector/trace/v1), what is asked for here.
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<OfResource>,
}

#[derive(Clone, PartialEq, Message)]
struct OfResource {
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<OfScope>,
}

#[derive(Clone, PartialEq, Message)]
struct OfScope {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(int64, optional, tag = "3")]
    int: Option<i64>,
}

/// The steps of a trace by name, once there are three.
async fn steps(collector: &Subscriber, trace_id: &str) -> BTreeMap<String, Span> {
    until(LIMIT, async || {
        let exports = collector.requests().into_iter().map(|request| {
            assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/hook/v1/traces"));
            Export::decode(request.body.as_slice()).expect("an export of OTLP")
        });
        let scopes = exports.flat_map(|export| export.resources).flat_map(|resource| resource.scopes);
        let spans = scopes.flat_map(|scope| scope.spans).filter(|span| hex(&span.trace_id) == trace_id);
        let steps: BTreeMap<_, _> = spans.map(|span| (span.name.clone(), span)).collect();
        (steps.len() == 3).then_some(steps)
    })
    .await
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn status(span: &Span) -> Option<i64> {
    let status = span.attributes.iter().find(|attribute| attribute.key == "http.response.status_code")?;
    status.value.as_ref()?.int
}

/// Whether one of these lines is this message, written within the step.
fn tells(said: &str, message: &str, step: &Span) -> bool {
    let (trace_id, span_id) = (hex(&step.trace_id), hex(&step.span_id));
    said.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .any(|line| line["message"] == message && line["trace_id"] == trace_id && line["span_id"] == span_id)
}

#[tokio::test]
async fn one_trace_leads_from_the_visit_to_the_subscribers_answer() {
    let collector = Subscriber::start(Answer::Status(200)).await;
    let collector_url = collector.url();
    let settings = [
        ("TELEMETRY__OTLP_ENDPOINT", collector_url.as_str()),
        ("TELEMETRY__LOG_FORMAT", "json"),
        ("TELEMETRY__LOG_FILTER", "info,redirect=debug,enrich=debug,deliver=debug"),
    ];
    let stack = Stack::start_as(Database::Shared(TestDatabase::new().await), &settings).await;
    let subscriber = Subscriber::start(Answer::Status(201)).await;
    stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({})).await;

    stack.click(&link).await;
    let ours = subscriber.received(1).await[0].header("traceparent").expect("a trace of ours").to_owned();
    let visitors = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers: Vec<_> = PERSON.into_iter().chain([("traceparent", visitors)]).collect();
    stack.visit(&link.slug, &headers).await;
    let theirs = subscriber.received(2).await[1].header("traceparent").expect("the visitor's").to_owned();

    for (traceparent, first_parent) in [(&ours, ""), (&theirs, "b7ad6b7169203331")] {
        let parts: Vec<&str> = traceparent.split('-').collect();
        let steps = steps(&collector, parts[1]).await;
        let (redirect, enrich, deliver) = (&steps["redirect"], &steps["enrich"], &steps["deliver"]);
        assert_eq!(hex(&redirect.parent_id), first_parent);
        assert_eq!((&enrich.parent_id, &deliver.parent_id), (&redirect.span_id, &redirect.span_id));
        assert_eq!(hex(&deliver.span_id), parts[2], "the webhook tells of the attempt that sent it");
        assert_eq!(status(deliver), Some(201));
        for (service, message, step) in [
            (Service::Redirect, "a click goes to the spool", redirect),
            (Service::Enrich, "enriched", enrich),
            (Service::Deliver, "an attempt has ended", deliver),
        ] {
            until(LIMIT, async || tells(&stack.services.said(service), message, step).then_some(())).await;
        }
    }
    assert!(theirs.contains("0af7651916cd43dd8448eb211c80319c"), "{theirs}");
}
