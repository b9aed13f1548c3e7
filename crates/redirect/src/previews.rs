//! What messengers are shown of a link that has a preview: a page that does nothing and leads nowhere, in place of the
//! redirect. People are never shown it: they follow the link.

use std::fmt::Write as _;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use bytes::Bytes;

use model::click::USER_AGENT_BYTES_MAX;
use model::link::LinkPreview;

use crate::pages::{self, NO_REFERRER, NOT_STORED, escaped};

/// Programs that fetch a link in order to show what it is about, by a part of their User-Agent in lower case. Browsers
/// within apps name none of them; `enrich` knows all of them as machines.
const AGENTS: [&str; 19] = [
    "slackbot",
    "twitterbot",
    "facebookexternalhit",
    "telegrambot",
    "discordbot",
    "linkedinbot",
    "applebot",
    "skypeuripreview",
    "microsoftpreview",
    "redditbot",
    "bluesky cardyb",
    "(mastodon/",
    "synapse (bot",
    "mattermost-bot",
    "embedly/",
    "iframely/",
    "snap url preview",
    "kakaotalk-scrap",
    "vkshare",
];

/// WhatsApp's, which other programs may name further on.
const AT_THE_BEGINNING: &str = "whatsapp/";

/// Whether it says that it fetches previews.
pub fn is_agent(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).map(|value| value.as_bytes()).unwrap_or_default();
    let agent = agent[..agent.len().min(USER_AGENT_BYTES_MAX)].to_ascii_lowercase();
    let agent = String::from_utf8_lossy(&agent);
    agent.starts_with(AT_THE_BEGINNING) || AGENTS.iter().any(|known| agent.contains(known))
}

/// The page of a link, put together once.
pub fn page(preview: &LinkPreview, tracked_url: &str) -> Bytes {
    let title = escaped(&preview.title);
    let mut page = format!("<!doctype html>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n");
    let mut meta = |kind: &str, name: &str, content: &str| {
        // writing to a text cannot fail
        let _ = writeln!(page, "<meta {kind}=\"{name}\" content=\"{}\">", escaped(content));
    };
    meta("property", "og:type", "website");
    meta("property", "og:url", tracked_url);
    meta("property", "og:title", &preview.title);
    if let Some(description) = &preview.description {
        meta("property", "og:description", description);
        meta("name", "description", description);
    }
    if let Some(image_url) = &preview.image_url {
        meta("property", "og:image", image_url.as_str());
    }
    let card = if preview.image_url.is_some() { "summary_large_image" } else { "summary" };
    meta("name", "twitter:card", card);
    let _ = writeln!(page, "<p>{title}</p>");
    page.into()
}

/// Sends a [`page`].
pub fn answer(page: Bytes) -> HttpResponse {
    let mut answer = pages::html(StatusCode::OK, page, NO_REFERRER);
    answer.headers_mut().insert(header::CACHE_CONTROL, NOT_STORED);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn is_agent_named(name: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_str(name).expect("a value"));
        is_agent(&headers)
    }

    #[test]
    fn programs_that_fetch_previews_are_told_from_people_who_read_in_the_same_apps() {
        for agent in [
            "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
            "Twitterbot/1.0",
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 \
             Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
            "WhatsApp/2.24.20.89 A",
            "TelegramBot (like TwitterBot)",
            "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
            "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
            "Mozilla/5.0 (Macintosh) Version/13.1.1 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
        ] {
            assert!(is_agent_named(agent), "{agent}");
        }
        for person in [
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 \
             [FBAN/FBIOS;FBAV/440.0.0.30.105;FBBV/532364518;FBDV/iPhone14,5]",
            "Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 Chrome/124.0.0.0 Mobile Safari/537.36 \
             LinkedInApp",
            "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/124.0.0.0 Mobile Safari/537.36 WhatsApp/2.24",
            "curl/8.5.0",
            "",
        ] {
            assert!(!is_agent_named(person), "{person}");
        }
    }

    #[test]
    fn what_an_owner_wrote_cannot_leave_its_place() {
        let preview = LinkPreview {
            title: "</title><script>alert(1)</script>".into(),
            description: Some("\"><img src=x>".into()),
            image_url: Some("https://example.com/a.png?\"'<".parse().expect("a URL")),
        };

        let page = page(&preview, "https://go.example.com/abc");

        insta::assert_snapshot!(std::str::from_utf8(&page).expect("text"), @r##"
        <!doctype html>
        <meta charset="utf-8">
        <title>&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;</title>
        <meta property="og:type" content="website">
        <meta property="og:url" content="https://go.example.com/abc">
        <meta property="og:title" content="&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;">
        <meta property="og:description" content="&quot;&gt;&lt;img src=x&gt;">
        <meta name="description" content="&quot;&gt;&lt;img src=x&gt;">
        <meta property="og:image" content="https://example.com/a.png?%22%27%3C">
        <meta name="twitter:card" content="summary_large_image">
        <p>&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;</p>
        "##);
    }
}
