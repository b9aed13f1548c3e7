//! A person's own account: their name, their password, where they are signed in, and which workspace they look at.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{get, post};
use askama::Template;
use chrono::Utc;
use serde_json::{Map, Value};

use super::form::{self, Errors, Form};
use super::view::{Layout, When, html_with, when};
use super::{Flash, PageResult, Signed, known, see_other, session};
use crate::app::Shared;
use crate::body::path_id;
use crate::desk::account;
use crate::desk::invitations::Named;
use crate::desk::person_password::CHARS_MIN;
use crate::error::ApiError;
use crate::roles;

/// Where the page is.
const PATH: &str = "/account";

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config
        .service(show)
        .service(rename)
        .service(change_password)
        .service(end_session)
        .service(end_all)
        .service(switch);
}

struct SessionRow {
    id: String,
    browser: String,
    began: When,
    seen: When,
    is_this: bool,
}

struct WorkspaceRow {
    name: String,
    role: &'static str,
    meaning: &'static str,
    is_current: bool,
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    layout: Layout,
    is_person: bool,
    email: String,
    name: String,
    sessions: Vec<SessionRow>,
    workspaces: Vec<WorkspaceRow>,
    chars_min: usize,
    errors: Errors,
}

#[get("/account")]
async fn show(signed: Signed, shared: Data<Shared>) -> PageResult {
    page(&signed, &shared, StatusCode::OK, Errors::default()).await
}

async fn page(signed: &Signed, shared: &Shared, status: StatusCode, errors: Errors) -> PageResult {
    let mut page = AccountPage {
        layout: signed.layout("account"),
        is_person: false,
        email: String::new(),
        name: signed.caller.name.clone(),
        sessions: Vec::new(),
        workspaces: Vec::new(),
        chars_min: CHARS_MIN,
        errors,
    };
    if let Some(own) = &signed.person {
        let now = Utc::now();
        page.is_person = true;
        page.email = own.person.email.to_string();
        let sessions = account::sessions(shared, own.person.id).await?;
        page.sessions = sessions
            .into_iter()
            .map(|session| SessionRow {
                id: session.id.to_string(),
                is_this: session.id == own.session.id,
                browser: browser(session.user_agent.as_deref()),
                began: when(session.created_at, now),
                seen: when(session.last_seen_at, now),
            })
            .collect();
        page.workspaces = own
            .workspaces
            .iter()
            .map(|membership| WorkspaceRow {
                name: membership.workspace_name.clone(),
                role: roles::name(membership.role),
                meaning: roles::meaning(membership.role),
                is_current: membership.workspace_id == own.session.workspace_id,
            })
            .collect();
    }
    Ok(session::taken(shared, html_with(status, &page), signed.flash.as_ref()))
}

/// Browser and system in two words, as far as a person needs them to tell their own apart.
fn browser(user_agent: Option<&str>) -> String {
    let Some(text) = user_agent else { return "Unknown browser".to_owned() };
    // the first that fits: others call themselves like the ones below them
    let browsers = [
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    let systems = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "Mac"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ];
    let find = |known: &[(&str, &'static str)]| {
        known.iter().find(|(word, _)| text.contains(word)).map(|(_, name)| *name)
    };
    match (find(&browsers), find(&systems)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => text.chars().take(60).collect(),
    }
}

#[post("/account/name")]
async fn rename(signed: Signed, form: Form, shared: Data<Shared>) -> PageResult {
    let own = signed.person()?;
    let name = form.text("name").map_or(Value::Null, Value::from);
    let renamed = match form::read::<Named>(Map::from_iter([("name".to_owned(), name)])) {
        Ok(Named(name)) => account::rename(&shared, own, &name).await,
        Err(error) => Err(error),
    };
    match renamed {
        Ok(()) => done(&shared, "Your name is changed."),
        Err(error) => wrong(&signed, &shared, error).await,
    }
}

#[post("/account/password")]
async fn change_password(
    request: actix_web::HttpRequest,
    signed: Signed,
    form: Form,
    shared: Data<Shared>,
) -> PageResult {
    let own = signed.person()?;
    let it = match super::sign_in::begin_try(&request, &shared, Some(&own.person.email)).await {
        Ok(it) => it,
        Err(limited) => {
            let error = ApiError::field("/current", "limited", limited.text());
            return page(&signed, &shared, StatusCode::TOO_MANY_REQUESTS, Errors::of(error)?).await;
        }
    };
    let (current, wanted) = (form.password("current"), form.password("password"));
    match account::change_password(&shared, own, &current, &wanted).await {
        Ok(opened) => {
            shared.sign_ins.forgive(it);
            let text = "Your password is changed. Everywhere else you are signed out.".to_owned();
            let mut response = session::leave(&shared, see_other(PATH), &Flash::Done(text));
            let cookie = session::begin_for_person(&shared, opened);
            let known = known::remember(&request, &shared, &own.person.email).await;
            for cookie in [Some(cookie), known].into_iter().flatten() {
                response.add_cookie(&cookie).expect("a sealed cookie is visible ASCII");
            }
            Ok(response)
        }
        Err(error) => wrong(&signed, &shared, error).await,
    }
}

#[post("/account/sessions/{id}/end")]
async fn end_session(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    account::end_one(&shared, signed.person()?, path_id(&id, "session")?).await?;
    done(&shared, "That session is ended: its browser has to sign in again.")
}

#[post("/account/sign-out-everywhere")]
async fn end_all(signed: Signed, _form: Form, shared: Data<Shared>) -> PageResult {
    account::end_all(&shared, signed.person()?).await?;
    let mut response = see_other("/login");
    response.add_cookie(&session::end(&shared)).expect("a cookie without a value is visible ASCII");
    Ok(response)
}

#[post("/account/workspace")]
async fn switch(signed: Signed, form: Form, shared: Data<Shared>) -> PageResult {
    let id = path_id(form.text("workspace").unwrap_or_default(), "workspace")?;
    account::switch(&shared, signed.person()?, id).await?;
    let mut response = see_other("/");
    // a form in another tab was filled in for the workspace before
    let cookie = session::with_other_forms(&shared, signed.session);
    response.add_cookie(&cookie).expect("a sealed cookie is visible ASCII");
    Ok(response)
}

fn done(shared: &Shared, text: &str) -> PageResult {
    Ok(session::leave(shared, see_other(PATH), &Flash::Done(text.to_owned())))
}

async fn wrong(signed: &Signed, shared: &Shared, error: ApiError) -> PageResult {
    page(signed, shared, StatusCode::UNPROCESSABLE_ENTITY, Errors::of(error)?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_told_in_two_words() {
        let edge = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 \
                    Safari/537.36 Edg/126.0.0.0";
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                     Version/17.5 Mobile/15E148 Safari/604.1";

        assert_eq!(browser(Some(edge)), "Edge on Windows");
        assert_eq!(browser(Some(phone)), "Safari on iPhone");
        assert_eq!(browser(Some("curl/8")), "curl/8");
        assert_eq!(browser(None), "Unknown browser");
    }
}
