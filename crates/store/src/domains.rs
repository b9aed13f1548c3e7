//! Host names under which a workspace's links are served.

mod case;

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::domain_proof::{ProofFailure, ProofStatus};
use model::{DestinationUrl, DomainId, Host, SlugCase, WorkspaceId};

use crate::schema::{domains, links};
use crate::{Connection, QueryResult};

pub(crate) use case::slug_case;
pub use case::{Recasing, hold_slug_case, set_slug_case};

/// A host name of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Its id.
    pub id: DomainId,
    /// The name. Several workspaces may claim it; one has it proven.
    pub host: Host,
    /// Whether links are made under it unless they name another.
    pub is_default: bool,
    /// When it was added.
    pub created_at: DateTime<Utc>,
    /// Seconds in which browsers are to reach it over https alone; `None`: as the server is set.
    pub hsts_max_age: Option<u32>,
    /// Whether capital letters in slugs tell its links apart.
    pub slug_case: SlugCase,
    /// Where visitors go of a closed link under it that names nothing of its own, and of a slug that no link has.
    pub fallback_url: Option<DestinationUrl>,
    /// Since when an operator has all of its links blocked.
    pub blocked_at: Option<DateTime<Utc>>,
    /// What has been shown of whose it is.
    pub proof: Proof,
}

impl Domain {
    /// Whether links are served under it.
    pub fn is_verified(&self) -> bool {
        self.proof.verified_at.is_some()
    }
}

/// What has been shown of whose a domain is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// What its record has to hold.
    pub token: String,
    /// Since when it is the workspace's.
    pub verified_at: Option<DateTime<Utc>>,
    /// When its record was last looked up.
    pub checked_at: Option<DateTime<Utc>>,
    /// Why that proved nothing.
    pub failure: Option<ProofFailure>,
}

impl Proof {
    /// All of it in a word.
    pub fn status(&self) -> ProofStatus {
        match (self.verified_at, self.failure) {
            (Some(_), _) => ProofStatus::Verified,
            (None, Some(failure)) => ProofStatus::Failed(failure),
            (None, None) => ProofStatus::Pending,
        }
    }
}

/// What became of a wish to remove a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// The workspace has no such domain.
    NotFound,
    /// Links are served under it, or were: their slugs are never given out again.
    HasLinks,
    /// An operator has it blocked.
    Blocked,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = domains)]
pub(crate) struct Row {
    id: Uuid,
    host: String,
    is_default: bool,
    created_at: DateTime<Utc>,
    hsts_max_age: Option<i32>,
    slug_case: String,
    blocked_at: Option<DateTime<Utc>>,
    proof_token: String,
    verified_at: Option<DateTime<Utc>>,
    proof_checked_at: Option<DateTime<Utc>>,
    proof_failure: Option<String>,
    fallback_url: Option<String>,
}

pub(crate) fn read(row: Row) -> Domain {
    Domain {
        id: DomainId::from_uuid(row.id),
        host: Host::kept(row.host),
        is_default: row.is_default,
        created_at: row.created_at,
        // not below 0
        hsts_max_age: row.hsts_max_age.map(i32::unsigned_abs),
        slug_case: slug_case(&row.slug_case),
        // one that only a newer release can read is none here
        fallback_url: row.fallback_url.and_then(|url| url.parse().ok()),
        blocked_at: row.blocked_at,
        proof: Proof {
            token: row.proof_token,
            verified_at: row.verified_at,
            checked_at: row.proof_checked_at,
            // a word of a newer release: it was looked, and nothing was proven
            failure: row.proof_failure.map(|word| {
                let known = ProofFailure::ALL.into_iter().find(|failure| failure.as_str() == word);
                known.unwrap_or(ProofFailure::NoAnswer)
            }),
        },
    }
}

/// Adds a host name that needs no proof; `None` when it is taken, by whomever. The first one becomes the default: two at once
/// need [`workspaces::lock`](crate::workspaces::lock).
pub async fn insert(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    host: &Host,
    now: DateTime<Utc>,
) -> QueryResult<Option<Domain>> {
    let is_default = default(conn, workspace_id).await?.is_none();
    add(conn, workspace_id, host, is_default, Some(now), now).await
}

