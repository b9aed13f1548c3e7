//! `/v1/links/{id}/template`: links that senders make recipients' links of, and `/v1/links/{id}/snippet`: how a link is put into a
//! message.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, delete, get, post, put};
use serde::Serialize;
use utoipa::ToSchema;

use model::link::LinkKind;
use store::templates::Denied;

use super::time;
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Body, path_id};
use crate::desk::links::{self, tracked_url};
use crate::desk::templates::{self, NewDenied, Told, plain_number};
use crate::error::{ApiError, Problem};
use crate::page::Page;

/// A link as the template of recipients' links.
#[derive(Serialize, ToSchema)]
pub struct TemplateView {
    #[schema(example = "lnk_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    link_id: String,
    /// Stands in each token.
    #[schema(example = 17)]
    number: u32,
    /// What each recipient's link begins with; the token follows.
    #[schema(example = "https://go.example.com/_")]
    url_prefix: String,
    created_at: String,
    /// Since when all recipients' links of it lead nowhere.
    closed_at: Option<String>,
}

impl From<Told> for TemplateView {
    fn from(told: Told) -> Self {
        let Told { template, url_prefix } = told;
        Self {
            link_id: template.link_id.to_string(),
            number: template.number,
            url_prefix,
            created_at: time(template.created_at),
            closed_at: template.closed_at.map(time),
        }
    }
}

/// A recipient whose link leads nowhere.
#[derive(Serialize, ToSchema)]
pub struct DeniedView {
    /// Your number of the recipient, as text: not every reader of JSON has numbers of 64 bits.
    #[schema(example = "1234567890123")]
    recipient: String,
    denied_at: String,
}

fn page_of(denied: Vec<Denied>) -> Page<DeniedView> {
    let view = |denied: Denied| DeniedView {
        recipient: denied.recipient.to_string(),
        denied_at: time(denied.denied_at),
    };
    Page { data: denied.into_iter().map(view).collect(), next_cursor: None }
}

/// How a link is put into a message.
#[derive(Serialize, ToSchema)]
pub struct SnippetView {
    /// The link itself.
    #[schema(example = "https://go.example.com/k7m2xq9ra")]
    tracked_url: String,
    /// The same as HTML. That of a honeypot is not seen and not read out, and programs that follow every link follow it.
    html: String,
}

/// Make a link a template
///
/// From then on you make one link for each recipient of it yourself, with a minting key and without asking us; a million recipients
/// are one link here. Their clicks say in `contact_id` which recipient it was. The link itself stays as it is. A template that was
/// closed is opened again; its number never changes.
#[utoipa::path(tag = "links", params(("id" = String, Path)), security(("api_key" = ["links:write"])), responses(
    (status = 200, body = TemplateView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[put("/v1/links/{id}/template")]
pub async fn open_template(
    caller: Caller,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::LinksWrite)?;
    let told = templates::open(&shared, &caller, path_id(&id, "link")?).await?;
    Ok(HttpResponse::Ok().json(TemplateView::from(told)))
}

/// Show a link as a template
#[utoipa::path(tag = "links", params(("id" = String, Path)), security(("api_key" = ["links:read"])), responses(
    (status = 200, body = TemplateView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/links/{id}/template")]
pub async fn show_template(
    caller: Caller,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::LinksRead)?;
    let told = templates::find(&shared, &caller, path_id(&id, "link")?).await?;
    Ok(HttpResponse::Ok().json(TemplateView::from(told)))
}

