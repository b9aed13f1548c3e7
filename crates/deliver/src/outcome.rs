//! What an attempt means: for its delivery, and for the endpoint as a whole. Pure.
//!
//! 2xx is success. Everything else is tried again, except where the endpoint said for good that it does
//! not want the event: 410, and the statuses its owner listed. Redirects are failures and not followed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use model::delivery::{Attempt, ErrorClass};

use crate::limit::Load;

/// What becomes of a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The subscriber accepted the event.
    Delivered,
    /// Try again, as the schedule says.
    Retry,
    /// Try again, but send nothing at all to the endpoint before this moment: it asked for that.
    Pause(DateTime<Utc>),
    /// Never try this one again: the owner listed the status as permanent.
    Permanent,
    /// 410: the endpoint wants nothing any more.
    Gone,
}

/// What an attempt says about the endpoint's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// It works: it answered, and understood.
    Up,
    /// Nobody answered, or a server that is in trouble.
    Down,
    /// It answered that it does not want this one.
    Unclear,
}

/// Judges an attempt that ended at `now`; no pause is longer than `pause_max`.
pub fn judge(
    attempt: &Attempt,
    permanent_statuses: &[u16],
    now: DateTime<Utc>,
    pause_max: Duration,
) -> Outcome {
    if attempt.is_success() {
        return Outcome::Delivered;
    }
    match attempt.status {
        Some(410) => Outcome::Gone,
        Some(status) if permanent_statuses.contains(&status) => Outcome::Permanent,
        Some(429 | 503) => match retry_after(attempt, now) {
            Some(asked) => Outcome::Pause(now + asked.min(pause_max)),
            None => Outcome::Retry,
        },
        _ => Outcome::Retry,
    }
}

/// What the circuit learns from an attempt.
pub fn signal(attempt: &Attempt) -> Signal {
    match (attempt.error, attempt.status) {
        (None, _) => Signal::Up,
        (Some(ErrorClass::Status), Some(status)) if status < 500 => Signal::Unclear,
        _ => Signal::Down,
    }
}

/// What an attempt says about how much the endpoint bears.
pub fn load(attempt: &Attempt) -> Load {
    match (attempt.error, attempt.status) {
        (None, _) => Load::Borne,
        (Some(ErrorClass::Timeout), _) | (_, Some(429 | 502 | 503 | 504)) => Load::TooMuch,
        _ => Load::Unclear,
    }
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds or a date. A past date and rubbish ask for nothing.
fn retry_after(attempt: &Attempt, now: DateTime<Utc>) -> Option<Duration> {
    let (_, value) = attempt.response_headers.iter().find(|(name, _)| name == "retry-after")?;
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // more digits than fit mean "very long", not rubbish
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let at = DateTime::parse_from_rfc2822(value).ok()?;
    (at.to_utc() - now).to_std().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    const PAUSE_MAX: Duration = Duration::from_secs(3600);

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 23, 14, 0, 0).unwrap()
    }

    fn attempt(status: Option<u16>, error: Option<ErrorClass>) -> Attempt {
        Attempt {
            started_at: now(),
            duration_ms: 1,
            status,
            error,
            error_detail: None,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            response_body: None,
            remote_ip: None,
        }
    }

    fn answered(status: u16) -> Attempt {
        let error = (!(200..300).contains(&status)).then_some(ErrorClass::Status);
        attempt(Some(status), error)
    }

    fn throttled(status: u16, retry_after: &str) -> Attempt {
        Attempt { response_headers: vec![("retry-after".into(), retry_after.into())], ..answered(status) }
    }

    fn judged(attempt: &Attempt) -> Outcome {
        judge(attempt, &[404, 413], now(), PAUSE_MAX)
    }

    #[test]
    fn every_answer_has_its_outcome_and_its_signal() {
        let cases = [
            (200, Outcome::Delivered, Signal::Up),
            (204, Outcome::Delivered, Signal::Up),
            (301, Outcome::Retry, Signal::Unclear),
            (302, Outcome::Retry, Signal::Unclear),
            (400, Outcome::Retry, Signal::Unclear),
            (404, Outcome::Permanent, Signal::Unclear),
            (408, Outcome::Retry, Signal::Unclear),
            (410, Outcome::Gone, Signal::Unclear),
            (413, Outcome::Permanent, Signal::Unclear),
            (429, Outcome::Retry, Signal::Unclear),
            (500, Outcome::Retry, Signal::Down),
            (503, Outcome::Retry, Signal::Down),
        ];
        for (status, outcome, said) in cases {
            assert_eq!((judged(&answered(status)), signal(&answered(status))), (outcome, said), "{status}");
        }
    }

    #[test]
    fn too_much_is_what_says_so_and_what_is_not_answered_in_time() {
        for (status, said) in [
            (200, Load::Borne),
            (404, Load::Unclear),
            (429, Load::TooMuch),
            (500, Load::Unclear),
            (502, Load::TooMuch),
            (503, Load::TooMuch),
            (504, Load::TooMuch),
        ] {
            assert_eq!(load(&answered(status)), said, "{status}");
        }
        assert_eq!(load(&attempt(None, Some(ErrorClass::Timeout))), Load::TooMuch);
        assert_eq!(load(&attempt(None, Some(ErrorClass::Dns))), Load::Unclear);
    }

    #[test]
    fn whoever_does_not_answer_is_tried_again() {
        for error in [
            ErrorClass::Dns,
            ErrorClass::Connect,
            ErrorClass::Tls,
            ErrorClass::Timeout,
            ErrorClass::Protocol,
            ErrorClass::Blocked,
        ] {
            let attempt = attempt(None, Some(error));
            assert_eq!((judged(&attempt), signal(&attempt)), (Outcome::Retry, Signal::Down), "{error:?}");
        }
    }

    #[test]
    fn retry_after_pauses_the_endpoint_within_the_limit() {
        let in_seconds = |seconds: i64| Outcome::Pause(now() + chrono::Duration::seconds(seconds));
        let cases = [
            ("120", in_seconds(120)),
            (" 7 ", in_seconds(7)),
            ("0", in_seconds(0)),
            ("Mon, 23 Nov 2026 14:01:00 GMT", in_seconds(60)),
            ("315360000", in_seconds(3600)),
            ("99999999999999999999999999", in_seconds(3600)),
            ("Fri, 23 Nov 2035 14:01:00 GMT", in_seconds(3600)),
            ("Mon, 23 Nov 2026 13:00:00 GMT", Outcome::Retry),
            ("-5", Outcome::Retry),
            ("", Outcome::Retry),
            ("soon", Outcome::Retry),
            ("1e9", Outcome::Retry),
        ];
        for (value, outcome) in cases {
            assert_eq!(judged(&throttled(429, value)), outcome, "{value}");
            assert_eq!(judged(&throttled(503, value)), outcome, "{value}");
        }
        assert_eq!(judged(&throttled(500, "120")), Outcome::Retry);
    }
}
