//! Whether the services that a click passes keep up, as far as the broker can tell.

use std::time::{Duration, Instant};

use bus::{Bus, ConsumerName};

use super::{Code, Finding};

/// Each consumer, the service that has it, and what is to become of the messages that wait for it.
const STEPS: [(ConsumerName, Code, &str, &str); 3] = [
    (ConsumerName::Enrich, Code::EnrichBehind, "enrich", "enriched"),
    (ConsumerName::Record, Code::RecordBehind, "record", "recorded"),
    (ConsumerName::Deliver, Code::DeliverBehind, "deliver", "told of"),
];

/// A broker that has not answered by then counts as away: somebody waits for the page.
const LIMIT: Duration = Duration::from_secs(1);

/// What waits on the streams. It stops only what is awaited: a busy installation always has something there, and what was not
/// recorded yet may be of any link.
pub async fn findings(bus: &Bus, is_awaited: bool) -> Vec<Finding> {
    if !bus.is_connected() {
        return vec![away()];
    }
    let asked_at = Instant::now();
    let pending = tokio::time::timeout(LIMIT, ask(bus)).await.ok().flatten();
    let Some(pending) = pending else {
        return vec![bus.refused_since(asked_at).map_or_else(away, |forbidden| refuses(&forbidden))];
    };
    let waiting = STEPS.into_iter().zip(pending).filter(|(_, pending)| *pending > 0);
    waiting
        .map(|((_, code, service, done), pending)| behind(code, (service, done), pending, is_awaited))
        .collect()
}

/// How many messages wait for each consumer, all asked at once; `None` when that cannot be asked.
async fn ask(bus: &Bus) -> Option<[u64; STEPS.len()]> {
    let [enrich, record, deliver] = STEPS.map(|(consumer, ..)| bus.pending(consumer));
    match tokio::try_join!(enrich, record, deliver) {
        Ok((enrich, record, deliver)) => Some([enrich, record, deliver]),
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::new(error));
            tracing::debug!(error, "failed to ask for what waits");
            None
        }
    }
}

fn behind(code: Code, (service, done): (&str, &str), pending: u64, is_awaited: bool) -> Finding {
    let fix = "if that number does not fall, see that the service runs: `clickwire doctor`, or its /readyz";
    let wait = match pending {
        1 => "1 message waits".to_owned(),
        _ => format!("{pending} messages wait"),
    };
    if is_awaited {
        let text = format!("{wait} to be {done}: `{service}` does not run, or is behind");
        return Finding::stop(code, text, fix);
    }
    let text = format!(
        "{wait} at this moment to be {done}, of whichever link: while clicks come in, some always do"
    );
    Finding::hint(code, text, fix)
}

/// The broker does not answer.
pub fn away() -> Finding {
    Finding::stop(
        Code::BrokerAway,
        "NATS cannot be asked: clicks wait in the spool of `redirect` until it is back; none is lost",
        "see that nats-server runs and `clickwire setup` has been run: `clickwire doctor`",
    )
}

fn refuses(forbidden: &bus::Forbidden) -> Finding {
    Finding::stop(
        Code::BrokerRefuses,
        format!(
            "NATS cannot be asked how far the services are: it does not let this user {}",
            forbidden.what()
        ),
        "give that user the permissions of deploy/nats/permissions.conf, and have nats-server read its settings again",
    )
}
