//! Around every request: a time limit, the headers that keep browsers safe, and the count.

use std::time::Instant;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;

use crate::app::Shared;
use crate::error::ApiError;

/// Nothing but our own stylesheet, script and forms, none of them inline: a page that is injected into can do nothing.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Headers that every answer carries, unless its handler said otherwise.
static HEADERS: [(HeaderName, HeaderValue); 6] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Answers within `api.request_timeout`, sets headers and counts.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let shared = request.app_data::<Data<Shared>>().expect("the app is made with it").clone();
    let door = door(request.path());
    let began = Instant::now();

    let answer = tokio::time::timeout(shared.settings.request_timeout, next.call(request)).await;
    let count = |status: &str| {
        shared.metrics.requests.with_label_values(&[door, status]).inc();
        shared.metrics.seconds.with_label_values(&[door]).observe(began.elapsed().as_secs_f64());
    };
    let mut response = match answer {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            count("5xx");
            return Err(error);
        }
        Err(_) => {
            count("5xx");
            return Err(ApiError::TimedOut.into());
        }
    };

    for (name, value) in &HEADERS {
        if !response.headers().contains_key(name) {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
    let status = match response.status().as_u16() {
        100..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    };
    count(status);
    Ok(response)
}

fn door(path: &str) -> &'static str {
    match path {
        path if path.starts_with("/v1/") => "v1",
        "/docs" | "/openapi.json" => "other",
        path if path.starts_with("/assets/") => "other",
        _ => "console",
    }
}
