//! What people and keys did, as sentences: the audit log for people.

use std::collections::HashMap;

use serde_json::Value;

use model::{AuditId, ClickId, DeliveryId, EndpointId, KeyId, LinkId, PersonId};
use store::audit::{self, AuditFilter, Entry};
use store::{Connection, api_keys, memberships, people};

use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, Wrong, invalid, moment, text};
use crate::page::{LIMIT_MAX, PageRequest};

/// Kinds of things, as actions begin, and how people call them.
pub const KINDS: [(&str, &str); 15] = [
    ("link", "Links"),
    ("endpoint", "Webhooks"),
    ("secret", "Signing secrets"),
    ("delivery", "Deliveries"),
    ("replay", "Replays"),
    ("click", "Clicks"),
    ("contact", "Contacts"),
    ("settings", "Link settings"),
    ("domain", "Domains"),
    ("key", "API keys"),
    ("person", "People"),
    ("invitation", "Invitations"),
    ("quarantine", "Quarantine"),
    ("minting_key", "Minting keys"),
    ("workspace", "Workspace"),
];

/// What is done, and how it is told after a name.
const SENTENCES: [(&str, &str); 55] = [
    ("link.created", "made a link"),
    ("link.updated", "changed a link"),
    ("link.archived", "archived a link"),
    ("link.imported", "imported links"),
    ("link.blocked", "blocked a link"),
    ("link.unblocked", "lifted the block of a link"),
    ("endpoint.created", "added a webhook"),
    ("endpoint.updated", "changed a webhook"),
    ("endpoint.removed", "removed a webhook"),
    ("endpoint.paused", "paused a webhook"),
    ("endpoint.resumed", "resumed a webhook"),
    ("endpoint.disabled", "disabled a webhook"),
    ("endpoint.tested", "tested a webhook"),
    ("endpoint.challenged", "asked a webhook whether it wants what is sent"),
    ("endpoint.verified", "verified a webhook"),
    ("secret.revealed", "looked at the signing secret of a webhook"),
    ("secret.rotated", "gave a webhook a new signing secret"),
    ("secret.revoked", "revoked a signing secret of a webhook"),
    ("delivery.retried", "sent a delivery again"),
    ("delivery.given_up", "gave a delivery up"),
    ("replay.started", "began a replay"),
    ("replay.cancelled", "cancelled a replay"),
    ("click.verdict_overruled", "overruled the verdict on a click"),
    ("contact.erased", "erased a contact"),
    ("settings.updated", "changed the link settings"),
    ("domain.created", "added a domain"),
    ("domain.updated", "changed a domain"),
    ("domain.removed", "removed a domain"),
    ("domain.verified", "verified a domain"),
    ("domain.blocked", "blocked a domain"),
    ("domain.unblocked", "lifted the block of a domain"),
    ("key.created", "made an API key"),
    ("key.rotated", "replaced an API key"),
    ("key.revoked", "revoked an API key"),
    ("invitation.created", "invited somebody"),
    ("invitation.revoked", "took an invitation back"),
    ("invitation.accepted", "accepted an invitation"),
    ("person.role_changed", "changed somebody’s role"),
    ("person.removed", "removed somebody"),
    ("person.reset_link_made", "made a link for a new password"),
    ("person.password_reset", "set a new password with a link"),
    ("person.password_changed", "changed their password"),
    ("person.renamed", "changed their name"),
    ("person.signed_out", "ended one of their sessions"),
    ("person.signed_out_everywhere", "signed out everywhere"),
    ("quarantine.replayed", "published a message from quarantine again"),
    ("quarantine.removed", "removed a message from quarantine"),
    ("link.template_opened", "made a link a template"),
    ("link.template_closed", "closed a template"),
    ("link.recipients_denied", "denied recipients of a template"),
    ("link.recipient_allowed", "denied a recipient of a template no more"),
    ("minting_key.created", "made a minting key"),
    ("minting_key.rotated", "replaced a minting key"),
    ("minting_key.revoked", "revoked a minting key"),
    ("workspace.created", "made the workspace"),
];

