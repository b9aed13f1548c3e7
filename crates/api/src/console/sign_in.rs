//! Signing in with an API key, and out again. Guessing is slow: few failures a minute for each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, get, post};
use askama::Template;

use super::view::{Layout, Notice, html_with};
use super::{Form, PageError, PageResult, Signed, see_other, session};
use crate::app::Shared;
use crate::auth;
use crate::error::ApiError;

/// Failures are counted for so long.
const WINDOW: Duration = Duration::from_secs(60);

/// Addresses whose failures are counted; beyond it all are forgotten, which costs a guesser's memory, not ours.
const ADDRESSES_MAX: usize = 10_000;

/// Failed sign-ins by address.
pub struct SignIns {
    failures_max: u32,
    failures: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl SignIns {
    /// Refuses more than `failures_max` failures a minute.
    pub fn new(failures_max: u32) -> Self {
        Self { failures_max, failures: Mutex::default() }
    }

    fn is_limited(&self, address: IpAddr, now: Instant) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures
            .get(&address)
            .is_some_and(|(began, count)| now.duration_since(*began) < WINDOW && *count >= self.failures_max)
    }

    fn count_failure(&self, address: IpAddr, now: Instant) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ADDRESSES_MAX {
            failures.retain(|_, (began, _)| now.duration_since(*began) < WINDOW);
            if failures.len() >= ADDRESSES_MAX {
                failures.clear();
            }
        }
        let (began, count) = failures.entry(address).or_insert((now, 0));
        if now.duration_since(*began) >= WINDOW {
            (*began, *count) = (now, 0);
        }
        *count += 1;
    }
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    layout: Layout,
}

#[get("/login")]
pub async fn page(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    sign_in_page(&request, &shared, StatusCode::OK, None)
}

#[post("/login")]
pub async fn submit(request: HttpRequest, form: Form, shared: Data<Shared>) -> PageResult {
    let address = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let now = Instant::now();
    if shared.sign_ins.is_limited(address, now) {
        shared.metrics.sign_ins.with_label_values(&["limited"]).inc();
        let text = "Too many failed sign-ins from your address. Try again in a minute.";
        return Ok(sign_in_page(&request, &shared, StatusCode::TOO_MANY_REQUESTS, Some(text)));
    }
    let refused = || {
        shared.sign_ins.count_failure(address, now);
        shared.metrics.sign_ins.with_label_values(&["failed"]).inc();
        let text = "This key is not known, or not any more.";
        Ok(sign_in_page(&request, &shared, StatusCode::UNAUTHORIZED, Some(text)))
    };
    let Ok(key) = form.text("key").unwrap_or_default().parse() else {
        return refused();
    };
    match auth::by_key(&shared, &key).await {
        Ok(caller) => {
            shared.metrics.sign_ins.with_label_values(&["ok"]).inc();
            let mut response = see_other("/");
            response.add_cookie(&session::begin(&shared, &caller)).expect("a sealed cookie is visible ASCII");
            Ok(response)
        }
        Err(ApiError::Unauthorized(_)) => refused(),
        Err(error) => Err(PageError(error)),
    }
}

#[post("/logout")]
pub async fn sign_out(_signed: Signed, _form: Form, shared: Data<Shared>) -> PageResult {
    let mut response = see_other("/login");
    response.add_cookie(&session::end(&shared)).expect("a cookie without a value is visible ASCII");
    Ok(response)
}

fn sign_in_page(
    request: &HttpRequest,
    shared: &Shared,
    status: StatusCode,
    failure: Option<&str>,
) -> HttpResponse {
    let (csrf, cookie) = session::form_token(request, shared);
    let notice = failure.map(|text| Notice { kind: "bad", text: text.to_owned() });
    let mut response =
        html_with(status, &SignInPage { layout: Layout { csrf, notice, ..Layout::outside() } });
    response.add_cookie(&cookie).expect("a sealed cookie is visible ASCII");
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guesser_is_limited_for_a_minute_and_nobody_else_is() {
        let sign_ins = SignIns::new(2);
        let (guesser, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let now = Instant::now();

        sign_ins.count_failure(guesser, now);
        assert!(!sign_ins.is_limited(guesser, now));
        sign_ins.count_failure(guesser, now);

        assert!(sign_ins.is_limited(guesser, now));
        assert!(!sign_ins.is_limited(other, now));
        assert!(!sign_ins.is_limited(guesser, now + WINDOW));
    }
}
