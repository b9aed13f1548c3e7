//! Whether the services that a click passes keep up, as far as the broker can tell.

use std::time::Duration;

use bus::{Bus, ConsumerName};

use super::Finding;

/// Each consumer, and what it means that messages wait for it.
const STEPS: [(ConsumerName, &str, &str); 3] = [
    (ConsumerName::Enrich, "enrich_behind", "wait to be enriched: `enrich` does not run, or is behind"),
    (ConsumerName::Record, "record_behind", "wait to be recorded: `record` does not run, or is behind"),
    (ConsumerName::Deliver, "deliver_behind", "wait to be told of: `deliver` does not run, or is behind"),
];

/// A broker that has not answered by then counts as away: somebody waits for the page.
const LIMIT: Duration = Duration::from_secs(1);

/// What waits on the streams. A finding stops only what is waited for: a busy installation always has something there.
pub async fn findings(bus: &Bus) -> Vec<Finding> {
    tokio::time::timeout(LIMIT, ask(bus)).await.unwrap_or_else(|_| vec![away()])
}

async fn ask(bus: &Bus) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (consumer, code, text) in STEPS {
        match bus.pending(consumer).await {
            Ok(0) => {}
            Ok(pending) => findings.push(Finding::stop(
                code,
                format!("{pending} messages {text}"),
                "if that number does not fall, see that the service runs: `clickwire doctor`, or its /readyz",
            )),
            Err(error) => {
                tracing::debug!(
                    error = format!("{:#}", anyhow::Error::new(error)),
                    "failed to ask for what waits"
                );
                findings.push(away());
                return findings;
            }
        }
    }
    findings
}

/// The broker does not answer.
pub fn away() -> Finding {
    Finding::stop(
        "broker_away",
        "NATS cannot be asked: clicks wait in the spool of `redirect` until it is back; none is lost",
        "see that nats-server runs and `clickwire setup` has been run: `clickwire doctor`",
    )
}
