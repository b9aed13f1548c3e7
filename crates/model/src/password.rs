//! Passwords of links: kept as a hash, compared with what a visitor types.

use std::fmt;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc};

/// Longest password, in characters.
pub const PASSWORD_CHARS_MAX: usize = 128;

/// The argon2id hash of a password, as a PHC string. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Box<str>);

/// Why a text is not a hash that [`PasswordHash::of`] made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the hash of a password, `$argon2id$…`")]
pub struct PasswordHashError;

impl PasswordHash {
    /// Hashes a password with a random salt. Takes some milliseconds and 19 MiB: not on a thread that others wait for.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn of(password: &str) -> Result<Self, PasswordHashError> {
        let hash = Argon2::default().hash_password(password.as_bytes()).map_err(|_| PasswordHashError)?;
        Ok(Self(hash.to_string().into()))
    }

    /// A hash as it was kept.
    ///
    /// # Errors
    /// When it is not one.
    pub fn from_kept(text: &str) -> Result<Self, PasswordHashError> {
        phc::PasswordHash::new(text).map_err(|_| PasswordHashError)?;
        Ok(Self(text.into()))
    }

    /// The text to keep.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the password. As slow as [`PasswordHash::of`], whatever the answer; compares in constant time.
    pub fn is_of(&self, password: &str) -> bool {
        phc::PasswordHash::new(&self.0)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_knows_its_password_and_does_not_show_itself() {
        let hash = PasswordHash::of("open sesame").expect("randomness");
        let kept = PasswordHash::from_kept(hash.as_str()).expect("a hash");

        assert!(kept.is_of("open sesame"));
        assert!(!kept.is_of("open sesame "));
        assert!(hash.as_str().starts_with("$argon2id$"));
        assert_eq!(format!("{kept:?}"), "PasswordHash(…)");
    }

    #[test]
    fn what_is_not_a_hash_is_refused() {
        for wrong in ["", "open sesame", "$argon2id$"] {
            assert_eq!(PasswordHash::from_kept(wrong), Err(PasswordHashError), "{wrong}");
        }
    }
}
