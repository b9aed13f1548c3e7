//! How many connections fit beside the files that a redirect has to be able to open: visitors who hold connections and
//! ask nothing must not keep a click from getting to the disk.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors that are not for visitors: those of the spool, of broker and database, and of other services in the
/// process. At most half of what there is.
const RESERVED: u64 = 1024;

/// How many connections each worker may have open at once: what is wanted, as far as the system lets the process.
/// Raises the process's soft limit (RLIMIT_NOFILE) to its hard one if that is needed.
pub fn connections_max(wanted: usize, workers: usize) -> usize {
    let needed = u64::try_from(wanted.saturating_mul(workers)).unwrap_or(u64::MAX).saturating_add(RESERVED);
    let limit = raised(getrlimit(Resource::Nofile), needed);
    let most = fitting(limit, wanted, workers);
    if most < wanted {
        warn!(
            descriptors = limit,
            workers,
            "redirect.connections_max is more than this process may open: each worker takes {most} connections; \
             raise the hard limit of open files (ulimit -Hn, LimitNOFILE)"
        );
    }
    most
}

/// The soft limit, after it was raised if it is lower than what is needed; `None`: there is none.
fn raised(limit: Rlimit, needed: u64) -> Option<u64> {
    if limit.current.is_none_or(|current| current >= needed) {
        return limit.current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        Ok(()) => limit.maximum,
        Err(error) => {
            warn!(error = %error, "failed to raise the limit of open files");
            limit.current
        }
    }
}

fn fitting(limit: Option<u64>, wanted: usize, workers: usize) -> usize {
    let Some(limit) = limit else { return wanted };
    let visitors = usize::try_from(limit - RESERVED.min(limit / 2)).unwrap_or(usize::MAX);
    wanted.min((visitors / workers.max(1)).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_files() {
        let cases = [
            (None, 25_000, 8, 25_000),
            (Some(1_048_576), 25_000, 8, 25_000),
            (Some(51_024), 25_000, 2, 25_000),
            (Some(51_022), 25_000, 2, 24_999),
            (Some(4096), 25_000, 2, 1536),
            (Some(4096), 100, 2, 100),
            (Some(1024), 25_000, 2, 256),
            (Some(2), 25_000, 8, 1),
            (Some(0), 25_000, 8, 1),
        ];
        for (limit, wanted, workers, most) in cases {
            assert_eq!(fitting(limit, wanted, workers), most, "{limit:?} {wanted} {workers}");
        }
    }
}
