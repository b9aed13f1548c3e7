//! Names of subscribers, served by a name server of the test: whatever it answers, nothing inside is sent to, and a
//! look-up takes bounded time. `127.0.0.2` stands for the public internet here, and `127.0.0.1` for what is inside.

use std::time::{Duration, Instant};

use model::EndpointId;
use model::delivery::{Attempt, DeliveryStatus};
use testkit::{NameAnswer, NameServer, Response, Script, Subscriber, until};

use crate::rig::{LIMIT, Rig, Running};

/// The name that is asked for.
const NAME: &str = "hooks.example";

/// What may be sent to.
const PUBLIC: &str = "127.0.0.2";

/// What may not.
const INSIDE: &str = "127.0.0.1";

/// How long a look-up may take here.
const DNS_TIMEOUT: Duration = Duration::from_millis(1500);

/// Everything that a name can lead to.
struct Net {
    rig: Rig,
    names: NameServer,
    inside: Subscriber,
    public: Subscriber,
    running: Running,
}

impl Net {
    async fn new(script: impl Fn(&str, usize) -> NameAnswer + Send + Sync + 'static) -> Self {
        // each request has a connection of its own, and so a look-up of its own
        let closes = Response::new(200).header("Connection", "close");
        let inside = Subscriber::start(Script::always(closes.clone())).await;
        let public =
            Subscriber::start_at(&format!("{PUBLIC}:{}", port(&inside)), Script::always(closes)).await;
        let (rig, names) = (Rig::new().await, NameServer::start(script).await);
        let mut settings = rig.settings();
        settings.deliver.allowed_networks =
            vec![format!("{PUBLIC}/32").parse().expect("a network"), "::1/128".parse().expect("a network")];
        settings.deliver.dns_servers = vec![names.addr()];
        settings.deliver.dns_timeout = DNS_TIMEOUT;
        let running = rig.start_with(settings).await;
        Self { rig, names, inside, public, running }
    }

    async fn endpoint(&self, name: &str) -> EndpointId {
        self.rig.endpoint(&format!("http://{name}:{}/hook", port(&self.inside))).await.0
    }

    /// The class of an attempt at a name, or its status.
    async fn outcome(&self, name: &str) -> String {
        let attempt = self.rig.attempt(self.endpoint(name).await).await;
        told(&attempt)
    }
}

fn told(attempt: &Attempt) -> String {
    match (attempt.error, attempt.status) {
        (Some(error), _) => error.as_str().to_owned(),
        (None, status) => status.expect("a status").to_string(),
    }
}

fn port(subscriber: &Subscriber) -> u16 {
    subscriber.url().parse::<model::EndpointUrl>().expect("a URL").port()
}

#[tokio::test]
async fn a_name_is_sent_to_only_if_each_of_its_addresses_may_be() {
    let net = Net::new(|name, _| match name {
        "public.example" => NameAnswer::addresses(&[PUBLIC]),
        "inside.example" => NameAnswer::addresses(&[INSIDE]),
        "mixed.example" => NameAnswer::addresses(&[PUBLIC, INSIDE]),
        "mixed-backwards.example" => NameAnswer::addresses(&[INSIDE, PUBLIC]),
        "other-family.example" => NameAnswer::addresses(&[PUBLIC, "fd00:ec2::254"]),
        "mapped.example" => NameAnswer::addresses(&[PUBLIC, "::ffff:169.254.169.254"]),
        "six-only.example" => NameAnswer::addresses(&["fd12::1"]),
        _ => NameAnswer::Unknown,
    })
    .await;

    assert_eq!(net.outcome("public.example").await, "200");
    for name in [
        "inside.example",
        "mixed.example",
        "mixed-backwards.example",
        "other-family.example",
        "mapped.example",
        "six-only.example",
    ] {
        assert_eq!(net.outcome(name).await, "blocked", "{name}");
    }

    assert_eq!((net.public.count(), net.inside.count()), (1, 0));
    net.running.stop().await;
}

#[tokio::test]
async fn a_name_with_ipv6_addresses_only_is_sent_to() {
    let net = Net::new(|_, _| NameAnswer::addresses(&["::1"])).await;
    let listener = Subscriber::start_at("[::1]:0", Script::always(Response::new(200))).await;
    let url = format!("http://{NAME}:{}/hook", port(&listener));

    let attempt = net.rig.attempt(net.rig.endpoint(&url).await.0).await;

    assert_eq!(told(&attempt), "200", "{attempt:?}");
    assert_eq!((attempt.remote_ip.as_deref(), listener.count()), (Some("::1"), 1));
    net.running.stop().await;
}

#[tokio::test]
async fn a_name_that_turns_inside_after_it_was_saved_is_refused_at_the_send() {
    let net = Net::new(|_, asked| NameAnswer::addresses(&[if asked == 0 { PUBLIC } else { INSIDE }])).await;
    let endpoint_id = net.endpoint(NAME).await;
    assert_eq!(told(&net.rig.attempt(endpoint_id).await), "200");

    net.rig.publish(&net.rig.click()).await;

    let waiting = net.rig.stand(DeliveryStatus::Pending, 1).await;
    let attempts = net.rig.attempts(&waiting[0]).await;
    assert_eq!(attempts[0].error.as_deref(), Some("blocked"), "{attempts:?}");
    assert_eq!((net.public.count(), net.inside.count()), (1, 0));
    net.running.stop().await;
}

