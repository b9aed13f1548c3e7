//! Around every request: limits of its time and its size, the headers that keep browsers safe, what is left of the rate limit,
//! and the count.

use std::time::Instant;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _, HttpResponse, ResponseError};

use crate::app::Shared;
use crate::error::ApiError;
use crate::limits::Noted;
use crate::settings::ApiSettings;

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
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    let shared = request.app_data::<Data<Shared>>().expect("the app is made with it").clone();
    let door = door(request.path());
    let began = Instant::now();
    let noted = Noted::default();
    request.extensions_mut().insert(noted.clone());

    let refusal = check_size(&request, &shared.settings).map_err(|error| match door {
        "v1" => shared.limits.count_unknown(request.request()).err().unwrap_or(error),
        _ => error,
    });
    let answer = match refusal {
        Ok(()) => {
            let answer = tokio::time::timeout(shared.settings.request_timeout, next.call(request)).await;
            answer.map(|answer| answer.map(ServiceResponse::map_into_left_body))
        }
        Err(error) => Ok(Ok(request.into_response(error.error_response()).map_into_right_body())),
    };
    let count = |status: &str| {
        shared.metrics.requests.with_label_values(&[door, status]).inc();
        shared.metrics.seconds.with_label_values(&[door]).observe(began.elapsed().as_secs_f64());
    };
    let complete = |headers: &mut HeaderMap| {
        if door == "v1" {
            noted.tell(headers);
        }
        for (name, value) in &HEADERS {
            if !headers.contains_key(name) {
                headers.insert(name.clone(), value.clone());
            }
        }
    };
    let mut response = match answer {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            count("5xx");
            return Err(error);
        }
        Err(_) => {
            count("5xx");
            let mut headers = HeaderMap::new();
            complete(&mut headers);
            return Err(Late(headers).into());
        }
    };

    complete(response.headers_mut());
    let status = match response.status().as_u16() {
        100..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    };
    count(status);
    Ok(response)
}

/// No answer came in time. The request is gone with its handler, so the headers that every answer carries come along.
#[derive(Debug, thiserror::Error)]
#[error("no answer came in time")]
struct Late(HeaderMap);

impl ResponseError for Late {
    fn status_code(&self) -> StatusCode {
        ApiError::TimedOut.status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = ApiError::TimedOut.error_response();
        for (name, value) in &self.0 {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        response
    }
}

/// Refuses what is larger than its handler could want.
fn check_size(request: &ServiceRequest, settings: &ApiSettings) -> Result<(), ApiError> {
    let uri_bytes = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    if uri_bytes > settings.uri_max_bytes {
        return Err(ApiError::UriTooLong(settings.uri_max_bytes));
    }
    let parameters = request.query_string().split('&').filter(|pair| !pair.is_empty()).count();
    if parameters > settings.query_parameters_max {
        return Err(ApiError::TooManyParameters(settings.query_parameters_max));
    }
    let headers = request.headers();
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > settings.headers_max || bytes > settings.headers_max_bytes {
        let (headers, bytes) = (settings.headers_max, settings.headers_max_bytes);
        return Err(ApiError::HeadersTooLarge { headers, bytes });
    }
    Ok(())
}

fn door(path: &str) -> &'static str {
    match path {
        path if path.starts_with("/v1/") => "v1",
        "/docs" | "/openapi.json" | crate::public_keys::PATH => "other",
        path if path.starts_with("/assets/") => "other",
        _ => "console",
    }
}
