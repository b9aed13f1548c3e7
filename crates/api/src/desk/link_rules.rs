//! What a link has to keep to beyond its fields: rules between them, that it leads to no tracked link, to nothing that an operator
//! has blocked, and to an app only if the workspace allows it.
//!
//! A loop is looked for among the workspace's own domains and `links.public_url` only: a host name is anybody's to add, and
//! must not close what others link to. For the same reason a URL is looked at when it is set, not whenever it is saved.

use std::collections::HashSet;

use url::Url;

use model::url::AppScheme;
use model::{DestinationUrl, Host, WorkspaceId};
use store::links::LinkOptions;
use store::{Connection, destinations, domains, settings};

use super::link_fields;
use crate::app::Shared;
use crate::error::{ApiError, FieldError};

/// What the workspace has to do with the URLs that links lead to: asked once for many links.
pub struct Known {
    /// The hosts among theirs under which it serves links.
    served: HashSet<Host>,
    /// Those that an operator has blocked.
    blocked: HashSet<Host>,
    /// What they may lead to beside `https` and `http`.
    app_schemes: Vec<AppScheme>,
}

impl Known {
    /// Asks about these URLs.
    pub async fn of(
        conn: &mut Connection,
        workspace_id: WorkspaceId,
        urls: Vec<&DestinationUrl>,
    ) -> Result<Self, ApiError> {
        let (web, of_apps): (Vec<_>, Vec<_>) = urls.into_iter().partition(|url| url.is_web());
        let hosts: HashSet<Host> = web.into_iter().filter_map(|url| host(url.url())).collect();
        let hosts: Vec<Host> = hosts.into_iter().collect();
        let served = domains::served_among(conn, workspace_id, &hosts).await?;
        let blocked = destinations::blocked_among(conn, &hosts).await?;
        let app_schemes = match of_apps.is_empty() {
            true => Vec::new(),
            false => settings::find(conn, workspace_id).await?.app_schemes,
        };
        Ok(Self { served, blocked, app_schemes })
    }

    /// Refuses a URL of an app whose scheme the workspace does not allow.
    fn check_scheme(&self, pointer: &str, url: &DestinationUrl) -> Option<FieldError> {
        let scheme = url.url().scheme();
        let is_allowed = url.is_web() || self.app_schemes.iter().any(|allowed| allowed.as_str() == scheme);
        (!is_allowed).then(|| FieldError {
            pointer: pointer.to_owned(),
            code: "scheme",
            detail: format!(
                "must begin with `https://` or `http://`; `{scheme}:` is allowed once the link settings name it in \
                 `app_schemes`"
            ),
        })
    }

    /// Refuses a destination that an operator has blocked.
    fn check_blocked(&self, pointer: &str, url: &DestinationUrl) -> Option<FieldError> {
        let host = host(url.url()).filter(|host| url.is_web() && self.blocked.contains(host))?;
        Some(FieldError {
            pointer: pointer.to_owned(),
            code: "blocked_destination",
            detail: format!("leads to `{host}`, where whoever runs this server lets no link lead"),
        })
    }

    /// Refuses a destination under which links are served: it could lead back to itself.
    fn check_loop(&self, shared: &Shared, pointer: &str, url: &DestinationUrl) -> Option<FieldError> {
        let host = host(url.url()).filter(|_| url.is_web())?;
        let is_loop = match self::host(&shared.public_url) {
            Some(own) if own == host => is_served_port(&shared.public_url, url.url()),
            _ => self.served.contains(&host),
        };
        is_loop.then(|| FieldError {
            pointer: pointer.to_owned(),
            code: "loop",
            detail: "leads to a tracked link: visitors could go round in circles".to_owned(),
        })
    }
}

/// Whether the port of a URL on the host of `public_url` is one where visitors meet links.
fn is_served_port(public_url: &Url, url: &Url) -> bool {
    let port = url.port_or_known_default();
    // what answers http:// mostly sends visitors on to https://
    let is_web = matches!(port, Some(80 | 443));
    // on a machine's own name, or beside a port that was chosen, other ports are other things
    let is_shared = public_url.port().is_some() || public_url.domain().is_none_or(|name| name == "localhost");
    is_web || !is_shared || port == public_url.port_or_known_default()
}

