//! What a request asks for, read from its path and its host before anything is looked up. Pure.

use std::borrow::Cow;

use actix_web::dev::RequestHead;
use actix_web::http::header;
use percent_encoding::percent_decode_str;

use model::minting::{MARK, Presented};
use model::slug::{CHARS_MAX, is_asked_by_clients, is_reserved, is_scanner_noise};
use model::{Host, SlugCase, TypedSlug};

/// What stands behind a link's path when its page is wanted, not where it leads.
const INSPECT: char = '+';

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/{slug}` or `/{slug}/`: to follow the link.
    Link(Name<'a>),
    /// `/{slug}+`: to see where the link leads.
    Inspect(Name<'a>),
    /// `/_{token}`, or with a `+` behind it: a recipient's link.
    Minted(Box<Minted>),
    /// `/robots.txt`
    Robots,
    /// `/favicon.ico`
    Favicon,
    /// `/`: the domain itself.
    Base,
    /// What is kept from links, or asked for by clients on their own: nobody meant a link.
    Reserved,
    /// What scanners for weak servers ask for.
    Noise,
    /// A path that no link can have.
    Bad,
}

/// A recipient's link, before it is known whether its sender made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minted {
    /// What is shown of it.
    pub presented: Presented,
    /// Whether to see where it leads, not to follow it.
    pub is_inspected: bool,
}

impl Minted {
    /// Reads the segment of a path, decoded.
    fn read(segment: &str) -> Option<Self> {
        let text = segment.strip_prefix(MARK)?;
        let (token, is_inspected) = match text.strip_suffix(INSPECT) {
            Some(token) => (token, true),
            None => (text, false),
        };
        Some(Self { presented: Presented::read(token)?, is_inspected })
    }
}

/// The name of a link, before it is known how its domain compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name<'a> {
    /// As most are written: every domain compares it as it is.
    Plain(&'a str),
    /// With capital letters, or beyond ASCII.
    Typed(TypedSlug),
}

impl Name<'_> {
    /// The form that every domain compares, if there is one.
    pub fn one(&self) -> Option<&str> {
        match self {
            Self::Plain(text) => Some(text),
            Self::Typed(typed) => typed.is_folded().then(|| self.of(SlugCase::Insensitive)),
        }
    }

    /// The form that a domain compares.
    pub fn of(&self, case: SlugCase) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Typed(typed) => typed.of(case).as_str(),
        }
    }
}

impl<'a> Target<'a> {
    /// Reads a path, percent-decoding it once.
    pub fn of(path: &'a str) -> Self {
        match path {
            "/" => return Self::Base,
            "/robots.txt" => return Self::Robots,
            "/favicon.ico" => return Self::Favicon,
            _ => {}
        }
        let Some(text) = path.strip_prefix('/') else { return Self::Bad };
        let text = text.strip_suffix('/').unwrap_or(text);
        // as most are written it is what is compared already; what clients ask for has a `.`
        if is_plain(text) && !is_reserved(text) && !is_scanner_noise(text) {
            return Self::Link(Name::Plain(text));
        }
        let Ok(decoded) = percent_decode_str(text).decode_utf8() else { return Self::Bad };
        // no slug begins like it, and its capital letters count
        if let Some(minted) = Minted::read(&decoded) {
            return Self::Minted(Box::new(minted));
        }
        let folded = decoded.to_lowercase();
        if folded.split('/').any(is_scanner_noise) {
            return Self::Noise;
        }
        let first = folded.split('/').next().unwrap_or_default();
        if is_reserved(first) || is_asked_by_clients(first) {
            return Self::Reserved;
        }
        let name = |text: &str| text.parse().ok().map(Name::Typed);
        let target = match decoded.strip_suffix(INSPECT) {
            Some(text) => name(text).map(Self::Inspect),
            None => name(&decoded).map(Self::Link),
        };
        target.unwrap_or(Self::Bad)
    }
}

/// Whether the path may be a recipient's, with a token that is told nobody: its mark may be percent-encoded.
pub fn may_hold_token(path: &str) -> bool {
    let mark = path.strip_prefix('/').and_then(|rest| percent_decode_str(rest).next());
    mark.is_some_and(|byte| char::from(byte) == MARK)
}

/// Whether it is a slug that every domain compares as it is, but for names that are kept.
fn is_plain(text: &str) -> bool {
    let is_folded = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    !text.is_empty() && text.len() <= CHARS_MAX && text.bytes().all(is_folded)
}

/// The host that was asked for, in its comparable form: of the request line if it has one, else of the one header `Host`
/// (RFC 9112 section 3.2).
pub fn host(head: &RequestHead) -> Option<Cow<'_, str>> {
    let text = match head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => {
            let mut lines = head.headers.get_all(header::HOST);
            let line = lines.next().filter(|_| lines.next().is_none())?;
            std::str::from_utf8(line.as_bytes()).ok()?
        }
    };
    let name = match text.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => text,
    };
    if Host::is_plain(name) {
        return Some(Cow::Borrowed(name));
    }
    Host::from_header(text).ok().map(|host| Cow::Owned(host.as_str().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;
    use proptest::prelude::*;

    /// Where a path leads under domains that compare in the two ways.
    fn followed(path: &str) -> Option<[String; 2]> {
        match Target::of(path) {
            Target::Link(name) => {
                Some([SlugCase::Insensitive, SlugCase::Sensitive].map(|case| name.of(case).to_owned()))
            }
            _ => None,
        }
    }

    fn both(slug: &str) -> Option<[String; 2]> {
        Some([slug.to_owned(), slug.to_owned()])
    }

    fn percent_encode(slug: &str) -> String {
        slug.bytes().map(|byte| format!("%{byte:02X}")).collect()
    }

    #[test]
    fn a_slug_is_read_from_its_path_once_decoded() {
        for path in ["/abc", "/abc/", "/a%62c", "/%61%62%63/"] {
            assert_eq!(followed(path), both("abc"), "{path}");
        }
        for path in ["/caf%C3%A9", "/cafe%CC%81"] {
            assert_eq!(followed(path), both("café"), "{path}");
        }
        for (path, folded, exact) in
            [("/aBc", "abc", "aBc"), ("/a%42c/", "abc", "aBc"), ("/CAFE%CC%81", "café", "CAFÉ")]
        {
            assert_eq!(followed(path), Some([folded.to_owned(), exact.to_owned()]), "{path}");
        }
        assert_eq!(followed("/v1.2_x"), both("v1.2_x"));
        for path in ["/abc+", "/ABC+", "/abc%2B", "/abc+/"] {
            let Target::Inspect(name) = Target::of(path) else { panic!("{path}") };
            assert_eq!(name.of(SlugCase::Insensitive), "abc", "{path}");
        }
    }

    #[test]
    fn a_recipients_link_keeps_its_letters() {
        let token = "RawCy4nsj_cjAxXdU734c2XcRQ";
        let presented = Presented::read(token).expect("a token");
        let of =
            |is_inspected| Target::Minted(Box::new(Minted { presented: presented.clone(), is_inspected }));

        for path in [format!("/_{token}"), format!("/_{token}/"), format!("/%5F{}", percent_encode(token))] {
            assert_eq!(Target::of(&path), of(false), "{path}");
            assert!(may_hold_token(&path), "{path}");
        }
        assert!(may_hold_token(&format!("/%5f{token}")) && !may_hold_token("/abc_") && !may_hold_token("/"));
        assert_eq!(Target::of(&format!("/_{token}+")), of(true));
        assert_ne!(Target::of(&format!("/_{}", token.to_lowercase())), of(false));
        for path in [format!("/_{token}="), format!("/_{}", &token[..13]), format!("/_x/{token}")] {
            assert_eq!(Target::of(&path), Target::Reserved, "{path}");
        }
    }

    #[test]
    fn what_is_no_link_is_told_apart() {
        let long = format!("/{}", "x".repeat(CHARS_MAX + 1));
        let cases: [(Target<'_>, &[&str]); 6] = [
            (Target::Base, &["/"]),
            (Target::Robots, &["/robots.txt"]),
            (Target::Favicon, &["/favicon.ico"]),
            (
                Target::Reserved,
                &[
                    "/.well-known/x",
                    "/_abc",
                    "/livez",
                    "/metrics",
                    "/v1/links",
                    "/Robots.txt",
                    "/apple-touch-icon.png",
                    "/apple-touch-icon-120x120-precomposed.png",
                    "/Ads.txt",
                    "/app-ads.txt/",
                ],
            ),
            (
                Target::Noise,
                &[
                    "/wp-login.php",
                    "/WP-admin/setup",
                    "/.env",
                    "/.git/config",
                    "/a/b.php",
                    "/%2eenv",
                    "/index.PHP/",
                ],
            ),
            (
                Target::Bad,
                &[
                    "", "*", "//", "/abc//", "//abc", "/abc/def", "/a%2562c", "/a%2Fc", "/%ff", "/%00",
                    "/a%", "/a%zz", "/+", "/abc++", "/a b", &long,
                ],
            ),
        ];
        for (expected, paths) in cases {
            for path in paths {
                assert_eq!(Target::of(path), expected, "{path}");
            }
        }
    }

    /// The host of a request with this header.
    fn host_of(value: &str) -> Option<String> {
        let mut head = RequestHead::default();
        head.headers.insert(header::HOST, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        host(&head).map(Cow::into_owned)
    }

    #[test]
    fn a_host_is_compared_without_port_and_case() {
        let cases = [
            ("go.example.com", Some("go.example.com")),
            ("go.example.com:8080", Some("go.example.com")),
            ("Go.Example.COM.", Some("go.example.com")),
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("XN--BCHER-KVA.example:80", Some("xn--bcher-kva.example")),
            ("[::1]:8080", Some("[::1]")),
            ("127.0.0.1:8080", Some("127.0.0.1")),
            ("127.1", Some("127.0.0.1")),
            ("1.2.3.256", None),
            ("a..b", None),
            ("..", None),
            ("", None),
            (":80", None),
            ("a b", None),
            ("a/b", None),
            ("xn--\u{ff}", None),
        ];
        for (value, expected) in cases {
            assert_eq!(host_of(value).as_deref(), expected, "{value}");
        }
        assert_eq!(host(&RequestHead::default()), None);
    }

    #[test]
    fn two_hosts_are_none() {
        let mut head = RequestHead::default();
        head.headers.append(header::HOST, HeaderValue::from_static("go.example.com"));
        head.headers.append(header::HOST, HeaderValue::from_static("evil.example"));

        assert_eq!(host(&head), None);
    }

    proptest! {
        #[test]
        fn whatever_slug_is_chosen_its_own_path_leads_to_it(
            text in "[a-zA-Z0-9._-]{1,12}|(apple-touch-icon|wp|ads|api|robots)[a-z.-]{0,5}(txt|png|php|)|\\PC{1,12}"
        ) {
            if let Ok(typed) = TypedSlug::chosen(&text) {
                for (at, case) in [SlugCase::Insensitive, SlugCase::Sensitive].into_iter().enumerate() {
                    let slug = typed.of(case).as_str();
                    for path in [format!("/{slug}"), format!("/{}", percent_encode(slug)), format!("/{text}")] {
                        let found = followed(&path).map(|forms| forms[at].clone());
                        prop_assert_eq!(found.as_deref(), Some(slug), "{}", path);
                    }
                }
            }
        }

        #[test]
        fn whatever_the_host_it_is_one_in_its_comparable_form(
            text in "[a-zA-Z0-9.:\\[\\]@/%ü_-]{0,30}(:[0-9]{0,5})?|([a-cA-C.]{1,9}|xn--[a-z0-9-]{1,12}|0x[0-9a-f.]{1,6}|\\PC){1,9}"
        ) {
            if let Some(found) = host_of(&text) {
                prop_assert_eq!(host_of(&found), Some(found.clone()));
                prop_assert_eq!(host_of(&format!("{found}:8080")), Some(found.clone()));
                prop_assert_eq!(found.parse::<Host>().map(|host| host.to_string()), Ok(found));
            }
        }

        #[test]
        fn whatever_the_path_a_slug_is_one_in_its_comparable_form(path in "/[a-zA-Z0-9.%/+_-]{0,12}|\\PC{0,20}") {
            if let Target::Link(name) | Target::Inspect(name) = Target::of(&path) {
                for case in [SlugCase::Insensitive, SlugCase::Sensitive] {
                    let parsed = name.of(case).parse::<TypedSlug>().expect("a slug");
                    prop_assert_eq!(parsed.of(case).as_str(), name.of(case));
                }
                let folded = name.of(SlugCase::Insensitive);
                prop_assert_eq!(name.one().is_some(), folded == name.of(SlugCase::Sensitive));
            }
        }
    }
}
