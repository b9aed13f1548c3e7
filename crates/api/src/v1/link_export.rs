//! `/v1/links/export`: links as newline-delimited JSON or CSV, however many there are.

use actix_web::web::Data;
use actix_web::{HttpResponse, get};
use utoipa::IntoParams;

use model::LinkId;
use store::links::LinkFilter;

use super::link_csv;
use super::links::{LinkView, filter};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::Query;
use crate::csv;
use crate::desk::{links, settings};
use crate::error::{ApiError, Problem};
use crate::export::{self, Form, PAGE, Pages, line};
use crate::fields::{Fields, FromFields};
use crate::page::PageRequest;

/// Which links are exported, and how: all of them, not a page.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
struct ExportQuery {
    /// `ndjson` (the default) or `csv`.
    format: Option<String>,
    /// With your own id.
    external_id: Option<String>,
    /// Sent in this campaign.
    campaign_id: Option<String>,
    /// With this tag.
    tag: Option<String>,
    /// Whose slug or URL contains this.
    q: Option<String>,
    /// Served under this host.
    domain: Option<String>,
    /// Which are, as of now, `live`, `off`, `not_started`, `expired`, `exhausted` or `blocked`.
    state: Option<String>,
}

/// What a query for an export says.
pub struct AskedAll {
    form: Form,
    filter: LinkFilter,
}

impl FromFields for AskedAll {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let form = export::form(fields);
        Some(Self { form, filter: filter(fields) })
    }
}

/// Export links, newest first
///
/// All that the conditions let through and that are not archived, as newline-delimited JSON, each line as in the list, or as CSV
/// (RFC 4180: commas, CRLF, UTF-8, one row of headings; a text that a spreadsheet would run as a formula has an apostrophe before it;
/// what is empty is not set). Both can be imported again: what the server sets by itself is left out then, and passwords, which nobody
/// can read, are not in it. Columns of CSV, to which more may be added at the end: url, slug, domain, kind, external_id, campaign_id,
/// conversation_id, contact_id, message_id, channel, sequence_id, step_id, tags (separated by semicolons; as JSON where one has a
/// semicolon or a bar in it), metadata (as JSON),
/// utm_source, utm_medium, utm_campaign, utm_term, utm_content, utm_id, preview_title, preview_description, preview_image_url, sent_at,
/// starts_at, expires_at, expired_url, max_clicks, enabled, tracking, status_code, query_mode, link_id, tracked_url, recording,
/// recording_decided_by, has_password, counted_clicks, exhausted_at, revision, created_by, created_at, updated_at, blocked_at. An
/// answer that breaks off is not whole: the database went away, the API key was revoked or expired meanwhile (the last line of NDJSON is
/// a problem then), it was not read in time, or it took more than an hour: ask for fewer links then.
#[utoipa::path(tag = "links", params(ExportQuery), security(("api_key" = ["links:read"])),
    responses((status = 200, content((LinkView = "application/x-ndjson"), (String = "text/csv"))),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/links/export")]
pub async fn export_links(
    caller: Caller,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::LinksRead)?;
    export(shared, caller, query.read()?)
}

/// Every link that is asked for, as an answer that goes on while they are read.
///
/// # Errors
/// When the caller has not the scope, or as many exports as may are running.
pub fn export(
    shared: Data<Shared>,
    caller: Caller,
    AskedAll { form, filter }: AskedAll,
) -> Result<HttpResponse, ApiError> {
    let pages = Links { form, filter, page: PageRequest::first(PAGE), has_begun: false, is_done: false };
    export::answer(shared, caller, Scope::LinksRead, ("links", form), pages)
}

struct Links {
    form: Form,
    filter: LinkFilter,
    page: PageRequest<LinkId>,
    has_begun: bool,
    is_done: bool,
}

impl Pages for Links {
    async fn next(&mut self, shared: &Shared, caller: &Caller) -> Result<Option<Vec<u8>>, ApiError> {
        if self.is_done {
            return Ok(None);
        }
        let settings = settings::find(shared, caller).await?;
        let rows = links::list_for_export(shared, caller, &self.filter, &self.page).await?;
        let page = self.page.page(rows, |link| link.id, |link| link);
        self.is_done = page.next_cursor.is_none();
        self.page.before = page.data.last().map(|link| link.id);
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let mut lines = match self.form {
            Form::Csv if is_first => csv::headings(&link_csv::COLUMNS),
            Form::Csv | Form::Ndjson => Vec::new(),
        };
        for link in page.data {
            let view = LinkView::of(shared, &settings, link);
            lines.extend(match self.form {
                Form::Ndjson => line(&view),
                Form::Csv => link_csv::row(&view),
            });
        }
        Ok(Some(lines))
    }
}

#[cfg(test)]
mod tests {
    use utoipa::Path as _;

    use super::*;
    use crate::fields::known_fields;

    #[test]
    fn a_query_knows_what_its_description_says() {
        let described: Vec<String> = ExportQuery::into_params(|| None).into_iter().map(|p| p.name).collect();

        assert_eq!(known_fields::<AskedAll>(), described);
    }

    #[test]
    fn every_column_is_described() {
        let operation = super::__path_export_links::operation();
        let text = operation.description.expect("it is described");
        export::tests::names_in_order(&text, &link_csv::COLUMNS);
    }
}
