//! Tracked links: make, find, change, put away.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde_json::json;

use bus::{Changed, Table};
use model::{DomainId, Host, LinkId, Slug, SlugCase, TypedSlug};
use store::link_import::NewLink as Row;
use store::links::{self, Insertion, Link, LinkFilter, LinkOptions};
use store::{AsyncConnection as _, Connection, domains};

use super::domain_proof::check_verified;
use super::entity_tag::check_match;
use super::idempotency::{Done, IdempotencyKey, Once, gone};
use super::link_body::{NewLink, Wanted};
use super::link_change::LinkChange;
use super::link_rules;
use super::{Change, announce, begin_search, now};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::page::PageRequest;

/// How often a generated slug is drawn again when it is taken; one in 2.6e13 is, for each link there is.
pub(super) const SLUG_DRAWS_MAX: usize = 5;

/// What a search is told that looks at more links than it has time for.
const TOO_BROAD: &str = "takes too long: narrow the search with `campaign_id`, `tag` or `external_id`";

/// Makes a link; with a key that came before, tells of the one that it made, as it is now.
///
/// # Errors
/// When the key came with another request, the slug or the external id is taken, the domain is not the workspace's, or the URL would be a
/// loop.
pub async fn create(
    shared: &Shared,
    caller: &Caller,
    new: NewLink,
    key: Option<&IdempotencyKey>,
) -> Result<Done<Link>, ApiError> {
    let mut wanted = new.into_wanted();
    if let Some(typed) = &wanted.password {
        wanted.options.password = Some(shared.link_passwords.hash(typed).await?);
    }
    let now = now();
    let mut conn = shared.pool.get().await?;
    let id = LinkId::generate_at(now);
    let once = Once::new(caller, key, "link.create", now);
    let done = conn
        .transaction::<_, ApiError, _>(async |conn| {
            if let Some(before) = once.claim(conn).await? {
                let link = links::find(conn, caller.workspace_id, LinkId::from_uuid(before)).await?;
                return link.map(Done::Before).ok_or_else(gone);
            }
            link_rules::check_one(shared, conn, caller.workspace_id, None, &wanted.options).await?;
            let link = insert(conn, caller, id, &wanted, now).await?.ok_or_else(external_id_taken)?;
            once.made(conn, id.uuid()).await?;
            Ok(Done::Now(link))
        })
        .await?;
    drop(conn);
    if let Done::Now(link) = &done {
        notify(shared, caller, link).await;
    }
    Ok(done)
}

/// Makes a link that keeps to the rules, and announces it; `None` when its external id is taken.
pub(super) async fn insert(
    conn: &mut Connection,
    caller: &Caller,
    id: LinkId,
    wanted: &Wanted,
    now: DateTime<Utc>,
) -> Result<Option<Link>, ApiError> {
    let domain = match &wanted.domain {
        Some(host) => {
            let domain = domains::find_by_host(conn, caller.workspace_id, host).await?;
            let domain = domain.ok_or_else(|| foreign_domain(host))?;
            check_verified("/domain", &domain)?;
            domain
        }
        None => domains::default(conn, caller.workspace_id).await?.ok_or_else(no_domain)?,
    };
    let chosen = match &wanted.slug {
        Some(typed) => {
            let cases = cases_for(conn, [(typed, domain.id)]).await?;
            Some(typed.of(cases.get(&domain.id).copied().unwrap_or_default()).clone())
        }
        None => None,
    };
    let options = &wanted.options;
    let created_by = caller.actor();
    let mut draws = 0;
    loop {
        let slug = chosen.clone().unwrap_or_else(|| Slug::generate(options.kind));
        let new = Row { id, domain_id: domain.id, slug: &slug, options, created_by: &created_by };
        match links::insert(conn, caller.workspace_id, &new, now).await? {
            Insertion::Inserted => break,
            Insertion::ExternalIdTaken => return Ok(None),
            Insertion::SlugTaken if chosen.is_none() && draws < SLUG_DRAWS_MAX => draws += 1,
            Insertion::SlugTaken => return Err(slug_taken(&slug, &domain.host)),
        }
    }
    let link = links::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
    announce(conn, change(caller, now, "link.created", &link)).await?;
    Ok(Some(link))
}

/// How the domains of these slugs compare them, where that makes a difference; it stays so until the transaction ends.
pub(super) async fn cases_for<'a>(
    conn: &mut Connection,
    slugs: impl IntoIterator<Item = (&'a TypedSlug, DomainId)>,
) -> Result<HashMap<DomainId, SlugCase>, ApiError> {
    let mixed = slugs.into_iter().filter(|(typed, _)| !typed.is_folded());
    let domain_ids: HashSet<DomainId> = mixed.map(|(_, domain_id)| domain_id).collect();
    if domain_ids.is_empty() {
        return Ok(HashMap::new());
    }
    let domain_ids: Vec<DomainId> = domain_ids.into_iter().collect();
    Ok(domains::hold_slug_case(conn, &domain_ids).await?)
}

