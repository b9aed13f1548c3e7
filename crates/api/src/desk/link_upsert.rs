//! A link by the sender's own id: made if it is not there, changed if it differs, left alone if it does not.

use chrono::{DateTime, Utc};

use model::LinkId;
use store::links::{self, Link};
use store::{AsyncConnection as _, Connection, domains};

use super::entity_tag::check_match;
use super::link_body::{NewLink, Wanted};
use super::links::{count_for, insert, is_uncounted, notify, save, vanished};
use super::{link_rules, now};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// How often it is begun again when others make or change the link at the same moment.
const TRIES_MAX: usize = 5;

/// What became of a link.
pub enum Upserted {
    /// It was made.
    Created(Link),
    /// It was there; now it is as wanted.
    Kept(Link),
}

enum Outcome {
    Created(Link),
    Changed(Link),
    Unchanged(Link),
    /// It is not what it was when it was looked at.
    Overtaken,
}

/// A link as it was before it was locked, and its clicks if they were counted.
struct Seen<'a> {
    link: &'a Link,
    counted: Option<i32>,
}

/// Makes the link with this external id, or makes it be as `new` says: what `new` leaves out gets its default. A link that
/// is so already is not touched. Slug, domain and kind stay as they were made.
///
/// # Errors
/// When it is archived, has another slug, domain, kind or revision, or `new` breaks a rule.
pub async fn upsert(
    shared: &Shared,
    caller: &Caller,
    external_id: String,
    if_match: Option<&str>,
    new: NewLink,
) -> Result<Upserted, ApiError> {
    let mut wanted = new.into_wanted();
    if wanted.options.labels.external_id.as_ref().is_some_and(|given| *given != external_id) {
        return Err(ApiError::field("/external_id", "invalid", "must be that of the address, or left out"));
    }
    wanted.options.labels.external_id = Some(external_id);
    for _ in 0..TRIES_MAX {
        let existing = look(shared, caller, &wanted).await?;
        if let Some(typed) = &wanted.password {
            let kept = existing.as_ref().and_then(|link| link.options.password.clone());
            wanted.options.password = Some(shared.link_passwords.hash_unless_kept(typed, kept).await?);
        }
        let now = now();
        let mut conn = shared.pool.get().await?;
        let counted = match wanted.options.max_clicks {
            Some(_) => count_for(&mut conn, caller, existing.clone()).await?,
            None => None,
        };
        let outcome = conn
            .transaction::<_, ApiError, _>(async |conn| match &existing {
                Some(existing) => {
                    let seen = Seen { link: existing, counted };
                    change(shared, conn, caller, seen, if_match, &wanted, now).await
                }
                None => make(shared, conn, caller, if_match, &wanted, now).await,
            })
            .await?;
        drop(conn);
        match outcome {
            Outcome::Created(link) => {
                notify(shared, caller, &link).await;
                return Ok(Upserted::Created(link));
            }
            Outcome::Changed(link) => {
                notify(shared, caller, &link).await;
                return Ok(Upserted::Kept(link));
            }
            Outcome::Unchanged(link) => return Ok(Upserted::Kept(link)),
            Outcome::Overtaken => {}
        }
    }
    Err(ApiError::Busy("others keep changing this link: try again"))
}

/// The link as it is now, locked by nobody: a password takes its time.
async fn look(shared: &Shared, caller: &Caller, wanted: &Wanted) -> Result<Option<Link>, ApiError> {
    let external_id = wanted.options.labels.external_id.as_deref().unwrap_or_default();
    let mut conn = shared.pool.get().await?;
    match links::find_by_external_id(&mut conn, caller.workspace_id, external_id).await? {
        Some(id) => Ok(links::find(&mut conn, caller.workspace_id, id).await?),
        None => Ok(None),
    }
}

async fn make(
    shared: &Shared,
    conn: &mut Connection,
    caller: &Caller,
    if_match: Option<&str>,
    wanted: &Wanted,
    now: DateTime<Utc>,
) -> Result<Outcome, ApiError> {
    if let Some(given) = if_match {
        let current = "none: there is no such link".to_owned();
        return Err(ApiError::PreconditionFailed { given: given.to_owned(), current });
    }
    link_rules::check_one(shared, conn, caller.workspace_id, None, &wanted.options).await?;
    let made = insert(conn, caller, LinkId::generate_at(now), wanted, now).await?;
    Ok(made.map_or(Outcome::Overtaken, Outcome::Created))
}

async fn change(
    shared: &Shared,
    conn: &mut Connection,
    caller: &Caller,
    seen: Seen<'_>,
    if_match: Option<&str>,
    wanted: &Wanted,
    now: DateTime<Utc>,
) -> Result<Outcome, ApiError> {
    let Seen { link: existing, counted } = seen;
    if !links::lock(conn, caller.workspace_id, existing.id).await? {
        return Err(archived());
    }
    let link = links::find(conn, caller.workspace_id, existing.id).await?.ok_or_else(vanished)?;
    let is_other = link.options.labels.external_id != wanted.options.labels.external_id;
    let is_password_other = wanted.password.is_some() && link.options.password != existing.options.password;
    if is_other || is_password_other {
        return Ok(Outcome::Overtaken);
    }
    check_match(if_match, link.revision)?;
    check_fixed(conn, caller, &link, wanted).await?;
    let mut options = wanted.options.clone();
    options.kind = link.options.kind;
    if options == link.options {
        return Ok(Outcome::Unchanged(link));
    }
    if is_uncounted(&link, &options, counted) {
        return Ok(Outcome::Overtaken);
    }
    save(shared, conn, caller, &link, options, counted, now).await.map(Outcome::Changed)
}

/// Refuses a request that names another slug, domain or kind than the link has.
async fn check_fixed(
    conn: &mut Connection,
    caller: &Caller,
    link: &Link,
    wanted: &Wanted,
) -> Result<(), ApiError> {
    let differs = |pointer, noun: &str, has: &dyn std::fmt::Display| ApiError::Conflict {
        code: "link_differs",
        pointer: Some(pointer),
        detail: format!("the link with this external id has the {noun} `{has}`, which never changes"),
    };
    if let Some(typed) = &wanted.slug {
        let domain = match typed.is_folded() {
            true => None,
            // how it compares is certain: it has this link
            false => domains::find_by_host(conn, caller.workspace_id, &link.host).await?,
        };
        if *typed.of(domain.map(|domain| domain.slug_case).unwrap_or_default()) != link.slug {
            return Err(differs("/slug", "slug", &link.slug));
        }
    }
    if wanted.domain.as_ref().is_some_and(|domain| *domain != link.host) {
        return Err(differs("/domain", "domain", &link.host));
    }
    if wanted.kind.is_some_and(|kind| kind != link.options.kind) {
        return Err(differs("/kind", "kind", &link.options.kind.as_str()));
    }
    Ok(())
}

fn archived() -> ApiError {
    ApiError::Conflict {
        code: "link_archived",
        pointer: None,
        detail:
            "the link with this external id was archived, and leads nowhere for good: use another external id"
                .to_owned(),
    }
}
