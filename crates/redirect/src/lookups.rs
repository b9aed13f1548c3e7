//! Links and domains in PostgreSQL: asked for within a bounded time, with one line when answers cease and when they come
//! again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::{error, info, warn};

use model::{Host, Link, Slug};
use store::Pool;
use store::routes::ServedDomain;
use store::templates::ServedTemplate;

use crate::cache::Failure;

/// Where links are looked up that are not in memory. Clones share what is known of its state.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    timeout: Duration,
    is_away: Arc<AtomicBool>,
}

/// Why PostgreSQL did not answer.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// There is none, or none is free.
    #[error("failed to get a connection")]
    Pool(#[from] store::PoolError),
    /// It was refused, or the row cannot be read.
    #[error("failed to look a link up")]
    Query(#[from] store::QueryError),
    /// It takes too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl From<&LookupError> for Failure {
    fn from(error: &LookupError) -> Self {
        match error {
            LookupError::Query(error) if store::is_unreadable(error) => Self::Unreadable,
            _ => Self::Away,
        }
    }
}

impl From<LookupError> for Failure {
    fn from(error: LookupError) -> Self {
        Self::from(&error)
    }
}

impl Database {
    /// Waits at most `timeout` for an answer.
    pub fn new(pool: Pool, timeout: Duration) -> Self {
        Self { pool, timeout, is_away: Arc::default() }
    }

    /// What stands under this host and slug.
    ///
    /// # Errors
    /// [`LookupError`]
    pub async fn find_link(&self, host: &Host, slug: &Slug) -> Result<Option<Link>, LookupError> {
        self.ask(async {
            let mut conn = self.pool.get().await?;
            Ok(store::routes::find_for_redirect(&mut conn, host, slug).await?)
        })
        .await
    }

    /// The template with this number under this host.
    ///
    /// # Errors
    /// [`LookupError`]
    pub async fn find_template(
        &self,
        host: &Host,
        number: u32,
    ) -> Result<Option<ServedTemplate>, LookupError> {
        self.ask(async {
            let mut conn = self.pool.get().await?;
            Ok(store::templates::find_for_redirect(&mut conn, host, number).await?)
        })
        .await
    }

    /// The domain of this host; with `any_host` the default one if it has none.
    ///
    /// # Errors
    /// [`LookupError`]
    pub async fn find_domain(
        &self,
        host: &Host,
        any_host: bool,
    ) -> Result<Option<ServedDomain>, LookupError> {
        self.ask(async {
            let mut conn = self.pool.get().await?;
            if any_host {
                Ok(store::routes::serving_domain(&mut conn, host).await?)
            } else {
                Ok(store::routes::domain(&mut conn, host).await?)
            }
        })
        .await
    }

    /// Waits for an answer. One line when they cease and one when they come again, however many visitors there are.
    async fn ask<T>(&self, question: impl Future<Output = Result<T, LookupError>>) -> Result<T, LookupError> {
        let answer = tokio::time::timeout(self.timeout, question).await;
        let answer = answer.unwrap_or(Err(LookupError::Timeout(self.timeout)));
        let failure = answer.as_ref().err().map(Failure::from);
        let was_away = self.is_away.swap(failure == Some(Failure::Away), Ordering::Relaxed);
        match (&answer, was_away) {
            (Err(error), _) if failure == Some(Failure::Unreadable) => {
                let error: &dyn std::error::Error = error;
                error!(
                    error,
                    "a link or a domain cannot be read: its visitors are served what was last seen, or 503"
                );
            }
            (Err(error), false) => {
                let error: &dyn std::error::Error = error;
                warn!(error, "the database does not answer: links are served as they were last seen");
            }
            (Ok(_), true) => info!("the database answers again"),
            _ => {}
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_cannot_be_read_does_not_say_that_the_database_is_away() {
        let unreadable = store::QueryError::DeserializationError("not a URL".into());

        assert_eq!(Failure::from(LookupError::Query(unreadable)), Failure::Unreadable);
        assert_eq!(Failure::from(LookupError::Query(store::QueryError::NotFound)), Failure::Away);
        assert_eq!(Failure::from(LookupError::Timeout(Duration::ZERO)), Failure::Away);
    }
}
