//! Files of links: our own, and what Bitly, Dub, Shlink and YOURLS export. Each row becomes the body that `POST /v1/links`
//! takes; slugs stay as they are printed and sent.
//!
//! A file is read once, row by row ([`csv`], [`json`]), and never stands in memory as a whole. Its first row tells whose it is
//! ([`Source::of`]). What a row says is read under the names that the exporter uses: [`bitly`], [`dub`], [`shlink`], [`yourls`],
//! [`own`]; the file of each names where its columns come from. What Clickwire has no field for, such as a title or the day a
//! link was made, stands in the link's `metadata`. Counts of clicks are left out: a later export of the same link has others.
//!
//! Each link gets an `external_id` by where it was (`bitly:bit.ly/abc`), so that the same file again makes nothing twice.

mod bitly;
mod csv;
mod draft;
mod dub;
mod json;
mod own;
mod record;
mod shlink;
#[cfg(test)]
mod tests;
mod yourls;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::ops::ControlFlow;

use model::Host;
use serde_json::{Map, Value};

use crate::desk::link_body::NewLink;
use crate::error::FieldError;
use crate::fields;
use draft::Draft;
use record::{Record, plain};
pub(crate) use record::{tags_cell, tags_of};

/// A row is not longer, nor is an entry of a list.
pub const ROW_BYTES_MAX: usize = 256 * 1024;

/// So much of a file is looked at to tell what it is.
const LOOK_BYTES: u64 = 64 * 1024;

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Our own: columns and fields have the names of the API.
    Clickwire,
    /// Bitly's export of links.
    Bitly,
    /// Dub's export of links, or what its API lists.
    Dub,
    /// What the web client of Shlink exports, or its API lists.
    Shlink,
    /// The table `yourls_url`, or what plug-ins export of it.
    Yourls,
}

/// How a file is to be read.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Whose it is; found out when it is not said.
    pub source: Option<Source>,
    /// The domain that all links are to be under, whatever the file says.
    pub domain: Option<Host>,
}

/// A row of the file.
#[derive(Debug)]
pub struct Row {
    /// The line that it begins on, from 1.
    pub line: u64,
    /// The links that it tells of, mostly one; or what is wrong with it.
    pub found: Result<Vec<FoundLink>, Vec<FieldError>>,
}

/// A link as the file tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundLink {
    /// What it is recognised by.
    pub external_id: String,
    /// The body for `POST /v1/links`.
    pub body: Map<String, Value>,
    /// What of it could not be kept, for people.
    pub notes: Vec<String>,
}

/// Why a file, or the rest of it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The disk or the pipe failed.
    #[error("failed to read the file")]
    Read(#[from] std::io::Error),
    /// There is nothing in it.
    #[error("the file is empty")]
    Empty,
    /// Excel's "Unicode text", for one.
    #[error("the file is in UTF-16: save it as UTF-8 (\"CSV UTF-8\" in Excel)")]
    Utf16,
    /// Statements instead of rows.
    #[error(
        "the file is an SQL dump: write the table with `mysql --batch -e 'select * from yourls_url' DATABASE >links.tsv`"
    )]
    Sql,
    /// No columns that we know.
    #[error(
        "the columns are not those of an export that is known ({0}): name whose it is with --from, or name the columns as \
         the API names its fields (`url`, `slug`, `tags`, …)"
    )]
    Unknown(String),
    /// A row without an end.
    #[error("the row that begins on line {line} {what}")]
    Row {
        /// Where it begins.
        line: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// What should be JSON is not.
    #[error("line {line} is not JSON: {detail}")]
    Json {
        /// Where it breaks.
        line: u64,
        /// What the parser says.
        detail: String,
    },
}

impl Source {
    /// Every source, with its name on a command line and in external ids.
    pub const ALL: [(&str, Self); 5] = [
        ("clickwire", Self::Clickwire),
        ("bitly", Self::Bitly),
        ("dub", Self::Dub),
        ("shlink", Self::Shlink),
        ("yourls", Self::Yourls),
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, source)| *source == self).map_or("", |(name, _)| name)
    }

    /// Whose columns these are.
    fn of(columns: &BTreeSet<String>) -> Option<Self> {
        let has = |name: &str| columns.contains(name);
        let has_any = |names: &[&str]| names.iter().any(|name| has(name));
        let is_api_of_dub = has("key") && has("domain") && has("url");
        if has("shortcode") && has("longurl") {
            Some(Self::Shlink)
        } else if (has("keyword") && has("url"))
            || (has("source") && has("target"))
            || (has("shorturl") && has("url"))
        {
            Some(Self::Yourls)
        } else if is_api_of_dub || (has("shortlink") && has_any(&["destinationurl", "url"])) {
            Some(Self::Dub)
        } else if has_any(bitly::URL) && has_any(bitly::SHORT) {
            Some(Self::Bitly)
        } else if has("url") {
            Some(Self::Clickwire)
        } else {
            None
        }
    }

    /// The links that a record tells of.
    fn links(self, record: &Record, domain: Option<&Host>) -> Result<Vec<FoundLink>, Vec<FieldError>> {
        let drafts: Vec<Draft> = match self {
            Self::Clickwire => vec![own::draft(record)],
            Self::Bitly => bitly::drafts(record),
            Self::Dub => vec![dub::draft(record)],
            Self::Shlink => vec![shlink::draft(record)],
            Self::Yourls => vec![yourls::draft(record)],
        };
        drafts.into_iter().map(|draft| draft.finish(self, domain)).collect()
    }
}

