//! The one style sheet of the pages that people read, and the policy that lets browsers use it and load nothing else.

use actix_web::http::header::HeaderValue;

/// What browsers may do with a page of [`document`]: use the sheet, which they know by its hash. Nobody shows it within a
/// page of their own. Nothing is said about where forms may be sent (`forms` tells why).
pub const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'sha256-vRrB2rGxkwKLP1Axcay9W31764tzkzH6WBrYwBPI7rA='; base-uri 'none'; \
     frame-ancestors 'none'",
);

/// Readable on a phone, and in the dark.
macro_rules! sheet {
    () => {
        concat!(
            ":root{color-scheme:light dark;--ground:#fff;--text:#1c1e21;--line:#8a919c;--act:#1d4ed8;--on-act:#fff;--bad:#b42318}",
            "@media (prefers-color-scheme:dark){:root{--ground:#16181b;--text:#e6e8eb;--line:#757c87;--act:#93b4ff;--on-act:#101828;--bad:#ff9b8f}}",
            "body{margin:0;background:var(--ground);color:var(--text);font:1rem/1.5 system-ui,sans-serif}",
            "main{box-sizing:border-box;max-width:32rem;margin:0 auto;padding:15vh 1.25rem 2rem}",
            "h1{margin:0 0 1rem;font-size:1.375rem;line-height:1.25}",
            "p{margin:0 0 1rem;overflow-wrap:anywhere}",
            "label{display:block;margin:0 0 .25rem;font-weight:600}",
            "input,button{box-sizing:border-box;width:100%;min-height:3rem;padding:.5rem .75rem;border:1px solid var(--line);",
            "border-radius:.5rem;background:none;color:inherit;font:inherit}",
            "button{border-color:var(--act);background:var(--act);color:var(--on-act);font-weight:600;cursor:pointer}",
            ":focus-visible{outline:3px solid var(--act);outline-offset:2px}",
            "[role=alert]{color:var(--bad)}",
        )
    };
}
pub(crate) use sheet;

/// What stands in front of a page's content.
macro_rules! beginning {
    ($title:expr) => {
        concat!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n",
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
            "<title>",
            $title,
            "</title>\n<style>",
            $crate::style::sheet!(),
            "</style>\n<main>\n<h1>",
        )
    };
}
pub(crate) use beginning;

/// A whole page, put together when we are compiled: its title, its heading, and the rest.
macro_rules! document {
    ($title:expr, $heading:expr, $($rest:expr),+ $(,)?) => {
        concat!($crate::style::beginning!($title), $heading, "</h1>\n", $($rest,)+ "</main>\n</html>\n")
    };
}
pub(crate) use document;

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn the_policy_names_the_sheet_as_it_is() {
        let hash = STANDARD.encode(Sha256::digest(sheet!()));

        let policy = POLICY;
        let policy = policy.to_str().expect("text");
        assert!(policy.contains(&format!("style-src 'sha256-{hash}';")), "it is sha256-{hash}");
        // the text between the tags is what is hashed
        assert!(document!("a", "b", "c").contains(&format!("<style>{}</style>", sheet!())));
    }
}
