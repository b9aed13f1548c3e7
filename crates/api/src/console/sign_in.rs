//! Signing in, as a person or with an API key, and out again. Guessing is slow: few failures a minute for each address, and
//! for each account; a browser that let somebody in before has a few of its own.

use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::http::header::USER_AGENT;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, get, post};
use askama::Template;

use model::Email;

use super::view::{Layout, Notice, html_with};
use super::{Form, PageError, PageResult, Signed, known, see_other, session};
use crate::app::Shared;
use crate::auth::{self, Identity};
use crate::desk::account;
use crate::error::ApiError;
use crate::sign_ins::Try;
use crate::{client, sign_ins};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    layout: Layout,
    /// Whether it asks for a key, rather than for e-mail and password.
    with_key: bool,
    /// What was typed before.
    email: String,
}

/// What the page is shown with.
struct Shown<'a> {
    status: StatusCode,
    failure: Option<&'a str>,
    with_key: bool,
    email: &'a str,
}

#[get("/login")]
pub async fn page(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    let with_key = match request.query_string() {
        "with=key" => true,
        "with=password" => false,
        // before anybody is invited there are keys alone; while the database is away nobody knows
        _ => !account::is_anybody(&shared).await.unwrap_or(false),
    };
    show(&request, &shared, Shown { status: StatusCode::OK, failure: None, with_key, email: "" })
}

#[post("/login")]
pub async fn submit(request: HttpRequest, form: Form, shared: Data<Shared>) -> PageResult {
    let typed = form.text("email").unwrap_or_default();
    let with_key = !form.has("email");
    let email: Option<Email> = typed.parse().ok();
    let again = |status, failure| {
        Ok(show(&request, &shared, Shown { status, failure: Some(failure), with_key, email: typed }))
    };
    let it = match begin_try(&request, &shared, email.as_ref()).await {
        Ok(it) => it,
        Err(limited) => return again(StatusCode::TOO_MANY_REQUESTS, limited.text()),
    };
    let cookie = if with_key {
        let Some(caller) = by_key(&shared, &form).await? else {
            return again(
                StatusCode::UNAUTHORIZED,
                failed(&shared, "This key is not known, or not any more."),
            );
        };
        caller
    } else {
        let password = form.password("password");
        let opened = account::sign_in(&shared, email.as_ref(), &password, user_agent(&request)).await?;
        let Some(opened) = opened else {
            let text = failed(&shared, "E-mail and password do not belong together. Check both.");
            return again(StatusCode::UNAUTHORIZED, text);
        };
        session::begin_for_person(&shared, opened)
    };
    succeeded(&shared, it);
    session::end_before(&request, &shared).await?;
    let mut response = see_other("/");
    let known = match &email {
        Some(email) => known::remember(&request, &shared, email).await,
        None => None,
    };
    for cookie in [Some(cookie), known].into_iter().flatten() {
        response.add_cookie(&cookie).expect("a sealed cookie is visible ASCII");
    }
    Ok(response)
}

/// The cookie of a session that a key begins; `None` when it opens nothing.
async fn by_key(
    shared: &Shared,
    form: &Form,
) -> Result<Option<actix_web::cookie::Cookie<'static>>, PageError> {
    let Ok(key) = form.text("key").unwrap_or_default().parse() else { return Ok(None) };
    match auth::by_key(shared, &key).await {
        Ok(caller) => match caller.identity {
            Identity::Key(id) => Ok(Some(session::begin(shared, id))),
            Identity::Person(_) => Ok(None),
        },
        Err(ApiError::Unauthorized(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Begins a try to get in, from the address of who asks, or with a browser that let them in before.
pub(super) async fn begin_try(
    request: &HttpRequest,
    shared: &Shared,
    email: Option<&Email>,
) -> Result<Try, sign_ins::Limited> {
    let known = match email {
        Some(email) => known::browser(request, shared, email).await.map(|browser| (browser, email)),
        None => None,
    };
    let begun = match known {
        Some((browser, email)) => shared.sign_ins.begin_known(&browser, email, Instant::now()),
        None => {
            let address = client::address(request, &shared.settings.trusted_proxies);
            shared.sign_ins.begin(address, email, Instant::now())
        }
    };
    begun.inspect_err(|_| shared.metrics.sign_ins.with_label_values(&["limited"]).inc())
}

/// Notes that a try got in.
pub(super) fn succeeded(shared: &Shared, it: Try) {
    shared.sign_ins.forgive(it);
    shared.metrics.sign_ins.with_label_values(&["ok"]).inc();
}

/// Notes that a try failed.
pub(super) fn failed<'a>(shared: &Shared, text: &'a str) -> &'a str {
    shared.metrics.sign_ins.with_label_values(&["failed"]).inc();
    text
}

/// How the browser calls itself.
pub(super) fn user_agent(request: &HttpRequest) -> Option<&str> {
    request.headers().get(USER_AGENT)?.to_str().ok()
}

#[post("/logout")]
pub async fn sign_out(signed: Signed, _form: Form, shared: Data<Shared>) -> PageResult {
    session::end_kept(&shared, &signed.session).await?;
    let mut response = see_other("/login");
    response.add_cookie(&session::end(&shared)).expect("a cookie without a value is visible ASCII");
    Ok(response)
}

fn show(request: &HttpRequest, shared: &Shared, shown: Shown<'_>) -> HttpResponse {
    let Shown { status, failure, with_key, email } = shown;
    let (csrf, cookie) = session::form_token(request, shared);
    let notice = failure.map(|text| Notice { kind: "bad", text: text.to_owned() });
    let layout = Layout { csrf, notice, ..Layout::outside() };
    let mut response = html_with(status, &SignInPage { layout, with_key, email: email.to_owned() });
    response.add_cookie(&cookie).expect("a sealed cookie is visible ASCII");
    response
}
