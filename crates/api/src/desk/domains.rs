//! The domains that a workspace's links are served under.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use model::{DestinationUrl, DomainId, SlugCase};
use store::domains::{self, Domain, Recasing, Removal};
use store::{AsyncConnection as _, Connection, workspaces};

use super::domain_body::{DomainChange, NewDomain};
use super::domain_proof::{check_verified, host_taken};
use super::entity_tag::check_match;
use super::idempotency::{Done, IdempotencyKey, Once, gone};
use super::link_rules::check_loop;
use super::settings::notify;
use super::{Change, announce, limit_reached, now};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::settings::DomainVerification;

/// Bytes of the digest that stands for a domain's revision.
const DIGEST_BYTES: usize = 8;

/// The domains of the workspace, the default one first.
///
/// # Errors
/// When the database is away.
pub async fn list(shared: &Shared, caller: &Caller) -> Result<Vec<Domain>, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(domains::list(&mut conn, caller.workspace_id, shared.settings.domains_max.into()).await?)
}

/// The workspace's domain with this id.
///
/// # Errors
/// When there is none.
pub async fn find(shared: &Shared, caller: &Caller, id: DomainId) -> Result<Domain, ApiError> {
    let mut conn = shared.pool.get().await?;
    domains::find(&mut conn, caller.workspace_id, id).await?.ok_or(ApiError::NotFound("domain"))
}