/// The workspace's link with this id, archived or not.
///
/// # Errors
/// When there is none.
pub async fn find(shared: &Shared, caller: &Caller, id: LinkId) -> Result<Link, ApiError> {
    let mut conn = shared.pool.get().await?;
    links::find(&mut conn, caller.workspace_id, id).await?.ok_or(ApiError::NotFound("link"))
}

/// One page of the workspace's links and one row more.
///
/// # Errors
/// When the database is away, it takes too long, or the workspace searches as much as it may at once.
pub async fn list(
    shared: &Shared,
    caller: &Caller,
    filter: &LinkFilter,
    page: &PageRequest<LinkId>,
) -> Result<Vec<Link>, ApiError> {
    let _running = filter.looks_through().then(|| begin_search(shared, caller)).transpose()?;
    list_for_export(shared, caller, filter, page).await
}

/// The same for an export, of which a workspace runs few at once anyway.
///
/// # Errors
/// When the database is away, or it takes too long.
pub async fn list_for_export(
    shared: &Shared,
    caller: &Caller,
    filter: &LinkFilter,
    page: &PageRequest<LinkId>,
) -> Result<Vec<Link>, ApiError> {
    let mut conn = shared.pool.get().await?;
    let begun_at = Instant::now();
    let found = links::list(&mut conn, caller.workspace_id, filter, page.before, page.rows()).await;
    found.map_err(|error| match store::is_out_of_time(&error, begun_at.elapsed(), links::LIST_TIME_MAX) {
        true if filter.text.is_some() => ApiError::field("?q", "too_broad", TOO_BROAD),
        true if filter.state.is_some() => ApiError::field("?state", "too_broad", TOO_BROAD),
        true if filter.host.is_some() => ApiError::field("?domain", "too_broad", TOO_BROAD),
        true => ApiError::Busy("listing links takes too long at the moment: try again"),
        false => error.into(),
    })
}

/// Changes a link; its revision counts up.
///
/// # Errors
/// When it is not there, has another revision, or the change breaks a rule.
pub async fn update(
    shared: &Shared,
    caller: &Caller,
    id: LinkId,
    if_match: Option<&str>,
    mut wanted: LinkChange,
) -> Result<Link, ApiError> {
    let password = match wanted.password.take() {
        Some(Some(typed)) => Some(Some(shared.link_passwords.hash(&typed).await?)),
        Some(None) => Some(None),
        None => None,
    };
    let now = now();
    let mut conn = shared.pool.get().await?;
    let counted = if wanted.limits_clicks() {
        let link = links::find(&mut conn, caller.workspace_id, id).await?;
        count_for(&mut conn, caller, link).await?
    } else {
        None
    };
    let link = conn
        .transaction::<_, ApiError, _>(async |conn| {
            if !links::lock(conn, caller.workspace_id, id).await? {
                return Err(ApiError::NotFound("link"));
            }
            let link = links::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
            check_match(if_match, link.revision)?;
            let mut options = link.options.clone();
            wanted.apply(&mut options);
            if let Some(password) = password {
                options.password = password;
            }
            if is_uncounted(&link, &options, counted) {
                return Err(ApiError::Busy("others are changing this link: try again"));
            }
            save(shared, conn, caller, &link, options, counted, now).await
        })
        .await?;
    drop(conn);
    notify(shared, caller, &link).await;
    Ok(link)
}

/// The clicks of a link that has no most of them yet, before it gets one: while they are counted, nobody waits.
pub(super) async fn count_for(
    conn: &mut Connection,
    caller: &Caller,
    link: Option<Link>,
) -> Result<Option<i32>, ApiError> {
    let Some(link) = link.filter(|link| link.options.max_clicks.is_none()) else { return Ok(None) };
    let begun_at = Instant::now();
    let counted = links::count_clicks(conn, caller.workspace_id, link.id).await;
    counted.map(Some).map_err(|error| {
        match store::is_out_of_time(&error, begun_at.elapsed(), links::COUNT_TIME_MAX) {
            true => ApiError::Busy("counting the clicks that the link has had takes too long: try again"),
            false => error.into(),
        }
    })
}

/// Whether a link is to get a most of clicks, and those that it has had were not counted.
pub(super) fn is_uncounted(link: &Link, options: &LinkOptions, counted: Option<i32>) -> bool {
    link.options.max_clicks.is_none() && options.max_clicks.is_some() && counted.is_none()
}

