//! Rows of text with fields between commas (RFC 4180), semicolons or tabs, as they come: quoted fields may hold line breaks. With
//! tabs nothing is quoted, and `\t`, `\n` and `\\` stand for what they say, as `mysql --batch` writes it.

use std::io::{BufRead, Bytes};
use std::iter::Peekable;

use super::{FileError, ROW_BYTES_MAX};

/// What may stand between fields.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// A row.
pub(super) struct CsvRow {
    /// The line that it begins on, from 1.
    pub line: u64,
    /// Its fields; what is not UTF-8 has a character in its place that says so.
    pub fields: Vec<String>,
    /// Whether all of it was UTF-8.
    pub is_utf8: bool,
}

/// Rows of a file.
pub(super) struct Rows<R: BufRead> {
    bytes: Peekable<Bytes<R>>,
    delimiter: u8,
    line: u64,
}

impl<R: BufRead> Rows<R> {
    /// Looks at the first line to see what stands between its fields.
    pub(super) fn new(mut file: R) -> Result<Self, FileError> {
        let start = file.fill_buf()?;
        let first = start.trim_ascii_start();
        let line = first.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
        let mut is_quoted = false;
        let mut counts = [0; DELIMITERS.len()];
        for byte in line {
            is_quoted ^= *byte == b'"';
            if let Some(at) = DELIMITERS.iter().position(|delimiter| delimiter == byte).filter(|_| !is_quoted)
            {
                counts[at] += 1;
            }
        }
        let most = (0..DELIMITERS.len()).rev().max_by_key(|at| counts[*at]).unwrap_or_default();
        Ok(Self { bytes: file.bytes().peekable(), delimiter: DELIMITERS[most], line: 1 })
    }

    /// The next row that is not blank.
    pub(super) fn next_row(&mut self) -> Result<Option<CsvRow>, FileError> {
        while self.bytes.peek().is_some() {
            let line = self.line;
            let fields = self.fields(line)?;
            if fields.iter().any(|field| !field.trim_ascii().is_empty()) {
                let is_utf8 = fields.iter().all(|field| str::from_utf8(field).is_ok());
                let fields = fields.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
                return Ok(Some(CsvRow { line, fields, is_utf8 }));
            }
        }
        Ok(None)
    }

    fn fields(&mut self, line: u64) -> Result<Vec<Vec<u8>>, FileError> {
        let (mut fields, mut field, mut size) = (Vec::new(), Vec::new(), 0);
        while let Some(byte) = self.bytes.next().transpose()? {
            size += 1;
            if size > ROW_BYTES_MAX {
                return Err(FileError::Row { line, what: "is longer than 256 KiB" });
            }
            match byte {
                b'\n' => {
                    self.line += 1;
                    break;
                }
                b'\r' => {
                    if self.next_is(b'\n') {
                        continue;
                    }
                    self.line += 1;
                    break;
                }
                byte if byte == self.delimiter => fields.push(std::mem::take(&mut field)),
                b'\\' if self.delimiter == b'\t' => field.push(self.escaped()?),
                b'"' if field.is_empty() && self.delimiter != b'\t' => {
                    self.quoted(line, &mut field, &mut size)?
                }
                byte => field.push(byte),
            }
        }
        fields.push(field);
        Ok(fields)
    }

    /// The rest of a field that began with a quote, up to the one that closes it.
    fn quoted(&mut self, line: u64, field: &mut Vec<u8>, size: &mut usize) -> Result<(), FileError> {
        while let Some(byte) = self.bytes.next().transpose()? {
            *size += 1;
            if *size > ROW_BYTES_MAX {
                return Err(FileError::Row {
                    line,
                    what: "is longer than 256 KiB: is a quote left open in it?",
                });
            }
            match byte {
                b'"' if self.next_is(b'"') => {
                    self.bytes.next();
                    field.push(b'"');
                }
                b'"' => return Ok(()),
                byte => {
                    self.line += u64::from(byte == b'\n');
                    field.push(byte);
                }
            }
        }
        Err(FileError::Row { line, what: "has a quote that nothing closes" })
    }

    fn escaped(&mut self) -> Result<u8, FileError> {
        let meant = |byte| match byte {
            b't' => Some(b'\t'),
            b'n' => Some(b'\n'),
            b'r' => Some(b'\r'),
            b'\\' => Some(b'\\'),
            _ => None,
        };
        let next = self.bytes.next_if(|byte| byte.as_ref().is_ok_and(|byte| meant(*byte).is_some()));
        Ok(next.transpose()?.and_then(meant).unwrap_or(b'\\'))
    }

    fn next_is(&mut self, wanted: u8) -> bool {
        self.bytes.peek().is_some_and(|byte| byte.as_ref().is_ok_and(|byte| *byte == wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(u64, Vec<String>)> {
        let mut rows = Rows::new(text.as_bytes()).expect("bytes");
        let mut read = Vec::new();
        while let Some(row) = rows.next_row().expect("rows") {
            read.push((row.line, row.fields));
        }
        read
    }

    fn failure(text: &str) -> String {
        let mut rows = Rows::new(text.as_bytes()).expect("bytes");
        loop {
            match rows.next_row() {
                Ok(row) => assert!(row.is_some(), "no failure"),
                Err(error) => return error.to_string(),
            }
        }
    }

    #[test]
    fn quoted_fields_hold_commas_quotes_and_line_breaks() {
        let read = rows("a,b\r\n\"x, y\",\"say \"\"hi\"\"\nthere\"\r\n\r\n5\" pipe,\n");

        assert_eq!(
            read,
            [
                (1, vec!["a".to_owned(), "b".to_owned()]),
                (2, vec!["x, y".to_owned(), "say \"hi\"\nthere".to_owned()]),
                (5, vec!["5\" pipe".to_owned(), String::new()]),
            ]
        );
    }

    #[test]
    fn semicolons_and_tabs_are_seen_by_the_first_line() {
        assert_eq!(rows("a;\"b,c,d\";e\n")[0].1, ["a", "b,c,d", "e"]);
        assert_eq!(rows("a\tb\n\"x\tline\\nbreak \\\\ \\N\n")[1].1, ["\"x", "line\nbreak \\ \\N"]);
        assert_eq!(rows("url\nhttps://example.com/\n")[1].1, ["https://example.com/"]);
    }

    #[test]
    fn a_row_without_an_end_is_named_by_its_line() {
        assert_eq!(
            failure("a,b\n\n\"x,y\n"),
            "the row that begins on line 3 has a quote that nothing closes"
        );
        let endless = format!("a,b\n\"{}", "x\n".repeat(ROW_BYTES_MAX));
        assert!(failure(&endless).ends_with("is a quote left open in it?"));
        let long = format!("a,b\n{}", "x".repeat(ROW_BYTES_MAX + 1));
        assert_eq!(failure(&long), "the row that begins on line 2 is longer than 256 KiB");
    }
}
