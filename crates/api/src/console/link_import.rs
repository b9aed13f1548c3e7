//! Many links from a spreadsheet: what was read is shown first, with what is wrong at its row and column; then links are made, and
//! what was refused can be taken home.

use std::time::Instant;

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpResponse, get, post};
use askama::Template;

use super::sheet::{self, Row, Sheet, Unreadable};
use super::upload::Upload;
use super::view::{Layout, html, html_with};
use super::{PageError, PageResult, Signed, capital, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::desk::link_body::NewLink;
use crate::desk::link_import::{self, Imported};
use crate::error::ApiError;

/// The part of a request's time after which no more links are made: the rest is for the batch in hand, and for telling.
const WORK_SHARE: f64 = 0.6;

/// Rows that are shown before anything is done, those with errors beside.
const ROWS_SHOWN: usize = 10;

/// Rows with errors that are shown.
const WRONG_SHOWN: usize = 50;

/// New links that are shown.
const MADE_SHOWN: usize = 10;

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config.service(form).service(preview).service(again).service(import).service(download);
}

#[derive(Template)]
#[template(path = "link_import.html")]
struct FormPage {
    layout: Layout,
    text: String,
    wrong: Option<String>,
}

#[get("/links/import")]
async fn form(signed: Signed, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    let page = FormPage { layout: signed.layout("links"), text: String::new(), wrong: None };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

/// A row as a page shows it.
struct ShownRow {
    number: u64,
    cells: Vec<ShownCell>,
    /// What is wrong with it, in no column.
    wrong: Vec<String>,
}

struct ShownCell {
    text: String,
    wrong: Option<String>,
}

#[derive(Template)]
#[template(path = "link_import_preview.html")]
struct PreviewPage {
    layout: Layout,
    head: Vec<String>,
    good: usize,
    wrong: usize,
    ignored: Vec<String>,
    first: Vec<ShownRow>,
    wrong_rows: Vec<ShownRow>,
    text: String,
}

/// The sheet that was sent: a file, or what was typed. An empty one is nothing.
fn sent(upload: &Upload) -> &[u8] {
    upload.bytes("file").or_else(|| upload.bytes("text")).unwrap_or_default()
}

fn refused(signed: &Signed, upload: &Upload, wrong: String) -> HttpResponse {
    let page = FormPage { layout: signed.layout("links"), text: upload.text("text"), wrong: Some(wrong) };
    html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

/// Back to the form, with the rows in it.
#[post("/links/import/again")]
async fn again(signed: Signed, upload: Upload) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    Ok(html(&FormPage { layout: signed.layout("links"), text: upload.text("text"), wrong: None }))
}

#[post("/links/import/preview")]
async fn preview(signed: Signed, upload: Upload) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    let bytes = sent(&upload);
    if bytes.trim_ascii().is_empty() {
        return Ok(refused(&signed, &upload, "Choose a file, or paste the rows of your sheet.".to_owned()));
    }
    let sheet = match Sheet::read(bytes) {
        Ok(sheet) if sheet.rows.is_empty() => {
            return Ok(refused(
                &signed,
                &upload,
                "There is no row below the names of the columns.".to_owned(),
            ));
        }
        Ok(sheet) => sheet,
        Err(Unreadable(why)) => return Ok(refused(&signed, &upload, why)),
    };
    let errors: Vec<Option<ApiError>> = sheet.rows.iter().map(|row| sheet.link(row).err()).collect();
    let wrong = errors.iter().flatten().count();
    let rows = || sheet.rows.iter().zip(&errors);
    let page = PreviewPage {
        layout: signed.layout("links"),
        good: sheet.rows.len() - wrong,
        wrong,
        ignored: sheet.ignored().into_iter().map(str::to_owned).collect(),
        first: rows().take(ROWS_SHOWN).map(|(row, error)| shown(&sheet, row, error.as_ref())).collect(),
        wrong_rows: rows()
            .filter(|(_, error)| error.is_some())
            .take(WRONG_SHOWN)
            .map(|(row, error)| shown(&sheet, row, error.as_ref()))
            .collect(),
        head: sheet.head.clone(),
        text: String::from_utf8_lossy(bytes).into_owned(),
    };
    Ok(html(&page))
}

/// A row with what is wrong at its cells.
fn shown(sheet: &Sheet, row: &Row, error: Option<&ApiError>) -> ShownRow {
    let cell = |text: &String| ShownCell { text: text.clone(), wrong: None };
    let mut shown =
        ShownRow { number: row.number, cells: row.cells.iter().map(cell).collect(), wrong: Vec::new() };
    let Some(error) = error else { return shown };
    let errors = error.field_errors();
    if errors.is_empty() {
        shown.wrong.push(sentence(&error.to_string()));
    }
    for error in &errors {
        let text = sentence(&error.detail);
        match sheet.column_of(error).and_then(|at| shown.cells.get_mut(at)) {
            Some(cell) if cell.wrong.is_none() => cell.wrong = Some(text),
            Some(_) => {}
            None => shown.wrong.push(format!("{}: {}", error.pointer.trim_start_matches('/'), error.detail)),
        }
    }
    shown
}