/// Saves a link that is locked with these options, if they keep to the rules, and announces it. `counted` is what
/// [`count_for`] said of it.
pub(super) async fn save(
    shared: &Shared,
    conn: &mut Connection,
    caller: &Caller,
    link: &Link,
    options: LinkOptions,
    counted: Option<i32>,
    now: DateTime<Utc>,
) -> Result<Link, ApiError> {
    link_rules::check_one(shared, conn, caller.workspace_id, Some(&link.options), &options).await?;
    if let Some(external_id) = &options.labels.external_id {
        let holder = links::find_by_external_id(conn, caller.workspace_id, external_id).await?;
        if holder.is_some_and(|holder| holder != link.id) {
            return Err(external_id_taken());
        }
    }
    // someone else may have taken the external id since it was looked up
    links::update(conn, caller.workspace_id, link.id, &options, now)
        .await
        .map_err(|error| if store::is_taken(&error) { external_id_taken() } else { error.into() })?;
    if options.max_clicks != link.options.max_clicks {
        // one that has a most already is counted all the time
        let counted = counted.filter(|_| link.options.max_clicks.is_none());
        links::recount(conn, caller.workspace_id, link.id, counted, now).await?;
    }
    let link = links::find(conn, caller.workspace_id, link.id).await?.ok_or_else(vanished)?;
    announce(conn, change(caller, now, "link.updated", &link)).await?;
    Ok(link)
}

/// Puts a link away; its slug is never given out again.
///
/// # Errors
/// When it is not there, or has another revision.
pub async fn archive(
    shared: &Shared,
    caller: &Caller,
    id: LinkId,
    if_match: Option<&str>,
) -> Result<(), ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    let link = conn
        .transaction::<_, ApiError, _>(async |conn| {
            if !links::lock(conn, caller.workspace_id, id).await? {
                return Err(ApiError::NotFound("link"));
            }
            let link = links::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
            check_match(if_match, link.revision)?;
            links::archive(conn, caller.workspace_id, id, now).await?;
            announce(conn, change(caller, now, "link.archived", &link)).await?;
            Ok(link)
        })
        .await?;
    drop(conn);
    notify(shared, caller, &link).await;
    Ok(())
}

/// The URL that is sent to people: under `links.public_url` if that has the link's host, else under its host alone.
pub fn tracked_url(shared: &Shared, link: &Link) -> String {
    tracked_url_of(shared, &link.host, &link.slug)
}

pub(super) fn tracked_url_of(shared: &Shared, host: &Host, slug: &Slug) -> String {
    let public_url = &shared.public_url;
    let mut url = public_url.clone();
    let path = if public_url.host_str() == Some(host.as_str()) {
        format!("{}/{slug}", public_url.path().trim_end_matches('/'))
    } else {
        let is_moved = url.set_host(Some(host.as_str())).is_ok() && url.set_port(None).is_ok();
        debug_assert!(is_moved, "a host is one");
        format!("/{slug}")
    };
    url.set_path(&path);
    url.into()
}

fn change<'a>(caller: &'a Caller, now: DateTime<Utc>, action: &'a str, link: &Link) -> Change<'a> {
    let details = json!({
        "domain": link.host,
        "slug": link.slug,
        "original_url": link.options.original_url,
        "revision": link.revision,
        "enabled": link.options.enabled,
    });
    Change { caller, now, action, subject: link.id.to_string(), details }
}

pub(super) async fn notify(shared: &Shared, caller: &Caller, link: &Link) {
    let keys = vec![format!("{}/{}", link.host, link.slug)];
    shared.bus.notify(&Changed { table: Table::Links, workspace_id: caller.workspace_id, keys }).await;
}

pub(super) fn no_domain() -> ApiError {
    ApiError::Conflict {
        code: "no_domain",
        pointer: None,
        detail: "the workspace has no domain yet: add one with POST /v1/domains".to_owned(),
    }
}

pub(super) fn foreign_domain(host: &Host) -> ApiError {
    ApiError::field("/domain", "invalid", format!("`{host}` is not a domain of this workspace"))
}

pub(super) fn slug_taken(slug: &Slug, host: &Host) -> ApiError {
    ApiError::Conflict {
        code: "slug_taken",
        pointer: Some("/slug"),
        detail: format!("`{slug}` is in use under {host}, or was"),
    }
}

pub(super) fn external_id_taken() -> ApiError {
    ApiError::Conflict {
        code: "external_id_taken",
        pointer: Some("/external_id"),
        detail: "another link of this workspace has this external id".to_owned(),
    }
}

pub(super) fn vanished() -> ApiError {
    ApiError::Internal(anyhow::anyhow!("a row that is locked by this transaction was not found"))
}
