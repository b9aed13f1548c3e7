//! People who sign in: what they are in a workspace, and the address by which they are known.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Longest address that mail can be sent to (RFC 5321 section 4.5.3.1.3, without the angle brackets).
const EMAIL_BYTES_MAX: usize = 254;

/// What a person is in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May do everything.
    Owner,
    /// Does the daily work.
    Operator,
    /// Looks.
    Viewer,
}

/// Why a text is not a [`Role`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be `owner`, `operator` or `viewer`")]
pub struct RoleError;

impl Role {
    /// Every role, the one that may do most first.
    pub const ALL: [Self; 3] = [Self::Owner, Self::Operator, Self::Viewer];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(RoleError)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An e-mail address, folded to lower case: who types theirs otherwise is the same person.
///
/// Nothing is sent to it, so nobody has ever proven that it is theirs: it is a name to sign in with, and no more than that. It is
/// checked for slips and not by the grammar of mail. Nothing may be given to somebody for what their address is: not by its
/// domain, not because an invitation names it. What lets somebody into a workspace is the link of the invitation, which whoever
/// invites passes on, together with the password of the account with that name; what lets them in again is that password.
/// Whoever is shown an address is shown what somebody was called when they were invited.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Email(Box<str>);

/// Why a text is not an [`Email`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an e-mail address like `name@example.com`, at most {EMAIL_BYTES_MAX} bytes long")]
pub struct EmailError;

impl Email {
    /// The address in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the `@`.
    pub fn local(&self) -> &str {
        self.0.rsplit_once('@').map_or(&self.0, |(local, _)| local)
    }
}

impl FromStr for Email {
    type Err = EmailError;

    fn from_str(text: &str) -> Result<Self, EmailError> {
        let folded = text.trim().to_lowercase();
        let (local, domain) = folded.rsplit_once('@').ok_or(EmailError)?;
        let is_one =
            |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | ',' | ';' | '"');
        let is_domain = domain.split('.').all(|label| !label.is_empty()) && !domain.contains('@');
        let is_short = folded.len() <= EMAIL_BYTES_MAX;
        let is_email = !local.is_empty() && !local.contains('@') && is_domain && is_short;
        if is_email && folded.chars().all(is_one) { Ok(Self(folded.into())) } else { Err(EmailError) }
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Email {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_same_however_it_is_typed() {
        let email: Email = " Ada@Example.COM ".parse().expect("an address");

        assert_eq!((email.as_str(), email.local()), ("ada@example.com", "ada"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(EMAIL_BYTES_MAX));
        for wrong in
            ["", "ada", "@example.com", "ada@", "ada@.com", "a b@c.d", "a@b@c.d", "<a@b.c>", "a,b@c.d", &long]
        {
            assert_eq!(wrong.parse::<Email>(), Err(EmailError), "{wrong}");
        }
    }

    #[test]
    fn every_role_is_read_as_it_is_written() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert_eq!("Owner".parse::<Role>(), Err(RoleError));
    }
}
