//! Where an endpoint may be, asked when it is saved: by the rules of `deliver`, and of the name servers that it asks; and not where
//! the workspace serves links.

use std::net::IpAddr;

use url::Url;

use model::EndpointUrl;
use model::egress::ForbiddenDestination;
use store::domains;

use super::link_rules;
use crate::app::Shared;
use crate::at_once::Running;
use crate::auth::Caller;
use crate::error::ApiError;

/// Names that are looked up at a time, for all workspaces.
pub const LOOK_UPS_MAX: usize = 512;

/// The same for one workspace: the rest is for others when its name servers do not answer.
pub const LOOK_UPS_OF_WORKSPACE_MAX: usize = 32;

/// Refuses what `deliver` would never connect to, where someone can see it, by the same rules. A name that leads
/// nowhere now may do so later: that is a warning. A URL that is `saved` already may stay where links are served by now.
///
/// # Errors
/// When the URL, or an address that its name leads to, is forbidden, links are served there, or [`LOOK_UPS_OF_WORKSPACE_MAX`] of the
/// workspace are under way.
pub(super) async fn check_url(
    shared: &Shared,
    caller: &Caller,
    url: &EndpointUrl,
    saved: Option<&EndpointUrl>,
) -> Result<Vec<String>, ApiError> {
    check_url_at(shared, caller, url, saved, "/url", "the URL").await
}

/// The same of a URL that stands at `pointer`, and is called so.
pub(super) async fn check_url_at(
    shared: &Shared,
    caller: &Caller,
    url: &EndpointUrl,
    saved: Option<&EndpointUrl>,
    pointer: &str,
    called: &str,
) -> Result<Vec<String>, ApiError> {
    let forbidden = |error: ForbiddenDestination| ApiError::field(pointer, error.code(), error.to_string());
    shared.egress.check_url(url).map_err(forbidden)?;
    let mut warnings = Vec::new();
    if !url.is_https() {
        warnings.push(format!("{called} is not https: contents and headers can be read on the way"));
    }
    if let url::Host::Domain(name) = url.host() {
        let _running = begin_look_up(shared, caller)?;
        let lookup = (shared.ask_names)(name.to_owned());
        let addresses: Vec<IpAddr> = match tokio::time::timeout(shared.settings.resolve_timeout, lookup).await
        {
            Ok(Ok(addresses)) => addresses.iter().map(|address| address.ip()).collect(),
            _ => Vec::new(),
        };
        if addresses.is_empty() {
            warnings.push(format!("`{name}` could not be resolved just now: check the spelling"));
        }
        shared.egress.check_name(name, addresses).map_err(forbidden)?;
    }
    if saved != Some(url) && serves_links(shared, caller, url.url()).await? {
        let detail = "leads to where links are served: each webhook would be a click, and each click a webhook; name the \
                      program that is to get them";
        return Err(ApiError::field(pointer, "loop", detail));
    }
    Ok(warnings)
}

/// The right to have a name looked up.
pub(super) fn begin_look_up(shared: &Shared, caller: &Caller) -> Result<Running, ApiError> {
    let too_many =
        ApiError::Busy("as many names are being looked up as may be at a time: try again in a moment");
    shared.look_ups.begin(caller.workspace_id).map_err(|_| too_many)
}

/// Whether links are met at this URL: those of `links.public_url`, or of a domain of the workspace.
async fn serves_links(shared: &Shared, caller: &Caller, url: &Url) -> Result<bool, ApiError> {
    let Some(host) = link_rules::host(url) else { return Ok(false) };
    if link_rules::host(&shared.public_url).as_ref() == Some(&host) {
        return Ok(is_below(&shared.public_url, url));
    }
    if !may_be_a_domain(&shared.public_url, url) {
        return Ok(false);
    }
    let mut conn = shared.pool.get().await?;
    Ok(domains::is_served(&mut conn, caller.workspace_id, &host).await?)
}

/// Whether links are met at a URL on another host than that of `public_url`, if that host is a domain. One that stands for this
/// machine is a domain of whoever tried us out there, and may not be one that can be removed; other programs are met on it.
fn may_be_a_domain(public_url: &Url, url: &Url) -> bool {
    let is_this_machine = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let is_web = matches!(url.port_or_known_default(), Some(80 | 443));
    !is_this_machine && (is_web || has_its_port(public_url, url))
}

/// Whether a URL on the host of `public_url` is one of its links. Another port is another program: whoever tries us out has it on
/// the same machine.
fn is_below(public_url: &Url, url: &Url) -> bool {
    // what answers http:// mostly sends visitors on to https://
    let is_web = public_url.port().is_none() && matches!(url.port_or_known_default(), Some(80 | 443));
    let rest = url.path().strip_prefix(public_url.path().trim_end_matches('/'));
    (is_web || has_its_port(public_url, url))
        && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn has_its_port(public_url: &Url, url: &Url) -> bool {
    url.port_or_known_default() == public_url.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_beside_the_links_is_told_from_them_by_port_and_path() {
        for (public_url, url, is_link) in [
            ("https://go.example.com", "https://go.example.com/x", true),
            ("https://go.example.com", "http://go.example.com/x", true),
            ("https://go.example.com", "https://go.example.com:8443/hook", false),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", true),
            ("http://127.0.0.1:8080", "http://127.0.0.1:9000/", false),
            ("http://127.0.0.1:8080", "http://127.0.0.1/", false),
            ("https://example.com/go/", "https://example.com/go/x", true),
            ("https://example.com/go/", "https://example.com/gopher", false),
            ("https://example.com/go", "https://example.com/hook", false),
        ] {
            let parsed = |text: &str| text.parse().expect("a URL");
            assert_eq!(is_below(&parsed(public_url), &parsed(url)), is_link, "{public_url} {url}");
        }
    }

    #[test]
    fn a_program_on_this_machine_is_not_taken_for_a_domain_of_the_machines_name() {
        let public_url: Url = "https://go.example.com:8080".parse().expect("a URL");
        for (url, may_be) in [
            ("https://links.example.com/x", true),
            ("http://links.example.com/x", true),
            ("http://links.example.com:8080/x", true),
            ("http://links.example.com:9000/x", false),
            ("http://127.0.0.1/hook", false),
            ("http://127.0.0.1:8080/hook", false),
            ("http://localhost/hook", false),
            ("http://[::1]/hook", false),
            ("http://10.0.0.1/hook", true),
        ] {
            assert_eq!(may_be_a_domain(&public_url, &url.parse().expect("a URL")), may_be, "{url}");
        }
    }
}
