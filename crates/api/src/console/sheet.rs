//! Links out of a spreadsheet: a row a link, the first row names the columns as the API does, or as other programs do.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::desk::link_body::NewLink;
use crate::desk::link_fields::{LABEL_NAMES, PREVIEW_NAMES, UTM_NAMES};
use crate::error::{ApiError, FieldError};
use crate::fields;
use crate::link_files::tags_of;

/// Rows of one import.
pub const ROWS_MAX: usize = 10_000;

/// Rows of one import that have a password: each takes some hundredths of a second to hash, and the answer is waited for.
pub const PASSWORDS_MAX: usize = 200;

/// Columns of a sheet.
const COLUMNS_MAX: usize = 100;

/// Columns whose names are fields of the API, beside the labels.
const TEXTS: [&str; 11] = [
    "url",
    "slug",
    "domain",
    "kind",
    "tracking",
    "query_mode",
    "password",
    "expired_url",
    "sent_at",
    "starts_at",
    "expires_at",
];

/// Other names for fields: what people write, and what other programs export.
const NAMES: [(&str, &str); 18] = [
    ("link", "url"),
    ("long_url", "url"),
    ("destination", "url"),
    ("destination_url", "url"),
    ("original_url", "url"),
    ("target", "url"),
    ("key", "slug"),
    ("code", "slug"),
    ("keyword", "slug"),
    ("short_code", "slug"),
    ("back_half", "slug"),
    ("campaign", "campaign_id"),
    ("conversation", "conversation_id"),
    ("contact", "contact_id"),
    ("message", "message_id"),
    ("id", "external_id"),
    ("tag", "tags"),
    ("expires", "expires_at"),
];

/// What a column fills.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Column {
    Text(&'static str),
    Tags,
    Number(&'static str),
    Enabled,
    Utm(String),
    Preview(String),
    Metadata(String),
    /// An object as JSON, which is how an export has it.
    AllMetadata,
    Unknown,
}

/// A sheet that could be read.
pub struct Sheet {
    /// The names of its columns, as they stand.
    pub head: Vec<String>,
    /// Its rows, without the first.
    pub rows: Vec<Row>,
    columns: Vec<Column>,
}

/// A row.
pub struct Row {
    /// Its number in the sheet; the one with the names is 1.
    pub number: u64,
    /// What stands in each column.
    pub cells: Vec<String>,
}

/// Counts the lines of a text, from one row to the next.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    number: u64,
}

impl Lines<'_> {
    /// The line on which the row begins that the reader found at this byte, or after the ends of lines that stand there.
    fn number_of(&mut self, byte: u64) -> u64 {
        let found = usize::try_from(byte).unwrap_or(usize::MAX).min(self.text.len());
        let ends =
            self.text.as_bytes()[found..].iter().take_while(|byte| matches!(**byte, b'\r' | b'\n')).count();
        let begin = (found + ends).max(self.at);
        let passed = self.text.as_bytes()[self.at..begin].iter().filter(|byte| **byte == b'\n').count();
        self.number += passed as u64;
        self.at = begin;
        self.number
    }
}

