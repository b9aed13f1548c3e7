//! Which methods a link takes. Pure.

use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use model::Link;

/// Longest method that a link takes: clicks carry it.
const METHOD_BYTES_MAX: usize = 32;

/// What may be asked of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Methods {
    /// To follow it.
    Follow,
    /// To be asked for its password, or whether to follow it, and to send the form.
    Form,
    /// To follow it with any method: the destination gets what was meant for it.
    Any,
}

impl Methods {
    /// Those that a link takes.
    pub fn of(link: &Link) -> Self {
        if link.password.is_some() || link.asks_first() {
            Self::Form
        } else if link.status_code.keeps_method() {
            Self::Any
        } else {
            Self::Follow
        }
    }

    /// In `Allow`. Of any method those that are usual.
    pub const fn allowed(self) -> HeaderValue {
        match self {
            Self::Follow => HeaderValue::from_static("GET, HEAD"),
            Self::Form => HeaderValue::from_static("GET, HEAD, POST"),
            Self::Any => HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE"),
        }
    }

    /// Whether this is one of them.
    pub fn take(self, method: &Method) -> bool {
        is_read(method)
            || match self {
                Self::Follow => false,
                Self::Form => *method == Method::POST,
                Self::Any => is_passed_on(method),
            }
    }
}

/// Whether it asks to see something and no more.
pub fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether a client may repeat it elsewhere: not what is meant for this connection.
fn is_passed_on(method: &Method) -> bool {
    !matches!(*method, Method::CONNECT | Method::TRACE) && method.as_str().len() <= METHOD_BYTES_MAX
}
