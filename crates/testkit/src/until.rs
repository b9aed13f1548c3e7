//! Waiting for a state.

use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

/// Pause before the second look, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// Asks until the probe answers with something, and returns that.
///
/// Ask for the state, not for a change: what is already so is found at the first look. The limit is there to
/// end a test that fails; make it generous.
///
/// # Panics
/// After `limit`, naming the caller.
#[track_caller]
pub fn until<T, P, F>(limit: Duration, mut probe: P) -> impl Future<Output = T>
where
    P: FnMut() -> F,
    F: Future<Output = Option<T>>,
{
    let caller = Location::caller();
    async move {
        let since = Instant::now();
        let mut pause = PAUSES.0;
        loop {
            // a probe that hangs must not outlive the limit
            let left = limit.saturating_sub(since.elapsed());
            match tokio::time::timeout(left.max(PAUSES.0), probe()).await {
                Ok(Some(found)) => return found,
                Ok(None) if since.elapsed() < limit => {}
                _ => panic!("{caller}: what is waited for did not come within {limit:?}"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}
