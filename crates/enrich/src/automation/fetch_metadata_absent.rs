//! Browsers of today tell every HTTPS site how and for what they ask (`Sec-Fetch-…`); programs that borrow their
//! User-Agent rarely do.
//!
//! Only browsers that are known to are asked for it: browsers of apps, and those that an old engine runs under a new
//! version's name, are not.

use model::automation::MachineClass;
use model::click::Request;

use super::verdict::MEDIUM;
use super::{Case, Signal};
use crate::device::Described;

const SIGNAL: Signal = Signal { code: "fetch_metadata_absent", weight: MEDIUM, class: MachineClass::Other };

/// How the headers' names begin.
const PREFIX: &str = "sec-fetch-";

/// The first Chromium that sends all of them.
const CHROME_MIN: (u32, u32) = (80, 0);

/// The first Firefox that sends any.
const FIREFOX_MIN: (u32, u32) = (90, 0);

/// The first Safari that sends any.
const SAFARI_MIN: (u32, u32) = (16, 4);

/// What Safari names after its engine; browsers that are made of it name more, or no `Version/`.
const SAFARI_PRODUCTS: [&str; 3] = ["Version/", "Mobile/", "Safari/"];

/// What Safari runs on; other browsers of its engine say the same and do not keep its pace.
const SAFARI_SYSTEMS: [&str; 4] = ["Macintosh", "iPhone", "iPad", "iPod"];

/// Fires when the headers were kept, the User-Agent promises these, and there is none.
pub fn signal(case: &Case<'_>) -> Option<Signal> {
    let request = case.request;
    // they are sent to trustworthy addresses only
    let is_https = || case.link.is_some_and(|link| link.tracked_url.starts_with("https://"));
    let is_absent = || !request.headers.iter().any(|(name, _)| name.starts_with(PREFIX));
    let fires =
        case.agent.sends_fetch_metadata && request.header("accept").is_some() && is_absent() && is_https();
    fires.then_some(SIGNAL)
}

/// Whether a User-Agent is of a browser that sends these headers.
pub fn is_promised(agent: &str, request: &Request, described: &Described) -> bool {
    let is_of_an_app = described.device.in_app.is_some()
        || request.header("x-requested-with").is_some()
        || agent.contains("; wv)");
    !is_of_an_app && (is_chrome(agent) || is_firefox(agent) || is_safari(agent))
}

/// Chromium under any name. Android's WebView says `Version/4.0` before it, under whatever name an app gives it.
fn is_chrome(agent: &str) -> bool {
    !agent.contains("Version/") && version(agent, "Chrome/").is_some_and(|version| version >= CHROME_MIN)
}

/// Others that call themselves Firefox say their own name after it, and are made of an older one.
fn is_firefox(agent: &str) -> bool {
    let ends_there = |rest: &str| rest.trim_end().bytes().all(|b| b.is_ascii_digit() || b == b'.');
    agent.rsplit_once("Firefox/").is_some_and(|(_, rest)| ends_there(rest))
        && version(agent, "Firefox/").is_some_and(|version| version >= FIREFOX_MIN)
}

fn is_safari(agent: &str) -> bool {
    let is_safaris = |product: &str| SAFARI_PRODUCTS.iter().any(|own| product.starts_with(own));
    SAFARI_SYSTEMS.iter().any(|system| agent.contains(system))
        && agent
            .split_once("(KHTML, like Gecko) ")
            .is_some_and(|(_, products)| products.split_whitespace().all(is_safaris))
        && version(agent, "Version/").is_some_and(|version| version >= SAFARI_MIN)
}

