//! Whether the services that a click passes keep up, as far as the broker can tell.

use std::time::{Duration, Instant};

use bus::{Bus, ConsumerName};

use super::{Code, Finding};

/// Each consumer, and what it means that messages wait for it.
const STEPS: [(ConsumerName, Code, &str); 3] = [
    (ConsumerName::Enrich, Code::EnrichBehind, "wait to be enriched: `enrich` does not run, or is behind"),
    (ConsumerName::Record, Code::RecordBehind, "wait to be recorded: `record` does not run, or is behind"),
    (ConsumerName::Deliver, Code::DeliverBehind, "wait to be told of: `deliver` does not run, or is behind"),
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
    waiting.map(|((_, code, text), pending)| behind(code, text, pending, is_awaited)).collect()
}

/// How many messages wait for each consumer; `None` when that cannot be asked.
async fn ask(bus: &Bus) -> Option<[u64; STEPS.len()]> {
    let mut waiting = [0; STEPS.len()];
    for (pending, (consumer, ..)) in waiting.iter_mut().zip(STEPS) {
        match bus.pending(consumer).await {
            Ok(count) => *pending = count,
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::new(error));
                tracing::debug!(error, "failed to ask for what waits");
                return None;
            }
        }
    }
    Some(waiting)
}

fn behind(code: Code, text: &str, pending: u64, is_awaited: bool) -> Finding {
    let text = format!("{pending} messages {text}");
    let fix = "if that number does not fall, see that the service runs: `clickwire doctor`, or its /readyz";
    if is_awaited { Finding::stop(code, text, fix) } else { Finding::hint(code, text, fix) }
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
