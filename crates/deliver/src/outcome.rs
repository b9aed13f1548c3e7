//! What an attempt means: for its delivery, and for the endpoint as a whole. Pure.
//!
//! 2xx is success. Everything else is tried again, except where the endpoint said for good that it does
//! not want the event: 410, and the statuses its owner listed. Redirects are failures and not followed. Whatever
//! failed and carries `Retry-After` pauses the endpoint, not the one delivery alone.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
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
    /// It was not asked: something of ours failed before.
    Nothing,
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
        _ => match retry_after(attempt, now) {
            Some(asked) => Outcome::Pause(now + asked.min(pause_max)),
            None => Outcome::Retry,
        },
    }
}

/// What the circuit learns from an attempt.
pub fn signal(attempt: &Attempt) -> Signal {
    match (attempt.error, attempt.status) {
        (None, _) => Signal::Up,
        (Some(ErrorClass::Proxy), _) => Signal::Nothing,
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

/// Whether it failed for a reason of ours, which is not the endpoint's to answer for.
pub fn is_ours(attempt: &Attempt) -> bool {
    attempt.error == Some(ErrorClass::Proxy)
}

/// Whether the subscriber said that it was asked too often, which is not the event's fault.
pub fn is_throttled(attempt: &Attempt) -> bool {
    attempt.status == Some(429)
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds or a date. A past date and rubbish ask for nothing.
fn retry_after(attempt: &Attempt, now: DateTime<Utc>) -> Option<Duration> {
    let (_, value) = attempt.response_headers.iter().find(|(name, _)| name == "retry-after")?;
    let value = value.trim();
    seconds(value).or_else(|| (date(value)? - now).to_std().ok())
}

/// Digits, as the RFC says, or digits with a fraction, as some servers write; a fraction counts as a whole second.
fn seconds(value: &str) -> Option<Duration> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    // more digits than fit mean "very long", not rubbish
    let whole = whole.parse().unwrap_or(u32::MAX);
    let has_fraction = fraction.bytes().any(|b| b != b'0');
    Some(Duration::from_secs(u64::from(whole) + u64::from(has_fraction)))
}

/// A date in one of the three forms that a recipient must accept (RFC 9110 section 5.6.7).
fn date(value: &str) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc2822(value) {
        return Some(at.to_utc());
    }
    let obsolete = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    obsolete.iter().find_map(|form| NaiveDateTime::parse_from_str(value, form).ok()).map(|at| at.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use proptest::prelude::*;
    use proptest::sample::Index;

    const PAUSE_MAX: Duration = Duration::from_secs(3600);

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 23, 14, 0, 0).unwrap()
    }

    fn attempt(status: Option<u16>, error: Option<ErrorClass>) -> Attempt {
        Attempt { status, error, ..Attempt::begun(now()) }
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
    fn what_failed_at_the_proxy_says_nothing_of_the_endpoint_and_is_tried_again() {
        let at_proxy = attempt(None, Some(ErrorClass::Proxy));

        assert!(is_ours(&at_proxy) && !is_ours(&attempt(None, Some(ErrorClass::Connect))));
        assert_eq!((judged(&at_proxy), signal(&at_proxy)), (Outcome::Retry, Signal::Nothing));
        assert_eq!(load(&at_proxy), Load::Unclear);
        assert_eq!(signal(&attempt(None, Some(ErrorClass::Token))), Signal::Down);
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
            ("Monday, 23-Nov-26 14:01:00 GMT", in_seconds(60)),
            ("Mon Nov 23 14:01:00 2026", in_seconds(60)),
            ("1.5", in_seconds(2)),
            ("120.0", in_seconds(120)),
            ("0.001", in_seconds(1)),
            ("-5", Outcome::Retry),
            (".5", Outcome::Retry),
            ("5.", Outcome::Retry),
            ("1.2.3", Outcome::Retry),
            ("+5", Outcome::Retry),
            ("5 s", Outcome::Retry),
            ("NaN", Outcome::Retry),
            ("inf", Outcome::Retry),
            ("", Outcome::Retry),
            ("soon", Outcome::Retry),
            ("1e9", Outcome::Retry),
        ];
        for (value, outcome) in cases {
            for status in [301, 400, 429, 500, 503] {
                assert_eq!(judged(&throttled(status, value)), outcome, "{status} {value}");
            }
        }
    }

    #[test]
    fn who_accepts_or_refuses_for_good_pauses_nothing() {
        assert_eq!(judged(&throttled(200, "120")), Outcome::Delivered);
        assert_eq!(judged(&throttled(410, "120")), Outcome::Gone);
        assert_eq!(judge(&throttled(404, "120"), &[404], now(), PAUSE_MAX), Outcome::Permanent);
    }

    /// What servers write, with something else in the place of a part.
    fn nearly_asked() -> impl Strategy<Value = String> {
        let asked = prop::sample::select(
            &[
                "120",
                "1.5",
                "Mon, 23 Nov 2026 14:02:00 GMT",
                "Monday, 23-Nov-26 14:02:00 GMT",
                "Mon Nov 23 14:02:00 2026",
                "Fri, 31 Dec 9999 23:59:60 -2359",
            ][..],
        );
        let other = "\\PC{0,4}|[0-9]{0,12}|[+-][0-9]{0,5}";
        (asked, any::<Index>(), any::<Index>(), other).prop_map(|(text, one, end, other)| {
            let (one, end) = (one.index(text.len() + 1), end.index(text.len() + 1));
            [&text[..one.min(end)], other.as_str(), &text[one.max(end)..]].concat()
        })
    }

    proptest! {
        #[test]
        fn no_pause_is_shorter_than_asked_nor_longer_than_the_limit(
            asked in 0u64..10_000_000_000,
            is_date: bool,
            status in prop::sample::select(&[302u16, 403, 408, 425, 429, 500, 502, 503, 504][..]),
        ) {
            let until = now() + Duration::from_secs(asked.min(5_000_000_000));
            let value = if is_date { until.format("%a, %d %b %Y %H:%M:%S GMT").to_string() } else { asked.to_string() };

            let Outcome::Pause(paused) = judged(&throttled(status, &value)) else {
                return Err(TestCaseError::fail(value));
            };

            prop_assert_eq!(paused, now() + Duration::from_secs(asked).min(PAUSE_MAX));
        }

        #[test]
        fn nothing_in_retry_after_makes_us_panic_or_wait_beyond_the_limit(
            value in prop_oneof!["\\PC{0,40}|[0-9.]{0,40}", nearly_asked()],
            status: u16,
        ) {
            match judged(&throttled(status, &value)) {
                Outcome::Pause(until) => prop_assert!((now()..=now() + PAUSE_MAX).contains(&until)),
                outcome => prop_assert!(outcome != Outcome::Delivered || (200..300).contains(&status)),
            }
        }

        #[test]
        fn every_status_has_one_outcome(status in 100u16..1000, permanent: bool) {
            let permanent_statuses: &[u16] = if permanent { &[status] } else { &[] };
            let outcome = judge(&answered(status), permanent_statuses, now(), PAUSE_MAX);
            let expected = match status {
                200..=299 => Outcome::Delivered,
                410 => Outcome::Gone,
                _ if permanent => Outcome::Permanent,
                _ => Outcome::Retry,
            };
            prop_assert_eq!(outcome, expected);
        }
    }
}
