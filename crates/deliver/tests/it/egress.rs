//! Nobody reaches our network through a webhook: every form of an address inside, sent to for real.

use std::process::Stdio;

use model::delivery::Attempt;
use model::{EgressPolicy, EndpointUrl};
use testkit::egress::{PUBLIC_URLS, Refusal, forbidden_urls};
use testkit::{Answer, Script, Subscriber};

use crate::rig::Rig;

async fn attempt(rig: &Rig, url: &str) -> Attempt {
    let (endpoint_id, _) = rig.endpoint(url).await;
    rig.attempt(endpoint_id).await
}

#[tokio::test]
async fn no_form_of_an_address_inside_is_sent_to() {
    let rig = Rig::new().await;
    let inside = Subscriber::start(Script::always(Answer::Status(200))).await;
    let port = inside.url().parse::<EndpointUrl>().expect("a URL").port();
    let mut settings = rig.settings();
    settings.deliver.allowed_networks.clear();
    let running = rig.start_with(settings).await;

    let urls = forbidden_urls(port);
    assert!(urls.len() >= 100, "{} forms", urls.len());
    for (url, refusal) in urls {
        if refusal == Refusal::Url {
            assert!(url.parse::<EndpointUrl>().is_err(), "{url}");
            continue;
        }
        let attempt = attempt(&rig, &url).await;

        assert_eq!(attempt.error.map(|error| error.as_str()), Some("blocked"), "{url}: {attempt:?}");
        assert_eq!((attempt.status, attempt.remote_ip), (None, None), "{url}");
        let detail = attempt.error_detail.expect("a reason");
        let setting = match refusal {
            Refusal::Port => "deliver.allowed_ports",
            Refusal::Address | Refusal::Url => "deliver.allowed_networks",
        };
        assert!(detail.contains(setting), "{url}: {detail}");
    }
    assert_eq!(inside.count(), 0);
    running.stop().await;
}

#[test]
fn public_addresses_pass_the_same_rules() {
    for url in PUBLIC_URLS {
        assert_eq!(EgressPolicy::default().check_url(&url.parse().expect(url)), Ok(()), "{url}");
    }
}

#[tokio::test]
async fn only_what_the_allow_list_names_is_let_through() {
    let rig = Rig::new().await;
    let inside = Subscriber::start(Script::always(Answer::Status(200))).await;
    let running = rig.start().await;
    let with_host = |host: &str| inside.url().replace("127.0.0.1", host);

    for host in ["127.0.0.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]"] {
        let attempt = attempt(&rig, &with_host(host)).await;
        assert_eq!((attempt.status, attempt.error), (Some(200), None), "{host}");
    }
    for host in ["[::1]", "10.0.0.1", "169.254.169.254"] {
        let attempt = attempt(&rig, &with_host(host)).await;
        assert_eq!(attempt.error.map(|error| error.as_str()), Some("blocked"), "{host}");
    }
    running.stop().await;
}

#[tokio::test]
async fn where_only_https_is_allowed_the_attempt_names_the_setting() {
    let rig = Rig::new().await;
    let inside = Subscriber::start(Script::always(Answer::Status(200))).await;
    let mut settings = rig.settings();
    settings.deliver.https_only = true;
    let running = rig.start_with(settings).await;

    let attempt = attempt(&rig, &inside.url()).await;

    assert_eq!(attempt.error.map(|error| error.as_str()), Some("blocked"));
    let detail = attempt.error_detail.expect("a reason");
    assert!(detail.contains("deliver.https_only"), "{detail}");
    running.stop().await;
    assert_eq!(inside.count(), 0);
}

#[tokio::test]
async fn a_redirect_to_metadata_is_not_followed_and_its_location_is_kept() {
    let rig = Rig::new().await;
    let running = rig.start().await;
    let metadata = "http://169.254.169.254/latest/meta-data/iam";
    for status in [301, 302, 303, 307, 308] {
        let mut response = testkit::Response::new(status);
        // more headers than are kept stand before it
        for number in 0..60 {
            response = response.header(&format!("X-Padding-{number}"), "x");
        }
        let subscriber = Subscriber::start(Script::always(response.header("Location", metadata))).await;

        let attempt = attempt(&rig, &subscriber.url()).await;

        assert_eq!((attempt.status, attempt.error.map(|e| e.as_str())), (Some(status), Some("status")));
        let location = ("location".to_owned(), metadata.to_owned());
        assert!(attempt.response_headers.contains(&location), "{:?}", attempt.response_headers);
        assert_eq!(subscriber.count(), 1);
    }
    running.stop().await;
}

#[tokio::test]
async fn proxies_of_the_environment_are_ignored() {
    let rig = Rig::new().await;
    let proxy = Subscriber::start(Script::always(Answer::Status(200))).await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(200))).await;
    rig.endpoint(&subscriber.url()).await;
    let proxy_url = proxy.url();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_clickwire-deliver"));
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, &proxy_url);
    }
    command.env_remove("NO_PROXY").env_remove("no_proxy").envs(rig.environment());
    let service = command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn();
    let mut service = service.expect("the program that cargo built");

    rig.publish(&rig.click()).await;

    subscriber.received(1).await;
    assert_eq!(proxy.count(), 0);
    service.kill().await.expect("it runs");
}
