//! Where a link of an invitation leads, or one for a new password: whoever has it says who they are, and is signed in.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, get, post};
use askama::Template;
use serde_json::{Map, Value};

use store::invitations::Purpose;

use super::form::{self, Errors, Form};
use super::sign_in::{begin_try, failed, succeeded, user_agent};
use super::view::{Layout, Notice, html_with};
use super::{Flash, PageResult, known, see_other, session};
use crate::app::Shared;
use crate::desk::invitations::{self, Acceptance, Named, Welcome};
use crate::desk::person_password::CHARS_MIN;
use crate::error::ApiError;
use crate::roles;

/// What the address of a link begins with.
pub const PATH: &str = "/welcome/";

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config.service(show).service(submit);
}

#[derive(Template)]
#[template(path = "welcome.html")]
struct WelcomePage {
    layout: Layout,
    token: String,
    workspace: String,
    email: String,
    /// What the person becomes, and what that means; empty when it is about a password alone.
    role: &'static str,
    meaning: &'static str,
    /// Whether there is no account yet.
    asks_for_name: bool,
    /// Whether the password is that of the account there is, rather than a new one.
    asks_for_password: bool,
    name: String,
    chars_min: usize,
    errors: Errors,
}

/// What the page of a link that opens nothing says.
#[derive(Template)]
#[template(path = "welcome_over.html")]
struct OverPage {
    layout: Layout,
}

#[get("/welcome/{token}")]
async fn show(request: HttpRequest, token: Path<String>, shared: Data<Shared>) -> PageResult {
    match invitations::open(&shared, &token).await {
        Ok(welcome) => {
            let page = Filled { name: String::new(), errors: Errors::default(), failure: None };
            Ok(answer(&request, &shared, &token, &welcome, StatusCode::OK, page))
        }
        Err(ApiError::NotFound(_)) => Ok(over()),
        Err(error) => Err(error.into()),
    }
}

#[post("/welcome/{token}")]
async fn submit(request: HttpRequest, form: Form, token: Path<String>, shared: Data<Shared>) -> PageResult {
    let welcome = match invitations::open(&shared, &token).await {
        Ok(welcome) => welcome,
        Err(ApiError::NotFound(_)) => return Ok(over()),
        Err(error) => return Err(error.into()),
    };
    let name = form.text("name").unwrap_or_default().to_owned();
    let again = |status, errors, failure| {
        Ok(answer(
            &request,
            &shared,
            &token,
            &welcome,
            status,
            Filled { name: name.clone(), errors, failure },
        ))
    };
    // only where a password is asked for that somebody might guess
    let guessed = Some(&welcome.invitation.email).filter(|_| welcome.asks_for_password());
    let it = match begin_try(&request, &shared, guessed).await {
        Ok(it) => it,
        Err(limited) => {
            return again(StatusCode::TOO_MANY_REQUESTS, Errors::default(), Some(limited.text()));
        }
    };
    let given = match read(&welcome, &form) {
        Ok(given) => given,
        Err(error) => {
            shared.sign_ins.forgive(it);
            return again(StatusCode::UNPROCESSABLE_ENTITY, Errors::of(error)?, None);
        }
    };
    match invitations::accept(&shared, &welcome, &given, user_agent(&request)).await {
        Ok(Some(opened)) => {
            succeeded(&shared, it);
            session::end_before(&request, &shared).await?;
            let cookie = session::begin_for_person(&shared, opened);
            let text = match welcome.invitation.purpose {
                Purpose::Join(_) => format!("Welcome to {}.", welcome.workspace_name),
                Purpose::ResetPassword => "Your new password holds from now on.".to_owned(),
            };
            let mut response = session::leave(&shared, see_other("/"), &Flash::Done(text));
            let known = known::remember(&request, &shared, &welcome.invitation.email).await;
            for cookie in [Some(cookie), known].into_iter().flatten() {
                response.add_cookie(&cookie).expect("a sealed cookie is visible ASCII");
            }
            Ok(response)
        }
        Ok(None) => {
            let text = failed(&shared, "This is not the password of your account. Try again.");
            again(StatusCode::UNAUTHORIZED, Errors::default(), Some(text))
        }
        Err(ApiError::NotFound(_)) => Ok(over()),
        Err(error) => {
            shared.sign_ins.forgive(it);
            again(StatusCode::UNPROCESSABLE_ENTITY, Errors::of(error)?, None)
        }
    }
}

fn read(welcome: &Welcome, form: &Form) -> Result<Acceptance, ApiError> {
    let name = match &welcome.person {
        Some(person) => person.name.clone(),
        None => {
            let name = form.text("name").map_or(Value::Null, Value::from);
            form::read::<Named>(Map::from_iter([("name".to_owned(), name)]))?.0
        }
    };
    Ok(Acceptance { name, password: form.password("password") })
}

struct Filled<'a> {
    name: String,
    errors: Errors,
    failure: Option<&'a str>,
}

fn answer(
    request: &HttpRequest,
    shared: &Shared,
    token: &str,
    welcome: &Welcome,
    status: StatusCode,
    filled: Filled<'_>,
) -> HttpResponse {
    let (csrf, cookie) = session::form_token(request, shared);
    let notice = filled.failure.map(|text| Notice { kind: "bad", text: text.to_owned() });
    let role = welcome.invitation.purpose.role();
    let page = WelcomePage {
        layout: Layout { csrf, notice, ..Layout::outside() },
        token: token.to_owned(),
        workspace: welcome.workspace_name.clone(),
        email: welcome.invitation.email.to_string(),
        role: role.map_or("", roles::name),
        meaning: role.map_or("", roles::meaning),
        asks_for_name: welcome.person.is_none(),
        asks_for_password: welcome.asks_for_password(),
        name: filled.name,
        chars_min: CHARS_MIN,
        errors: filled.errors,
    };
    let mut response = html_with(status, &page);
    response.add_cookie(&cookie).expect("a sealed cookie is visible ASCII");
    response
}

fn over() -> HttpResponse {
    html_with(StatusCode::NOT_FOUND, &OverPage { layout: Layout::outside() })
}
