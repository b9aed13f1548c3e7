//! What can be done, whichever door it is asked through: `v1` in JSON, the console in forms.
//!
//! Each change is one transaction with its entry in the audit log and its event in the outbox; caches are told after
//! the commit, best effort: they also refresh by age.

pub mod alerts;
pub mod analytics;
pub mod click_query;
pub mod clicks;
pub mod contacts;
pub mod deliveries;
pub mod endpoint_body;
pub mod endpoint_create;
mod endpoint_url;
pub mod endpoints;
pub mod idempotency;
pub mod keys;
pub mod link_body;
pub mod link_change;
pub mod link_fields;
pub mod link_import;
pub mod link_lists;
pub mod link_rules;
pub mod link_upsert;
pub mod links;
pub mod passwords;
pub mod previews;
pub mod qr;
pub mod quarantine;
pub mod replay_body;
pub mod replay_count;
pub mod replays;
pub mod report_query;
pub mod secrets;
pub mod settings;
pub mod standing;
pub mod trace;
pub mod verdicts;

use chrono::{DateTime, SubsecRound as _, Utc};
use serde_json::{Value, json};

use store::{Connection, audit, events};

use crate::auth::Caller;
use crate::error::ApiError;

/// The clock of a request, to the millisecond: what is answered is what is stored.
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}

/// A change, as the audit log and the outbox tell of it.
struct Change<'a> {
    caller: &'a Caller,
    now: DateTime<Utc>,
    /// `link.created`.
    action: &'a str,
    /// The id of what was changed.
    subject: String,
    /// What else is worth knowing; never a secret.
    details: Value,
}

/// Writes the audit entry of a change.
async fn audit(conn: &mut Connection, change: Change<'_>) -> Result<(), ApiError> {
    let Change { caller, now, action, subject, details } = change;
    audit::insert(conn, caller.workspace_id, &caller.actor(), action, &subject, details, now).await?;
    Ok(())
}

/// Writes the audit entry of a change, and its event.
async fn announce(conn: &mut Connection, change: Change<'_>) -> Result<(), ApiError> {
    let event = json!({"id": change.subject, "actor": change.caller.actor(), "details": change.details});
    events::announce(conn, change.caller.workspace_id, change.action, event, change.now).await?;
    audit(conn, change).await
}

/// Refuses a change of something whose revision is not the one that `If-Match` names.
pub fn check_match(if_match: Option<&str>, revision: impl std::fmt::Display) -> Result<(), ApiError> {
    let current = etag(revision);
    match if_match {
        // a list is allowed (RFC 9110 section 13.1.1); weak tags never match here
        Some(given) if given.trim() != "*" && !given.split(',').any(|tag| tag.trim() == current) => {
            Err(ApiError::PreconditionFailed { given: given.to_owned(), current })
        }
        _ => Ok(()),
    }
}

/// The entity tag of a revision.
pub fn etag(revision: impl std::fmt::Display) -> String {
    format!("\"{revision}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_needs_the_revision_it_was_made_for() {
        for fits in [None, Some("*"), Some("\"3\""), Some("\"2\", \"3\"")] {
            assert!(check_match(fits, 3).is_ok(), "{fits:?}");
        }
        for stale in [Some("\"2\""), Some("3"), Some("W/\"3\""), Some("")] {
            assert!(check_match(stale, 3).is_err(), "{stale:?}");
        }
    }
}
