//! `/v1/audit`: who changed what.

use actix_web::web::Data;
use actix_web::{HttpResponse, get};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use store::audit::{self, Entry};

use super::time;
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::Query;
use crate::desk::activity::Asked;
use crate::error::{ApiError, Problem};
use crate::page::Page;

/// An entry of the audit log.
#[derive(Serialize, ToSchema)]
pub struct EntryView {
    id: String,
    /// The id of the API key or person that did it.
    #[schema(example = "key_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    actor: String,
    #[schema(example = "endpoint.created")]
    action: String,
    /// The id of what was changed.
    subject: String,
    #[schema(value_type = Object)]
    details: Value,
    created_at: String,
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        Self {
            id: entry.id.to_string(),
            actor: entry.actor,
            action: entry.action,
            subject: entry.subject,
            details: entry.details,
            created_at: time(entry.created_at),
        }
    }
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
struct AuditQuery {
    /// Done with this key, or by this person: an id.
    actor: Option<String>,
    /// What was done, like `endpoint.created`, or to what kind of thing: `endpoint`.
    action: Option<String>,
    /// Done to this: an id.
    subject: Option<String>,
    /// At this moment or later.
    since: Option<DateTime<Utc>>,
    /// Before this moment.
    until: Option<DateTime<Utc>>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Entries of a page, 1 to 250. Default: 50.
    limit: Option<u32>,
}

/// List the audit log, newest first
#[utoipa::path(tag = "keys and audit", params(AuditQuery), security(("api_key" = ["keys:write"])),
    responses((status = 200, body = Page<EntryView>),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/audit")]
pub async fn list_audit(
    caller: Caller,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::KeysWrite)?;
    let Asked { filter, page } = query.read()?;
    let mut conn = shared.pool.get().await?;
    let rows = audit::list(&mut conn, caller.workspace_id, &filter, page.before, page.rows()).await?;
    Ok(HttpResponse::Ok().json(page.page(rows, |entry| entry.id, EntryView::from)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::known_fields;

    #[test]
    fn a_query_knows_what_its_description_says() {
        let described: Vec<String> = AuditQuery::into_params(|| None).into_iter().map(|p| p.name).collect();

        assert_eq!(known_fields::<Asked>(), described);
    }
}
