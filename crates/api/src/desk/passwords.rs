//! Passwords of links, hashed where nobody waits for the thread, and few at a time.

use std::fmt;

use anyhow::Context as _;
use tokio::sync::Semaphore;

use model::PasswordHash;

use crate::error::ApiError;

/// Passwords that are hashed at once, over all requests: each takes some milliseconds of a processor and 19 MiB.
const HASHES_MAX: usize = 2;

/// A password as somebody typed it. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct TypedPassword(Box<str>);

impl TypedPassword {
    /// This text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
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
}

impl Passwords {
    /// Nothing is hashed yet.
    pub fn new() -> Self {
        Self { permits: Semaphore::new(HASHES_MAX) }
    }

    /// The hash to keep.
    ///
    /// # Errors
    /// When the system has no randomness to give.
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
    /// When the system has no randomness to give.
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

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        tokio::task::spawn_blocking(work)
            .await
            .context("hashing a password panicked")
            .map_err(ApiError::Internal)
    }
}
