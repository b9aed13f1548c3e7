//! The description of the API: `/openapi.json` for programs, `/docs` for people, and what to say to wrong addresses.

use std::sync::LazyLock;

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};
use askama::Template;
use utoipa::OpenApi as _;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{OpenApi, RefOr, Schema};

use crate::auth::Scope;
use crate::console::view::html;
use crate::error::{ApiError, CODES};
use crate::v1::Described;

static DOCUMENT: LazyLock<OpenApi> = LazyLock::new(Described::openapi);
static JSON: LazyLock<String> =
    LazyLock::new(|| DOCUMENT.to_pretty_json().expect("the description of the API is JSON"));

/// Adds the two addresses.
pub fn configure(config: &mut ServiceConfig) {
    config.route("/openapi.json", web::get().to(document)).route("/docs", web::get().to(docs));
}

async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(JSON.as_str())
}

/// Answers an address below `/v1` that no route answers: 405 when it answers other methods, else 404.
pub fn no_route(request: &HttpRequest) -> HttpResponse {
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

/// The order in which `/docs` shows the groups.
const GROUPS: [&str; 8] = [
    "links",
    "webhook endpoints",
    "deliveries",
    "clicks",
    "analytics",
    "settings",
    "keys and audit",
    "quarantine",
];

/// One operation as `/docs` shows it.
struct OperationText {
    method: &'static str,
    path: String,
    summary: String,
    description: String,
    scope: String,
    parameters: Vec<(String, String)>,
    body: String,
}

/// Name, type and description of a field.
type FieldText = (String, String, String);

#[derive(Template)]
#[template(path = "docs.html")]
struct Docs {
    groups: Vec<(String, Vec<OperationText>)>,
    schemas: Vec<(&'static str, Vec<FieldText>)>,
    codes: &'static [(&'static str, u16, &'static str)],
    scopes: Vec<(&'static str, &'static str)>,
}

async fn docs() -> HttpResponse {
    let mut groups: Vec<(String, Vec<OperationText>)> = Vec::new();
    for (path, item) in &DOCUMENT.paths.paths {
        for (method, operation) in operations(item) {
            let group = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
            let text = operation_text(method, path, operation);
            match groups.iter_mut().find(|(name, _)| *name == group) {
                Some((_, texts)) => texts.push(text),
                None => groups.push((group, vec![text])),
            }
        }
    }
    groups.sort_by_key(|(name, _)| GROUPS.iter().position(|group| group == name));
    let bodies = [
        "NewLink",
        "LinkChange",
        "Utm",
        "NewEndpoint",
        "EndpointChange",
        "SettingsChange",
        "WorkspaceChange",
        "NewAlert",
        "NewDomain",
        "NewKey",
        "NewReplay",
    ];
    let schemas = bodies.into_iter().map(|name| (name, properties(name))).collect();
    let scopes = Scope::EVERY.iter().map(|scope| (scope.as_str(), scope.meaning())).collect();
    html(&Docs { groups, schemas, codes: &CODES, scopes })
}

fn operation_text(method: &'static str, path: &str, operation: &Operation) -> OperationText {
    let json = serde_json::to_value(operation).expect("an operation is JSON");
    let scope = json.pointer("/security/0/api_key/0").and_then(|scope| scope.as_str()).unwrap_or("any key");
    let body = ["application~1json", "application~1x-ndjson"]
        .iter()
        .find_map(|media_type| json.pointer(&format!("/requestBody/content/{media_type}/schema/$ref")))
        .and_then(|name| name.as_str());
    let parameters = json["parameters"].as_array().into_iter().flatten().map(|parameter| {
        let text = |key: &str| parameter[key].as_str().unwrap_or_default().to_owned();
        (text("name"), text("description"))
    });
    OperationText {
        method,
        path: path.to_owned(),
        summary: operation.summary.clone().unwrap_or_default(),
        description: operation.description.as_deref().unwrap_or_default().replace('`', ""),
        scope: scope.to_owned(),
        parameters: parameters.filter(|(_, description)| !description.is_empty()).collect(),
        body: body.and_then(|name| name.rsplit('/').next()).unwrap_or_default().to_owned(),
    }
}

/// Name, type and description of each field of a schema.
fn properties(schema: &str) -> Vec<FieldText> {
    let schemas = DOCUMENT.components.as_ref().map(|components| &components.schemas);
    let Some(RefOr::T(Schema::Object(object))) = schemas.and_then(|schemas| schemas.get(schema)) else {
        return Vec::new();
    };
    let field = |(name, property): (&String, _)| {
        let json = serde_json::to_value(property).expect("a schema is JSON");
        let kind = match &json["type"] {
            serde_json::Value::String(kind) => kind.clone(),
            serde_json::Value::Array(kinds) => {
                kinds.first().and_then(|k| k.as_str()).unwrap_or("object").to_owned()
            }
            _ => "object".to_owned(),
        };
        (name.clone(), kind, json["description"].as_str().unwrap_or_default().replace('`', ""))
    };
    object.properties.iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::{alerts, endpoint_body, keys, link_body, link_change, replay_body, settings};
    use crate::fields::{FromFields, known_fields};

    fn assert_described<T: FromFields>(schema: &str) {
        let mut described: Vec<String> = properties(schema).into_iter().map(|(name, ..)| name).collect();
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
        assert_described::<settings::NewDomain>("NewDomain");
        assert_described::<keys::NewKey>("NewKey");
        assert_described::<replay_body::NewReplay>("NewReplay");
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
