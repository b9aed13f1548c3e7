//! Links that senders make recipients' links of, and the recipients that are denied.

use serde_json::{Value, json};
use utoipa::ToSchema;

use model::LinkId;
use model::minting::MARK;
use store::links::{self, Link};
use store::templates::{self, DENIED_MAX, Denied, Template};
use store::{AsyncConnection as _, Connection};

use super::links::{notify, tracked_url_of, vanished};
use super::{Change, audit, now};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields::{self, Fields, FromFields, Wrong, invalid};

/// Most recipients that one request denies.
const DENIED_AT_ONCE_MAX: usize = 1000;

/// A link's being a template, with what senders put before a token.
pub struct Told {
    /// The template.
    pub template: Template,
    /// `https://go.example.com/_`
    pub url_prefix: String,
}

/// Recipients whose links are to lead nowhere.
#[derive(Debug, ToSchema)]
pub struct NewDenied {
    /// Your numbers of the recipients, as in their tokens, 1 to 1000 of them: numbers of up to 64 bits, as text or, where your JSON
    /// has them, as numbers.
    #[schema(value_type = Vec<String>, example = json!(["1234567890123"]))]
    recipients: Vec<u64>,
}

impl FromFields for NewDenied {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let recipients = fields.required("recipients", fields::list(DENIED_AT_ONCE_MAX, recipient));
        if recipients.as_ref().is_some_and(Vec::is_empty) {
            fields.refuse("recipients", invalid("must name at least one recipient"));
        }
        Some(Self { recipients: recipients? })
    }
}

fn recipient(value: &Value) -> Result<u64, Wrong> {
    let number = value.as_u64().or_else(|| plain_number(value.as_str()?));
    number.ok_or_else(|| invalid(format_args!("must be a whole number from 0 to {}", u64::MAX)))
}

/// A number in its only spelling.
pub fn plain_number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// Makes a link a template, or opens one again that was closed.
///
/// # Errors
/// When there is no such link, or it was archived.
pub async fn open(shared: &Shared, caller: &Caller, id: LinkId) -> Result<Told, ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    let (template, link) = conn
        .transaction::<_, ApiError, _>(async |conn| {
            if !links::lock(conn, caller.workspace_id, id).await? {
                return Err(ApiError::NotFound("link"));
            }
            let template = match templates::find(conn, caller.workspace_id, id).await? {
                None => templates::insert(conn, caller.workspace_id, id, now).await?,
                Some(template) => {
                    templates::set_closed(conn, caller.workspace_id, id, None).await?;
                    Template { closed_at: None, ..template }
                }
            };
            let link = links::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
            let details = json!({"slug": link.slug, "template": template.number});
            audit(conn, Change::of(caller, now, "link.template_opened", id, details)).await?;
            Ok((template, link))
        })
        .await?;
    drop(conn);
    notify(shared, caller, &link).await;
    Ok(told(shared, &link, template))
}

/// What a link of the workspace is as a template.
///
/// # Errors
/// When there is no such link, or it is none.
pub async fn find(shared: &Shared, caller: &Caller, id: LinkId) -> Result<Told, ApiError> {
    let mut conn = shared.pool.get().await?;
    let (template, link) = of(&mut conn, caller, id).await?;
    Ok(told(shared, &link, template))
}

/// What a link of the caller's workspace is as a template, with how many recipients that denies; `None` when it is none.
///
/// # Errors
/// When the database is away.
pub async fn of_link(
    shared: &Shared,
    caller: &Caller,
    link: &Link,
) -> Result<Option<(Template, i64)>, ApiError> {
    let mut conn = shared.pool.get().await?;
    let Some(template) = templates::find(&mut conn, caller.workspace_id, link.id).await? else {
        return Ok(None);
    };
    let denied = templates::count_denied(&mut conn, &template).await?;
    Ok(Some((template, denied)))
}

/// Has all recipients' links of a template lead nowhere. Its number stays its own, and it can be opened again.
///
/// # Errors
/// When there is no such link, or it is none.
pub async fn close(shared: &Shared, caller: &Caller, id: LinkId) -> Result<(), ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    let link = conn
        .transaction::<_, ApiError, _>(async |conn| {
            let (template, link) = of(conn, caller, id).await?;
            let closed_at = template.closed_at.unwrap_or(now);
            templates::set_closed(conn, caller.workspace_id, id, Some(closed_at)).await?;
            let details = json!({"slug": link.slug, "template": template.number});
            audit(conn, Change::of(caller, now, "link.template_closed", id, details)).await?;
            Ok(link)
        })
        .await?;
    drop(conn);
    notify(shared, caller, &link).await;
    Ok(())
}