/// The URLs that a link leads to.
pub fn urls_of(options: &LinkOptions) -> impl Iterator<Item = &DestinationUrl> {
    [Some(&options.original_url), options.expired_url.as_ref()].into_iter().flatten()
}

/// The host of a URL, as hosts are compared.
pub(super) fn host(url: &Url) -> Option<Host> {
    url.host_str().and_then(|host| host.parse().ok())
}

/// Checks a link against every rule; names all that are broken. URLs that it has already (`saved`) may stay.
///
/// # Errors
/// [`ApiError::Invalid`]
pub fn check(
    shared: &Shared,
    known: &Known,
    saved: Option<&LinkOptions>,
    options: &LinkOptions,
) -> Result<(), ApiError> {
    let LinkOptions { original_url, expired_url, utm, starts_at, expires_at, .. } = options;
    let between = link_fields::broken(Some(original_url), utm, *starts_at, *expires_at);
    let set = [
        ("/url", Some(original_url), saved.map(|saved| &saved.original_url)),
        ("/expired_url", expired_url.as_ref(), saved.and_then(|saved| saved.expired_url.as_ref())),
    ];
    let set = set.into_iter().filter(|(_, url, saved)| url != saved);
    let of_urls = set.filter_map(|(pointer, url, _)| {
        let url = url?;
        let wrong = known.check_scheme(pointer, url).or_else(|| known.check_loop(shared, pointer, url));
        wrong.or_else(|| known.check_blocked(pointer, url))
    });
    let errors: Vec<FieldError> = between.map(|(name, wrong)| wrong.of(name)).chain(of_urls).collect();
    if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(errors)) }
}

/// Checks one link against every rule. URLs that it has already (`saved`) may stay.
///
/// # Errors
/// [`ApiError::Invalid`], or when the database is away.
pub async fn check_one(
    shared: &Shared,
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    saved: Option<&LinkOptions>,
    options: &LinkOptions,
) -> Result<(), ApiError> {
    let known = Known::of(conn, workspace_id, urls_of(options).collect()).await?;
    check(shared, &known, saved, options)
}

/// Refuses a destination under which links are served, or that an operator has blocked.
///
/// # Errors
/// [`ApiError::Invalid`], or when the database is away.
pub async fn check_loop(
    shared: &Shared,
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    pointer: &str,
    url: &DestinationUrl,
) -> Result<(), ApiError> {
    let known = Known::of(conn, workspace_id, vec![url]).await?;
    let wrong = known.check_loop(shared, pointer, url).or_else(|| known.check_blocked(pointer, url));
    wrong.map_or(Ok(()), |error| Err(ApiError::Invalid(vec![error])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_met_on_the_ports_of_the_web_whatever_the_scheme() {
        let cases = [
            ("https://go.example.com", "https://go.example.com/x", true),
            ("https://go.example.com", "http://go.example.com/x", true),
            ("https://go.example.com", "http://go.example.com:443/x", true),
            ("https://go.example.com", "https://go.example.com:8443/x", true),
            ("http://go.example.com:8080", "http://go.example.com:8080/x", true),
            ("http://go.example.com:8080", "https://go.example.com/x", true),
            ("http://go.example.com:8080", "http://go.example.com:3000/x", false),
            ("http://localhost", "http://localhost:3000/x", false),
            ("http://localhost:8080", "http://localhost:8080/x", true),
            ("http://127.0.0.1", "http://127.0.0.1:3000/x", false),
            ("http://[::1]", "http://[::1]:80/x", true),
        ];
        for (public_url, url, is_served) in cases {
            let parsed = |text: &str| text.parse().expect("a URL");
            assert_eq!(is_served_port(&parsed(public_url), &parsed(url)), is_served, "{public_url} {url}");
        }
    }
}