/// Details that say more than the sentence, in this order.
const TELLING: [(&str, &str); 10] = [
    ("name", ""),
    ("email", ""),
    ("slug", ""),
    ("host", ""),
    ("role", "role "),
    ("before", "before: "),
    ("url", ""),
    ("links", "number: "),
    ("verdict", "verdict: "),
    ("note", ""),
];

/// Longest word that entries are looked for with, in characters.
const WORD_CHARS_MAX: usize = 100;

/// Longest detail that is shown, in characters.
const DETAIL_CHARS_MAX: usize = 200;

/// Which entries are asked for.
pub struct Asked {
    /// By whom, what, to what, when.
    pub filter: AuditFilter,
    /// Which page of them.
    pub page: PageRequest<AuditId>,
}

impl FromFields for Asked {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let filter = AuditFilter {
            actor: fields.optional("actor", text::<WORD_CHARS_MAX>),
            action: fields.optional("action", action),
            subject: fields.optional("subject", text::<WORD_CHARS_MAX>),
            since: fields.optional("since", moment),
            until: fields.optional("until", moment),
        };
        Some(Self { filter, page: PageRequest::from_fields(fields)? })
    }
}

/// `link` or `link.updated`.
fn action(value: &Value) -> Result<String, Wrong> {
    let text = text::<WORD_CHARS_MAX>(value)?;
    let is_action = text.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '.' | '_'));
    if is_action {
        Ok(text)
    } else {
        Err(invalid("must be an action like `link.updated`, or its first word"))
    }
}

/// An entry, told.
pub struct Told {
    /// The entry.
    pub entry: Entry,
    /// Who.
    pub actor: String,
    /// What they did, to be read after their name.
    pub sentence: &'static str,
    /// To what or how.
    pub details: String,
    /// Where it can be looked at.
    pub path: Option<String>,
}

/// One page of the entries, and one more.
///
/// # Errors
/// When the database is away.
pub async fn list(shared: &Shared, caller: &Caller, asked: &Asked) -> Result<Vec<Told>, ApiError> {
    let mut conn = shared.pool.get().await?;
    let (before, rows) = (asked.page.before, asked.page.rows());
    let entries = audit::list(&mut conn, caller.workspace_id, &asked.filter, before, rows).await?;
    let by: Vec<&str> = entries.iter().map(|entry| entry.actor.as_str()).collect();
    let names = names(&mut conn, caller, &by).await?;
    let told = entries.into_iter().map(|entry| Told {
        actor: actor(&entry.actor, &names),
        sentence: sentence(&entry.action),
        details: details(&entry),
        path: path(&entry.subject),
        entry,
    });
    Ok(told.collect())
}

/// Who may have done something: the people and keys of the workspace, by id and name.
///
/// # Errors
/// When the database is away.
pub async fn actors(shared: &Shared, caller: &Caller) -> Result<Vec<(String, String)>, ApiError> {
    let mut conn = shared.pool.get().await?;
    let members = memberships::list(&mut conn, caller.workspace_id, None, LIMIT_MAX).await?;
    let keys = api_keys::list(&mut conn, caller.workspace_id, None, LIMIT_MAX).await?;
    let members = members.into_iter().map(|member| (member.person.id.to_string(), member.person.name));
    let keys = keys.into_iter().map(|key| (key.id.to_string(), format!("Key {}", key.name)));
    Ok(members.chain(keys).collect())
}

/// What people call whoever did something, each by the id that the audit log has of them.
///
/// # Errors
/// When the database is away.
pub async fn named(shared: &Shared, caller: &Caller, by: &[&str]) -> Result<Vec<String>, ApiError> {
    let mut conn = shared.pool.get().await?;
    let names = names(&mut conn, caller, by).await?;
    Ok(by.iter().map(|id| actor(id, &names)).collect())
}