fn sentence(text: &str) -> String {
    format!("{}.", capital(text.trim_end_matches('.')))
}

/// Everything that is wrong with a row, in one line.
fn why(error: &ApiError) -> String {
    let errors = error.field_errors();
    if errors.is_empty() {
        return error.to_string();
    }
    let told = |error: &crate::error::FieldError| {
        format!("{}: {}", error.pointer.trim_start_matches('/'), error.detail)
    };
    errors.iter().map(told).collect::<Vec<_>>().join("; ")
}

#[derive(Template)]
#[template(path = "link_import_done.html")]
struct DonePage {
    layout: Layout,
    made: usize,
    refused: usize,
    head: Vec<String>,
    shown: Vec<(String, String, String)>,
    refused_rows: Vec<ShownRow>,
    made_sheet: String,
    refused_sheet: String,
}

#[post("/links/import")]
async fn import(signed: Signed, upload: Upload, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    let sheet = match Sheet::read(sent(&upload)) {
        Ok(sheet) => sheet,
        Err(Unreadable(why)) => return Ok(refused(&signed, &upload, why)),
    };
    let _running = shared.bulk.begin(signed.caller.workspace_id).map_err(|_| {
        ApiError::Busy("as many imports as may run at once are running: try again in a moment")
    })?;
    let until = upload.began_at + shared.settings.request_timeout.mul_f64(WORK_SHARE);
    let results = make(&signed, &shared, &sheet, until).await?;
    Ok(html(&done_page(&signed, &sheet, &results)))
}

/// Makes links of rows, and tells what became of each. No batch is begun after `until`: what was made is told before the request
/// runs out of time.
async fn make(
    signed: &Signed,
    shared: &Shared,
    sheet: &Sheet,
    until: Instant,
) -> Result<Vec<Result<Imported, ApiError>>, PageError> {
    let mut results = Vec::with_capacity(sheet.rows.len());
    for rows in sheet.rows.chunks(shared.settings.bulk_batch_max) {
        if Instant::now() >= until {
            let late =
                || Err(ApiError::Busy("this row was not looked at, since time ran out: import it again"));
            results.resize_with(sheet.rows.len(), late);
            break;
        }
        let batch: Vec<Result<NewLink, ApiError>> = rows.iter().map(|row| sheet.link(row)).collect();
        match link_import::import(shared, &signed.caller, batch).await {
            Ok(made) => results.extend(made),
            // what was made before stays made, and is told
            Err(error) if results.is_empty() => return Err(error.into()),
            Err(error) => {
                error.log();
                let stopped = || {
                    Err(ApiError::Busy("this row was not looked at, since the database could not be reached"))
                };
                results.resize_with(sheet.rows.len(), stopped);
                break;
            }
        }
    }
    Ok(results)
}

fn done_page(signed: &Signed, sheet: &Sheet, results: &[Result<Imported, ApiError>]) -> DonePage {
    let mut made_rows = vec![with(&sheet.head, "tracked_url")];
    let mut refused_sheet = vec![with(&sheet.head, "error")];
    let mut refused_rows = Vec::new();
    let mut links = Vec::new();
    for (row, result) in sheet.rows.iter().zip(results) {
        match result {
            Ok(link) => {
                made_rows.push(with(&row.cells, &link.tracked_url));
                links.push((link.id.to_string(), link.tracked_url.clone(), row.number.to_string()));
            }
            Err(error) => {
                refused_sheet.push(with(&row.cells, &why(error)));
                refused_rows.push(shown(sheet, row, Some(error)));
            }
        }
    }
    let (made, refused) = (links.len(), refused_rows.len());
    links.truncate(MADE_SHOWN);
    refused_rows.truncate(WRONG_SHOWN);
    DonePage {
        layout: signed.layout("links"),
        made,
        refused,
        head: sheet.head.clone(),
        shown: links,
        refused_rows,
        made_sheet: sheet::write(made_rows),
        refused_sheet: sheet::write(refused_sheet),
    }
}

/// A row with one cell more.
fn with(cells: &[String], last: &str) -> Vec<String> {
    cells.iter().cloned().chain([last.to_owned()]).collect()
}

/// Hands a sheet back as a file: the page that shows it holds it, and nothing is kept here.
#[post("/links/import/download")]
async fn download(signed: Signed, upload: Upload) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    let name = if upload.text("what") == "refused" { "refused-links.csv" } else { "new-links.csv" };
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/csv; charset=utf-8"))
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .body(upload.text("sheet")))
}
