//! `/v1/clicks/export`: clicks as newline-delimited JSON or CSV, however many there are.

use actix_web::web::Data;
use actix_web::{HttpResponse, get};
use chrono::{DateTime, Utc};
use utoipa::IntoParams;

use model::ClickId;
use store::click_log::ClickFilter;

use super::click_csv;
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::Query;
use crate::csv;
use crate::desk::click_query::{Asked, filter};
use crate::desk::clicks::{self, ShownClick};
use crate::error::{ApiError, Problem};
use crate::export::{self, Form, PAGE, Pages};
use crate::fields::{Fields, FromFields};
use crate::page::PageRequest;

/// Which clicks are exported, and how: all of them, not a page.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
struct ExportQuery {
    /// `ndjson` (the default) or `csv`.
    format: Option<String>,
    /// Of this link.
    link_id: Option<String>,
    /// Of links of this campaign.
    campaign_id: Option<String>,
    /// Of links of this conversation.
    conversation_id: Option<String>,
    /// Of links of this contact.
    contact_id: Option<String>,
    /// Of links of this message.
    message_id: Option<String>,
    /// `human`, `automated` or `unknown`. Default: any.
    verdict: Option<String>,
    /// From this country, by its ISO code.
    country: Option<String>,
    /// On this kind of device: `mobile`, `tablet`, `desktop`, `tv`, `console`, `watch`, `bot` or `unknown`.
    device: Option<String>,
    /// At this moment or later.
    since: Option<DateTime<Utc>>,
    /// Before this moment.
    until: Option<DateTime<Utc>>,
}

struct AskedAll {
    form: Form,
    filter: ClickFilter,
}

impl FromFields for AskedAll {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let form = export::form(fields);
        Some(Self { form, filter: filter(fields) })
    }
}

/// Export clicks, newest first
///
/// All that the conditions let through, as newline-delimited JSON, each line as in the list, or as CSV (RFC 4180: commas, CRLF, UTF-8,
/// one row of headings; a text that a spreadsheet would run as a formula has an apostrophe before it; what is not known is empty).
/// Columns of CSV, to which more may be added at the end: click_id, clicked_at, link_id, tracked_url, original_url, destination_url,
/// external_id, campaign_id, conversation_id, contact_id, message_id, channel, sequence_id, step_id, tags (separated by semicolons),
/// verdict, automation_class, automation_score, is_first_click, revision, country, country_name, region, city, postal_code, latitude,
/// longitude, timezone, as_organization, device_type, brand, model, os, os_version, browser, browser_version, in_app, referrer,
/// language, user_agent, ip, recorded_at. Of contacts that were erased there is nothing that tells who it was. An answer that breaks
/// off is not whole: the database went away, the API key was revoked or expired meanwhile (the last line of NDJSON is a problem then),
/// it was not read in time, or it took more than an hour: ask for a shorter time with `since` and `until`.
#[utoipa::path(tag = "clicks", params(ExportQuery), security(("api_key" = ["clicks:read"])),
    responses((status = 200, content((Object = "application/x-ndjson"), (String = "text/csv"))),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/clicks/export")]
pub async fn export_clicks(
    caller: Caller,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::ClicksRead)?;
    let AskedAll { form, filter } = query.read()?;
    let asked = Asked { filter, page: PageRequest::first(PAGE) };
    let pages = Clicks { form, asked, has_begun: false, is_done: false };
    export::answer(shared, caller, Scope::ClicksRead, ("clicks", form), pages)
}

struct Clicks {
    form: Form,
    asked: Asked,
    has_begun: bool,
    is_done: bool,
}

impl Pages for Clicks {
    async fn next(&mut self, shared: &Shared, caller: &Caller) -> Result<Option<Vec<u8>>, ApiError> {
        if self.is_done {
            return Ok(None);
        }
        let (clicks, next): (Vec<ShownClick>, Option<ClickId>) =
            clicks::page_for_export(shared, caller, &self.asked).await?;
        self.is_done = next.is_none();
        self.asked.page.before = next;
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let mut lines = match self.form {
            Form::Csv if is_first => csv::headings(&click_csv::COLUMNS),
            Form::Csv | Form::Ndjson => Vec::new(),
        };
        for shown in clicks {
            match self.form {
                Form::Ndjson => {
                    lines.extend(webhook::payload::data(&shown.click));
                    lines.push(b'\n');
                }
                Form::Csv => lines.extend(click_csv::row(&shown.click, shown.recorded_at)),
            }
        }
        Ok(Some(lines))
    }
}

#[cfg(test)]
mod tests {
    use utoipa::Path as _;

    use super::*;

    #[test]
    fn every_column_is_described() {
        let operation = super::__path_export_clicks::operation();
        let text = operation.description.expect("it is described");
        export::tests::names_in_order(&text, &click_csv::COLUMNS);
    }
}