/// Why a sheet cannot be read, as a sentence.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl Sheet {
    /// Reads a sheet: columns apart by commas, semicolons or tabs.
    ///
    /// # Errors
    /// When it is no text, has no column with URLs, too many rows, or too many with a password.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|_| {
            Unreadable("This is not a text in UTF-8. Save the sheet as “CSV UTF-8” and try again.".to_owned())
        })?;
        let mut reader =
            csv::ReaderBuilder::new().delimiter(delimiter(text)).flexible(true).from_reader(text.as_bytes());
        let broken = |error: csv::Error| Unreadable(format!("The sheet cannot be read: {error}."));
        let head: Vec<String> =
            reader.headers().map_err(broken)?.iter().map(|name| name.trim().to_owned()).collect();
        if head.len() > COLUMNS_MAX {
            return Err(Unreadable(format!("A sheet may have at most {COLUMNS_MAX} columns.")));
        }
        let columns: Vec<Column> = head.iter().map(|name| column(name)).collect();
        if !columns.contains(&Column::Text("url")) {
            return Err(Unreadable(
                "No column is called “url”. The first row has to name the columns, and one has to say where links lead."
                    .to_owned(),
            ));
        }
        let password_at = columns.iter().position(|column| *column == Column::Text("password"));
        let (mut rows, mut passwords) = (Vec::new(), 0);
        let mut lines = Lines { text, at: 0, number: 1 };
        for record in reader.records() {
            let record = record.map_err(broken)?;
            if record.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            if rows.len() == ROWS_MAX {
                return Err(Unreadable(format!(
                    "The sheet has more than {ROWS_MAX} rows. Split it, or use the API, which takes a million."
                )));
            }
            let number = lines.number_of(record.position().map_or(0, csv::Position::byte));
            passwords += usize::from(password_at.is_some_and(|at| is_filled(&record, at)));
            if passwords > PASSWORDS_MAX {
                return Err(Unreadable(format!(
                    "More than {PASSWORDS_MAX} rows have a password, each of which takes time to be kept safely. Split the sheet, \
                     or use the API, which takes more."
                )));
            }
            if record.len() > COLUMNS_MAX {
                return Err(Unreadable(format!("Row {number} has more than {COLUMNS_MAX} columns.")));
            }
            let mut cells: Vec<String> =
                record.iter().map(|cell| crate::csv::as_meant(cell).to_owned()).collect();
            cells.resize(head.len().max(cells.len()), String::new());
            rows.push(Row { number, cells });
        }
        Ok(Self { head, rows, columns })
    }

    /// The columns that mean nothing to us.
    pub fn ignored(&self) -> Vec<&str> {
        let named = self.head.iter().zip(&self.columns);
        named.filter(|(_, column)| **column == Column::Unknown).map(|(name, _)| name.as_str()).collect()
    }

    /// The link that a row asks for, by the rules of the API.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] names every field that is wrong; [`Sheet::column_of`] says where it stands.
    pub fn link(&self, row: &Row) -> Result<NewLink, ApiError> {
        let (mut body, mut utm, mut preview, mut metadata) = (Map::new(), Map::new(), Map::new(), Map::new());
        for (column, cell) in self.columns.iter().zip(&row.cells) {
            let cell = cell.trim();
            if cell.is_empty() {
                continue;
            }
            match column {
                Column::Text(name) => drop(body.insert((*name).to_owned(), moment(name, cell).into())),
                Column::Tags => drop(body.insert("tags".to_owned(), tags_of(cell).into())),
                Column::Number(name) => {
                    let number = cell.parse::<u64>().map_or_else(|_| Value::from(cell), Value::from);
                    body.insert((*name).to_owned(), number);
                }
                Column::Enabled => {
                    let is_enabled = match cell.to_ascii_lowercase().as_str() {
                        "true" | "yes" | "1" | "on" => Value::Bool(true),
                        "false" | "no" | "0" | "off" => Value::Bool(false),
                        _ => Value::from(cell),
                    };
                    body.insert("enabled".to_owned(), is_enabled);
                }
                Column::Utm(name) => drop(utm.insert(name.clone(), cell.into())),
                Column::Preview(name) => drop(preview.insert(name.clone(), cell.into())),
                Column::Metadata(name) => drop(metadata.insert(name.clone(), cell.into())),
                Column::AllMetadata => match serde_json::from_str::<Map<String, Value>>(cell) {
                    Ok(all) => metadata.extend(all),
                    // stays a text, which is refused with the rule
                    Err(_) => drop(body.insert("metadata".to_owned(), cell.into())),
                },
                Column::Unknown => {}
            }
        }
        for (name, object) in [("utm", utm), ("preview", preview), ("metadata", metadata)] {
            if !object.is_empty() {
                body.entry(name).or_insert(object.into());
            }
        }
        fields::read(&Value::Object(body))
    }

    /// In which column that stands which an error is about.
    pub fn column_of(&self, error: &FieldError) -> Option<usize> {
        let mut path = error.pointer.trim_start_matches('/').split('/');
        let (field, part) = (path.next().unwrap_or_default(), path.next().unwrap_or_default());
        self.columns.iter().position(|column| match column {
            Column::Text(name) | Column::Number(name) => *name == field,
            Column::Tags => field == "tags",
            Column::Enabled => field == "enabled",
            Column::Utm(name) => field == "utm" && (part.is_empty() || name == part),
            Column::Preview(name) => field == "preview" && (part.is_empty() || name == part),
            Column::Metadata(name) => field == "metadata" && (part.is_empty() || name == part),
            Column::AllMetadata => field == "metadata",
            Column::Unknown => false,
        })
    }
}

fn is_filled(record: &csv::StringRecord, at: usize) -> bool {
    record.get(at).is_some_and(|cell| !cell.trim().is_empty())
}

/// What stands between the columns: what the first line has most of.
fn delimiter(text: &str) -> u8 {
    let first = text.lines().next().unwrap_or_default();
    let count = |sign: u8| first.bytes().filter(|byte| *byte == sign).count();
    // of equals the last one wins: the comma
    [b'\t', b';', b','].into_iter().max_by_key(|sign| count(*sign)).unwrap_or(b',')
}

fn column(name: &str) -> Column {
    let name = name.trim().to_lowercase().replace([' ', '-'], "_");
    let name = NAMES.iter().find(|(other, _)| *other == name).map_or(name.as_str(), |(_, field)| *field);
    if let Some(text) = LABEL_NAMES.into_iter().chain(TEXTS).find(|text| *text == name) {
        return Column::Text(text);
    }
    match name {
        "tags" => Column::Tags,
        "enabled" => Column::Enabled,
        "max_clicks" => Column::Number("max_clicks"),
        "status_code" => Column::Number("status_code"),
        "metadata" => Column::AllMetadata,
        _ => within(name),
    }
}

/// A column of what is within a field.
fn within(name: &str) -> Column {
    if let Some(utm) = name.strip_prefix("utm_").filter(|utm| UTM_NAMES.contains(utm)) {
        return Column::Utm(utm.to_owned());
    }
    if let Some(preview) = name.strip_prefix("preview_").filter(|preview| PREVIEW_NAMES.contains(preview)) {
        return Column::Preview(preview.to_owned());
    }
    match name.strip_prefix("metadata.").filter(|key| !key.is_empty()) {
        Some(key) => Column::Metadata(key.to_owned()),
        None => Column::Unknown,
    }
}

/// A moment as spreadsheets write it, in UTC, as the API wants it; other texts stay as they are.
fn moment(field: &str, cell: &str) -> String {
    if !field.ends_with("_at") {
        return cell.to_owned();
    }
    let date =
        chrono::NaiveDate::parse_from_str(cell, "%Y-%m-%d").map(|day| day.and_time(chrono::NaiveTime::MIN));
    let formats = ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"];
    let read = formats.iter().find_map(|format| chrono::NaiveDateTime::parse_from_str(cell, format).ok());
    match read.or(date.ok()) {
        Some(at) => at.and_utc().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        None => cell.to_owned(),
    }
}

/// Writes rows as CSV. What a spreadsheet would take for a formula is text there; [`Sheet::read`] takes that back.
pub fn write(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut sheet = Vec::new();
    for cells in rows {
        let mut row = crate::csv::Row::default();
        cells.iter().for_each(|cell| row.text(cell));
        sheet.extend(row.end());
    }
    String::from_utf8(sheet).expect("texts are UTF-8")
}
