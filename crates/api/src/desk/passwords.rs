//! Passwords of links and people, hashed where nobody waits for the thread, and few at a time.

use std::fmt;

use anyhow::Context as _;
use tokio::sync::Semaphore;

use model::PasswordHash;

use crate::error::ApiError;

/// Passwords that are hashed at once, over all requests: each takes some milliseconds of a processor and 19 MiB.
const HASHES_MAX: usize = 2;

/// Passwords that wait for that; more are refused.
const WAITING_MAX: usize = 64;

/// A password as somebody typed it. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct TypedPassword(Box<str>);

impl TypedPassword {
    /// This text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text, to look at.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TypedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TypedPassword(…)")
    }
}

/// Hashes passwords.
pub struct Passwords {
    permits: Semaphore,
    /// Of those that wait as well.
    places: Semaphore,
}

impl Passwords {
    /// Nothing is hashed yet.
    pub fn new() -> Self {
        Self { permits: Semaphore::new(HASHES_MAX), places: Semaphore::new(HASHES_MAX + WAITING_MAX) }
    }

    /// The hash to keep.
    ///
    /// # Errors
    /// When the system has no randomness to give, or too many wait already.
    pub async fn hash(&self, typed: &TypedPassword) -> Result<PasswordHash, ApiError> {
        let typed = typed.clone();
        self.run(move || PasswordHash::of(&typed.0))
            .await?
            .context("failed to hash a password")
            .map_err(ApiError::Internal)
    }

    /// The hash to keep: the one that is there if it is of this password, so that nothing changes.
    ///
    /// # Errors
    /// When the system has no randomness to give, or too many wait already.
    pub async fn hash_unless_kept(
        &self,
        typed: &TypedPassword,
        kept: Option<PasswordHash>,
    ) -> Result<PasswordHash, ApiError> {
        if let Some(kept) = kept {
            let (hash, given) = (kept.clone(), typed.clone());
            if self.run(move || hash.is_of(&given.0)).await? {
                return Ok(kept);
            }
        }
        self.hash(typed).await
    }

    /// Whether this is the password that is kept. Takes as long when none is, so that nobody learns whether there is one.
    ///
    /// # Errors
    /// When too many wait already.
    pub async fn is_of(&self, typed: &TypedPassword, kept: Option<PasswordHash>) -> Result<bool, ApiError> {
        let Some(kept) = kept else { return self.hash(typed).await.map(|_| false) };
        let typed = typed.clone();
        self.run(move || kept.is_of(&typed.0)).await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        let _place = self
            .places
            .try_acquire()
            .map_err(|_| ApiError::Busy("many passwords are being looked at: try again in a moment"))?;
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        tokio::task::spawn_blocking(work)
            .await
            .context("hashing a password panicked")
            .map_err(ApiError::Internal)
    }
}
