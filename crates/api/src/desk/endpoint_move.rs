//! What was saved for the server that an endpoint is at, and is not for another to learn: whoever may change endpoints may not see
//! it, and would have it sent to a server of their own.

use model::EndpointUrl;
use store::endpoints::EndpointOptions;

use super::endpoint_body::EndpointChange;
use crate::error::{ApiError, FieldError};

/// The rule.
const OF_ANOTHER: &str =
    "was saved for another server than that of the new URL: give it again with the URL, or `null`";

/// What a URL would tell to another server than the one that it was saved for.
pub(super) struct Told {
    auth: bool,
    headers: bool,
}

impl Told {
    /// By an endpoint that is at this URL from now on, with all else as it is.
    pub(super) fn at(options: &EndpointOptions, url: &EndpointUrl) -> Self {
        let moves = !options.url.stays_at_server(url);
        Self {
            auth: moves && options.auth_sealed.is_some(),
            headers: moves && options.headers_sealed.is_some(),
        }
    }

    /// Whether there is anything.
    pub(super) const fn is_any(&self) -> bool {
        self.auth || self.headers
    }
}

/// What opens the door of one server is given anew for another.
///
/// # Errors
/// When the URL leads to another server, and the change leaves out what was saved for this one.
pub(super) fn check(options: &EndpointOptions, wanted: &EndpointChange) -> Result<(), ApiError> {
    let Some(url) = &wanted.url else { return Ok(()) };
    let told = Told::at(options, url);
    let left_out = [
        ("/auth", told.auth && wanted.auth.is_none()),
        ("/headers", told.headers && wanted.headers.is_none()),
    ];
    let errors: Vec<FieldError> = left_out
        .into_iter()
        .filter(|(_, is_left_out)| *is_left_out)
        .map(|(pointer, _)| FieldError {
            pointer: pointer.to_owned(),
            code: "invalid",
            detail: OF_ANOTHER.to_owned(),
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(errors)) }
}
