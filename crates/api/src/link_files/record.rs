//! A row with its names, and how its values are read: what is a text in CSV is often more in JSON.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Utc};
use serde_json::Value;

use super::ReadRecord;
use super::csv::CsvRow;
use crate::csv::as_meant;
use crate::error::FieldError;

/// What stands between texts.
const SEPARATORS: [char; 3] = ['|', ',', ';'];

/// A row of a file.
#[derive(Debug)]
pub(super) struct Record {
    /// The line that it begins on.
    pub line: u64,
    /// Names and values, in the order of the file.
    pub fields: Vec<(String, Value)>,
}

/// A name as it is compared: `Long URL`, `long_url` and `longUrl` are one.
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The record that a row is, under these columns.
pub(super) fn of_row(row: CsvRow, columns: &[String]) -> ReadRecord {
    let CsvRow { line, mut fields, is_utf8 } = row;
    if !is_utf8 {
        return Err((line, error("", "malformed", "is not UTF-8: save the file as UTF-8")));
    }
    // some exporters end each row with a comma
    if fields.len() == columns.len() + 1 && fields.last().is_some_and(String::is_empty) {
        fields.pop();
    }
    if fields.len() != columns.len() {
        let (has, wanted) = (fields.len(), columns.len());
        let detail =
            format!("has {has} fields, and the first row {wanted}: is a quote or a comma out of place?");
        return Err((line, error("", "malformed", detail)));
    }
    let values = fields.iter().map(|cell| Value::String(as_meant(cell).to_owned()));
    Ok(Record { line, fields: columns.iter().map(|name| name.trim().to_owned()).zip(values).collect() })
}

pub(super) fn error(pointer: &str, code: &'static str, detail: impl Into<String>) -> FieldError {
    FieldError { pointer: pointer.to_owned(), code, detail: detail.into() }
}

impl Record {
    /// The names of its fields.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// The value under the first of these names that has one. Names are [`plain`].
    pub(super) fn value(&self, names: &[&str]) -> Option<&Value> {
        let has_value = |value: &&Value| match value {
            Value::Null => false,
            Value::String(text) => !text.trim().is_empty(),
            _ => true,
        };
        names.iter().find_map(|wanted| {
            let mut values = self.fields.iter().filter(|(name, _)| plain(name) == *wanted);
            values.find_map(|(_, value)| Some(value).filter(has_value))
        })
    }

    /// A text without white space around it.
    pub(super) fn text(&self, names: &[&str]) -> Option<String> {
        text_of(self.value(names)?)
    }

    /// Texts: a list, a list as JSON in a text, or a text with `|`, `,` or `;` between them. Each once.
    pub(super) fn texts(&self, names: &[&str]) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        for text in self.value(names).map(texts_of).unwrap_or_default() {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        texts
    }

    /// A moment as the API writes it, or the text that is none.
    pub(super) fn time(&self, names: &[&str]) -> Option<Result<String, String>> {
        let text = self.text(names)?;
        Some(moment(&text).map(written).ok_or(text))
    }

    /// A moment as the API writes it, or the text as it is: for what is only told.
    pub(super) fn told_time(&self, names: &[&str]) -> Option<String> {
        self.time(names).map(|time| time.unwrap_or_else(|text| text))
    }

    /// A number.
    pub(super) fn number(&self, names: &[&str]) -> Option<u64> {
        self.text(names)?.parse().ok()
    }

    /// Yes or no; anything else is neither.
    pub(super) fn flag(&self, names: &[&str]) -> Option<bool> {
        flag(&self.text(names)?)
    }
}

/// Yes or no, as people and programs write it.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" | "on" => Some(true),
        "false" | "no" | "0" | "off" => Some(false),
        _ => None,
    }
}

/// A value as a text.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        // an object with a name stands for it: `{"id": "tag_1", "name": "spring"}`
        Value::Object(object) => object.get("name").and_then(text_of),
        Value::Null | Value::Array(_) => None,
    }
}

/// A value as texts.
pub(super) fn texts_of(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().filter_map(text_of).collect(),
        Value::String(text) if text.trim_start().starts_with('[') => match serde_json::from_str(text) {
            Ok(Value::Array(values)) => values.iter().filter_map(text_of).collect(),
            _ => split(text),
        },
        Value::String(text) => split(text),
        other => text_of(other).into_iter().collect(),
    }
}

