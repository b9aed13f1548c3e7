//! Where an endpoint may be, asked when it is saved: by the rules of `deliver`, and of the name servers that it asks.

use std::net::IpAddr;

use model::EndpointUrl;
use model::egress::ForbiddenDestination;

use crate::app::Shared;
use crate::error::ApiError;

/// Refuses what `deliver` would never connect to, where someone can see it, by the same rules. A name that leads
/// nowhere now may do so later: that is a warning.
///
/// # Errors
/// When the URL, or an address that its name leads to, is forbidden.
pub(super) async fn check_url(shared: &Shared, url: &EndpointUrl) -> Result<Vec<String>, ApiError> {
    check_url_at(shared, url, "/url", "the URL").await
}

/// The same of a URL that stands at `pointer`, and is called so.
pub(super) async fn check_url_at(
    shared: &Shared,
    url: &EndpointUrl,
    pointer: &str,
    called: &str,
) -> Result<Vec<String>, ApiError> {
    let forbidden = |error: ForbiddenDestination| ApiError::field(pointer, error.code(), error.to_string());
    shared.egress.check_url(url).map_err(forbidden)?;
    let mut warnings = Vec::new();
    if !url.is_https() {
        warnings.push(format!("{called} is not https: contents and headers can be read on the way"));
    }
    let url::Host::Domain(name) = url.host() else { return Ok(warnings) };
    let lookup = (shared.ask_names)(name.to_owned());
    let addresses: Vec<IpAddr> = match tokio::time::timeout(shared.settings.resolve_timeout, lookup).await {
        Ok(Ok(addresses)) => addresses.iter().map(|address| address.ip()).collect(),
        _ => Vec::new(),
    };
    if addresses.is_empty() {
        warnings.push(format!("`{name}` could not be resolved just now: check the spelling"));
    }
    shared.egress.check_name(name, addresses).map_err(forbidden)?;
    Ok(warnings)
}
