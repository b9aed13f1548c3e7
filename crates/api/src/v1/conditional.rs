//! Answers that carry an entity tag, and requests that name one (RFC 9110 sections 8.8.3 and 13.1).
//!
//! A tag is `"REVISION-DIGEST"`. `If-Match` compares the revision alone: a change is refused when someone else changed the thing,
//! not when its counters went on. `If-None-Match` compares all of it, so that 304 is said only of the very same answer.

use std::fmt::{Display, Write as _};

use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::desk::entity_tag::{DIGEST_MARK, etag, tags};

/// Bytes of an answer's digest that stand in its tag: who asks compares the few answers that they have had.
const DIGEST_BYTES: usize = 8;

/// What a header with several values is read as: no list of tags, so that it is refused.
const SEVERAL: &str = "(several headers)";

/// Answers with something that has revisions, and its tag; 304 to who has this answer.
pub fn tagged<T: Serialize>(
    request: &HttpRequest,
    status: StatusCode,
    revision: impl Display,
    view: &T,
) -> HttpResponse {
    answer(request, HttpResponse::build(status), Some(&revision.to_string()), view)
}

/// Answers with something that is never changed through `If-Match`, and a tag of it as it is now; 304 to who has this answer.
pub fn digested<T: Serialize>(request: &HttpRequest, view: &T) -> HttpResponse {
    answer(request, HttpResponse::Ok(), None, view)
}

fn answer<T: Serialize>(
    request: &HttpRequest,
    mut answer: HttpResponseBuilder,
    revision: Option<&str>,
    view: &T,
) -> HttpResponse {
    let body = serde_json::to_vec(view).expect("what is answered is JSON");
    let digest = digest(&body);
    let tag = match revision {
        Some(revision) => etag(format_args!("{revision}{DIGEST_MARK}{digest}")),
        None => etag(&digest),
    };
    if request.method() == Method::GET && is_had(request.headers(), &tag) {
        return HttpResponse::NotModified().insert_header((header::ETAG, tag)).finish();
    }
    answer.insert_header((header::ETAG, tag)).content_type("application/json").body(body)
}

fn digest(body: &[u8]) -> String {
    Sha256::digest(body).iter().take(DIGEST_BYTES).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Whether `If-None-Match` names this tag, weak or not. What is no list of tags names none: the whole answer does no harm.
fn is_had(headers: &HeaderMap, tag: &str) -> bool {
    headers.get_all(header::IF_NONE_MATCH).any(|value| {
        let text = value.to_str().unwrap_or_default().trim();
        let named = tags(text).unwrap_or_default();
        text == "*" || named.iter().any(|named| named.trim_start_matches("W/") == tag)
    })
}

/// What `If-Match` says, if it is there.
pub fn if_match(request: &HttpRequest) -> Option<&str> {
    let mut values = request.headers().get_all(header::IF_MATCH);
    let first = values.next()?;
    // what is not text is no list of tags, and is refused as such
    Some(if values.next().is_some() { SEVERAL } else { first.to_str().unwrap_or_default() })
}
