//! Entity tags: by them a change names the revision that it was made for, so that nobody undoes what another did.

use std::fmt::Display;

use crate::error::ApiError;

/// Stands in an entity tag between a revision and the digest of an answer.
pub const DIGEST_MARK: char = '-';

/// Refuses a change of something whose revision is not the one that `If-Match` names: `"3"`, or `"3-…"` as it was answered.
///
/// # Errors
/// [`ApiError::PreconditionFailed`]; [`ApiError::Invalid`] when it is neither `*` nor a list of entity tags.
pub fn check_match(if_match: Option<&str>, revision: impl Display) -> Result<(), ApiError> {
    let Some(given) = if_match.map(str::trim).filter(|given| *given != "*") else { return Ok(()) };
    let Some(tags) = tags(given) else {
        let detail = "must be an entity tag as `ETag` has it, in quotes, a list of them, or `*`";
        return Err(ApiError::field("If-Match", "invalid", detail));
    };
    let current = etag(revision);
    // weak tags never match here (RFC 9110 section 13.1.1)
    let is_current = |tag: &&str| {
        let revision = tag.rsplit_once(DIGEST_MARK).map_or(*tag, |(revision, _)| revision);
        revision.trim_end_matches('"') == current.trim_end_matches('"')
    };
    match tags.iter().any(is_current) {
        true => Ok(()),
        false => Err(ApiError::PreconditionFailed { given: given.to_owned(), current }),
    }
}

/// The entity tags of a list, quotes and `W/` included (RFC 9110 section 8.8.3); `None` when it is none.
pub fn tags(list: &str) -> Option<Vec<&str>> {
    let mut tags = Vec::new();
    let mut rest = list.trim();
    while !rest.is_empty() {
        let opaque = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?;
        let (text, after) = opaque.split_once('"')?;
        if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return None;
        }
        tags.push(&rest[..rest.len() - after.len()]);
        rest = after.trim_start();
        if !rest.is_empty() {
            rest = rest.strip_prefix(',')?.trim_start();
        }
    }
    (!tags.is_empty()).then_some(tags)
}

/// The entity tag of a revision.
pub fn etag(revision: impl Display) -> String {
    format!("\"{revision}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_needs_the_revision_it_was_made_for() {
        for fits in
            [None, Some("*"), Some("\"3\""), Some("\"2\", \"3\""), Some("\"3-a1b2\""), Some(" \"3-c3\" ")]
        {
            assert!(check_match(fits, 3).is_ok(), "{fits:?}");
        }
        for stale in ["\"2\"", "\"2-a1b2\"", "W/\"3\"", "\"33\"", "\"a-3\""] {
            let refused = check_match(Some(stale), 3);
            assert!(matches!(refused, Err(ApiError::PreconditionFailed { .. })), "{stale}");
        }
        for malformed in ["3", "", "\"3", "3\"", "\"3\" \"3\"", "\"a b\"", ",", "\"3\",*", "w/\"3\""] {
            let refused = check_match(Some(malformed), 3);
            assert!(matches!(refused, Err(ApiError::Invalid(_))), "{malformed}");
        }
    }

    #[test]
    fn a_tag_may_hold_a_comma() {
        assert_eq!(tags("\"a,b\", W/\"c\""), Some(vec!["\"a,b\"", "W/\"c\""]));
    }
}