async fn names(
    conn: &mut Connection,
    caller: &Caller,
    by: &[&str],
) -> Result<HashMap<String, String>, ApiError> {
    let mut people_ids: Vec<PersonId> = by.iter().filter_map(|id| id.parse().ok()).collect();
    let mut key_ids: Vec<KeyId> = by.iter().filter_map(|id| id.parse().ok()).collect();
    people_ids.sort();
    people_ids.dedup();
    key_ids.sort();
    key_ids.dedup();
    let people = people::names(conn, &people_ids).await?;
    let keys = api_keys::names(conn, caller.workspace_id, &key_ids).await?;
    let people = people.into_iter().map(|(id, name)| (id.to_string(), name));
    let keys = keys.into_iter().map(|(id, name)| (id.to_string(), format!("Key {name}")));
    Ok(people.chain(keys).collect())
}

fn actor(id: &str, names: &HashMap<String, String>) -> String {
    match names.get(id) {
        Some(name) => name.clone(),
        None if id == "operator" => "Who runs the server".to_owned(),
        None => id.to_owned(),
    }
}

/// Whether there are words for an action.
pub(super) fn is_known(action: &str) -> bool {
    SENTENCES.iter().any(|(known, _)| *known == action)
}

fn sentence(action: &str) -> &'static str {
    let found = SENTENCES.iter().find(|(known, _)| *known == action);
    found.map_or("did something", |(_, sentence)| *sentence)
}

fn details(entry: &Entry) -> String {
    let shown = |(name, before): &(&str, &str)| {
        let text = match entry.details.get(*name)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        let cut: String = text.chars().take(DETAIL_CHARS_MAX).collect();
        Some(format!("{before}{cut}"))
    };
    let mut parts: Vec<String> = TELLING.iter().filter_map(shown).collect();
    if !is_known(&entry.action) {
        parts.insert(0, entry.action.clone());
    }
    parts.join(", ")
}

/// The page of a thing with this id, if it has one.
fn path(subject: &str) -> Option<String> {
    if subject.parse::<LinkId>().is_ok() {
        Some(format!("/links/{subject}"))
    } else if subject.parse::<EndpointId>().is_ok() {
        Some(format!("/settings/webhooks/{subject}"))
    } else if subject.parse::<DeliveryId>().is_ok() {
        Some(format!("/deliveries/{subject}"))
    } else if subject.parse::<ClickId>().is_ok() {
        Some(format!("/clicks/{subject}"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use chrono::Utc;
    use serde_json::json;

    fn entry(action: &str, details: Value) -> Entry {
        Entry {
            id: AuditId::generate(),
            actor: "operator".to_owned(),
            action: action.to_owned(),
            subject: PersonId::generate().to_string(),
            details,
            created_at: Utc::now(),
        }
    }

    #[test]
    fn an_entry_reads_as_a_sentence() {
        let entry = entry("person.role_changed", json!({"name": "Ada", "role": "owner", "before": "viewer"}));

        assert_eq!(sentence(&entry.action), "changed somebody’s role");
        assert_eq!(details(&entry), "Ada, role owner, before: viewer");
        assert_eq!(actor(&entry.actor, &HashMap::new()), "Who runs the server");
    }

    #[test]
    fn an_action_that_nobody_has_words_for_is_named() {
        let entry = entry("link.flown", json!({"slug": "spring", "tags": ["a"]}));

        assert_eq!(
            (sentence(&entry.action), details(&entry)),
            ("did something", "link.flown, spring".to_owned())
        );
        for action in ["endpoint.paused", "endpoint.resumed", "endpoint.disabled", "domain.verified"] {
            assert!(is_known(action), "{action}");
        }
        let has_kind = |action: &str| KINDS.iter().any(|(kind, _)| action.starts_with(&format!("{kind}.")));
        assert!(SENTENCES.iter().all(|(action, _)| has_kind(action)));
    }

    #[test]
    fn what_has_a_page_leads_there() {
        let link = LinkId::generate().to_string();

        assert_eq!(path(&link), Some(format!("/links/{link}")));
        assert_eq!(path(&PersonId::generate().to_string()), None);
        assert_eq!(path("/links/../x"), None);
    }
}