/// Close a template
///
/// All recipients' links of it lead nowhere, within a second. The link itself stays as it is.
#[utoipa::path(tag = "links", params(("id" = String, Path)), security(("api_key" = ["links:write"])), responses(
    (status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[delete("/v1/links/{id}/template")]
pub async fn close_template(
    caller: Caller,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::LinksWrite)?;
    templates::close(&shared, &caller, path_id(&id, "link")?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Deny recipients of a template
///
/// Their links of it lead nowhere, within a second. A template denies at most 1000: whoever has more to close closes the template, or
/// revokes the minting key. The answer lists all that are denied.
#[utoipa::path(tag = "links", params(("id" = String, Path)), request_body = NewDenied,
    security(("api_key" = ["links:write"])), responses(
    (status = 200, body = Page<DeniedView>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/links/{id}/template/denied-recipients")]
pub async fn deny_recipients(
    caller: Caller,
    id: Path<String>,
    body: Body,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::LinksWrite)?;
    let id = path_id(&id, "link")?;
    let new: NewDenied = body.read()?;
    Ok(HttpResponse::Ok().json(page_of(templates::deny(&shared, &caller, id, &new).await?)))
}

/// List the recipients that a template denies
///
/// All of them, in the order of their numbers.
#[utoipa::path(tag = "links", params(("id" = String, Path)), security(("api_key" = ["links:read"])), responses(
    (status = 200, body = Page<DeniedView>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/links/{id}/template/denied-recipients")]
pub async fn list_denied_recipients(
    caller: Caller,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::LinksRead)?;
    Ok(HttpResponse::Ok().json(page_of(templates::denied(&shared, &caller, path_id(&id, "link")?).await?)))
}

/// Deny a recipient of a template no more
///
/// Their link of it leads on again.
#[utoipa::path(tag = "links", params(("id" = String, Path), ("recipient" = String, Path)),
    security(("api_key" = ["links:write"])), responses(
    (status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[delete("/v1/links/{id}/template/denied-recipients/{recipient}")]
pub async fn allow_recipient(
    caller: Caller,
    path: Path<(String, String)>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::LinksWrite)?;
    let (id, recipient) = path.into_inner();
    let recipient = plain_number(&recipient).ok_or(ApiError::NotFound("denied recipient"))?;
    templates::allow(&shared, &caller, path_id(&id, "link")?, recipient).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Show how to put a link into a message
///
/// That of a honeypot hides it from people: with `message_id`, whoever follows it marks the clicks on the message's other links from
/// the same network, within ten seconds, as automated.
#[utoipa::path(tag = "links", params(("id" = String, Path)), security(("api_key" = ["links:read"])), responses(
    (status = 200, body = SnippetView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/links/{id}/snippet")]
pub async fn show_snippet(
    caller: Caller,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::LinksRead)?;
    let link = links::find(&shared, &caller, path_id(&id, "link")?).await?;
    let tracked_url = tracked_url(&shared, &link);
    let html = snippet(link.options.kind, &tracked_url);
    Ok(HttpResponse::Ok().json(SnippetView { tracked_url, html }))
}

/// What mail programs keep of a link that nobody is to see: each of them knows another way to hide it.
const HIDDEN: &str =
    "display:none;visibility:hidden;font-size:0;line-height:0;max-height:0;overflow:hidden;mso-hide:all";

/// The HTML that puts a link into a message.
pub fn snippet(kind: LinkKind, tracked_url: &str) -> String {
    let href = tracked_url.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    match kind {
        LinkKind::Honeypot => format!(
            "<a href=\"{href}\" rel=\"nofollow\" tabindex=\"-1\" aria-hidden=\"true\" style=\"{HIDDEN}\">&nbsp;</a>"
        ),
        LinkKind::Shareable | LinkKind::Message => format!("<a href=\"{href}\">{href}</a>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_honeypot_is_hidden_and_others_are_seen() {
        let url = "https://go.example.com/a\"b";
        let (hidden, seen) = (snippet(LinkKind::Honeypot, url), snippet(LinkKind::Message, url));

        assert!(hidden.contains("display:none") && hidden.contains("aria-hidden=\"true\""), "{hidden}");
        assert_eq!(seen, "<a href=\"https://go.example.com/a&quot;b\">https://go.example.com/a&quot;b</a>");
    }
}
