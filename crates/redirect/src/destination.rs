//! What becomes of the query that a visitor brings along. Pure.

use std::collections::HashSet;

use model::DestinationUrl;
use model::link::QueryMode;
use model::url::URL_BYTES_MAX;
use url::form_urlencoded;

/// The destination with what may be added of the visitor's query; `None` when that changes nothing.
///
/// A visitor adds names that the destination does not have and never overrides one; scheme, host, port and path are
/// out of reach. A query that would make the URL too long is left out: the visitor arrives without it.
pub fn with_visitors_query(
    url: &DestinationUrl,
    mode: QueryMode,
    query: Option<&str>,
) -> Option<DestinationUrl> {
    let query = query.filter(|query| !query.is_empty() && mode == QueryMode::FillMissing)?;
    let taken: HashSet<_> = url.url().query_pairs().map(|(name, _)| name).collect();
    let is_new = |pair: &&str| {
        let name = form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name);
        name.is_some_and(|name| !taken.contains(&name))
    };
    let mut merged = url.url().query().unwrap_or_default().to_owned();
    let before = merged.len();
    for pair in query.split('&').filter(|pair| !pair.is_empty()).filter(is_new) {
        if !merged.is_empty() {
            merged.push('&');
        }
        merged.push_str(pair);
    }
    if merged.len() == before {
        return None;
    }
    Some(url.with_query(Some(&merged))).filter(|url| url.as_str().len() <= URL_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn merged(url: &str, query: &str) -> Option<String> {
        let url: DestinationUrl = url.parse().expect("a URL");
        with_visitors_query(&url, QueryMode::FillMissing, Some(query)).map(|url| url.to_string())
    }

    #[test]
    fn names_that_are_missing_are_added() {
        let cases = [
            ("https://example.com/", "a=1", Some("https://example.com/?a=1")),
            ("https://example.com/?b=2", "a=1&a=3", Some("https://example.com/?b=2&a=1&a=3")),
            ("https://example.com/?a=2#part", "a=1&c", Some("https://example.com/?a=2&c#part")),
            ("https://example.com/?a=2", "a=1", None),
            ("https://example.com/?utm_source=sms", "%75tm_source=x", None),
            ("https://example.com/?a+b=2", "a%20b=1", None),
            ("https://example.com/?", "&&", None),
            ("https://example.com/", "", None),
            ("https://example.com/", "q=\u{e9}", Some("https://example.com/?q=%C3%A9")),
        ];
        for (url, query, expected) in cases {
            assert_eq!(merged(url, query).as_deref(), expected, "{url} {query}");
        }
    }

    #[test]
    fn a_link_may_leave_the_query_out() {
        let url: DestinationUrl = "https://example.com/".parse().expect("a URL");

        assert_eq!(with_visitors_query(&url, QueryMode::Drop, Some("a=1")), None);
    }

    #[test]
    fn a_query_that_is_too_long_is_left_out() {
        assert_eq!(merged("https://example.com/", &format!("a={}", "x".repeat(URL_BYTES_MAX))), None);
    }

    proptest! {
        #[test]
        fn a_visitor_neither_overrides_nor_moves(
            own in "[a-c]=[0-9]{1,3}(&[a-c]=[0-9]{0,3}){0,3}",
            query in "([a-e%61-]{0,4}(=\\PC{0,5})?&?){0,6}",
        ) {
            let url: DestinationUrl = format!("https://example.com:8443/offer?{own}#part").parse().expect("a URL");

            if let Some(merged) = with_visitors_query(&url, QueryMode::FillMissing, Some(&query)) {
                let own: Vec<_> = url.url().query_pairs().collect();
                let pairs: Vec<_> = merged.url().query_pairs().collect();
                prop_assert_eq!(&pairs[..own.len()], &own[..]);
                for (name, _) in &pairs[own.len()..] {
                    prop_assert!(own.iter().all(|(taken, _)| taken != name));
                }
                prop_assert_eq!(merged.url().origin(), url.url().origin());
                prop_assert_eq!(merged.url().path(), "/offer");
                prop_assert_eq!(merged.url().fragment(), Some("part"));
            }
        }
    }
}
