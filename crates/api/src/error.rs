//! What a request can come to other than success, and how that is told: RFC 9457 problems with a stable `code`.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use tracing::{error, warn};
use utoipa::ToSchema;

use crate::auth::Scope;

/// The media type of a problem (RFC 9457 section 3).
const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    Malformed(String),
    /// The body or the query can be read, and breaks rules.
    #[error("{}", summary(.0))]
    Invalid(Vec<FieldError>),
    /// No key, or not one that opens anything.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// A key without the scope, or a person with a role that has it not.
    #[error("this key has not the scope `{}`", .0.as_str())]
    Forbidden(Scope),
    /// A console form whose token is missing or of another session.
    #[error("this form is not from your session any more: go back, reload the page and send it again")]
    ForeignForm,
    /// Not there, or another workspace's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// A path that nothing answers.
    #[error("there is nothing at this address; see /docs")]
    NoSuchRoute,
    /// A path that answers other methods.
    #[error("this address does not answer this method; see /docs")]
    MethodNotAllowed,
    /// What is there already forbids it.
    #[error("{detail}")]
    Conflict {
        /// Stable word.
        code: &'static str,
        /// The field that collides, if it is one.
        pointer: Option<&'static str>,
        /// For people.
        detail: String,
    },
    /// `If-Match` names another revision.
    #[error("it was changed in the meantime: `If-Match` is {given}, the revision is {current}")]
    PreconditionFailed {
        /// What the request said.
        given: String,
        /// What is.
        current: String,
    },
    /// A body beyond the limit.
    #[error("the body, or a line of it, is longer than {0} bytes")]
    TooLarge(usize),
    /// More lines than one request may have.
    #[error("a request may have at most {0} lines; send the rest in another")]
    TooManyLines(u64),
    /// A body that is not what is expected by its own account.
    #[error("send the body as `Content-Type: {0}`")]
    ContentType(&'static str),
    /// It took longer than `api.request_timeout`.
    #[error("this took longer than allowed: try again")]
    TimedOut,
    /// The database is away.
    #[error("the database cannot be reached: try again")]
    DatabaseAway,
    /// As much of this is going on as may.
    #[error("{0}")]
    Busy(&'static str),
    /// More requests than may be made.
    #[error("too many requests: try again in {retry_after} s")]
    RateLimited {
        /// Seconds until the next one is answered.
        retry_after: u64,
    },
    /// An address longer than the limit.
    #[error("the address with its query is longer than {0} bytes")]
    UriTooLong(usize),
    /// More parameters than the limit.
    #[error("a query may have at most {0} parameters")]
    TooManyParameters(usize),
    /// More headers than the limit, or longer ones.
    #[error("a request may have at most {headers} headers, of {bytes} bytes in all")]
    HeadersTooLarge {
        /// How many.
        headers: usize,
        /// How long.
        bytes: usize,
    },
    /// A request that sends nothing for too long.
    #[error("{0}")]
    Idle(&'static str),
    /// `deliver` or the broker did not answer.
    #[error("{0}")]
    Away(String),
    /// Our fault.
    #[error("something went wrong on our side")]
    Internal(#[source] anyhow::Error),
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The field, as a JSON pointer (RFC 6901) into the body, or `?name` for one of the query.
    #[schema(example = "/url")]
    pub pointer: String,
    /// Stable word: `required`, `repeated`, `unknown_field`, `wrong_type`, `invalid`, `too_long`, `forbidden_address`, ….
    #[schema(example = "invalid")]
    pub code: &'static str,
    /// For people.
    #[schema(example = "must begin with `https://` or `http://`; `javascript:` is not allowed")]
    pub detail: String,
}

/// A problem (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// Where the code is explained.
    #[serde(rename = "type")]
    #[schema(example = "/docs#invalid")]
    pub kind: String,
    /// The status in words.
    #[schema(example = "Unprocessable Entity")]
    pub title: &'static str,
    /// The status.
    #[schema(example = 422)]
    pub status: u16,
    /// Stable word for programs.
    #[schema(example = "invalid")]
    pub code: &'static str,
    /// For people.
    #[schema(example = "url: must be at most 8192 bytes long")]
    pub detail: String,
    /// One entry for each field that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// Every code and what it means, for `/docs`.
pub const CODES: &[(&str, u16, &str)] = &[
    ("malformed", 400, "The body is not JSON."),
    ("unauthorized", 401, "There is no API key, or not one that opens anything."),
    ("forbidden", 403, "The key has not the scope that this needs."),
    ("foreign_form", 403, "A form of the console that is not from this session."),
    ("not_found", 404, "It does not exist, or it is another workspace's."),
    ("no_such_route", 404, "Nothing answers this address."),
    ("method_not_allowed", 405, "This address does not answer this method."),
    ("slug_taken", 409, "The slug is in use under this domain, or was: slugs are never given out again."),
    ("external_id_taken", 409, "Another link has this external id."),
    ("link_archived", 409, "The link with this external id was archived: it leads nowhere for good."),
    ("link_differs", 409, "Slug, domain and kind of a link never change."),
    (
        "idempotency_key_reused",
        409,
        "The `Idempotency-Key` came with another request within the last 24 hours.",
    ),
    (
        "gone_since",
        409,
        "What a request with this `Idempotency-Key` made within the last 24 hours was removed since.",
    ),
    ("host_taken", 409, "The host name is in use, by this workspace or another."),
    ("domain_in_use", 409, "Links are or were served under the domain, or it is the default one."),
    ("domain_blocked", 409, "Who runs the server has blocked the domain: it cannot be removed while it is."),
    ("no_domain", 409, "The workspace has no domain yet to make links under."),
    ("limit_reached", 409, "The workspace has as many of these as it may have."),
    ("endpoint_disabled", 409, "A disabled endpoint can neither be paused nor replayed to."),
    (
        "endpoint_fetches",
        409,
        "Nothing is sent to an endpoint that fetches its events: it can be neither tested nor challenged.",
    ),
    ("replay_running", 409, "One replay to an endpoint at a time: let it end, or cancel it."),
    ("delivery_delivered", 409, "A delivery that was accepted cannot be given up."),
    ("contact_erased", 409, "The contact of this click was erased: nothing of it is sent any more."),
    ("key_expired", 409, "An API key that opens nothing any more has no successor."),
    ("not_held", 409, "The key that is to be rotated may do what your own may not, or ends later."),
    ("too_soon", 409, "It would be lost, or contradict what still comes in: wait a moment."),
    ("unknown_stream", 409, "The message came from a stream that nothing is published to."),
    ("last_owner", 409, "A workspace keeps an owner: make somebody else one first."),
    ("member_already", 409, "The person belongs to the workspace already."),
    (
        "person_elsewhere",
        409,
        "The person belongs to another workspace as well, which their password opens too.",
    ),
    ("last_secret", 409, "An endpoint always keeps one signing secret."),
    ("key_retired", 409, "A minting key that signs nothing new any more has no successor."),
    ("minting_not_set_up", 409, "Who runs the server has set no key that minting keys are sealed with."),
    ("precondition_failed", 412, "`If-Match` names another revision: someone changed it in the meantime."),
    ("idle", 408, "Nothing was sent for too long."),
    ("too_many_lines", 413, "More lines than one request may have."),
    ("body_too_large", 413, "The body, or a line of it, is longer than allowed."),
    ("unsupported_media_type", 415, "The body is not sent as what is expected."),
    ("invalid", 422, "Fields break rules; `errors` names each with a JSON pointer."),
    ("internal", 500, "Our fault; the log has the reason."),
    (
        "rate_limited",
        429,
        "More requests than may be made: `Retry-After` says when the next one is answered.",
    ),
    ("headers_too_large", 431, "More headers than a request may have, or longer ones."),
    ("uri_too_long", 414, "The address with its query is longer than it may be."),
    ("too_many_parameters", 400, "A query with more parameters than it may have."),
    ("unavailable", 503, "Something this needs is away for a moment: try again."),
];

/// Errors that the text for people repeats.
const SUMMARY_ERRORS_MAX: usize = 3;

/// Characters of a field's name that it repeats.
const SUMMARY_NAME_CHARS_MAX: usize = 100;

fn summary(errors: &[FieldError]) -> String {
    let line = |error: &FieldError| {
        let name: String =
            error.pointer.trim_start_matches('/').chars().take(SUMMARY_NAME_CHARS_MAX).collect();
        format!("{name}: {}", error.detail)
    };
    let mut lines: Vec<String> = errors.iter().take(SUMMARY_ERRORS_MAX).map(line).collect();
    if errors.len() > lines.len() {
        lines.push(format!("and {} more", errors.len() - lines.len()));
    }
    lines.join("; ")
}

impl ApiError {
    /// One field that breaks a rule.
    pub fn field(pointer: &str, code: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { pointer: pointer.to_owned(), code, detail: detail.into() }])
    }

    /// The same about an object that stands at `pointer` of the body.
    #[must_use]
    pub fn below(self, pointer: &str) -> Self {
        let Self::Invalid(mut errors) = self else { return self };
        // a header is not of the body
        for error in
            errors.iter_mut().filter(|error| error.pointer.is_empty() || error.pointer.starts_with('/'))
        {
            error.pointer.insert_str(0, pointer);
        }
        Self::Invalid(errors)
    }

    /// The stable word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Invalid(_) => "invalid",
            Self::Unauthorized(_) => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::ForeignForm => "foreign_form",
            Self::NotFound(_) => "not_found",
            Self::NoSuchRoute => "no_such_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict { code, .. } => code,
            Self::PreconditionFailed { .. } => "precondition_failed",
            Self::TooLarge(_) => "body_too_large",
            Self::TooManyLines(_) => "too_many_lines",
            Self::ContentType(_) => "unsupported_media_type",
            Self::RateLimited { .. } => "rate_limited",
            Self::UriTooLong(_) => "uri_too_long",
            Self::TooManyParameters(_) => "too_many_parameters",
            Self::HeadersTooLarge { .. } => "headers_too_large",
            Self::Idle(_) => "idle",
            Self::TimedOut | Self::DatabaseAway | Self::Busy(_) | Self::Away(_) => "unavailable",
            Self::Internal(_) => "internal",
        }
    }

    /// What is wrong with each field, if fields are what is wrong.
    pub fn field_errors(&self) -> Vec<FieldError> {
        match self {
            Self::Invalid(errors) => errors.clone(),
            Self::Conflict { code, pointer: Some(pointer), detail } => {
                vec![FieldError { pointer: (*pointer).to_owned(), code, detail: detail.clone() }]
            }
            _ => Vec::new(),
        }
    }

    /// The error as it is told to whoever asked.
    pub fn problem(&self) -> Problem {
        let status = self.status_code();
        Problem {
            kind: format!("/docs#{}", self.code()),
            title: status.canonical_reason().unwrap_or("Problem"),
            status: status.as_u16(),
            code: self.code(),
            detail: self.to_string(),
            errors: self.field_errors(),
        }
    }

    /// Seconds after which it may go better; `None`: waiting does not help.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_after } => Some(*retry_after),
            Self::TimedOut | Self::DatabaseAway | Self::Busy(_) | Self::Away(_) => Some(1),
            _ => None,
        }
    }

    /// Logs what only an operator can mend, once, with the whole chain.
    pub fn log(&self) {
        match self {
            Self::Internal(cause) => error!(error = format!("{cause:#}"), "a request failed"),
            Self::DatabaseAway | Self::Away(_) | Self::TimedOut => {
                warn!("a request was refused: {self}")
            }
            _ => {}
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::TooManyParameters(_) => StatusCode::BAD_REQUEST,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::UriTooLong(_) => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::ForeignForm => StatusCode::FORBIDDEN,
            Self::NotFound(_) | Self::NoSuchRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::PreconditionFailed { .. } => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge(_) | Self::TooManyLines(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Idle(_) => StatusCode::REQUEST_TIMEOUT,
            Self::TimedOut | Self::DatabaseAway | Self::Busy(_) | Self::Away(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        self.log();
        let problem = self.problem();
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((header::CONTENT_TYPE, PROBLEM_JSON));
        // RFC 9110 section 11.6.1: a 401 says how to do better
        if matches!(self, Self::Unauthorized(_)) {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"clickwire\""));
        }
        if let Some(seconds) = self.retry_after() {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        response.body(serde_json::to_vec(&problem).expect("a problem is JSON"))
    }
}

impl From<store::PoolError> for ApiError {
    fn from(error: store::PoolError) -> Self {
        warn!(error = format!("{:#}", anyhow::Error::new(error)), "no connection to the database");
        Self::DatabaseAway
    }
}

impl From<store::QueryError> for ApiError {
    fn from(error: store::QueryError) -> Self {
        let is_away = store::is_connection_lost(&error);
        let error = anyhow::Error::new(error);
        if is_away {
            warn!(error = format!("{error:#}"), "the connection to the database was lost");
            return Self::DatabaseAway;
        }
        Self::Internal(error.context("failed to ask the database"))
    }
}
