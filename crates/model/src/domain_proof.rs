//! How a workspace proves that a domain is its own: a TXT record under the name, which only who controls the name can set.
//!
//! A page that is served under the name would prove less: a name that leads to us anyway would serve it for whoever claims it.

use crate::Host;

/// What stands before the name, so that the record is beside what else the name has.
const LABEL: &str = "_clickwire";

/// What stands before the token in the record.
const PREFIX: &str = "clickwire-domain=";

/// Where the record of a domain belongs.
pub fn record_name(host: &Host) -> String {
    format!("{LABEL}.{host}")
}

/// What the record of a domain with this token holds.
pub fn record_value(token: &str) -> String {
    format!("{PREFIX}{token}")
}

/// What has been shown of whose a domain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofStatus {
    /// Nobody has looked yet.
    Pending,
    /// It is the workspace's.
    Verified,
    /// It was looked, and nothing was proven.
    Failed(ProofFailure),
}

impl ProofStatus {
    /// The stable word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Verified => "verified",
            Self::Failed(_) => "failed",
        }
    }
}

/// Why a look-up proved nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofFailure {
    /// There is no TXT record.
    NoRecord,
    /// There are TXT records, and none holds the token.
    OtherRecord,
    /// The name servers did not answer, or could not.
    NoAnswer,
    /// The host is an address or a name without a zone: it has no records.
    NoName,
}

impl ProofFailure {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::NoRecord, Self::OtherRecord, Self::NoAnswer, Self::NoName];

    /// The stable word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRecord => "no_record",
            Self::OtherRecord => "other_record",
            Self::NoAnswer => "no_answer",
            Self::NoName => "no_name",
        }
    }

    /// For people.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::NoRecord => {
                "there is no such TXT record: a new one may take a while until every name server knows it"
            }
            Self::OtherRecord => "the TXT record holds something else: copy the value as it is shown",
            Self::NoAnswer => "the name servers did not answer: try again in a while",
            Self::NoName => {
                "an address or a name of this machine has no records; who runs the server can switch the proof off with \
                 `links.domain_verification`"
            }
        }
    }
}

/// Whether a host can have a record at all.
pub fn can_have_record(host: &Host) -> bool {
    let last = host.as_str().rsplit('.').next().unwrap_or_default();
    let is_address = host.as_str().starts_with('[') || last.bytes().all(|b| b.is_ascii_digit());
    host.as_str().contains('.') && !is_address
}

/// What TXT records of [`record_name`] prove to who has this token.
///
/// # Errors
/// [`ProofFailure`]
pub fn judge<'a>(records: impl IntoIterator<Item = &'a str>, token: &str) -> Result<(), ProofFailure> {
    let wanted = record_value(token);
    let mut failure = ProofFailure::NoRecord;
    for record in records {
        // pages in which records are typed leave quotes and spaces behind
        if record.trim().trim_matches('"').trim() == wanted {
            return Ok(());
        }
        failure = ProofFailure::OtherRecord;
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_of_many_is_enough_and_must_be_whole() {
        assert_eq!(judge(["v=spf1 -all", "clickwire-domain=abc"], "abc"), Ok(()));
        assert_eq!(judge([" \"clickwire-domain=abc\" "], "abc"), Ok(()));
        assert_eq!(judge([], "abc"), Err(ProofFailure::NoRecord));
        for other in ["abc", "clickwire-domain=", "clickwire-domain=abcd", "clickwire-domain=ABC", ""] {
            assert_eq!(judge([other], "abc"), Err(ProofFailure::OtherRecord), "{other}");
        }
    }

    #[test]
    fn addresses_and_names_of_one_machine_have_no_records() {
        let can = |host: &str| can_have_record(&host.parse().expect(host));
        assert!(can("go.example.com") && can("xn--bcher-kva.example"));
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            assert!(!can(host), "{host}");
        }
    }
}
