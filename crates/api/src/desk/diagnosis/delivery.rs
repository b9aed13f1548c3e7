//! What became of a delivery, and why it is not there yet.

use chrono::{DateTime, Utc};

use model::delivery::DeliveryStatus;
use store::delivery_log::LoggedDelivery;
use store::endpoints::{Endpoint, State};

use super::{Code, Finding, answer, moment};

/// What there is to say of a delivery. `endpoint` is `None` when it was removed.
pub fn finding(delivery: &LoggedDelivery, endpoint: Option<&Endpoint>, now: DateTime<Utc>) -> Finding {
    let finding = match delivery.status {
        DeliveryStatus::Delivered => accepted(delivery),
        DeliveryStatus::Pending if delivery.attempt_count == 0 => waiting(delivery, endpoint, now),
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
    finding.at(format!("/deliveries/{}", delivery.id))
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

/// It was not tried yet: why.
fn waiting(delivery: &LoggedDelivery, endpoint: Option<&Endpoint>, now: DateTime<Utc>) -> Finding {
    let name = name(delivery);
    let Some(endpoint) = endpoint else {
        return Finding::stop(
            Code::EndpointRemoved,
            format!("{name} waits, and its endpoint was removed"),
            "nothing: it ends by itself",
        );
    };
    let options = &endpoint.options;
    match (endpoint.state, delivery.next_attempt_at) {
        (State::Paused, _) => Finding::stop(
            Code::Pending,
            format!("{name} waits: its endpoint is paused"),
            "resume the endpoint",
        ),
        (State::Disabled, _) => Finding::stop(
            Code::Pending,
            format!("{name} waits: its endpoint is disabled"),
            "enable the endpoint",
        ),
        (State::Active, Some(at)) if at > now && options.settle_ms > 0 => Finding::stop(
            Code::Settling,
            format!(
                "{name} waits until {} for evidence that a machine clicked (settle_ms is {})",
                moment(at),
                options.settle_ms
            ),
            "wait; or let the webhook be told at once, and corrected later",
        ),
        (State::Active, _) if options.rate_per_second.is_some() => Finding::stop(
            Code::RateLimited,
            format!(
                "{name} waits its turn: the endpoint takes at most {} requests a second",
                options.rate_per_second.unwrap_or_default()
            ),
            "wait; or raise its rate if your program bears more",
        ),
        (State::Active, _) if endpoint.health.as_ref().is_some_and(|health| health.failed > 0) => {
            Finding::stop(
                Code::CircuitOpen,
                format!("{name} waits: the endpoint fails, and gets little until it answers again"),
                "mend what its last attempts say; what waits is sent by itself then",
            )
        }
        (State::Active, _) => Finding::stop(
            Code::NoSlot,
            format!("{name} waits for a free slot"),
            "if that takes long, your program answers slowly (max_in_flight requests at a time), or `deliver` does not run",
        ),
    }
}
