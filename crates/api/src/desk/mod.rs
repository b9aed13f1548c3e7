//! What can be done, whichever door it is asked through: `v1` in JSON, the console in forms.
//!
//! Each change is one transaction with its entry in the audit log and its event in the outbox; caches are told after
//! the commit, best effort: they also refresh by age.

pub mod account;
pub mod activity;
pub mod alerts;
pub mod analytics;
pub mod batch_body;
pub mod checkpoints;
pub mod click_query;
pub mod clicks;
pub mod contacts;
pub mod curl;
pub mod deliveries;
pub mod delivery_batches;
pub mod diagnosis;
pub mod domain_body;
pub mod domain_proof;
pub mod domains;
pub mod endpoint_auth;
pub mod endpoint_body;
pub mod endpoint_create;
mod endpoint_move;
pub mod endpoint_order;
pub mod endpoint_stats;
pub mod endpoint_url;
pub mod endpoints;
pub mod entity_tag;
pub mod idempotency;
pub mod invitations;
pub mod keys;
pub mod link_body;
pub mod link_change;
pub mod link_fields;
pub mod link_import;
pub mod link_lists;
pub mod link_rules;
pub mod link_upsert;
pub mod links;
pub mod minting_keys;
pub mod ownership;
pub mod passwords;
pub mod payload_body;
pub mod people;
pub mod person_keys;
pub mod person_password;
pub mod previews;
pub mod pull;
pub mod qr;
pub mod quarantine;
pub mod replay_body;
pub mod replay_count;
pub mod replays;
pub mod report_query;
pub mod retention;
pub mod secrets;
pub mod sent;
pub mod settings;
pub mod signature_check;
pub mod signing_keys;
pub mod standing;
pub mod templates;
pub mod test_requests;
pub mod trace;
pub mod tracking;
pub mod tryout;
pub mod verdicts;

use chrono::{DateTime, SubsecRound as _, Utc};
use serde_json::{Value, json};

use store::{Connection, audit, events};

use crate::app::Shared;
use crate::at_once::{Full, Running};
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

impl<'a> Change<'a> {
    /// A change of what has this id.
    fn of(
        caller: &'a Caller,
        now: DateTime<Utc>,
        action: &'a str,
        id: impl std::fmt::Display,
        details: Value,
    ) -> Self {
        Self { caller, now, action, subject: id.to_string(), details }
    }
}

/// Writes the audit entry of a change.
async fn audit(conn: &mut Connection, change: Change<'_>) -> Result<(), ApiError> {
    let Change { caller, now, action, subject, details } = change;
    debug_assert!(activity::is_known(action), "{action} has no sentence");
    audit::insert(conn, caller.workspace_id, &caller.actor(), action, &subject, details, now).await?;
    Ok(())
}

/// Writes the audit entry of a change, and its event.
async fn announce(conn: &mut Connection, change: Change<'_>) -> Result<(), ApiError> {
    let event = json!({"id": change.subject, "actor": change.caller.actor(), "details": change.details});
    events::announce(conn, change.caller.workspace_id, change.action, event, change.now).await?;
    audit(conn, change).await
}

/// Too many of something.
fn limit_reached(max: u32, what: &str) -> ApiError {
    ApiError::Conflict {
        code: "limit_reached",
        pointer: None,
        detail: format!("the workspace has {max} {what}, as many as it may have"),
    }
}

/// The right to look through many rows of the workspace: such a query keeps its connection to the database for long.
fn begin_search(shared: &Shared, caller: &Caller) -> Result<Running, ApiError> {
    shared.searches.begin(caller.workspace_id).map_err(|full| {
        ApiError::Busy(match full {
            Full::Everywhere => "as many searches as may be at once are under way: try again in a moment",
            Full::Workspace => {
                "the workspace has as many searches under way as it may at once: wait for one to end"
            }
        })
    })
}
