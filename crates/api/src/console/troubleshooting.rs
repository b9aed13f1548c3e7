//! `/docs/troubleshooting`: the causes that the console and `clickwire why` name, and what to do about each.
//!
//! One text for both places: operators read it as `deploy/TROUBLESHOOTING.md`.

use actix_web::{HttpResponse, get};
use askama::Template;

use super::view::html;

/// What is shown, as it stands in the repository.
const TEXT: &str = include_str!("../../../../deploy/TROUBLESHOOTING.md");

/// A heading with what stands below it.
struct Part {
    heading: String,
    paragraphs: Vec<String>,
    /// Code, what it means, what to do.
    rows: Vec<[String; 3]>,
}

#[derive(Template)]
#[template(path = "troubleshooting.html")]
struct Page {
    title: String,
    parts: Vec<Part>,
}

#[get("/docs/troubleshooting")]
pub async fn show() -> HttpResponse {
    html(&read(TEXT))
}

/// Reads the few forms that the text has: a title, headings, paragraphs and tables of three columns.
fn read(text: &str) -> Page {
    let mut page = Page { title: String::new(), parts: Vec::new() };
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            title.clone_into(&mut page.title);
            page.parts.push(part(String::new()));
        } else if let Some(heading) = line.strip_prefix("## ") {
            page.parts.push(part(heading.to_owned()));
        } else if let Some(part) = page.parts.last_mut() {
            match line.strip_prefix("| ") {
                Some(row) if row.starts_with('`') => part.rows.extend(cells(row)),
                Some(_) => {}
                None if line.is_empty() || line.starts_with('|') => {}
                None => part.paragraphs.push(line.to_owned()),
            }
        }
    }
    page
}

fn part(heading: String) -> Part {
    Part { heading, paragraphs: Vec::new(), rows: Vec::new() }
}

fn cells(row: &str) -> Option<[String; 3]> {
    let cells: Vec<String> =
        row.trim_end_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    let [code, means, fix] = cells.try_into().ok()?;
    // the code is an anchor too
    Some([code.replace('`', ""), means, fix])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::desk::diagnosis::Code;

    #[test]
    fn every_line_of_the_text_is_shown() {
        let page = read(TEXT);
        let rows: usize = page.parts.iter().map(|part| part.rows.len()).sum();

        assert_eq!(rows, TEXT.lines().filter(|line| line.starts_with("| `")).count());
        assert!(page.parts.len() >= 6 && rows >= 40, "{} parts, {rows} rows", page.parts.len());
    }

    #[test]
    fn every_code_is_explained_and_nothing_else_is() {
        let explained: Vec<String> =
            read(TEXT).parts.into_iter().flat_map(|part| part.rows).map(|[code, ..]| code).collect();

        let told = Code::ALL.iter().filter(|code| !code.is_fine()).map(|code| code.as_str());
        let (told, rows): (BTreeSet<_>, BTreeSet<_>) =
            (told.collect(), explained.iter().map(String::as_str).collect());
        assert_eq!(rows, told);
        assert_eq!(rows.len(), explained.len(), "each once");
    }
}
