//! Which link a tracked URL on the command line names: read as a redirect reads it.

use anyhow::Context as _;
use model::TypedSlug;
use percent_encoding::percent_decode_str;
use url::Url;

/// The slug in the path of a tracked URL; `None` when its path is empty. The path of `public_url` stands before it where a proxy
/// takes that away.
pub(crate) fn slug_of(url: &Url, public_url: Option<&Url>) -> anyhow::Result<Option<TypedSlug>> {
    let public_url = public_url.filter(|public_url| public_url.host_str() == url.host_str());
    let base = public_url.map_or("", |public_url| public_url.path().trim_end_matches('/'));
    // `/sale` is no part of `/sales`
    let below = url.path().strip_prefix(base).filter(|below| below.is_empty() || below.starts_with('/'));
    slug_in(below.unwrap_or(url.path()))
}

/// The slug that a path is, percent-decoded once, and without the `+` of who wants to see where it leads; `None` when there is
/// nothing else in it.
pub(crate) fn slug_in(path: &str) -> anyhow::Result<Option<TypedSlug>> {
    let path = path.trim_matches('/');
    let decoded = percent_decode_str(path).decode_utf8();
    let decoded = decoded.with_context(|| format!("`{path}` is not UTF-8 once it is percent-decoded"))?;
    let slug = decoded.strip_suffix('+').unwrap_or(&decoded);
    if slug.is_empty() {
        return Ok(None);
    }
    Ok(Some(slug.parse().with_context(|| format!("`{slug}` is not a slug"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracked_url_names_its_link_however_it_is_written() {
        let slug = |url: &str, public_url: Option<&str>| {
            let public_url: Option<Url> = public_url.map(|url| url.parse().expect("a URL"));
            let slug = slug_of(&url.parse().expect("a URL"), public_url.as_ref());
            slug.ok().flatten().map(|slug| slug.of(model::SlugCase::Insensitive).to_string())
        };
        let below = Some("https://go.example.com/sale/");
        for (url, public_url, expected) in [
            ("https://go.example.com/ABC/?x=1", None, Some("abc")),
            ("https://go.example.com/%D0%B2%D0%B5%D1%81%D0%BD%D0%B0", None, Some("весна")),
            ("https://go.example.com/весна", None, Some("весна")),
            ("https://go.example.com/abc+", None, Some("abc")),
            ("https://go.example.com/abc%2B", None, Some("abc")),
            ("https://go.example.com/sale/abc+", below, Some("abc")),
            ("https://go.example.com/abc", below, Some("abc")),
            ("https://go.example.com/sales", below, Some("sales")),
            ("https://other.example.com/sale", below, Some("sale")),
            ("https://go.example.com/sale/", below, None),
            ("https://go.example.com/sale/abc", None, None),
            ("https://go.example.com/a%2562c", None, None),
            ("https://go.example.com/%ff", None, None),
            ("https://go.example.com/+", None, None),
            ("https://go.example.com/", None, None),
        ] {
            assert_eq!(slug(url, public_url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_a_slug_says_why() {
        let refused = |path: &str| format!("{:#}", slug_in(path).expect_err(path));

        assert!(refused("%ff").starts_with("`%ff` is not UTF-8 once it is percent-decoded"));
        assert!(refused("a%20b").starts_with("`a b` is not a slug: "), "{}", refused("a%20b"));
        assert!(refused("a%2562c").starts_with("`a%62c` is not a slug: "), "decoded once");
        assert!(refused("a%2Fb").starts_with("`a/b` is not a slug: "));
        assert_eq!(slug_in("/+").expect("empty"), None);
    }
}
