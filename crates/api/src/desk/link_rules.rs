//! What a link has to keep to beyond its fields: rules between them, and that it leads to no tracked link.

use std::collections::HashSet;

use model::{DestinationUrl, Host};
use store::links::LinkOptions;
use store::{Connection, domains};

use super::link_fields;
use crate::app::Shared;
use crate::error::{ApiError, FieldError};

/// The hosts among those that links lead to under which links are served: asked once for many links.
pub struct ServedHosts(HashSet<Host>);

impl ServedHosts {
    /// Asks for these hosts.
    pub async fn among(conn: &mut Connection, hosts: HashSet<Host>) -> Result<Self, ApiError> {
        let hosts: Vec<Host> = hosts.into_iter().collect();
        Ok(Self(domains::served_among(conn, &hosts).await?))
    }

    /// Refuses a destination under which links are served: it could lead back to itself.
    fn check(&self, shared: &Shared, pointer: &str, url: &DestinationUrl) -> Option<FieldError> {
        let own = &shared.public_url;
        let is_public_url = url.url().host() == own.host()
            && url.url().port_or_known_default() == own.port_or_known_default();
        // where the default domain is a machine's own name, other ports of it are other things
        let is_same_host = url.url().host() == own.host();
        let is_served = !is_same_host && host(url).is_some_and(|host| self.0.contains(&host));
        (is_public_url || is_served).then(|| FieldError {
            pointer: pointer.to_owned(),
            code: "loop",
            detail: "leads to a tracked link: visitors could go round in circles".to_owned(),
        })
    }
}

/// The hosts that a link leads to.
pub fn hosts_of(options: &LinkOptions) -> impl Iterator<Item = Host> {
    let urls = [Some(&options.original_url), options.expired_url.as_ref()];
    urls.into_iter().flatten().filter_map(host)
}

fn host(url: &DestinationUrl) -> Option<Host> {
    url.url().host_str().and_then(|host| host.parse().ok())
}

/// Checks a link against every rule; names all that are broken.
///
/// # Errors
/// [`ApiError::Invalid`]
pub fn check(shared: &Shared, served: &ServedHosts, options: &LinkOptions) -> Result<(), ApiError> {
    let LinkOptions { original_url, utm, starts_at, expires_at, .. } = options;
    let between = link_fields::broken(Some(original_url), utm, *starts_at, *expires_at);
    let loops = [
        served.check(shared, "/url", original_url),
        options.expired_url.as_ref().and_then(|url| served.check(shared, "/expired_url", url)),
    ];
    let errors: Vec<FieldError> =
        between.map(|(name, wrong)| wrong.of(name)).chain(loops.into_iter().flatten()).collect();
    if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(errors)) }
}

/// Checks one link against every rule.
///
/// # Errors
/// [`ApiError::Invalid`], or when the database is away.
pub async fn check_one(
    shared: &Shared,
    conn: &mut Connection,
    options: &LinkOptions,
) -> Result<(), ApiError> {
    let served = ServedHosts::among(conn, hosts_of(options).collect()).await?;
    check(shared, &served, options)
}

/// Refuses a destination under which links are served.
///
/// # Errors
/// [`ApiError::Invalid`], or when the database is away.
pub async fn check_loop(
    shared: &Shared,
    conn: &mut Connection,
    pointer: &str,
    url: &DestinationUrl,
) -> Result<(), ApiError> {
    let served = ServedHosts::among(conn, host(url).into_iter().collect()).await?;
    served.check(shared, pointer, url).map_or(Ok(()), |error| Err(ApiError::Invalid(vec![error])))
}
