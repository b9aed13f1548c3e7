//! How many requests to `/v1` anyone may make: one bucket for each API key, for each workspace, and for each address that
//! shows no key, or none that opens anything. Who is signed in to the console has as many requests as a key. Those count for the
//! workspace as well, but busy keys of it keep no person out.
//!
//! A bucket holds `burst` requests and is refilled at a steady rate. What is left of it stands in every answer, in the fields
//! of draft-ietf-httpapi-ratelimit-headers-07 (`RateLimit-Limit`, `-Remaining`, `-Reset`, `-Policy`; later drafts have other
//! fields): the limit is the bucket, the window is the time in which an empty one is full again. Each process counts for
//! itself.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage as _, HttpRequest};
use ipnet::IpNet;

use model::WorkspaceId;
use model::secret::ApiKeyHash;

use crate::auth::{Caller, Identity};
use crate::client;
use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::settings::ApiSettings;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How often idle buckets are looked for while there are as many as may be.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Of an IPv6 address, what a customer of a provider has as their own.
const IPV6_NETWORK: u128 = !0 << 64;

/// Everybody's buckets.
pub struct Limits {
    keys: Buckets<[u8; 32]>,
    /// Of who is signed in to the console.
    signed: Buckets<Identity>,
    workspaces: Buckets<WorkspaceId>,
    addresses: Buckets<IpAddr>,
    trusted_proxies: Vec<IpNet>,
    metrics: Metrics,
}

/// What is left of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    limit: u32,
    remaining: u32,
    /// Until the bucket is full.
    reset: Duration,
    /// Until an empty one is.
    window: Duration,
}

/// What is left to whoever made a request, once that is known: also who answers in place of its handler says so.
#[derive(Debug, Clone, Default)]
pub struct Noted(Rc<Cell<Option<Quota>>>);

impl Noted {
    /// Says it in an answer, if it is known.
    pub fn tell(&self, headers: &mut HeaderMap) {
        if let Some(quota) = self.0.get() {
            quota.tell(headers);
        }
    }
}

/// A bucket that is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Empty {
    quota: Quota,
    /// Until it holds a request again.
    retry_after: Duration,
}

impl Limits {
    /// As the settings say; nobody has asked for anything yet.
    pub fn new(settings: &ApiSettings, metrics: Metrics) -> Self {
        let max = settings.rate_buckets_max;
        Self {
            keys: Buckets::new(settings.requests_per_second, settings.requests_burst, max),
            signed: Buckets::new(settings.requests_per_second, settings.requests_burst, max),
            workspaces: Buckets::new(
                settings.workspace_requests_per_second,
                settings.workspace_requests_burst,
                max,
            ),
            addresses: Buckets::new(
                settings.unknown_requests_per_second,
                settings.unknown_requests_burst,
                max,
            ),
            trusted_proxies: settings.trusted_proxies.clone(),
            metrics,
        }
    }

    fn network(&self, request: &HttpRequest) -> IpAddr {
        match client::address(request, &self.trusted_proxies) {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK).into(),
            address => address,
        }
    }

    /// Whether this key has opened something a short time ago: it then has a bucket of its own.
    pub fn is_known(&self, key: &ApiKeyHash) -> bool {
        self.keys.holds(&bytes(key))
    }

    /// Counts a request with a key.
    ///
    /// # Errors
    /// [`ApiError::RateLimited`]
    pub fn count_key(&self, request: &HttpRequest, key: &ApiKeyHash) -> Result<(), ApiError> {
        let taken = self.keys.take(bytes(key), Instant::now());
        self.note(request, taken, "key")
    }

    /// Counts a request of who is signed in to the console, and for their workspace; what that has left refuses nobody here.
    ///
    /// # Errors
    /// [`ApiError::RateLimited`]
    pub fn count_signed(&self, request: &HttpRequest, caller: &Caller) -> Result<(), ApiError> {
        let taken = self.signed.take(caller.identity, Instant::now());
        self.note(request, taken, "session")?;
        let _ = self.workspaces.take(caller.workspace_id, Instant::now());
        Ok(())
    }

    /// Counts a request for a workspace.
    ///
    /// # Errors
    /// [`ApiError::RateLimited`]
    pub fn count_workspace(&self, request: &HttpRequest, id: WorkspaceId) -> Result<(), ApiError> {
        let taken = self.workspaces.take(id, Instant::now());
        self.note(request, taken, "workspace")
    }

    /// Counts a request of somebody who is not known, by their address.
    ///
    /// # Errors
    /// [`ApiError::RateLimited`]
    pub fn count_unknown(&self, request: &HttpRequest) -> Result<(), ApiError> {
        let taken = self.addresses.take(self.network(request), Instant::now());
        self.note(request, taken, "address")
    }

    /// Who was not known is: their request does not count for their address.
    pub fn forgive_unknown(&self, request: &HttpRequest) {
        self.addresses.give_back(&self.network(request));
        noted(request).0.set(None);
    }

    /// A key opens nothing any more.
    pub fn forget_key(&self, key: &ApiKeyHash) {
        self.keys.remove(&bytes(key));
    }

    /// The answer to a request says what is left of the bucket that has least.
    fn note(
        &self,
        request: &HttpRequest,
        taken: Result<Quota, Empty>,
        by: &'static str,
    ) -> Result<(), ApiError> {
        let quota = taken.unwrap_or_else(|empty| empty.quota);
        let noted = noted(request);
        match noted.0.get() {
            Some(least) if taken.is_ok() && least.remaining <= quota.remaining => {}
            _ => noted.0.set(Some(quota)),
        }
        taken.map(drop).map_err(|empty| {
            self.metrics.limited.with_label_values(&[by]).inc();
            ApiError::RateLimited { retry_after: whole_seconds(empty.retry_after) }
        })
    }
}