/// Has the links of recipients lead nowhere. Those that are denied already stay so.
///
/// # Errors
/// When there is no such link, it is no template, or more would be denied than may be.
pub async fn deny(
    shared: &Shared,
    caller: &Caller,
    id: LinkId,
    new: &NewDenied,
) -> Result<Vec<Denied>, ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    let (denied, link) = conn
        .transaction::<_, ApiError, _>(async |conn| {
            // one after the other, or each would count without those of the others
            links::lock(conn, caller.workspace_id, id).await?;
            let (template, link) = of(conn, caller, id).await?;
            if templates::deny(conn, &template, &new.recipients, now).await? > DENIED_MAX {
                return Err(too_many_denied());
            }
            // whom it was, is the sender's to know: here stands how many
            let details = json!({"slug": link.slug, "recipients": new.recipients.len()});
            audit(conn, Change::of(caller, now, "link.recipients_denied", id, details)).await?;
            Ok((templates::denied(conn, &template).await?, link))
        })
        .await?;
    drop(conn);
    notify(shared, caller, &link).await;
    Ok(denied)
}

/// The recipients that a template denies.
///
/// # Errors
/// When there is no such link, or it is none.
pub async fn denied(shared: &Shared, caller: &Caller, id: LinkId) -> Result<Vec<Denied>, ApiError> {
    let mut conn = shared.pool.get().await?;
    let (template, _) = of(&mut conn, caller, id).await?;
    Ok(templates::denied(&mut conn, &template).await?)
}

/// Has the link of a recipient lead on again.
///
/// # Errors
/// When there is no such link, it is no template, or the recipient is not denied.
pub async fn allow(shared: &Shared, caller: &Caller, id: LinkId, recipient: u64) -> Result<(), ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    let link = conn
        .transaction::<_, ApiError, _>(async |conn| {
            let (template, link) = of(conn, caller, id).await?;
            if !templates::allow(conn, &template, recipient).await? {
                return Err(ApiError::NotFound("denied recipient"));
            }
            audit(conn, Change::of(caller, now, "link.recipient_allowed", id, json!({"slug": link.slug})))
                .await?;
            Ok(link)
        })
        .await?;
    drop(conn);
    notify(shared, caller, &link).await;
    Ok(())
}

async fn of(conn: &mut Connection, caller: &Caller, id: LinkId) -> Result<(Template, Link), ApiError> {
    let link = links::find(conn, caller.workspace_id, id).await?.ok_or(ApiError::NotFound("link"))?;
    let template = templates::find(conn, caller.workspace_id, id).await?;
    Ok((template.ok_or(ApiError::NotFound("template"))?, link))
}

fn too_many_denied() -> ApiError {
    ApiError::Conflict {
        code: "limit_reached",
        pointer: Some("/recipients"),
        detail: format!(
            "a template denies at most {DENIED_MAX} recipients: to close more, close it, or revoke the minting key"
        ),
    }
}

fn told(shared: &Shared, link: &Link, template: Template) -> Told {
    let mut url_prefix = tracked_url_of(shared, &link.host, &link.slug);
    let slug_from = url_prefix.rfind('/').map_or(0, |at| at + 1);
    url_prefix.truncate(slug_from);
    url_prefix.push(MARK);
    Told { template, url_prefix }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_has_one_spelling() {
        assert_eq!(plain_number("18446744073709551615"), Some(u64::MAX));
        assert_eq!(plain_number("0"), Some(0));
        for wrong in ["", "-1", "+1", "01", "1.0", "18446744073709551616", " 1", "cont_9"] {
            assert_eq!(plain_number(wrong), None, "{wrong}");
        }
        assert_eq!(recipient(&json!(u64::MAX)).ok(), Some(u64::MAX));
        assert_eq!(recipient(&json!("17")).ok(), Some(17));
        assert!(recipient(&json!(1.5)).is_err() && recipient(&json!(null)).is_err());
    }
}