/// The tags that a cell names: a list as JSON, or texts with one of [`SEPARATORS`] between them.
pub(crate) fn tags_of(cell: &str) -> Vec<String> {
    texts_of(&Value::String(cell.to_owned()))
}

/// The cell that [`tags_of`] reads as these tags.
pub(crate) fn tags_cell(tags: &[String]) -> String {
    let joined = tags.join(";");
    let is_told_apart = !joined.starts_with('[') && !tags.iter().any(|tag| tag.contains(SEPARATORS));
    if is_told_apart { joined } else { Value::from(tags).to_string() }
}

fn split(text: &str) -> Vec<String> {
    let parts = text.split(SEPARATORS).map(str::trim);
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// A moment as exports write it. Without a zone it is taken for UTC, a day for its beginning.
pub(super) fn moment(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.to_utc());
    }
    // `Wed Apr 01 2026 10:00:00 GMT+0000 (Coordinated Universal Time)`, as JavaScript writes it
    let bare = text.split(" (").next().unwrap_or(text).replace("GMT", "");
    let zoned = ["%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%d %H:%M:%S%.f%z", "%a %b %d %Y %H:%M:%S %z"];
    if let Some(moment) = zoned.iter().find_map(|form| DateTime::parse_from_str(&bare, form).ok()) {
        return Some(moment.to_utc());
    }
    let bare = text.trim_end_matches(" UTC");
    let local = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    if let Some(moment) = local.iter().find_map(|form| NaiveDateTime::parse_from_str(bare, form).ok()) {
        return Some(moment.and_utc());
    }
    if let Ok(day) = NaiveDate::parse_from_str(bare, "%Y-%m-%d") {
        return Some(day.and_time(NaiveTime::MIN).and_utc());
    }
    // seconds, or milliseconds, since 1970
    let number: i64 = text.parse().ok()?;
    match text.len() {
        10 => DateTime::from_timestamp(number, 0),
        13 => DateTime::from_timestamp_millis(number),
        _ => None,
    }
}

/// A moment as the API writes it.
pub(super) fn written(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    #[test]
    fn moments_are_read_as_exports_write_them() {
        for (text, meant) in [
            ("2026-04-01T10:00:00+0000", "2026-04-01T10:00:00Z"),
            ("2026-04-01T12:00:00.000+02:00", "2026-04-01T10:00:00Z"),
            ("2026-04-01 10:00:00", "2026-04-01T10:00:00Z"),
            ("2026-04-01 10:00", "2026-04-01T10:00:00Z"),
            ("2026-04-01 10:00:00 UTC", "2026-04-01T10:00:00Z"),
            ("2026-04-01", "2026-04-01T00:00:00Z"),
            ("Wed Apr 01 2026 10:00:00 GMT+0000 (Coordinated Universal Time)", "2026-04-01T10:00:00Z"),
            ("1775037600", "2026-04-01T10:00:00Z"),
            ("1775037600000", "2026-04-01T10:00:00Z"),
        ] {
            assert_eq!(moment(text).map(written).as_deref(), Some(meant), "{text}");
        }
        for text in ["", "tomorrow", "01/04/2026", "12"] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn lists_come_in_many_forms_and_each_tag_once() {
        let record = |value| Record { line: 1, fields: vec![("Tags".to_owned(), value)] };
        for value in [
            json!("spring|sale|spring"),
            json!("spring, sale"),
            json!(["spring", "sale"]),
            json!("[\"spring\",\"sale\"]"),
            json!([{"id": "tag_1", "name": "spring"}, {"name": "sale"}]),
        ] {
            assert_eq!(record(value.clone()).texts(&["tags"]), ["spring", "sale"], "{value}");
        }
        assert!(record(json!("")).texts(&["tags"]).is_empty());
    }

    #[test]
    fn tags_are_read_from_their_cell_as_they_were() {
        for (tags, cell) in [
            (vec!["spring", "new customers"], "spring;new customers"),
            (vec!["a|b", "c"], r#"["a|b","c"]"#),
            (vec!["a;\"b\""], r#"["a;\"b\""]"#),
            (vec!["[1]"], r#"["[1]"]"#),
            (vec![], ""),
        ] {
            let tags: Vec<String> = tags.into_iter().map(str::to_owned).collect();
            assert_eq!(tags_cell(&tags), cell);
            assert_eq!(tags_of(cell), tags, "{cell}");
        }
    }
}
