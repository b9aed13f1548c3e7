//! `/docs`: the description for people, one page that needs neither scripts nor the internet.

use actix_web::HttpResponse;
use askama::Template;
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::Operation;

use super::answers::{Example, example};
use super::{DOCUMENT, GROUPS, operations};
use crate::auth::Scope;
use crate::console::view::html;
use crate::error::CODES;

/// One operation as it is shown.
pub struct OperationText {
    anchor: String,
    method: &'static str,
    path: String,
    summary: String,
    description: String,
    /// What a key needs for it.
    pub scope: String,
    parameters: Vec<ParameterText>,
    /// The schemas of its body and its answers.
    body: String,
    answers: Vec<AnswerText>,
    curl: String,
    example: Option<Example>,
}

struct ParameterText {
    name: String,
    place: String,
    is_required: bool,
    description: String,
}

struct AnswerText {
    status: String,
    /// The name of its schema; empty: none.
    schema: String,
    media_type: String,
}

/// A field of a schema.
struct FieldText {
    name: String,
    kind: String,
    is_required: bool,
    description: String,
}

/// A schema and what it is.
struct SchemaText {
    name: String,
    description: String,
    fields: Vec<FieldText>,
}

struct Group {
    name: &'static str,
    anchor: String,
    operations: Vec<OperationText>,
}

struct CodeText {
    code: &'static str,
    status: u16,
    text: &'static str,
}

#[derive(Template)]
#[template(path = "docs.html")]
struct Docs {
    introduction: String,
    groups: Vec<Group>,
    schemas: Vec<SchemaText>,
    codes: Vec<CodeText>,
    scopes: Vec<(&'static str, &'static str)>,
}

/// The page.
pub async fn docs() -> HttpResponse {
    let scopes = Scope::EVERY.iter().map(|scope| (scope.as_str(), scope.meaning())).collect();
    let codes = CODES.iter().map(|(code, status, text)| CodeText { code, status: *status, text });
    let introduction = DOCUMENT.info.description.clone().unwrap_or_default();
    html(&Docs { introduction, groups: groups(), schemas: schemas(), codes: codes.collect(), scopes })
}

fn groups() -> Vec<Group> {
    let group = |name: &'static str| {
        let mut texts = Vec::new();
        for (path, item) in &DOCUMENT.paths.paths {
            for (method, operation) in operations(item) {
                if operation.tags.iter().flatten().next().is_some_and(|tag| tag == name) {
                    texts.push(operation_text(method, path, operation));
                }
            }
        }
        Group { name, anchor: name.replace(' ', "-"), operations: texts }
    };
    GROUPS.iter().copied().map(group).filter(|group| !group.operations.is_empty()).collect()
}

/// An operation as it is shown.
pub fn operation_text(method: &'static str, path: &str, operation: &Operation) -> OperationText {
    let json = serde_json::to_value(operation).expect("an operation is JSON");
    let scope = json.pointer("/security/0/api_key/0").and_then(Value::as_str).unwrap_or("any key");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let parameters = json["parameters"].as_array().into_iter().flatten().map(|parameter| ParameterText {
        name: text(&parameter["name"]),
        place: text(&parameter["in"]),
        is_required: parameter["required"] == true,
        description: text(&parameter["description"]),
    });
    let body = media(&json["requestBody"]);
    let example = example(method, path);
    OperationText {
        anchor: operation.operation_id.clone().unwrap_or_default(),
        method,
        path: path.to_owned(),
        summary: operation.summary.clone().unwrap_or_default(),
        description: operation.description.clone().unwrap_or_default(),
        scope: scope.to_owned(),
        parameters: parameters.collect(),
        curl: curl(method, path, body.as_ref().map(|(media_type, _)| media_type.as_str()), example.as_ref()),
        body: body.map(|(_, schema)| schema).unwrap_or_default(),
        answers: answers(&json["responses"]),
        example,
    }
}

/// What an operation answers when all is well.
fn answers(responses: &Value) -> Vec<AnswerText> {
    let good = responses.as_object().into_iter().flatten().filter(|(status, _)| !status.starts_with('4'));
    good.map(|(status, response)| {
        let (media_type, schema) = media(response).unwrap_or_default();
        AnswerText { status: status.clone(), schema, media_type }
    })
    .collect()
}

/// The media type and the name of the schema of a body.
fn media(body: &Value) -> Option<(String, String)> {
    let (media_type, content) = body["content"].as_object()?.iter().next()?;
    let schema = content["schema"]["$ref"].as_str().and_then(|name| name.rsplit('/').next());
    Some((media_type.clone(), schema.unwrap_or_default().to_owned()))
}

fn curl(method: &str, path: &str, media_type: Option<&str>, example: Option<&Example>) -> String {
    let path = example.map_or(path, |example| example.path);
    let mut line = "curl".to_owned();
    if !matches!((method, media_type), ("GET", _) | ("POST", Some(_))) {
        line += &format!(" -X {method}");
    }
    line += " -H \"Authorization: Bearer $CLICKWIRE_KEY\"";
    if let Some(media_type) = media_type {
        let body = example.map_or("{}", |example| example.request.as_str()).replace('\'', "'\\''");
        let flag = if media_type == "application/json" { "-d" } else { "--data-binary" };
        line += &format!(" \\\n     -H \"Content-Type: {media_type}\" {flag} '{}'", body.trim_end());
    }
    line + &format!(" \\\n     \"$CLICKWIRE_URL{path}\"")
}

fn schemas() -> Vec<SchemaText> {
    let components = DOCUMENT.components.as_ref();
    let named = components.into_iter().flat_map(|components| &components.schemas);
    let text = named.filter_map(|(name, schema)| {
        let RefOr::T(schema) = schema else { return None };
        let json = serde_json::to_value(schema).expect("a schema is JSON");
        let description = json["description"].as_str().unwrap_or_default().to_owned();
        Some(SchemaText { name: name.clone(), description, fields: fields(&json) })
    });
    text.filter(|schema| !schema.fields.is_empty()).collect()
}

fn fields(schema: &Value) -> Vec<FieldText> {
    // what is made of another and more has its fields in parts
    let pieces = schema["allOf"].as_array().into_iter().flatten().chain([schema]);
    let mut fields = Vec::new();
    for piece in pieces {
        for (name, property) in piece["properties"].as_object().into_iter().flatten() {
            fields.push(FieldText {
                name: name.clone(),
                kind: kind(property),
                is_required: piece["required"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|required| required == name),
                description: property["description"].as_str().unwrap_or_default().to_owned(),
            });
        }
    }
    fields
}

fn kind(property: &Value) -> String {
    let alternatives = property["oneOf"].as_array().into_iter().flatten();
    let mut names = alternatives.chain([property]).filter_map(|one| one["$ref"].as_str()?.rsplit('/').next());
    if let Some(name) = names.next() {
        return name.to_owned();
    }
    match &property["type"] {
        Value::String(name) if name == "array" => format!("list of {}", kind(&property["items"])),
        Value::String(name) => name.clone(),
        Value::Array(kinds) => {
            let kinds: Vec<&str> = kinds.iter().filter_map(Value::as_str).collect();
            kinds.join(" or ")
        }
        _ => "any".to_owned(),
    }
}

/// Names of the fields of a schema.
#[cfg(test)]
pub fn field_names(schema: &str) -> Vec<String> {
    schemas()
        .into_iter()
        .filter(|text| text.name == schema)
        .flat_map(|text| text.fields)
        .map(|f| f.name)
        .collect()
}
