//! What becomes of the query that a visitor brings along. Pure.
//!
//! Whatever the mode: scheme, host, port, path and fragment are the link's, and out of the visitor's reach. A query that
//! would make the URL too long is left out: the visitor arrives without it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use model::DestinationUrl;
use model::link::QueryMode;
use model::url::URL_BYTES_MAX;
use url::form_urlencoded;

/// The destination with what the mode takes of the visitor's query; `None` when that changes nothing.
pub fn with_visitors_query(url: &DestinationUrl, mode: QueryMode, query: &str) -> Option<DestinationUrl> {
    // what an app is told is not for its visitors to say
    if query.is_empty() || !url.is_web() {
        return None;
    }
    let own = url.url().query().unwrap_or_default();
    let merged = match mode {
        QueryMode::Drop => return None,
        QueryMode::FillMissing => filled(own, query),
        QueryMode::Append => joined(own, pairs(query)),
        QueryMode::Override => overridden(own, query),
    };
    if merged == own {
        return None;
    }
    Some(url.with_query(Some(&merged))).filter(|url| url.as_str().len() <= URL_BYTES_MAX)
}

/// What a visitor writes into the query of a link to pass unseen.
const NO_TRACK: &str = "no_track";

/// The visitor's query without `no_track`, whatever its value, and whether it was there: it is for us alone.
pub fn without_no_track(query: Option<&str>) -> (Option<Cow<'_, str>>, bool) {
    let Some(query) = query else { return (None, false) };
    // nearly always
    if !query.contains(NO_TRACK) {
        return (Some(Cow::Borrowed(query)), false);
    }
    let is_other = |pair: &&str| name(pair) != NO_TRACK;
    let others: Vec<&str> = pairs(query).filter(is_other).collect();
    let is_asked = others.len() < pairs(query).count();
    (Some(Cow::Owned(others.join("&"))), is_asked)
}

/// Names that are not there yet are added: a visitor never overrides.
fn filled(own: &str, query: &str) -> String {
    let taken: HashSet<_> = pairs(own).map(name).collect();
    joined(own, pairs(query).filter(|pair| !taken.contains(&name(pair))))
}

/// All of a visitor's pairs of a name stand where the destination's first one stood; names that it does not have follow.
fn overridden(own: &str, query: &str) -> String {
    let mut theirs: HashMap<Cow<'_, str>, Vec<&str>> = HashMap::new();
    for pair in pairs(query) {
        theirs.entry(name(pair)).or_default().push(pair);
    }
    let mut placed = HashSet::new();
    let mut merged = Vec::new();
    for pair in own.split('&').filter(|pair| !pair.is_empty()) {
        let name = name(pair);
        match theirs.get(&name) {
            Some(pairs) if placed.insert(name) => merged.extend(pairs),
            Some(_) => {}
            None => merged.push(pair),
        }
    }
    joined(&merged.join("&"), pairs(query).filter(|pair| !placed.contains(&name(pair))))
}

/// The destination's pairs stay as they were written.
fn joined<'a>(own: &str, pairs: impl Iterator<Item = &'a str>) -> String {
    let mut query = own.to_owned();
    for pair in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(pair);
    }
    query
}

fn pairs(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|pair| !pair.is_empty())
}

