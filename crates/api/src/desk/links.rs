//! Tracked links: make, find, change, put away.

use chrono::{DateTime, Utc};
use serde_json::json;

use bus::{Changed, Table};
use model::{DestinationUrl, Host, LinkId, Slug};
use store::links::{self, Insertion, Link, LinkFilter, LinkOptions};
use store::{AsyncConnection as _, Connection, domains};

use super::link_body::{LinkChange, NewLink};
use super::{Change, announce, check_match, now};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::page::PageRequest;

/// How often a generated slug is drawn again when it is taken; one in 2.6e13 is, for each link there is.
const SLUG_DRAWS_MAX: usize = 5;

/// Makes a link.
///
/// # Errors
/// When the slug or the external id is taken, the domain is not the workspace's, or the URL would be a loop.
pub async fn create(shared: &Shared, caller: &Caller, new: NewLink) -> Result<Link, ApiError> {
    let now = now();
    let (slug, host, options) = new.into_parts();
    let mut conn = shared.pool.get().await?;
    let link = conn
        .transaction::<_, ApiError, _>(async |conn| {
            check_destinations(shared, conn, &options).await?;
            let domain = match &host {
                Some(host) => {
                    domains::find_by_host(conn, caller.workspace_id, host).await?.ok_or_else(|| {
                        ApiError::field(
                            "/domain",
                            "invalid",
                            format!("`{host}` is not a domain of this workspace"),
                        )
                    })?
                }
                None => domains::default(conn, caller.workspace_id).await?.ok_or_else(no_domain)?,
            };
            let id = LinkId::generate_at(now);
            let mut draws = 0;
            loop {
                let drawn = slug.clone().unwrap_or_else(Slug::generate);
                match links::insert(conn, caller.workspace_id, id, domain.id, &drawn, &options, now).await? {
                    Insertion::Inserted => break,
                    Insertion::ExternalIdTaken => return Err(external_id_taken()),
                    Insertion::SlugTaken if slug.is_none() && draws < SLUG_DRAWS_MAX => draws += 1,
                    Insertion::SlugTaken => {
                        return Err(ApiError::Conflict {
                            code: "slug_taken",
                            pointer: Some("/slug"),
                            detail: format!("`{drawn}` is in use under {}, or was", domain.host),
                        });
                    }
                }
            }
            let link = links::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
            announce(conn, change(caller, now, "link.created", &link)).await?;
            Ok(link)
        })
        .await?;
    drop(conn);
    notify(shared, caller, &link).await;
    Ok(link)
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
/// When the database is away.
pub async fn list(
    shared: &Shared,
    caller: &Caller,
    filter: &LinkFilter,
    page: &PageRequest<LinkId>,
) -> Result<Vec<Link>, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(links::list(&mut conn, caller.workspace_id, filter, page.before, page.rows()).await?)
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
    wanted: LinkChange,
) -> Result<Link, ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    let link = conn
        .transaction::<_, ApiError, _>(async |conn| {
            if !links::lock(conn, caller.workspace_id, id).await? {
                return Err(ApiError::NotFound("link"));
            }
            let link = links::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
            check_match(if_match, link.revision)?;
            let mut options = link.options;
            wanted.apply(&mut options);
            if options.starts_at.zip(options.expires_at).is_some_and(|(starts, expires)| expires <= starts) {
                return Err(ApiError::field("/expires_at", "invalid", "must be later than `starts_at`"));
            }
            check_destinations(shared, conn, &options).await?;
            if let Some(external_id) = &options.labels.external_id {
                let holder = links::find_by_external_id(conn, caller.workspace_id, external_id).await?;
                if holder.is_some_and(|holder| holder != id) {
                    return Err(external_id_taken());
                }
            }
            // someone else may have taken the external id since it was looked up
            links::update(conn, caller.workspace_id, id, &options, now)
                .await
                .map_err(|error| if store::is_taken(&error) { external_id_taken() } else { error.into() })?;
            let link = links::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
            announce(conn, change(caller, now, "link.updated", &link)).await?;
            Ok(link)
        })
        .await?;
    drop(conn);
    notify(shared, caller, &link).await;
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
    let public_url = &shared.public_url;
    let mut url = public_url.clone();
    let path = if public_url.host_str() == Some(link.host.as_str()) {
        format!("{}/{}", public_url.path().trim_end_matches('/'), link.slug)
    } else {
        let is_moved = url.set_host(Some(link.host.as_str())).is_ok() && url.set_port(None).is_ok();
        debug_assert!(is_moved, "a host is one");
        format!("/{}", link.slug)
    };
    url.set_path(&path);
    url.into()
}

/// Refuses a destination under which links are served: it could lead back to itself.
pub async fn check_loop(
    shared: &Shared,
    conn: &mut Connection,
    pointer: &str,
    url: &DestinationUrl,
) -> Result<(), ApiError> {
    let own = &shared.public_url;
    let is_public_url =
        url.url().host() == own.host() && url.url().port_or_known_default() == own.port_or_known_default();
    // where the default domain is a machine's own name, other ports of it are other things
    let is_same_host = url.url().host() == own.host();
    let host: Option<Host> = url.url().host_str().and_then(|host| host.parse().ok());
    let is_served = match host {
        Some(host) if !is_same_host => domains::is_served(conn, &host).await?,
        _ => false,
    };
    if is_public_url || is_served {
        return Err(ApiError::field(
            pointer,
            "loop",
            "leads to a tracked link: visitors could go round in circles",
        ));
    }
    Ok(())
}

async fn check_destinations(
    shared: &Shared,
    conn: &mut Connection,
    options: &LinkOptions,
) -> Result<(), ApiError> {
    check_loop(shared, conn, "/url", &options.original_url).await?;
    if let Some(url) = &options.expired_url {
        check_loop(shared, conn, "/expired_url", url).await?;
    }
    Ok(())
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

async fn notify(shared: &Shared, caller: &Caller, link: &Link) {
    let keys = vec![format!("{}/{}", link.host, link.slug)];
    shared.bus.notify(&Changed { table: Table::Links, workspace_id: caller.workspace_id, keys }).await;
}

fn no_domain() -> ApiError {
    ApiError::Conflict {
        code: "no_domain",
        pointer: None,
        detail: "the workspace has no domain yet: add one with POST /v1/domains".to_owned(),
    }
}

fn external_id_taken() -> ApiError {
    ApiError::Conflict {
        code: "external_id_taken",
        pointer: Some("/external_id"),
        detail: "another link of this workspace has this external id".to_owned(),
    }
}

fn vanished() -> ApiError {
    ApiError::Internal(anyhow::anyhow!("a row that is locked by this transaction was not found"))
}
