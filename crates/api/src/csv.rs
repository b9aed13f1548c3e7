//! Rows of CSV (RFC 4180), in which no spreadsheet finds a formula.
//!
//! A cell that a program could run begins with one of [`FORMULA_BEGINNINGS`]. Such texts come from outside: a visitor chooses their
//! User-Agent, a sender the tags of a link. An apostrophe before them makes them text for every spreadsheet, and can be seen by
//! everybody else. Numbers of ours keep their sign.

/// What formulas begin with, in ASCII and in the full width that some spreadsheets take for the same; a tab or a line break hides
/// what comes after it.
const FORMULA_BEGINNINGS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// One row.
#[derive(Debug, Default)]
pub struct Row {
    text: Vec<u8>,
    has_cells: bool,
}

impl Row {
    /// A cell with a text from anywhere.
    pub fn text(&mut self, text: &str) {
        self.separate();
        let is_formula = text.starts_with(FORMULA_BEGINNINGS);
        let is_quoted = text.contains(['"', ',', ';', '\r', '\n', '\t']) || text.trim() != text;
        if is_quoted {
            self.text.push(b'"');
        }
        if is_formula {
            self.text.push(b'\'');
        }
        match is_quoted {
            true => self.text.extend_from_slice(text.replace('"', "\"\"").as_bytes()),
            false => self.text.extend_from_slice(text.as_bytes()),
        }
        if is_quoted {
            self.text.push(b'"');
        }
    }

    /// A cell with a number or a word of ours, written as it is.
    pub fn own(&mut self, value: impl std::fmt::Display) {
        use std::io::Write as _;
        self.separate();
        write!(self.text, "{value}").expect("a Vec takes every byte");
    }

    /// A cell with a text from anywhere, empty if there is none.
    pub fn maybe_text(&mut self, text: Option<impl AsRef<str>>) {
        match text {
            Some(text) => self.text(text.as_ref()),
            None => self.separate(),
        }
    }

    /// A cell with a number or a word of ours, empty if there is none.
    pub fn maybe_own(&mut self, value: Option<impl std::fmt::Display>) {
        match value {
            Some(value) => self.own(value),
            None => self.separate(),
        }
    }

    /// The row with its end.
    pub fn end(mut self) -> Vec<u8> {
        self.text.extend_from_slice(b"\r\n");
        self.text
    }

    fn separate(&mut self) {
        if self.has_cells {
            self.text.push(b',');
        }
        self.has_cells = true;
    }
}

/// The row of headings.
pub fn headings(columns: &[&str]) -> Vec<u8> {
    let mut row = Row::default();
    columns.iter().for_each(|name| row.own(name));
    row.end()
}

/// A cell as it was before [`Row::text`] wrote it.
pub fn as_meant(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| rest.starts_with(FORMULA_BEGINNINGS)).unwrap_or(cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> String {
        let mut row = Row::default();
        cells.iter().for_each(|cell| row.text(cell));
        String::from_utf8(row.end()).expect("text")
    }

    #[test]
    fn a_formula_that_was_made_text_is_read_as_it_was() {
        assert_eq!(row(&["=1+1"]), "'=1+1\r\n");
        assert_eq!(["'=1+1", "'tis", "=1"].map(as_meant), ["=1+1", "'tis", "=1"]);
    }

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        assert_eq!(row(&["a", "", "b c"]), "a,,b c\r\n");
        assert_eq!(
            row(&["a,b", "say \"hi\"", "two\nlines"]),
            "\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\"\r\n"
        );
        assert_eq!(row(&[""]), "\r\n");
    }

    #[test]
    fn no_cell_is_a_formula() {
        for beginning in FORMULA_BEGINNINGS {
            let written = row(&[&format!("{beginning}cmd|' /C calc'!A0")]);
            assert!(written.trim_start_matches('"').starts_with('\''), "{written}");
        }
        assert_eq!(
            row(&["=HYPERLINK(\"http://x\",\"y\")"]),
            "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\"\r\n"
        );
        let mut numbers = Row::default();
        numbers.own(-15.6);
        numbers.maybe_own(None::<i64>);
        numbers.maybe_text(None::<&str>);
        numbers.own("human");
        assert_eq!(numbers.end(), b"-15.6,,,human\r\n");
    }
}