/// The name of a pair, decoded: `a+b` and `a%20b` are one.
fn name(pair: &str) -> Cow<'_, str> {
    form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;
    use proptest::prelude::*;

    fn merged(mode: QueryMode, url: &str, query: &str) -> Option<String> {
        let url: DestinationUrl = url.parse().expect("a URL");
        with_visitors_query(&url, mode, query).map(|url| url.to_string())
    }

    fn merges(mode: QueryMode, cases: &[(&str, &str, Option<&str>)]) {
        for (url, query, expected) in cases {
            assert_eq!(merged(mode, url, query).as_deref(), *expected, "{mode:?} {url} {query}");
        }
    }

    #[test]
    fn names_that_are_missing_are_added() {
        merges(
            QueryMode::FillMissing,
            &[
                ("https://example.com/", "a=1", Some("https://example.com/?a=1")),
                ("https://example.com/?b=2", "a=1&a=3", Some("https://example.com/?b=2&a=1&a=3")),
                ("https://example.com/?a=2#part", "a=1&c", Some("https://example.com/?a=2&c#part")),
                ("https://example.com/?a=2", "a=1", None),
                ("https://example.com/?utm_source=sms", "%75tm_source=x", None),
                ("https://example.com/?a+b=2", "a%20b=1", None),
                ("https://example.com/?", "&&", None),
                ("https://example.com/", "", None),
                ("https://example.com/", "q=\u{e9}", Some("https://example.com/?q=%C3%A9")),
            ],
        );
    }

    #[test]
    fn no_track_is_taken_out_of_the_query() {
        for (query, left, is_asked) in [
            ("a=1&no_track&b=2", "a=1&b=2", true),
            ("no_track=0", "", true),
            ("no_tracks=1", "no_tracks=1", false),
            ("a=no_track", "a=no_track", false),
            ("a=1", "a=1", false),
        ] {
            let (query_left, asked) = without_no_track(Some(query));
            assert_eq!((query_left.as_deref(), asked), (Some(left), is_asked), "{query}");
        }
        assert_eq!(without_no_track(None), (None, false));
    }

    #[test]
    fn a_link_may_leave_the_query_out() {
        assert_eq!(merged(QueryMode::Drop, "https://example.com/", "a=1"), None);
    }

    #[test]
    fn a_link_may_take_all_of_the_query() {
        merges(
            QueryMode::Append,
            &[
                ("https://example.com/", "a=1", Some("https://example.com/?a=1")),
                ("https://example.com/?a=2&b#part", "a=1&&c", Some("https://example.com/?a=2&b&a=1&c#part")),
                ("https://example.com/?a=2", "&", None),
            ],
        );
    }

    #[test]
    fn a_link_may_let_a_visitor_override() {
        merges(
            QueryMode::Override,
            &[
                ("https://example.com/?a=1&b=2", "a=9&c=3", Some("https://example.com/?a=9&b=2&c=3")),
                (
                    "https://example.com/?a=1&b=2&a=3#part",
                    "c=1&a=8&a=9",
                    Some("https://example.com/?a=8&a=9&b=2&c=1#part"),
                ),
                ("https://example.com/?a+b=2&b=%20", "a%20b=1", Some("https://example.com/?a%20b=1&b=%20")),
                ("https://example.com/?a=1", "a=1", None),
                ("https://example.com/", "a", Some("https://example.com/?a")),
            ],
        );
    }

    #[test]
    fn a_query_that_is_too_long_is_left_out() {
        for mode in QueryMode::ALL {
            let query = format!("a={}", "x".repeat(URL_BYTES_MAX));
            assert_eq!(merged(mode, "https://example.com/", &query), None);
        }
    }

    fn names(url: &DestinationUrl) -> Vec<(String, String)> {
        url.url().query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }

    proptest! {
        /// Acceptance test 6 of links and clicks.
        #[test]
        fn whatever_the_mode_a_query_never_moves_the_destination(
            own in "[a-c]=[0-9]{1,3}(&[a-c]=[0-9]{0,3}){0,3}",
            query in prop_oneof!["([a-e%61-]{0,4}(=\\PC{0,5})?&?){0,6}", "\\PC{0,60}", "[#?/\\\\@:%0ad\r\n&=]{0,30}"],
        ) {
            let url: DestinationUrl = format!("https://example.com:8443/offer?{own}#part").parse().expect("a URL");

            for mode in QueryMode::ALL {
                let Some(merged) = with_visitors_query(&url, mode, &query) else { continue };
                prop_assert_eq!(merged.url().scheme(), "https");
                prop_assert_eq!(merged.url().host_str(), Some("example.com"));
                prop_assert_eq!(merged.url().port(), Some(8443));
                prop_assert_eq!(merged.url().path(), "/offer");
                prop_assert_eq!(merged.url().fragment(), Some("part"));
                prop_assert!(HeaderValue::from_str(merged.as_str()).is_ok());
                // who reads the header finds what was meant
                prop_assert_eq!(merged.as_str().parse::<DestinationUrl>(), Ok(merged.clone()));
            }
        }

        #[test]
        fn what_is_added_stands_behind_and_overrides_nothing(
            own in "[a-c]=[0-9]{1,3}(&[a-c]=[0-9]{0,3}){0,3}",
            query in "([a-e%61-]{0,4}(=\\PC{0,5})?&?){0,6}",
        ) {
            let url: DestinationUrl = format!("https://example.com/?{own}").parse().expect("a URL");
            let own = names(&url);

            for mode in [QueryMode::FillMissing, QueryMode::Append] {
                let Some(merged) = with_visitors_query(&url, mode, &query) else { continue };
                let pairs = names(&merged);
                prop_assert_eq!(&pairs[..own.len()], &own[..]);
                let is_taken = |(name, _): &(String, String)| own.iter().any(|(taken, _)| taken == name);
                prop_assert!(mode == QueryMode::Append || !pairs[own.len()..].iter().any(is_taken));
            }
        }

        #[test]
        fn what_a_visitor_does_not_name_is_not_overridden(
            own in "[a-c]=[0-9]{1,3}(&[a-c]=[0-9]{0,3}){0,3}",
            query in "[b-e]=[x-z]{1,3}(&[b-e]=[x-z]{0,3}){0,3}",
        ) {
            let url: DestinationUrl = format!("https://example.com/?{own}").parse().expect("a URL");
            let visitors: DestinationUrl = format!("https://example.com/?{query}").parse().expect("a URL");
            let (own, theirs) = (names(&url), names(&visitors));

            let merged = with_visitors_query(&url, QueryMode::Override, &query).expect("changed");

            let of = |pairs: &[(String, String)], name: &str| -> Vec<String> {
                pairs.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone()).collect()
            };
            let found = names(&merged);
            for name in ["a", "b", "c", "d", "e"] {
                let expected = if of(&theirs, name).is_empty() { of(&own, name) } else { of(&theirs, name) };
                prop_assert_eq!(of(&found, name), expected, "{}", name);
            }
        }
    }
}
