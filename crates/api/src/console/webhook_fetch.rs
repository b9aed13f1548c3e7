//! A webhook whose program fetches its events: the choice in the form, and what is there for it, on its page.

use chrono::{DateTime, Utc};

use store::endpoints::{DeliveryMode, Endpoint};
use store::pulled::Offered;

use super::view::{When, when};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::desk::pull;
use crate::error::ApiError;

/// Ways to get events, and what they are in words.
pub const WAYS: [(&str, &str); 2] = [
    (DeliveryMode::Push.as_str(), "They are sent to its URL"),
    (DeliveryMode::Pull.as_str(), "It fetches them: nothing is sent"),
];

/// What is there to be fetched.
pub struct FetchText {
    /// How much, in words.
    pub there: String,
    /// When the first of it came.
    pub oldest: Option<When>,
    /// When the last of it came.
    pub newest: Option<When>,
}

impl FetchText {
    fn of(offered: Offered, now: DateTime<Utc>) -> Self {
        let more = if offered.seen < pull::COUNTED_MAX { "" } else { "at least " };
        Self {
            there: match offered.offered {
                0 if more.is_empty() => "Nothing".to_owned(),
                0 => format!("Nothing among its newest {} deliveries", pull::COUNTED_MAX),
                1 => format!("{more}1 event"),
                count => format!("{more}{count} events"),
            },
            oldest: offered.oldest_at.filter(|_| more.is_empty()).map(|at| when(at, now)),
            newest: offered.newest_at.map(|at| when(at, now)),
        }
    }
}

/// What is there for an endpoint that fetches its events, for who may see deliveries.
pub async fn fetch_text(
    shared: &Shared,
    caller: &Caller,
    endpoint: &Endpoint,
    now: DateTime<Utc>,
) -> Result<Option<FetchText>, ApiError> {
    if !endpoint.options.is_pulled() || !caller.may(Scope::DeliveriesRead) {
        return Ok(None);
    }
    let offered = pull::offered(shared, caller, endpoint.id).await?;
    Ok(Some(FetchText::of(offered, now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_counted_to_its_end_is_told_as_such() {
        let now = Utc::now();
        let told = |seen, offered| {
            let at = (offered > 0).then_some(now);
            FetchText::of(Offered { seen, offered, oldest_at: at, newest_at: at }, now)
        };

        assert_eq!(told(0, 0).there, "Nothing");
        assert_eq!(told(3, 1).there, "1 event");
        assert!(told(3, 2).oldest.is_some());
        let many = told(pull::COUNTED_MAX, 9000);
        assert_eq!(many.there, "at least 9000 events");
        assert!(many.oldest.is_none() && many.newest.is_some());
        assert!(told(pull::COUNTED_MAX, 0).there.starts_with("Nothing among its newest "));
    }
}
