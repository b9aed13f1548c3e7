//! Sentences with something to type between backticks, as findings and errors write them. Pages set it as code; JSON and the
//! command line keep the text as it is.

/// A piece of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// What it says, without backticks; nothing in it is markup.
    pub text: &'a str,
    /// Whether it is something to type.
    pub is_code: bool,
}

/// The pieces of a sentence. A backtick that has no other one is a character like any.
pub fn parts(sentence: &str) -> Vec<Part<'_>> {
    let (mut parts, mut rest) = (Vec::new(), sentence);
    while let Some((words, code, after)) = first_code(rest) {
        parts.extend([Part { text: words, is_code: false }, Part { text: code, is_code: true }]);
        rest = after;
    }
    parts.push(Part { text: rest, is_code: false });
    parts.retain(|part| !part.text.is_empty());
    parts
}

/// What stands before the first code, the code, and what stands after it.
fn first_code(text: &str) -> Option<(&str, &str, &str)> {
    let (words, rest) = text.split_once('`')?;
    let (code, after) = rest.split_once('`')?;
    Some((words, code, after))
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::*;

    /// A sentence as every page shows it.
    #[derive(Template)]
    #[template(
        source = r#"{% import "parts.html" as parts %}{% call parts::prose(sentence) %}{% endcall %}"#,
        ext = "html"
    )]
    struct Shown<'a> {
        sentence: &'a str,
    }

    fn pieces(sentence: &str) -> Vec<(&str, bool)> {
        parts(sentence).into_iter().map(|part| (part.text, part.is_code)).collect()
    }

    #[test]
    fn what_stands_between_backticks_is_code() {
        assert_eq!(
            pieces("see `clickwire doctor`, or `/readyz`"),
            [("see ", false), ("clickwire doctor", true), (", or ", false), ("/readyz", true),]
        );
        assert_eq!(pieces("`a``b`"), [("a", true), ("b", true)]);
        assert_eq!(pieces("nothing to type"), [("nothing to type", false)]);
        assert!(pieces("").is_empty());
    }

    #[test]
    fn a_backtick_without_its_other_one_stays() {
        assert_eq!(pieces("a ` alone"), [("a ` alone", false)]);
        assert_eq!(pieces("`x` and ` alone"), [("x", true), (" and ` alone", false)]);
    }

    #[test]
    fn nothing_in_a_sentence_is_markup() {
        let shown = Shown { sentence: "leads to `<img src=x>`, <b>not</b> \"there\"" };

        assert_eq!(
            shown.render().expect("it renders"),
            "leads to <code>&#60;img src=x&#62;</code>, &#60;b&#62;not&#60;/b&#62; &#34;there&#34;"
        );
    }
}
