//! Passwords of links and people, hashed where nobody waits for the thread, and few at a time.

use std::fmt;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::Semaphore;

use model::PasswordHash;

use crate::error::ApiError;

/// Passwords that are hashed at once, over all requests: each takes some milliseconds of a processor and 19 MiB.
const HASHES_MAX: usize = 2;

/// Passwords of links that wait for that at most, and as many of people; more are refused.
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

/// Hashes passwords: of people, or of links.
pub struct Passwords {
    /// Those of people and of links share them.
    turns: Arc<Semaphore>,
    /// Of those that wait as well.
    places: Arc<Semaphore>,
}

impl Passwords {
    /// For those of people, and for those of links: they are hashed in turn, and have places of their own to wait in, so that a
    /// program that makes many links with a password keeps nobody from signing in.
    pub fn of_people_and_links() -> (Self, Self) {
        let turns = Arc::new(Semaphore::new(HASHES_MAX));
        let of_one =
            || Self { turns: Arc::clone(&turns), places: Arc::new(Semaphore::new(HASHES_MAX + WAITING_MAX)) };
        (of_one(), of_one())
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
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| ApiError::Busy("many passwords are being looked at: try again in a moment"))?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.expect("the semaphore is never closed");
        // a client who goes away does not make room before the work is done
        let done = tokio::task::spawn_blocking(move || {
            let _held = (place, turn);
            work()
        });
        done.await.context("hashing a password panicked").map_err(ApiError::Internal)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_whose_client_has_gone_away_keeps_its_turn_until_it_is_done() {
        let (passwords, _) = Passwords::of_people_and_links();
        let (begun, has_begun) = oneshot::channel();
        let (end, is_over) = mpsc::channel::<()>();
        let work = move || {
            begun.send(()).expect("somebody waits");
            is_over.recv()
        };
        let mut asked = Box::pin(passwords.run(work));
        tokio::select! {
            _ = &mut asked => panic!("it is not done yet"),
            begun = has_begun => begun.expect("it begins"),
        }

        drop(asked);

        assert_eq!(passwords.turns.available_permits(), HASHES_MAX - 1);
        assert_eq!(passwords.places.available_permits(), HASHES_MAX + WAITING_MAX - 1);
        drop(end);
        let all = u32::try_from(HASHES_MAX).expect("few");
        assert!(passwords.turns.acquire_many(all).await.is_ok(), "its turn is over with it");
    }

    #[tokio::test]
    async fn people_have_places_when_links_have_taken_all_of_theirs() {
        let (of_people, of_links) = Passwords::of_people_and_links();
        let typed = TypedPassword::new("open sesame");
        let all = u32::try_from(HASHES_MAX + WAITING_MAX).expect("few");
        let _held = of_links.places.try_acquire_many(all).expect("places");

        assert!(matches!(of_links.hash(&typed).await, Err(ApiError::Busy(_))));
        assert!(of_people.hash(&typed).await.is_ok());
    }
}
