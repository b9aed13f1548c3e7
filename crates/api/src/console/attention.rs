//! What needs somebody's attention, and what to do about it: what is worst first.

use chrono::{DateTime, TimeDelta, Utc};

use model::EndpointId;
use model::delivery::DeliveryStatus;
use store::delivery_log::DeliveryFilter;
use store::endpoints::{Endpoint, State};

use super::PageError;
use super::view::when;
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::desk::{deliveries, domains, link_lists, quarantine, settings};
use crate::page::PageRequest;

/// How long something that was given up, or that ended, is worth a word.
const RECENT: TimeDelta = TimeDelta::days(7);

/// Entries of one kind that are counted; beyond, it says `more than`.
const COUNTED_MAX: i64 = 100;

/// Links without a destination that are named one by one.
const LINKS_NAMED: usize = 3;

/// Something to do.
pub struct Item {
    /// `bad` or `wait`.
    pub kind: &'static str,
    /// What is the matter.
    pub title: String,
    /// Why it matters.
    pub text: String,
    /// What to do: the words of a link.
    pub action: &'static str,
    /// Where it is done.
    pub href: String,
    /// What that takes.
    needs: Scope,
}

/// All there is, as far as the caller may see it.
pub async fn items(
    shared: &Shared,
    caller: &Caller,
    endpoints: &[Endpoint],
    now: DateTime<Utc>,
) -> Result<Vec<Item>, PageError> {
    let mut items: Vec<Item> = endpoints.iter().filter_map(|endpoint| of_endpoint(endpoint, now)).collect();
    if caller.may(Scope::DeliveriesRead) {
        items.extend(given_up(shared, caller, endpoints, now).await?);
    }
    if caller.may(Scope::SettingsRead) {
        items.extend(of_domains(shared, caller).await?);
    }
    if caller.may(Scope::LinksRead) && caller.may(Scope::SettingsRead) {
        items.extend(without_destination(shared, caller, now).await?);
    }
    if caller.may(Scope::Admin) {
        items.extend(put_aside(shared, caller).await?);
    }
    for item in items.iter_mut().filter(|item| !caller.may(item.needs)) {
        item.action = "Look at it";
    }
    items.sort_by_key(|item| item.kind != "bad");
    Ok(items)
}

fn of_endpoint(endpoint: &Endpoint, now: DateTime<Utc>) -> Option<Item> {
    let host = host_of(endpoint);
    let href = format!("/settings/webhooks/{}", endpoint.id);
    let health = endpoint.health.clone().unwrap_or_default();
    match endpoint.state {
        State::Disabled => {
            let reason = endpoint.state_reason.as_deref().unwrap_or("it was switched off");
            Some(Item {
                kind: "bad",
                title: format!("The webhook at {host} is disabled"),
                text: format!("Nothing is sent to it: {}.", reason.trim_end_matches('.')),
                action: "Mend and enable it",
                href,
                needs: Scope::EndpointsWrite,
            })
        }
        State::Paused => Some(Item {
            kind: "wait",
            title: format!("The webhook at {host} is paused"),
            text: "What it is owed is kept until you resume it.".to_owned(),
            action: "Look at it",
            href,
            needs: Scope::EndpointsRead,
        }),
        State::Active if health.failed > 0 => {
            let since = health.first_failure_at.map_or("lately".to_owned(), |at| when(at, now).near);
            let status = health.failed;
            let attempts = if status == 1 { "attempt" } else { "attempts" };
            Some(Item {
                kind: "bad",
                title: format!("The webhook at {host} does not take deliveries"),
                text: format!("{status} failed {attempts}, the first {since}. We keep trying."),
                action: "See what it answers",
                href,
                needs: Scope::EndpointsRead,
            })
        }
        State::Active => None,
    }
}

fn host_of(endpoint: &Endpoint) -> String {
    let text = endpoint.options.url.to_string();
    let host = url::Url::parse(&text).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.unwrap_or(text)
}