/// Adds a host name of which the workspace says that it is its own: nothing is served under it until that is
/// [proven](crate::domain_proofs). `None` when another workspace has it proven, or this one claims it already.
pub async fn claim(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    host: &Host,
    now: DateTime<Utc>,
) -> QueryResult<Option<Domain>> {
    let proven =
        domains::table.filter(domains::host.eq(host.as_str()).and(domains::verified_at.is_not_null()));
    if diesel::select(diesel::dsl::exists(proven)).get_result(conn).await? {
        return Ok(None);
    }
    add(conn, workspace_id, host, false, None, now).await
}

async fn add(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    host: &Host,
    is_default: bool,
    verified_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> QueryResult<Option<Domain>> {
    // what is blocked stays so, whoever claims it
    let others = domains::table.filter(domains::host.eq(host.as_str()));
    let blocked_at: Option<DateTime<Utc>> =
        others.select(diesel::dsl::min(domains::blocked_at)).get_result(conn).await?;
    let row: Option<Row> = diesel::insert_into(domains::table)
        .values((
            domains::id.eq(DomainId::generate_at(now).uuid()),
            domains::workspace_id.eq(workspace_id.uuid()),
            domains::host.eq(host.as_str()),
            domains::is_default.eq(is_default),
            domains::verified_at.eq(verified_at),
            domains::blocked_at.eq(blocked_at),
            domains::created_at.eq(now),
        ))
        .on_conflict_do_nothing()
        .returning(Row::as_returning())
        .get_result(conn)
        .await
        .optional()?;
    Ok(row.map(read))
}

/// All host names of a workspace, the default one first; at most `limit`.
pub async fn list(conn: &mut Connection, workspace_id: WorkspaceId, limit: i64) -> QueryResult<Vec<Domain>> {
    let rows: Vec<Row> = domains::table
        .filter(domains::workspace_id.eq(workspace_id.uuid()))
        .order((domains::is_default.desc(), domains::host))
        .limit(limit)
        .select(Row::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(read).collect())
}

/// The workspace's default domain, and those of its domains that have one of these host names.
pub async fn default_and(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    hosts: &[&Host],
) -> QueryResult<Vec<Domain>> {
    let names: Vec<&str> = hosts.iter().map(|host| host.as_str()).collect();
    let rows: Vec<Row> = domains::table
        .filter(domains::workspace_id.eq(workspace_id.uuid()))
        .filter(domains::is_default.or(domains::host.eq_any(names)))
        .select(Row::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(read).collect())
}

/// The workspace's domain with this id.
pub async fn find(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: DomainId,
) -> QueryResult<Option<Domain>> {
    let row: Option<Row> = domains::table
        .filter(domains::workspace_id.eq(workspace_id.uuid()).and(domains::id.eq(id.uuid())))
        .select(Row::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(read))
}

/// The workspace's domain with this host name.
pub async fn find_by_host(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    host: &Host,
) -> QueryResult<Option<Domain>> {
    let row: Option<Row> = domains::table
        .filter(domains::workspace_id.eq(workspace_id.uuid()).and(domains::host.eq(host.as_str())))
        .select(Row::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(read))
}

/// The domain under which links are made unless they name another.
pub async fn default(conn: &mut Connection, workspace_id: WorkspaceId) -> QueryResult<Option<Domain>> {
    let row: Option<Row> = domains::table
        .filter(domains::workspace_id.eq(workspace_id.uuid()).and(domains::is_default))
        .select(Row::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(read))
}

/// Under which of these host names the workspace serves links, or means to: a destination there could be a loop.
pub async fn served_among(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    hosts: &[Host],
) -> QueryResult<HashSet<Host>> {
    if hosts.is_empty() {
        return Ok(HashSet::new());
    }
    let names: Vec<&str> = hosts.iter().map(Host::as_str).collect();
    let served: Vec<String> = domains::table
        .filter(domains::workspace_id.eq(workspace_id.uuid()).and(domains::host.eq_any(names)))
        .select(domains::host)
        .load(conn)
        .await?;
    Ok(served.into_iter().map(Host::kept).collect())
}

/// Whether the workspace serves links under this host name: it has it, and has shown so.
pub async fn is_served(conn: &mut Connection, workspace_id: WorkspaceId, host: &Host) -> QueryResult<bool> {
    let own = domains::workspace_id.eq(workspace_id.uuid()).and(domains::host.eq(host.as_str()));
    let served = domains::table.filter(own.and(domains::verified_at.is_not_null()));
    diesel::select(diesel::dsl::exists(served)).get_result(conn).await
}

/// Makes one domain the default; `false` when the workspace has no such domain. Belongs in a transaction.
pub async fn make_default(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: DomainId,
) -> QueryResult<bool> {
    let of_workspace = domains::workspace_id.eq(workspace_id.uuid());
    let found: i64 =
        domains::table.filter(of_workspace.and(domains::id.eq(id.uuid()))).count().get_result(conn).await?;
    if found == 0 {
        return Ok(false);
    }
    diesel::update(domains::table.filter(of_workspace.and(domains::is_default)))
        .set(domains::is_default.eq(false))
        .execute(conn)
        .await?;
    diesel::update(domains::table.find(id.uuid())).set(domains::is_default.eq(true)).execute(conn).await?;
    Ok(true)
}

/// Says for how many seconds browsers are to reach a domain over https alone; `false` when the workspace has no such domain.
pub async fn set_hsts(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: DomainId,
    max_age: Option<u32>,
) -> QueryResult<bool> {
    let own =
        domains::table.filter(domains::workspace_id.eq(workspace_id.uuid()).and(domains::id.eq(id.uuid())));
    let max_age = max_age.map(|seconds| i32::try_from(seconds).unwrap_or(i32::MAX));
    let changed = diesel::update(own).set(domains::hsts_max_age.eq(max_age)).execute(conn).await?;
    Ok(changed > 0)
}

/// Says where visitors go whom no link of a domain leads anywhere; `false` when the workspace has no such domain.
pub async fn set_fallback(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: DomainId,
    fallback_url: Option<&DestinationUrl>,
) -> QueryResult<bool> {
    let own =
        domains::table.filter(domains::workspace_id.eq(workspace_id.uuid()).and(domains::id.eq(id.uuid())));
    let fallback_url = fallback_url.map(DestinationUrl::as_str);
    let changed = diesel::update(own).set(domains::fallback_url.eq(fallback_url)).execute(conn).await?;
    Ok(changed > 0)
}

/// Whether a link was ever made under a domain.
async fn has_links(conn: &mut Connection, id: DomainId) -> QueryResult<bool> {
    let of_domain = links::table.filter(links::domain_id.eq(id.uuid()));
    diesel::select(diesel::dsl::exists(of_domain)).get_result(conn).await
}

/// Removes a domain under which no link was ever made, unless it is blocked: added again, it would not be. Belongs in a
/// transaction: who makes a link under it, or blocks it, at the same moment is waited for.
pub async fn delete(conn: &mut Connection, workspace_id: WorkspaceId, id: DomainId) -> QueryResult<Removal> {
    let blocked_at: Option<Option<DateTime<Utc>>> = domains::table
        .filter(domains::workspace_id.eq(workspace_id.uuid()).and(domains::id.eq(id.uuid())))
        .select(domains::blocked_at)
        .for_update()
        .first(conn)
        .await
        .optional()?;
    match blocked_at {
        None => return Ok(Removal::NotFound),
        Some(Some(_)) => return Ok(Removal::Blocked),
        Some(None) => {}
    }
    if has_links(conn, id).await? {
        return Ok(Removal::HasLinks);
    }
    diesel::delete(domains::table.find(id.uuid())).execute(conn).await?;
    Ok(Removal::Removed)
}
