//! What became of a delivery, and why it is not there yet.

use chrono::{DateTime, TimeDelta, Utc};

use model::Batching;
use model::delivery::DeliveryStatus;
use model::ownership::OwnershipCheck;
use store::delivery_log::LoggedDelivery;
use store::endpoints::{Endpoint, State};
use store::lines::HoldUp;

use super::{Code, Finding, answer, moment};

/// What there is to say of a delivery. `endpoint` is `None` when it was removed; `check` is what endpoints are held to.
pub fn finding(
    delivery: &LoggedDelivery,
    endpoint: Option<&Endpoint>,
    check: OwnershipCheck,
    now: DateTime<Utc>,
) -> Finding {
    let finding = match delivery.status {
        DeliveryStatus::Delivered => accepted(delivery),
        DeliveryStatus::Offered => Finding::hint(
            Code::Offered,
            format!("{} is there to be fetched: the endpoint pulls its events", name(delivery)),
            "see that your program fetches them (`clickwire events pull` shows how), or let them be sent to it",
        ),
        DeliveryStatus::Pending if delivery.attempt_count == 0 => waiting(delivery, endpoint, check, now),
        DeliveryStatus::Pending => {
            let cause = answer::cause(delivery.last_status, delivery.last_error.as_deref());
            let next =
                delivery.next_attempt_at.map(|at| format!(", next at {}", moment(at))).unwrap_or_default();
            Finding::stop(
                cause.code,
                format!("{} waits after {}: {}{next}", name(delivery), attempts(delivery), cause.text),
                format!("{}; it is tried again by itself", cause.fix),
            )
        }
        DeliveryStatus::Dead => {
            let cause = answer::cause(delivery.last_status, delivery.last_error.as_deref());
            Finding::stop(
                Code::Dead,
                format!("{} was given up after {}: {}", name(delivery), attempts(delivery), cause.text),
                format!("{}; then send it again", cause.fix),
            )
        }
    };
    match finding.page {
        Some(_) => finding,
        None => finding.at(format!("/deliveries/{}", delivery.id)),
    }
}

/// A delivery that has failed, and that others of its endpoint wait for.
pub fn holding_up(hold_up: &HoldUp, endpoint: &Endpoint) -> Finding {
    let behind = match hold_up.link_id {
        Some(link_id) if !endpoint.options.ordering.is_strict() => format!("the clicks of {link_id}"),
        _ => "everything".to_owned(),
    };
    Finding::stop(
        Code::HeldUp,
        format!(
            "delivery {} (number {}) to {} has failed since {}, and {behind} after it waits",
            hold_up.delivery_id,
            hold_up.sequence,
            endpoint.id,
            moment(hold_up.since)
        ),
        "mend what its last attempt says and send it again; or give it up, so that the others go",
    )
    .at(format!("/deliveries/{}", hold_up.delivery_id))
}

fn name(delivery: &LoggedDelivery) -> String {
    format!("delivery {} to {}", delivery.id, delivery.endpoint_id)
}

fn attempts(delivery: &LoggedDelivery) -> String {
    match delivery.attempt_count {
        1 => "1 attempt".to_owned(),
        count => format!("{count} attempts"),
    }
}

fn accepted(delivery: &LoggedDelivery) -> Finding {
    let text = format!("{} was accepted", name(delivery));
    let body = delivery.response_body.as_deref().unwrap_or_default().trim_start();
    if body.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("<html"))
        || body.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("<!doctype"))
    {
        return Finding::hint(
            Code::HtmlAnswer,
            format!("{text}, but with a web page as its answer"),
            "perhaps a sign-in or landing page answers under that URL instead of your program: check the URL",
        );
    }
    Finding::note(Code::Delivered, text)
}

/// Whether a delivery that is due waits only until its batch is full.
fn waits_for_more(batch: Batching, due_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now <= due_at + TimeDelta::milliseconds(batch.max_wait_ms.into())
}

/// It was not tried yet: why.
fn waiting(
    delivery: &LoggedDelivery,
    endpoint: Option<&Endpoint>,
    check: OwnershipCheck,
    now: DateTime<Utc>,
) -> Finding {
    let name = name(delivery);
    let Some(endpoint) = endpoint else {
        return Finding::stop(
            Code::EndpointRemoved,
            format!("{name} waits, and its endpoint was removed"),
            "nothing: it ends by itself",
        );
    };
    match endpoint.state {
        State::Paused => Finding::stop(
            Code::Pending,
            format!("{name} waits: its endpoint is paused"),
            "resume the endpoint",
        ),
        State::Disabled => Finding::stop(
            Code::Pending,
            format!("{name} waits: its endpoint is disabled"),
            "enable the endpoint",
        ),
        State::Active => delivery
            .next_attempt_at
            .and_then(|due_at| gathering(&name, endpoint, due_at, now))
            .unwrap_or_else(|| waiting_its_turn(&name, endpoint, check)),
    }
}

/// Its endpoint is active, and it is to wait for what else comes in: evidence, or others of its batch.
fn gathering(name: &str, endpoint: &Endpoint, due_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<Finding> {
    let options = &endpoint.options;
    if due_at > now && options.settle_ms > 0 {
        return Some(Finding::stop(
            Code::Settling,
            format!(
                "{name} waits until {} for evidence that a machine clicked (settle_ms is {})",
                moment(due_at),
                options.settle_ms
            ),
            "wait; or let the webhook be told at once, and corrected later",
        ));
    }
    let batch = options.batch.filter(|batch| waits_for_more(*batch, due_at, now))?;
    Some(Finding::stop(
        Code::Pending,
        format!(
            "{name} waits for others that go in the same request (batch.max_wait_ms is {})",
            batch.max_wait_ms
        ),
        "wait; or let each event go in a request of its own",
    ))
}

/// Its endpoint is active, and nothing else is to come in: why it was not sent yet.
fn waiting_its_turn(name: &str, endpoint: &Endpoint, check: OwnershipCheck) -> Finding {
    let options = &endpoint.options;
    if endpoint.is_unproven(check) {
        return Finding::stop(
            Code::Unverified,
            format!(
                "{name} waits its turn: its endpoint gets one request a second, until it shows that it wants more"
            ),
            "verify it, on its page or with POST …/verify: your program gives a challenge back",
        );
    }
    if options.ordering.is_kept() {
        return Finding::stop(
            Code::InOrder,
            format!(
                "{name} waits its turn: the endpoint is sent to in order ({}), one after the other",
                options.ordering.mode()
            ),
            "wait; if that takes long, the page of the webhook shows what holds it up",
        )
        .at(format!("/settings/webhooks/{}", endpoint.id));
    }
    if let Some(rate) = options.rate_per_second {
        return Finding::stop(
            Code::RateLimited,
            format!("{name} waits its turn: the endpoint takes at most {rate} requests a second"),
            "wait; or raise its rate if your program bears more",
        );
    }
    if endpoint.health.as_ref().is_some_and(|health| health.failed > 0) {
        return Finding::stop(
            Code::CircuitOpen,
            format!("{name} waits: the endpoint fails, and gets little until it answers again"),
            "mend what its last attempts say; what waits is sent by itself then",
        );
    }
    Finding::stop(
        Code::NoSlot,
        format!("{name} waits for a free slot"),
        "if that takes long, your program answers slowly (max_in_flight requests at a time), or `deliver` does not run",
    )
}
