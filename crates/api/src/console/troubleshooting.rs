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
                None => part.paragraphs.push(line.replace('`', "")),
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
        row.trim_end_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect();
    cells.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_text_is_shown() {
        let page = read(TEXT);
        let rows: usize = page.parts.iter().map(|part| part.rows.len()).sum();

        assert_eq!(rows, TEXT.lines().filter(|line| line.starts_with("| `")).count());
        assert!(page.parts.len() >= 6 && rows >= 40, "{} parts, {rows} rows", page.parts.len());
    }

    /// Codes as the sources name them.
    #[test]
    fn every_code_that_is_found_stands_in_the_text() {
        let sources = [
            include_str!("../desk/diagnosis.rs"),
            include_str!("../desk/diagnosis/answer.rs"),
            include_str!("../desk/diagnosis/click.rs"),
            include_str!("../desk/diagnosis/delivery.rs"),
            include_str!("../desk/diagnosis/endpoint.rs"),
            include_str!("../desk/diagnosis/link.rs"),
            include_str!("../desk/diagnosis/services.rs"),
        ];
        let is_code =
            |word: &&str| word.contains('_') && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        for word in sources.into_iter().flat_map(|source| source.split('"')).filter(is_code) {
            assert!(TEXT.contains(&format!("| `{word}` |")), "`{word}` is not explained");
        }
    }
}
