//! What a nats-server can do, by its version.

/// The oldest nats-server that is known not to lose what it was given (snapshot desync fixed in 2.12.3).
const VERSION_MIN: (u64, u64, u64) = (2, 12, 3);

/// The oldest one that stores many messages as one batch with one confirmation (fast ingest, ADR-50).
const BATCHES_SINCE: (u64, u64, u64) = (2, 14, 0);

/// A nats-server that is known to lose or to repeat messages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "nats-server {version} is too old: {major}.{minor}.{patch} or newer is needed \
     (`nats.allow_old_server = true` runs on it all the same)",
    major = VERSION_MIN.0, minor = VERSION_MIN.1, patch = VERSION_MIN.2
)]
pub struct OldServer {
    /// What the server says it is.
    pub version: String,
}

/// Looks whether the server is new enough.
///
/// # Errors
/// [`OldServer`]
pub(crate) fn check_version(version: &str) -> Result<(), OldServer> {
    let is_new_enough = parse_version(version).is_some_and(|parsed| parsed >= VERSION_MIN);
    if is_new_enough { Ok(()) } else { Err(OldServer { version: version.to_owned() }) }
}

/// Whether its streams can take batches.
pub(crate) fn takes_batches(version: &str) -> bool {
    parse_version(version).is_some_and(|parsed| parsed >= BATCHES_SINCE)
}

/// The three numbers in front; a pre-release (`-RC.1`) counts as its release.
fn parse_version(version: &str) -> Option<(u64, u64, u64)> {
    let numbers = version.split(['-', '+']).next()?;
    let mut numbers = numbers.trim_start_matches('v').split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_older_than_the_minimum_is_refused() {
        for old in ["2.9.10", "2.12.2", "1.99.99", "2.11.12-RC.1", "", "nightly"] {
            assert_eq!(check_version(old), Err(OldServer { version: old.to_owned() }), "{old}");
        }
        for new in ["2.12.3", "2.14.6", "v2.15.0", "2.15.0-dev", "3.0.0"] {
            assert_eq!(check_version(new), Ok(()), "{new}");
        }
    }

    #[test]
    fn the_refusal_names_both_versions_and_the_setting() {
        let error = check_version("2.9.10").expect_err("old");

        assert_eq!(
            error.to_string(),
            "nats-server 2.9.10 is too old: 2.12.3 or newer is needed \
             (`nats.allow_old_server = true` runs on it all the same)"
        );
    }

    #[test]
    fn streams_take_batches_since_the_release_that_brought_them() {
        for (version, expected) in
            [("2.12.9", false), ("2.13.0", false), ("2.14.0", true), ("3.0.0", true), ("", false)]
        {
            assert_eq!(takes_batches(version), expected, "{version}");
        }
    }
}
