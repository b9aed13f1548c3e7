//! The pages that ask before a link is followed: for its password, or whether to follow it.
//!
//! They need no script. Their policy says nothing about where forms may be sent (`form-action`, which
//! `default-src` does not stand in for): Chromium holds the redirect that answers a form to that list as well, so that
//! it would have to name the destination, and tell it to who does not know the password. The pages hold nothing that a
//! visitor or an owner wrote, so that there is nobody to put a second form there.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use bytes::Bytes;

use crate::pages::{self, NO_REFERRER, NOT_STORED};
use crate::style::{self, document};
use service::tally::Over;

/// Why the password is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Nothing was typed yet.
    First,
    /// What was typed is not it.
    Wrong,
    /// Too often; this was not compared.
    TooOften(Over),
}

/// The form. Whoever is asked has not clicked yet.
pub fn password(asked: Asked) -> HttpResponse {
    let (status, page) = match asked {
        Asked::First => (StatusCode::OK, form!("", "")),
        Asked::Wrong => (StatusCode::FORBIDDEN, problem!("That is not the password. Please try again.")),
        Asked::TooOften(_) => (
            StatusCode::TOO_MANY_REQUESTS,
            problem!("That was tried too often. Please wait a minute and try again."),
        ),
    };
    let mut answer = asking(status, page);
    if let Asked::TooOften(over) = asked {
        answer.headers_mut().insert(header::RETRY_AFTER, pages::retry_after(over));
    }
    answer
}

/// The question whether to follow a link that can be followed once. Whoever is asked has not clicked yet.
pub fn confirm() -> HttpResponse {
    asking(StatusCode::OK, CONFIRM)
}

/// Like the other form, it goes to where it came from.
const CONFIRM: &str = document!(
    "Follow this link?",
    "This link can be followed once",
    "<form method=\"post\">\n",
    "<p><button type=\"submit\">Continue</button></p>\n",
    "</form>\n"
);

fn asking(status: StatusCode, page: &'static str) -> HttpResponse {
    // the tracked URL, which may name a person, goes no further
    let mut answer = pages::html(status, Bytes::from_static(page.as_bytes()), NO_REFERRER);
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, NOT_STORED);
    headers.insert(header::CONTENT_SECURITY_POLICY, style::POLICY);
    answer
}

/// The whole page, put together when we are compiled. Without an `action` the form goes to where it came from, with the
/// visitor's query.
macro_rules! form {
    ($problem:expr, $described:literal) => {
        $crate::style::document!(
            "Password needed",
            "This link asks for a password",
            $problem,
            "<form method=\"post\">\n",
            "<p><label for=\"password\">Password</label>\n",
            "<input id=\"password\" name=\"password\" type=\"password\" required autofocus autocomplete=\"off\"",
            $described,
            "></p>\n",
            "<p><button type=\"submit\">Continue</button></p>\n",
            "</form>\n"
        )
    };
}
use form;

/// The same with what was wrong, which screen readers say at once and again at the field.
macro_rules! problem {
    ($text:literal) => {
        form!(concat!("<p id=\"problem\" role=\"alert\">", $text, "</p>\n"), " aria-describedby=\"problem\"")
    };
}
use problem;

#[cfg(test)]
mod tests {
    #[test]
    fn the_forms_field_is_the_one_that_is_read() {
        assert!(form!("", "").contains(&format!(" name=\"{}\" ", crate::passwords::FIELD)));
    }
}
