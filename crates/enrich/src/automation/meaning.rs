//! What the codes of signals mean, for people.

/// A sentence about a signal; `None` for one that these rules do not have.
pub fn of(code: &str) -> Option<&'static str> {
    Some(match code {
        "method_head" => "asked by HEAD, which no browser does for a person",
        "prefetch_header" => "a header says that the page is loaded ahead, before anyone sees it",
        "ua_missing" => "no User-Agent, and every browser sends one",
        "ua_declared" => "the User-Agent is of a program on one of the lists",
        "ua_spider" => "the rules of uap-core know the User-Agent as a program's",
        "ua_bot_word" => "the User-Agent has a word, an address or a shape that programs have",
        "ua_not_a_browser" => "the User-Agent does not start like a browser's",
        "ua_no_system" => "the User-Agent starts like a browser's, but names no system or device",
        _ => return None,
    })
}