impl FoundLink {
    /// Holds it against the rules of the API that need no look at what is there already.
    ///
    /// # Errors
    /// One for each field that breaks a rule.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let read = fields::read::<NewLink>(&Value::Object(self.body.clone()));
        read.map(|_| ()).map_err(|error| error.field_errors())
    }
}

/// Reads a file, and hands each row over as it comes; says whose file it was. `take` ends the reading by breaking.
///
/// # Errors
/// When the file cannot be read, or cannot be told apart into rows from somewhere on. Rows before were handed over.
pub fn read(
    file: impl Read,
    reading: &Reading,
    mut take: impl FnMut(Row) -> ControlFlow<()>,
) -> Result<Source, FileError> {
    let mut file = BufReader::new(file);
    let mut start = Vec::new();
    file.by_ref().take(LOOK_BYTES).read_to_end(&mut start)?;
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start);
    let first = text.trim_ascii_start();
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        return Err(FileError::Utf16);
    }
    if first.is_empty() {
        return Err(FileError::Empty);
    }
    if is_sql(first) {
        return Err(FileError::Sql);
    }
    let is_json = first.starts_with(b"[") || first.starts_with(b"{");
    let is_lines = is_json && is_lines_of_objects(first);
    // blank lines at the beginning count as lines
    let text = text.to_vec();
    let whole = BufReader::new(Cursor::new(text).chain(file));
    let mut sorting = Sorting { reading, source: reading.source, take: &mut take };
    match (is_json, is_lines) {
        (true, true) => json::each_line(whole, &mut |record| sorting.sort(record))?,
        (true, false) => json::each_entry(whole, &mut |record| sorting.sort(record))?,
        (false, _) => each_row(whole, &mut sorting)?,
    }
    sorting.source.ok_or(FileError::Empty)
}

/// What reading a row came to: a record, or why it is none.
type ReadRecord = Result<Record, (u64, FieldError)>;

/// On the way from a record to the row that is handed over.
struct Sorting<'a> {
    reading: &'a Reading,
    source: Option<Source>,
    take: &'a mut dyn FnMut(Row) -> ControlFlow<()>,
}

impl Sorting<'_> {
    fn sort(&mut self, record: ReadRecord) -> Result<ControlFlow<()>, FileError> {
        let row = match record {
            Err((line, error)) => Row { line, found: Err(vec![error]) },
            Ok(record) => {
                let source = match self.source {
                    Some(source) => source,
                    None => *self.source.insert(told_apart(&record)?),
                };
                Row { line: record.line, found: source.links(&record, self.reading.domain.as_ref()) }
            }
        };
        Ok((self.take)(row))
    }
}

fn told_apart(record: &Record) -> Result<Source, FileError> {
    let columns: BTreeSet<String> = record.names().map(plain).collect();
    let names = || record.names().take(12).collect::<Vec<_>>().join(", ");
    Source::of(&columns).ok_or_else(|| FileError::Unknown(names()))
}

fn each_row(file: impl BufRead, sorting: &mut Sorting<'_>) -> Result<(), FileError> {
    let mut rows = csv::Rows::new(file)?;
    let Some(first) = rows.next_row()? else { return Err(FileError::Empty) };
    let may_be_yourls = sorting.source.is_none_or(|source| source == Source::Yourls);
    let mut columns = first.fields.clone();
    if may_be_yourls && yourls::is_row(&first.fields) {
        sorting.source = Some(Source::Yourls);
        columns = yourls::COLUMNS.iter().map(|name| (*name).to_owned()).collect();
        if sorting.sort(record::of_row(first, &columns))?.is_break() {
            return Ok(());
        }
    }
    if sorting.source.is_none() {
        let header: BTreeSet<String> = columns.iter().map(|name| plain(name)).collect();
        let source = Source::of(&header).ok_or_else(|| FileError::Unknown(columns.join(", ")))?;
        sorting.source = Some(source);
    }
    while let Some(row) = rows.next_row()? {
        if sorting.sort(record::of_row(row, &columns))?.is_break() {
            break;
        }
    }
    Ok(())
}

fn is_sql(text: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&text[..text.len().min(200)]).to_ascii_uppercase();
    ["-- MYSQL DUMP", "-- MARIADB DUMP", "-- PHPMYADMIN SQL DUMP", "INSERT INTO ", "CREATE TABLE ", "/*!"]
        .iter()
        .any(|mark| start.starts_with(mark))
}

/// Whether the first line is an object of its own which is a row, not the beginning of an answer of an API.
fn is_lines_of_objects(text: &[u8]) -> bool {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match serde_json::from_slice::<Map<String, Value>>(line) {
        Ok(object) => !object.iter().any(|(name, value)| json::is_list(name, value)),
        Err(_) => false,
    }
}