#[tokio::test]
async fn a_name_that_alternates_never_leads_inside() {
    const SENDS: usize = 100;
    let net = Net::new(|_, asked| NameAnswer::addresses(&[[PUBLIC, INSIDE][asked % 2]])).await;
    let endpoint_id = net.endpoint(NAME).await;

    let mut outcomes = Vec::new();
    for _ in 0..SENDS {
        outcomes.push(told(&net.rig.attempt(endpoint_id).await));
    }

    assert_eq!(net.names.asked(NAME), SENDS, "each is looked up");
    let of = |outcome: &str| outcomes.iter().filter(|told| *told == outcome).count();
    assert_eq!((of("200"), of("blocked")), (SENDS / 2, SENDS / 2));
    assert_eq!((net.public.count(), net.inside.count()), (SENDS / 2, 0));
    net.running.stop().await;
}

#[tokio::test]
async fn the_end_of_a_chain_of_aliases_counts() {
    // `chain-N-END` leads over N aliases to END
    let net = Net::new(|name, _| {
        let mut parts = name.trim_end_matches(".example").splitn(3, '-');
        let (kind, left) = (parts.next().unwrap_or_default(), parts.next().unwrap_or("0"));
        let (left, end) = (left.parse::<u32>().unwrap_or_default(), parts.next().unwrap_or_default());
        match (kind, left) {
            ("circle", _) => NameAnswer::Alias("circle-0-.example".to_owned()),
            ("round", _) => NameAnswer::Hop("round-0-.example".to_owned()),
            (_, 0) if end == "public" => NameAnswer::addresses(&[PUBLIC]),
            (_, 0) => NameAnswer::addresses(&[INSIDE]),
            ("chain", left) => NameAnswer::Alias(format!("chain-{}-{end}.example", left - 1)),
            (_, left) => NameAnswer::Hop(format!("hops-{}-{end}.example", left - 1)),
        }
    })
    .await;

    for (name, outcome) in [
        ("chain-20-public.example", "200"),
        ("chain-20-inside.example", "blocked"),
        ("hops-5-public.example", "200"),
        ("hops-5-inside.example", "blocked"),
        ("hops-30-public.example", "dns"),
        ("circle-0-.example", "dns"),
        ("round-0-.example", "dns"),
    ] {
        assert_eq!(net.outcome(name).await, outcome, "{name}");
    }

    assert_eq!((net.public.count(), net.inside.count()), (2, 0));
    net.running.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_too_long_for_udp_is_asked_for_over_tcp() {
    let net = Net::new(|name, _| {
        let addresses: &[&str] = match name {
            "public.example" => &[PUBLIC],
            _ => &[PUBLIC, INSIDE],
        };
        NameAnswer::TooLong(addresses.iter().map(|address| address.parse().expect("an address")).collect())
    })
    .await;

    assert_eq!(net.outcome("public.example").await, "200");
    assert_eq!(net.outcome("mixed.example").await, "blocked");

    assert!(net.names.asked_over_tcp() >= 2);
    assert_eq!(net.inside.count(), 0);
    net.running.stop().await;
}

#[tokio::test]
async fn a_name_server_that_fails_or_is_silent_costs_bounded_time_and_the_attempt_is_recorded() {
    let net = Net::new(|name, _| match name {
        "unknown.example" => NameAnswer::Unknown,
        "failure.example" => NameAnswer::Failure,
        "nothing.example" => NameAnswer::addresses(&[]),
        "silence.example" => NameAnswer::Silence,
        "late.example" => NameAnswer::Late(DNS_TIMEOUT * 4, vec![PUBLIC.parse().expect("an address")]),
        _ => NameAnswer::Late(DNS_TIMEOUT / 10, vec![PUBLIC.parse().expect("an address")]),
    })
    .await;

    for name in ["unknown.example", "failure.example", "nothing.example", "silence.example", "late.example"] {
        let endpoint_id = net.endpoint(name).await;
        let began = Instant::now();
        let attempt = net.rig.attempt(endpoint_id).await;
        assert_eq!(told(&attempt), "dns", "{name}: {attempt:?}");
        assert!(attempt.error_detail.is_some_and(|detail| detail.contains(name)), "{name}");
        assert!(began.elapsed() < DNS_TIMEOUT * 3, "{name}: {:?}", began.elapsed());
        assert!(u128::from(attempt.duration_ms) < (DNS_TIMEOUT * 2).as_millis(), "{name}");
    }
    assert_eq!(net.outcome("slow.example").await, "200", "slow and in time");

    net.rig.publish(&net.rig.click()).await;
    let waiting = net.rig.stand(DeliveryStatus::Pending, 5).await;
    for delivery in &waiting {
        // the row of one that is silent is made before its attempt ends
        let attempts = until(LIMIT, || async {
            let attempts = net.rig.attempts(delivery).await;
            (!attempts.is_empty()).then_some(attempts)
        })
        .await;
        assert_eq!(attempts[0].error.as_deref(), Some("dns"), "{attempts:?}");
    }
    net.running.stop().await;
}
