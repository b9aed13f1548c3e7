//! The page behind `/{slug}+`: where a link leads, for who would rather look first. It leads nowhere itself.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use model::DestinationUrl;
use model::link::Closed;
use url::Position;

use crate::links::Route;
use crate::pages::{self, NO_REFERRER, NOT_STORED, escaped};
use crate::style::{self, beginning};

const BEGINNING: &str = beginning!("About this link");

/// What a link does, as it is at the moment. A password keeps its destination secret; that of a link which is not active
/// is nobody's business yet, or no longer.
pub fn page(route: &Route, closed: Option<Closed>) -> HttpResponse {
    let told = match (closed, &route.password) {
        (None, None) => {
            format!("<p>It is active, and leads to:</p>\n<p>{}</p>\n", destination(&route.rest.destination))
        }
        (None, Some(_)) => {
            "<p>It is active, and asks for a password before it shows where it leads.</p>\n".to_owned()
        }
        (Some(closed), _) => format!("<p>It is not active: {}.</p>\n", reason(closed)),
    };
    let body = format!(
        "{BEGINNING}About this link</h1>\n<p>{}</p>\n{told}\
         <p>Looking at this page does not count as a click.</p>\n</main>\n</html>\n",
        escaped(&format!("{}/{}", route.rest.domain, route.rest.slug))
    );
    let mut answer = pages::html(StatusCode::OK, body.into(), NO_REFERRER);
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, NOT_STORED);
    headers.insert(header::CONTENT_SECURITY_POLICY, style::POLICY);
    answer
}

/// The URL as text, its host emphasised: that is whom a visitor has to trust.
fn destination(url: &DestinationUrl) -> String {
    let url = url.url();
    let [before, host, after] = [
        &url[..Position::BeforeHost],
        &url[Position::BeforeHost..Position::AfterHost],
        &url[Position::AfterHost..],
    ];
    format!("{}<strong>{}</strong>{}", escaped(before), escaped(host), escaped(after))
}

const fn reason(closed: Closed) -> &'static str {
    match closed {
        Closed::Disabled => "it was switched off",
        Closed::NotStarted => "its time has not come",
        Closed::Expired => "its time is over",
        Closed::Exhausted => "it was visited as often as it may be",
        Closed::Blocked => "it was blocked",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_text_with_its_host_emphasised() {
        let of = |url: &str| destination(&url.parse().expect("a URL"));

        assert_eq!(
            of("https://example.com:8443/a?b=1&c='<#d"),
            "https://<strong>example.com</strong>:8443/a?b=1&amp;c=%27%3C#d"
        );
        assert_eq!(of("http://bücher.example"), "http://<strong>xn--bcher-kva.example</strong>/");
    }
}
