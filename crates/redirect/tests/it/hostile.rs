//! Whatever is sent: an answer that is not our fault, and no way off the link's destination.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner, contextualize_config};
use store::links::LinkOptions;
use tokio::runtime::Handle;

use model::link::QueryMode;

use crate::client::{Answer, raw};
use crate::house::{House, Running, options};

const CASES: u32 = 400;

/// Where all links of these tests lead.
const ORIGIN: &str = "https://example.com/offer";

async fn start(house: &House) -> Running {
    for query_mode in QueryMode::ALL {
        house.link(query_mode.as_str(), LinkOptions { query_mode, ..options() }).await;
    }
    let mut settings = house.settings();
    settings.redirect.not_found_per_minute = 0;
    settings.redirect.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    Running::start(settings).await
}

fn check(answer: Option<Answer>) -> Result<(), TestCaseError> {
    let answer = answer.ok_or_else(|| TestCaseError::fail("no answer"))?;
    prop_assert!(answer.status < 500, "{}", answer.head);
    if let Some(location) = answer.header("location") {
        let rest = location.strip_prefix(ORIGIN);
        prop_assert!(rest.is_some_and(|rest| rest.starts_with('?')), "{location}");
        prop_assert!(location.bytes().all(|b| b.is_ascii_graphic()), "{location}");
    }
    // nothing of a request became a header of the answer
    let known = [
        "cache-control",
        "content-length",
        "content-security-policy",
        "content-type",
        "location",
        "allow",
        "referrer-policy",
        "x-content-type-options",
        "x-robots-tag",
        "connection",
        "retry-after",
        "transfer-encoding",
    ];
    for line in answer.head.lines().skip(1) {
        let name = line.split(':').next().unwrap_or_default();
        prop_assert!(known.contains(&name), "{line}");
    }
    Ok(())
}

fn run(strategy: impl Strategy<Value = Vec<u8>>, addr: std::net::SocketAddr) {
    // as `proptest!` has it: more cases when the environment says so, and what was found is kept
    let config = contextualize_config(Config { cases: CASES, ..Config::with_source_file(file!()) });
    let mut runner = TestRunner::new(config);
    let checked =
        runner.run(&strategy, |request| check(Handle::current().block_on(raw(addr, "GET", &request))));
    checked.unwrap_or_else(|error| panic!("{error}"));
}

/// Anything but a line's end, which would end the header.
fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>().prop_filter("one line", |b| !matches!(b, b'\r' | b'\n')), 0..most)
}

fn slug() -> impl Strategy<Value = String> {
    prop::sample::select(QueryMode::ALL.map(|mode| mode.as_str().to_owned()).to_vec())
}

/// Acceptance test 6 of links and clicks.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_request_target_the_answer_is_not_our_fault_and_stays_on_the_destination() {
    let house = House::new().await;
    let redirect = start(&house).await;
    let addr = redirect.addr;
    let nearly = "[a-c_%2fF0+./?&=#:@\\\\A-C-]{0,40}".prop_map(String::into_bytes);
    let with_query = (
        slug(),
        prop_oneof![
            bytes(60),
            "([a-d]=|utm_source=|%0d%0a|&|#|//evil|@|:|\\\\){0,12}".prop_map(String::into_bytes)
        ],
    )
        .prop_map(|(slug, query)| [slug.as_bytes(), b"?", &query].concat());
    let target = prop_oneof![bytes(60), nearly, with_query];

    tokio::task::block_in_place(|| {
        run(
            target.prop_map(|target| {
                [b"GET /", target.as_slice(), b" HTTP/1.1\r\nhost: go.example.com\r\n\r\n"].concat()
            }),
            addr,
        );
    });
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_host_and_the_headers_the_answer_is_not_our_fault_and_stays_on_the_destination() {
    let house = House::new().await;
    let redirect = start(&house).await;
    let addr = redirect.addr;
    let names = [
        "x-forwarded-for",
        "user-agent",
        "referer",
        "traceparent",
        "accept-language",
        "sec-purpose",
        "x-forwarded-host",
        "x-original-url",
        "cookie",
        "forwarded",
    ];
    let header = (prop::sample::select(names.to_vec()), bytes(80));
    let host = prop_oneof![
        Just(b"go.example.com".to_vec()),
        bytes(40),
        "[a-zA-Z0-9.:\\[\\]@/%ü-]{0,40}".prop_map(String::into_bytes)
    ];
    let request = (slug(), host, prop::collection::vec(header, 0..6));

    tokio::task::block_in_place(|| {
        run(
            request.prop_map(|(slug, host, headers)| {
                let mut request = format!("GET /{slug}?a=1 HTTP/1.1\r\nhost: ").into_bytes();
                request.extend(host);
                for (name, value) in headers {
                    request.extend(format!("\r\n{name}: ").into_bytes());
                    request.extend(value);
                }
                request.extend(b"\r\n\r\n");
                request
            }),
            addr,
        );
    });
    redirect.stop().await;
}
