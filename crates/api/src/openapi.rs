//! The description of the API: `/openapi.json` for programs, `/docs` for people, and what to say to wrong addresses.

mod answers;
mod docs;

use std::sync::LazyLock;

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};

use crate::app::Shared;
use crate::error::ApiError;
use crate::v1::Described;

static DOCUMENT: LazyLock<OpenApi> = LazyLock::new(Described::openapi);
static JSON: LazyLock<String> = LazyLock::new(|| {
    let mut document = serde_json::to_value(&*DOCUMENT).expect("the description of the API is JSON");
    answers::complete(&mut document);
    serde_json::to_string_pretty(&document).expect("it stays JSON")
});

/// Adds the two addresses.
pub fn configure(config: &mut ServiceConfig) {
    config.route("/openapi.json", web::get().to(document)).route("/docs", web::get().to(docs::docs));
}

async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(JSON.as_str())
}

/// Answers an address below `/v1` that no route answers: 405 when it answers other methods, else 404.
pub fn no_route(request: &HttpRequest, shared: &Shared) -> HttpResponse {
    if let Err(error) = shared.limits.count_unknown(request) {
        return error.error_response();
    }
    let methods = methods_of(request.path());
    if methods.is_empty() {
        return ApiError::NoSuchRoute.error_response();
    }
    let mut response = ApiError::MethodNotAllowed.error_response();
    let allow = HeaderValue::from_str(&methods.join(", ")).expect("methods are tokens");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

fn methods_of(path: &str) -> Vec<&'static str> {
    let found = DOCUMENT.paths.paths.iter().find(|(pattern, _)| matches(pattern, path));
    found
        .map(|(_, item)| operations(item).into_iter().map(|(method, _)| method).collect())
        .unwrap_or_default()
}

/// Whether `path` has the shape of `pattern`, in which `{…}` is any one segment.
fn matches(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let fits = pattern.split('/').all(|expected| {
        segments
            .next()
            .is_some_and(|given| expected == given || (expected.starts_with('{') && !given.is_empty()))
    });
    fits && segments.next().is_none()
}

fn operations(item: &PathItem) -> Vec<(&'static str, &Operation)> {
    let all = [
        (Method::GET, &item.get),
        (Method::POST, &item.post),
        (Method::PATCH, &item.patch),
        (Method::PUT, &item.put),
        (Method::DELETE, &item.delete),
    ];
    let name = |method: &Method| match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::PUT => "PUT",
        _ => "DELETE",
    };
    all.iter().filter_map(|(method, operation)| Some((name(method), operation.as_ref()?))).collect()
}

/// The order in which `/docs` shows the groups: each tag has its place.
const GROUPS: [&str; 9] = [
    "links",
    "webhook endpoints",
    "deliveries",
    "clicks",
    "analytics",
    "settings",
    "people",
    "keys and audit",
    "quarantine",
];

#[cfg(test)]
mod tests {
    use super::docs::{field_names, operation_text};
    use super::*;
    use crate::auth::Scope;
    use crate::desk::{
        alerts, domain_body, endpoint_body, invitations, keys, link_body, link_change, people, replay_body,
        secrets, settings,
    };
    use crate::fields::{FromFields, known_fields};

    fn assert_described<T: FromFields>(schema: &str) {
        let mut described: Vec<String> = field_names(schema);
        let mut known = known_fields::<T>();
        described.sort();
        known.sort_unstable();
        assert_eq!(known, described, "{schema}");
    }

    #[test]
    fn every_body_knows_exactly_the_fields_that_are_described() {
        assert_described::<link_body::NewLink>("NewLink");
        assert_described::<link_change::LinkChange>("LinkChange");
        assert_described::<endpoint_body::NewEndpoint>("NewEndpoint");
        assert_described::<endpoint_body::EndpointChange>("EndpointChange");
        assert_described::<endpoint_body::FilterPreview>("FilterPreview");
        assert_described::<settings::SettingsChange>("SettingsChange");
        assert_described::<alerts::WorkspaceChange>("WorkspaceChange");
        assert_described::<alerts::NewAlert>("NewAlert");
        assert_described::<domain_body::NewDomain>("NewDomain");
        assert_described::<domain_body::DomainChange>("DomainChange");
        assert_described::<invitations::NewInvitation>("NewInvitation");
        assert_described::<people::PersonChange>("PersonChange");
        assert_described::<keys::NewKey>("NewKey");
        assert_described::<keys::Rotation>("Rotation");
        assert_described::<secrets::SecretRotation>("SecretRotation");
        assert_described::<replay_body::NewReplay>("NewReplay");
        assert_described::<crate::desk::templates::NewDenied>("NewDenied");
    }

    #[test]
    fn every_group_has_its_place_and_something_in_it() {
        let mut used: Vec<&str> = Vec::new();
        for item in DOCUMENT.paths.paths.values() {
            for (_, operation) in operations(item) {
                let tags: Vec<&str> = operation.tags.iter().flatten().map(String::as_str).collect();
                assert_eq!(tags.len(), 1, "{:?} stands in one group", operation.operation_id);
                used.extend(tags);
            }
        }
        for tag in &used {
            assert!(GROUPS.contains(tag), "GROUPS has no place for `{tag}`: /docs would leave it out");
        }
        for group in GROUPS {
            assert!(used.contains(&group), "nothing stands in `{group}`");
        }
    }

    #[test]
    fn every_operation_names_its_scope() {
        for (path, item) in &DOCUMENT.paths.paths {
            for (method, operation) in operations(item) {
                let scope = operation_text(method, path, operation).scope;
                let is_known = Scope::EVERY.iter().any(|known| known.as_str() == scope) || scope == "any key";
                assert!(is_known, "{method} {path}: {scope}");
            }
        }
    }

    #[test]
    fn a_wrong_method_is_told_from_a_wrong_address() {
        assert_eq!(methods_of("/v1/links/lnk_x"), ["GET", "PATCH", "DELETE"]);
        assert!(methods_of("/v1/links/").is_empty());
        assert!(methods_of("/v1/nothing").is_empty());
    }
}
