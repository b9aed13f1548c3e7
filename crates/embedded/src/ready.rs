//! Waiting for a server that starts.

use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::error::EmbeddedError;
use crate::process::{self, Process};

/// Time for a start in which a server recovers what it holds, and for `initdb`.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(60);

/// Pause between two looks at a server that starts.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `answers` says that a server does. `Some`: it has ended instead, in this way.
pub(crate) async fn until_ready<F: Future<Output = bool>>(
    program: &'static str,
    process: &Process,
    log: &Path,
    answers: impl Fn() -> F,
) -> Result<Option<ExitStatus>, EmbeddedError> {
    let since = Instant::now();
    while since.elapsed() < START_LIMIT {
        if let Some(status) = process.status() {
            return Ok(Some(status));
        }
        if answers().await {
            return Ok(None);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(EmbeddedError::NotReady { program, limit: START_LIMIT, log: process::tail(log) })
}