async fn given_up(
    shared: &Shared,
    caller: &Caller,
    endpoints: &[Endpoint],
    now: DateTime<Utc>,
) -> Result<Option<Item>, PageError> {
    let filter = DeliveryFilter {
        status: Some(DeliveryStatus::Dead),
        since: Some(now - RECENT),
        ..DeliveryFilter::default()
    };
    let asked = deliveries::Asked { filter, page: PageRequest::first(COUNTED_MAX) };
    let dead = deliveries::list(shared, caller, &asked).await?;
    let Some(first) = dead.first() else { return Ok(None) };
    let one: Option<EndpointId> =
        dead.iter().all(|delivery| delivery.endpoint_id == first.endpoint_id).then_some(first.endpoint_id);
    let known = one.and_then(|id| endpoints.iter().find(|endpoint| endpoint.id == id));
    let at = known.map(|endpoint| format!(" at {}", host_of(endpoint))).unwrap_or_default();
    let (count, deliveries) = counted(dead.len(), "delivery was", "deliveries were");
    Ok(Some(Item {
        kind: "bad",
        title: format!("{count} {deliveries} given up{at}"),
        text: "In the last 7 days, after every attempt failed. Once the receiver works again, replay them: nothing is lost."
            .to_owned(),
        action: "See and replay them",
        href: match one {
            Some(id) => format!("/settings/webhooks/{id}#dead"),
            None => "/settings/webhooks".to_owned(),
        },
        needs: Scope::DeliveriesWrite,
    }))
}

/// `3 links`, `1 link`, `more than 100 links`.
fn counted(number: usize, one: &'static str, many: &'static str) -> (String, &'static str) {
    match number {
        1 => ("1".to_owned(), one),
        _ if number as i64 > COUNTED_MAX => (format!("More than {COUNTED_MAX}"), many),
        _ => (number.to_string(), many),
    }
}

async fn of_domains(shared: &Shared, caller: &Caller) -> Result<Vec<Item>, PageError> {
    let domains = domains::list(shared, caller).await?;
    if domains.is_empty() {
        return Ok(vec![Item {
            kind: "bad",
            title: "There is no domain for your links".to_owned(),
            text: "Links need a host name under which they are served, such as go.example.com.".to_owned(),
            action: "Add a domain",
            href: "/settings/links".to_owned(),
            needs: Scope::SettingsWrite,
        }]);
    }
    let blocked = domains.iter().filter(|domain| domain.blocked_at.is_some()).map(|domain| Item {
        kind: "bad",
        title: format!("{} is blocked", domain.host),
        text: "Whoever runs this server has blocked it. Visitors of its links see that, and no destination."
            .to_owned(),
        action: "See your domains",
        href: "/settings/links".to_owned(),
        needs: Scope::SettingsRead,
    });
    Ok(blocked.collect())
}

async fn without_destination(
    shared: &Shared,
    caller: &Caller,
    now: DateTime<Utc>,
) -> Result<Option<Item>, PageError> {
    if settings::find(shared, caller).await?.fallback_url.is_some() {
        return Ok(None);
    }
    let ended = link_lists::ended(shared, caller, now - RECENT, COUNTED_MAX + 1).await?;
    let Some((first, _)) = ended.first() else { return Ok(None) };
    let mut names: Vec<String> = ended.iter().take(LINKS_NAMED).map(|(_, slug)| slug.to_string()).collect();
    if ended.len() > LINKS_NAMED {
        names.push("…".to_owned());
    }
    let (count, links) = counted(ended.len(), "link has ended and leads", "links have ended and lead");
    Ok(Some(Item {
        kind: "wait",
        title: format!("{count} {links} nowhere"),
        text: format!(
            "Who opens {} sees a page that says so. Name a fallback for all links, or an address for each.",
            names.join(", ")
        ),
        action: if ended.len() == 1 { "See the link" } else { "Name a fallback" },
        href: if ended.len() == 1 { format!("/links/{first}") } else { "/settings/links".to_owned() },
        needs: if ended.len() == 1 { Scope::LinksRead } else { Scope::SettingsWrite },
    }))
}

async fn put_aside(shared: &Shared, caller: &Caller) -> Result<Option<Item>, PageError> {
    let asked = quarantine::Asked { consumer: None, page: PageRequest::first(COUNTED_MAX) };
    let entries = quarantine::list(shared, caller, &asked).await?;
    let left = entries.iter().filter(|entry| entry.replayed_at.is_none()).count();
    if left == 0 {
        return Ok(None);
    }
    let (count, messages) = counted(left, "message is", "messages are");
    Ok(Some(Item {
        kind: "bad",
        title: format!("{count} {messages} in quarantine"),
        text: "They could not be processed and were put aside, so that others go on. Look at why, then publish them again."
            .to_owned(),
        action: "Open the quarantine",
        href: "/quarantine".to_owned(),
        needs: Scope::Admin,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_a_limit() {
        assert_eq!(counted(1, "link has", "links have"), ("1".to_owned(), "link has"));
        assert_eq!(counted(100, "link has", "links have"), ("100".to_owned(), "links have"));
        assert_eq!(counted(101, "link has", "links have"), ("More than 100".to_owned(), "links have"));
    }
}