/// What `If-Match` compares of a domain, whose changes are not counted: a digest of all that can be changed.
pub fn revision(domain: &Domain) -> String {
    let digest = Sha256::digest(told(domain).to_string());
    digest.iter().take(DIGEST_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// Adds a domain, which is used at once unless it takes a proof first; with a key that came before, tells of the one that it added.
///
/// # Errors
/// When the key came with another request, the host name is taken, the workspace has as many as it may have, or its fallback URL
/// would be a loop.
pub async fn add(
    shared: &Shared,
    caller: &Caller,
    new: NewDomain,
    key: Option<&IdempotencyKey>,
) -> Result<Done<Domain>, ApiError> {
    let now = now();
    let once = Once::new(caller, key, "domain.create", now);
    let mut conn = shared.pool.get().await?;
    let done = conn
        .transaction::<_, ApiError, _>(async |conn| {
            if let Some(before) = once.claim(conn).await? {
                let domain = domains::find(conn, caller.workspace_id, DomainId::from_uuid(before)).await?;
                return domain.map(Done::Before).ok_or_else(gone);
            }
            workspaces::lock(conn, caller.workspace_id).await?;
            let max = shared.settings.domains_max;
            let present = domains::list(conn, caller.workspace_id, max.into()).await?;
            if present.len() >= max as usize {
                return Err(limit_reached(max, "domains"));
            }
            let added = match shared.domain_verification {
                DomainVerification::Required => {
                    domains::claim(conn, caller.workspace_id, &new.host, now).await?
                }
                DomainVerification::Off => domains::insert(conn, caller.workspace_id, &new.host, now).await?,
            };
            let mut domain = added.ok_or_else(|| host_taken(&new.host))?;
            if new.default == Some(true) && !domain.is_default {
                check_verified("/default", &domain)?;
                domain.is_default = domains::make_default(conn, caller.workspace_id, domain.id).await?;
            }
            if new.hsts_max_age.is_some() {
                domains::set_hsts(conn, caller.workspace_id, domain.id, new.hsts_max_age).await?;
                domain.hsts_max_age = new.hsts_max_age;
            }
            if let Some(case) = new.case {
                set_case(conn, caller, &mut domain, case).await?;
            }
            set_fallback(shared, conn, caller, &mut domain, new.fallback_url).await?;
            announce(conn, Change::of(caller, now, "domain.created", domain.id, told(&domain))).await?;
            once.made(conn, domain.id.uuid()).await?;
            Ok(Done::Now(domain))
        })
        .await?;
    drop(conn);
    if let Done::Now(_) = done {
        notify(shared, caller).await;
    }
    Ok(done)
}

/// Changes a domain: whether links are made under it unless they name another, what browsers are told, whether capital
/// letters in slugs tell its links apart, and where visitors go whom no link leads anywhere.
///
/// # Errors
/// When there is none, it is not as `If-Match` says, it is to be the default one no more, its links were found in another way so
/// far, or its fallback URL would be a loop.
pub async fn change(
    shared: &Shared,
    caller: &Caller,
    id: DomainId,
    if_match: Option<&str>,
    change: DomainChange,
) -> Result<Domain, ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    let domain = conn
        .transaction::<_, ApiError, _>(async |conn| {
            workspaces::lock(conn, caller.workspace_id).await?;
            let domain = domains::find(conn, caller.workspace_id, id).await?;
            let mut domain = domain.ok_or(ApiError::NotFound("domain"))?;
            check_match(if_match, revision(&domain))?;
            let before = domain.clone();
            match change.default {
                Some(true) if !domain.is_default => {
                    check_verified("/default", &domain)?;
                    domain.is_default = domains::make_default(conn, caller.workspace_id, id).await?;
                }
                Some(false) if domain.is_default => {
                    let detail = "there is always a default domain: make another one the default instead";
                    return Err(ApiError::field("/default", "invalid", detail));
                }
                _ => {}
            }
            if let Some(max_age) = change.hsts_max_age.filter(|max_age| *max_age != domain.hsts_max_age) {
                domains::set_hsts(conn, caller.workspace_id, id, max_age).await?;
                domain.hsts_max_age = max_age;
            }
            if let Some(case) = change.case {
                set_case(conn, caller, &mut domain, case).await?;
            }
            if let Some(fallback_url) = change.fallback_url {
                set_fallback(shared, conn, caller, &mut domain, fallback_url).await?;
            }
            if domain != before {
                announce(conn, Change::of(caller, now, "domain.updated", id, told(&domain))).await?;
            }
            Ok(domain)
        })
        .await?;
    drop(conn);
    notify(shared, caller).await;
    Ok(domain)
}

async fn set_case(
    conn: &mut Connection,
    caller: &Caller,
    domain: &mut Domain,
    case: SlugCase,
) -> Result<(), ApiError> {
    match domains::set_slug_case(conn, caller.workspace_id, domain.id, case).await? {
        Recasing::Done => domain.slug_case = case,
        Recasing::NotFound => return Err(ApiError::NotFound("domain")),
        Recasing::HasLinks => {
            return Err(ApiError::Conflict {
                code: "domain_in_use",
                pointer: Some("/case"),
                detail:
                    "links are or were served under this domain: how their slugs are compared stays as it is"
                        .to_owned(),
            });
        }
    }
    Ok(())
}

/// A fallback that it has already may stay, whatever became a domain meanwhile.
async fn set_fallback(
    shared: &Shared,
    conn: &mut Connection,
    caller: &Caller,
    domain: &mut Domain,
    fallback_url: Option<DestinationUrl>,
) -> Result<(), ApiError> {
    if fallback_url == domain.fallback_url {
        return Ok(());
    }
    if let Some(url) = &fallback_url {
        check_loop(shared, conn, caller.workspace_id, "/fallback_url", url).await?;
    }
    domains::set_fallback(conn, caller.workspace_id, domain.id, fallback_url.as_ref()).await?;
    domain.fallback_url = fallback_url;
    Ok(())
}

/// Removes a domain under which no link was ever made.
///
/// # Errors
/// When there is none, it is not as `If-Match` says, links were made under it, it is the default one, or it is blocked.
pub async fn remove(
    shared: &Shared,
    caller: &Caller,
    id: DomainId,
    if_match: Option<&str>,
) -> Result<(), ApiError> {
    let now = now();
    let in_use =
        |detail: &str| ApiError::Conflict { code: "domain_in_use", pointer: None, detail: detail.to_owned() };
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        workspaces::lock(conn, caller.workspace_id).await?;
        let domain = domains::find(conn, caller.workspace_id, id).await?;
        check_match(if_match, revision(&domain.ok_or(ApiError::NotFound("domain"))?))?;
        let default = domains::default(conn, caller.workspace_id).await?;
        if default.is_some_and(|domain| domain.id == id) {
            return Err(in_use("the default domain cannot be removed: make another one the default first"));
        }
        match domains::delete(conn, caller.workspace_id, id).await? {
            Removal::Removed => {
                announce(conn, Change::of(caller, now, "domain.removed", id, json!({}))).await
            }
            Removal::NotFound => Err(ApiError::NotFound("domain")),
            Removal::HasLinks => Err(in_use("links are or were served under this domain")),
            Removal::Blocked => Err(ApiError::Conflict {
                code: "domain_blocked",
                pointer: None,
                detail: "who runs the server has blocked this domain: it cannot be removed while it is"
                    .to_owned(),
            }),
        }
    })
    .await?;
    drop(conn);
    notify(shared, caller).await;
    Ok(())
}

/// What the audit log and the outbox are told of a domain.
pub(super) fn told(domain: &Domain) -> Value {
    json!({
        "host": domain.host,
        "default": domain.is_default,
        "hsts_max_age": domain.hsts_max_age,
        "case": domain.slug_case.as_str(),
        "fallback_url": domain.fallback_url,
        "verified": domain.is_verified(),
    })
}
