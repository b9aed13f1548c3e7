//! Who changed what: one row for each change that a person or a key made.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use model::{AuditId, WorkspaceId};

use crate::parse::earliest;
use crate::schema::audit;
use crate::{Connection, QueryResult};

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its id.
    pub id: AuditId,
    /// Who did it: the id of an API key or a person, or a program's name.
    pub actor: String,
    /// What was done: `endpoint.created`, `secret.revealed`, ….
    pub action: String,
    /// To what: an id.
    pub subject: String,
    /// What else is worth knowing; never a secret.
    pub details: Value,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// Which entries are asked for.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of what this one did.
    pub actor: Option<String>,
    /// That this was done, `link.updated`, or something to this kind of thing, `link`.
    pub action: Option<String>,
    /// About this.
    pub subject: Option<String>,
    /// From this moment on.
    pub since: Option<DateTime<Utc>>,
    /// Before this moment.
    pub until: Option<DateTime<Utc>>,
}

/// Writes an entry. Belongs into the transaction of the change it tells of.
pub async fn insert(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    actor: &str,
    action: &str,
    subject: &str,
    details: Value,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    diesel::insert_into(audit::table)
        .values((
            audit::id.eq(AuditId::generate_at(now).uuid()),
            audit::workspace_id.eq(workspace_id.uuid()),
            audit::actor.eq(actor),
            audit::action.eq(action),
            audit::subject.eq(subject),
            audit::details.eq(details),
            audit::created_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// The newest entries that the filter lets through, or those older than `before`; at most `limit`.
pub async fn list(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    filter: &AuditFilter,
    before: Option<AuditId>,
    limit: i64,
) -> QueryResult<Vec<Entry>> {
    type Row = (Uuid, String, String, String, Value, DateTime<Utc>);
    let mut query = audit::table
        .filter(audit::workspace_id.eq(workspace_id.uuid()))
        .order(audit::id.desc())
        .limit(limit)
        .select((audit::id, audit::actor, audit::action, audit::subject, audit::details, audit::created_at))
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(audit::id.lt(before.uuid()));
    }
    if let Some(actor) = &filter.actor {
        query = query.filter(audit::actor.eq(actor));
    }
    match &filter.action {
        Some(action) if action.contains('.') => query = query.filter(audit::action.eq(action)),
        // as the index has it
        Some(kind) => {
            let of_kind = sql::<Bool>("split_part(audit.action, '.', 1) = ").bind::<Text, _>(kind.as_str());
            query = query.filter(of_kind);
        }
        None => {}
    }
    if let Some(subject) = &filter.subject {
        query = query.filter(audit::subject.eq(subject));
    }
    if let Some(since) = filter.since {
        query = query.filter(audit::id.ge(earliest(since)));
    }
    if let Some(until) = filter.until {
        query = query.filter(audit::id.lt(earliest(until)));
    }
    let rows: Vec<Row> = query.load(conn).await?;
    let read = |(id, actor, action, subject, details, created_at): Row| Entry {
        id: AuditId::from_uuid(id),
        actor,
        action,
        subject,
        details,
        created_at,
    };
    Ok(rows.into_iter().map(read).collect())
}