impl Quota {
    fn tell(&self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, self.limit.into());
        headers.insert(REMAINING, self.remaining.into());
        headers.insert(RESET, whole_seconds(self.reset).into());
        let policy = format!("{};w={}", self.limit, whole_seconds(self.window));
        headers.insert(POLICY, HeaderValue::from_str(&policy).expect("digits are visible"));
    }
}

/// Where it stands what is left to whoever makes this request.
fn noted(request: &HttpRequest) -> Noted {
    request.extensions().get::<Noted>().cloned().unwrap_or_default()
}

fn bytes(key: &ApiKeyHash) -> [u8; 32] {
    key.bytes().try_into().expect("SHA-256 has 32 bytes")
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// One bucket each, up to a number; beyond it, those who come share one until somebody else's is full again, which needs not
/// be kept.
struct Buckets<K> {
    /// Time in which a bucket gets a request back.
    interval: Duration,
    burst: u32,
    buckets_max: usize,
    kept: Mutex<Kept<K>>,
}

/// When each bucket is full again.
struct Kept<K> {
    full_at: HashMap<K, Instant>,
    shared: Option<Instant>,
    swept_at: Option<Instant>,
}

impl<K: Hash + Eq> Buckets<K> {
    fn new(per_second: u32, burst: u32, buckets_max: usize) -> Self {
        let kept = Kept { full_at: HashMap::new(), shared: None, swept_at: None };
        Self { interval: Duration::from_secs(1) / per_second, burst, buckets_max, kept: Mutex::new(kept) }
    }

    fn take(&self, key: K, now: Instant) -> Result<Quota, Empty> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.full_at.len() >= self.buckets_max && !kept.full_at.contains_key(&key) {
            kept.sweep(now);
        }
        let has_room = kept.full_at.len() < self.buckets_max || kept.full_at.contains_key(&key);
        let full_at = match has_room {
            true => kept.full_at.entry(key).or_insert(now),
            false => kept.shared.get_or_insert(now),
        };
        let window = self.interval * self.burst;
        let wanted = (*full_at).max(now) + self.interval;
        let debt = wanted.duration_since(now);
        let quota = |debt: Duration| {
            let left = window.saturating_sub(debt).as_nanos() / self.interval.as_nanos();
            Quota {
                limit: self.burst,
                remaining: u32::try_from(left).unwrap_or(u32::MAX),
                reset: debt,
                window,
            }
        };
        if debt > window {
            let debt_now = debt.saturating_sub(self.interval);
            return Err(Empty { quota: quota(debt_now), retry_after: debt - window });
        }
        *full_at = wanted;
        Ok(quota(debt))
    }

    fn give_back(&self, key: &K) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = kept.full_at.get_mut(key) {
            *full_at = full_at.checked_sub(self.interval).unwrap_or(*full_at);
        }
    }

    fn holds(&self, key: &K) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).full_at.contains_key(key)
    }

    fn remove(&self, key: &K) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).full_at.remove(key);
    }
}

impl<K> Kept<K> {
    fn sweep(&mut self, now: Instant) {
        if self.swept_at.is_none_or(|at| now.duration_since(at) >= SWEEP_INTERVAL) {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.swept_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_holds_its_burst_and_is_refilled_at_its_rate() {
        let buckets = Buckets::new(2, 3, 10);
        let now = Instant::now();

        let remaining: Vec<u32> =
            (0..3).map(|_| buckets.take("a", now).expect("some are left").remaining).collect();
        assert_eq!(remaining, [2, 1, 0]);
        let empty = buckets.take("a", now).expect_err("none is left");
        assert_eq!((empty.retry_after, empty.quota.remaining), (SECOND / 2, 0));
        assert_eq!(empty.quota.reset, SECOND * 3 / 2, "refused requests cost nothing");

        assert!(buckets.take("b", now).is_ok(), "others have their own");
        assert!(buckets.take("a", now + SECOND / 2).is_ok());
        assert!(buckets.take("a", now + SECOND / 2).is_err());
        assert_eq!(buckets.take("a", now + 60 * SECOND).expect("it is full").remaining, 2);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let buckets = Buckets::new(1, 1, 10);
        let now = Instant::now();

        assert!(buckets.take("a", now).is_ok());
        buckets.give_back(&"a");

        assert!(buckets.take("a", now).is_ok());
        assert!(buckets.take("a", now).is_err());
    }

    #[test]
    fn no_more_buckets_are_kept_than_may_be_and_nobody_gets_more_by_that() {
        let buckets = Buckets::new(1, 2, 2);
        let now = Instant::now();
        for name in [1, 2] {
            assert!(buckets.take(name, now).is_ok());
        }

        let later: Vec<bool> = (3..7).map(|name| buckets.take(name, now).is_ok()).collect();
        assert_eq!(later, [true, true, false, false], "who comes later shares one bucket");
        assert_eq!(buckets.kept.lock().expect("no panic").full_at.len(), 2);
        assert!(buckets.take(1, now).is_ok(), "who was there has their own");

        assert!(buckets.take(3, now + 2 * SECOND).is_ok(), "what is full is not kept");
        assert!(buckets.holds(&3));
    }
}
