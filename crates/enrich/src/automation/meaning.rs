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
        "ua_cut_off" => "the User-Agent starts like a browser's, but names none, or no version of it",
        "ua_not_a_browser" => "the User-Agent does not start like a browser's",
        "ua_no_system" => "the User-Agent starts like a browser's, but names no system or device",
        "no_accept_language" => {
            "the User-Agent is a browser's, but no language came with it, and every browser sends one"
        }
        "fetch_metadata_absent" => {
            "the browser that the User-Agent names sends Sec-Fetch headers, and none came"
        }
        "ch_mismatch" => "User-Agent and Client Hints name different platforms",
        "headless_browser" => "the Client Hints are of a Chrome without a window",
        "too_soon" => "clicked within two seconds after the message was sent",
        "honeypot" => "the link is a honeypot, which people do not see",
        "asn_scanner" => {
            "the address is in a network that mail scanners ask from; it adds to other signals only"
        }
        "asn_hosting" => "the address is a server's; it adds to other signals only",
        "referrer_gateway" => "it came through a mail gateway's page; it adds to other signals only",
        "navigated" => "speaks for a person: the browser says that someone went to the link",
        "language_and_hints" => {
            "speaks for a person: a language is named, and the Client Hints fit the User-Agent"
        }
        "burst_message" => "several links of one message were opened within two seconds",
        "burst_source" => "one address opened many links within a second",
        "honeypot_near" => {
            "a link of the message that people do not see was opened from the same network within ten seconds"
        }
        "ua_switch" => "another system or browser opened the recipient's link within half a minute after it",
        "overruled" => "a person gave the verdict",
        _ => return None,
    })
}