/// The first two numbers of a product's version; a second that is not there is zero.
fn version(agent: &str, product: &str) -> Option<(u32, u32)> {
    let (_, after) = agent.split_once(product)?;
    let end = after.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(after.len());
    let mut numbers = after[..end].split('.').map(|number| number.parse::<u32>().ok());
    Some((numbers.next()??, numbers.next().flatten().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::automation::visits::{self, Visit};

    fn promises(agent: &str) -> bool {
        Visit::of("a browser", agent, &[]).shown.sends_fetch_metadata
    }

    #[test]
    fn a_browser_that_sends_none_of_them_is_doubtful() {
        for mut visit in visits::ordinary() {
            visit.click.request.headers.retain(|(name, _)| !name.starts_with(PREFIX));

            assert_eq!(signal(&visit.case()), Some(SIGNAL), "{}", visit.name);
        }
        let mut visit = Visit::safari();
        visit.click.request.headers.retain(|(name, _)| !name.starts_with(PREFIX));
        assert_eq!((visit.codes(), visit.judge().score), (vec!["fetch_metadata_absent".to_owned()], 35));
    }

    #[test]
    fn people_and_clicks_whose_headers_were_not_kept_do_not_trip_it() {
        for mut visit in visits::ordinary() {
            assert_eq!(signal(&visit.case()), None, "{}", visit.name);

            visit.click.request.headers.clear();
            assert_eq!(signal(&visit.case()), None, "{}", visit.name);
        }
    }

    #[test]
    fn without_https_there_are_none() {
        let mut visit = Visit::chrome();
        visit.click.request.headers.retain(|(name, _)| !name.starts_with(PREFIX));
        visit.click.link.tracked_url = "http://go.example.com/k7m2xq9ra".into();

        assert_eq!(signal(&visit.case()), None);
        let alone = Case::of_request(&visit.click.request, &visit.shown);
        assert_eq!(signal(&alone), None, "nobody knows how it was asked");
    }

    #[test]
    fn browsers_promise_them_from_a_version_on() {
        let chrome = |version: &str| {
            format!(
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/{version} Safari/537.36"
            )
        };
        let firefox = |version: &str| {
            format!("Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/{version}")
        };
        let safari = |version: &str| {
            format!(
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/{version} Safari/605.1.15"
            )
        };

        assert!(promises(&chrome("80.0.3987.87")) && !promises(&chrome("79.0.3945.88")));
        assert!(promises(&firefox("90.0")) && !promises(&firefox("89.0")));
        assert!(promises(&safari("16.4")) && promises(&safari("17")));
        assert!(!promises(&safari("16.3.1")) && !promises(&safari("16")));
    }

    #[test]
    fn browsers_of_apps_and_old_engines_promise_nothing() {
        let iphone =
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)";
        let android = "Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko)";
        for agent in [
            format!("{iphone} Mobile/15E148"),
            format!("{iphone} CriOS/142.0.7444.77 Mobile/15E148 Safari/604.1"),
            format!("{iphone} FxiOS/145.0 Mobile/15E148 Safari/604.1"),
            format!("{iphone} Version/18.1 EdgiOS/142.0.3595.66 Mobile/15E148 Safari/604.1"),
            format!("{iphone} Version/18.1 Mobile/15E148 Safari/604.1 Instagram 332.0.3.29.90"),
            format!("{android} Version/4.0 Chrome/126.0.6478.71 Mobile Safari/537.36"),
            format!("{android} Chrome/126.0.6478.71 Mobile Safari/537.36 Viber/22.5.0.6"),
            "Mozilla/5.0 (Linux; Android 14; SM-S918B; wv) AppleWebKit/537.36 Chrome/126.0.6478.71".into(),
            "Mozilla/5.0 (Windows NT 10.0; rv:91.0) Gecko/20100101 Firefox/91.0 SeaMonkey/2.53.18".into(),
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 \
             Safari/605.1.15"
                .into(),
            "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko".into(),
        ] {
            assert!(!promises(&agent), "{agent}");
        }
        let hidden = Visit::of(
            "an app that hides",
            &format!("{android} Chrome/126.0.6478.71 Mobile Safari/537.36"),
            &[("x-requested-with", "com.example.messenger")],
        );
        assert!(!hidden.shown.sends_fetch_metadata);
    }
}
