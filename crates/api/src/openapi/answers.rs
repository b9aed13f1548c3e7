//! What every answer has, said of every operation: the rate limit, the problems that any of them can come to, and examples,
//! which are answers that the API gave.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

/// Answers that were given to a tour of the API, by `METHOD /path/{id}`: a test writes them, and compares them with what is
/// answered.
static EXAMPLES: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../examples/answers.json")).expect("the examples are JSON")
});

/// A request that was made, and its answer.
pub struct Example {
    /// The address with real ids.
    pub path: &'static str,
    /// The body, as it was sent; empty: none.
    pub request: String,
    /// The status.
    pub status: u64,
    /// The body of the answer; empty: none.
    pub answer: String,
}

/// The example of an operation, if the tour got an answer that can be shown.
pub fn example(method: &str, pattern: &str) -> Option<Example> {
    let kept = EXAMPLES.get(&format!("{method} {pattern}"))?;
    Some(Example {
        path: kept["path"].as_str()?,
        request: shown(&kept["request"]),
        status: kept["status"].as_u64()?,
        answer: shown(&kept["answer"]),
    })
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => serde_json::to_string_pretty(value).expect("an example is JSON"),
    }
}

/// Completes the document.
pub fn complete(document: &mut Value) {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (pattern, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            add_problems(operation);
            add_tag(operation);
            add_limits(operation);
            add_example(operation, &format!("{} {pattern}", method.to_uppercase()));
        }
    }
}

fn add_problems(operation: &mut Value) {
    let problem = |description: &str| {
        let schema = json!({"$ref": "#/components/schemas/Problem"});
        json!({"description": description, "content": {"application/problem+json": {"schema": schema}}})
    };
    let answers = &mut operation["responses"];
    if answers["4XX"]["description"] == "" {
        answers["4XX"]["description"] = json!("Refused: the problem says why");
    }
    let after = json!({"Retry-After": header("integer", "Seconds until the next one is answered")});
    answers["429"] = problem("Too many requests");
    answers["429"]["headers"] = after.clone();
    answers["503"] = problem("Something that this needs is away for a moment");
    answers["503"]["headers"] = after;
}

/// What has a revision, or is answered with 304, has an entity tag.
fn add_tag(operation: &mut Value) {
    let parameters = operation["parameters"].as_array();
    let names_one = parameters
        .into_iter()
        .flatten()
        .any(|parameter| parameter["name"] == "If-None-Match" || parameter["name"] == "If-Match");
    let answers = operation["responses"].as_object_mut().into_iter().flatten();
    for (_, answer) in
        answers.filter(|(status, _)| names_one && ["200", "201", "304"].contains(&status.as_str()))
    {
        answer["headers"]["ETag"] = header("string", "For `If-Match` and `If-None-Match`");
    }
}

fn add_limits(operation: &mut Value) {
    for (_, answer) in operation["responses"].as_object_mut().into_iter().flatten() {
        let headers = &mut answer["headers"];
        headers["RateLimit-Limit"] = header("integer", "Requests that may be made at once");
        headers["RateLimit-Remaining"] = header("integer", "How many of them are left");
        headers["RateLimit-Reset"] = header("integer", "Seconds until all of them are");
        headers["RateLimit-Policy"] = header("string", "The limit, and the seconds in which it is refilled");
    }
}

fn header(kind: &str, description: &str) -> Value {
    json!({"schema": {"type": kind}, "description": description})
}

fn add_example(operation: &mut Value, name: &str) {
    let Some(kept) = EXAMPLES.get(name) else { return };
    set_example(&mut operation["requestBody"], &kept["request"]);
    let status = kept["status"].to_string();
    set_example(&mut operation["responses"][status], &kept["answer"]);
    // indexing has put `null` where there is no such thing
    if operation["requestBody"].is_null() {
        operation.as_object_mut().map(|operation| operation.remove("requestBody"));
    }
}

fn set_example(place: &mut Value, example: &Value) {
    let contents = place.get_mut("content").and_then(Value::as_object_mut).into_iter().flatten();
    for (_, content) in contents.filter(|_| !example.is_null()) {
        content["example"] = example.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_completed() {
        let mut document = json!({"paths": {"/v1/x/{id}": {"get": {
            "parameters": [{"name": "If-None-Match", "in": "header"}],
            "responses": {"200": {"description": "", "content": {}}, "4XX": {"description": ""}},
        }}}});

        complete(&mut document);

        let operation = &document["paths"]["/v1/x/{id}"]["get"];
        for status in ["200", "4XX", "429", "503"] {
            assert!(operation["responses"][status]["headers"]["RateLimit-Reset"].is_object(), "{status}");
        }
        assert!(operation["responses"]["200"]["headers"]["ETag"].is_object());
        assert!(operation["responses"]["429"]["headers"]["Retry-After"].is_object());
        assert!(operation.get("requestBody").is_none());
    }
}
