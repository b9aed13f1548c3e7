//! The platform in the Client Hints is the User-Agent's: a program that borrows a User-Agent has a platform of its own.

use model::automation::MachineClass;
use model::click::Request;

use super::Signal;
use super::verdict::LIKELY;

const SIGNAL: Signal = Signal { code: "ch_mismatch", weight: LIKELY, class: MachineClass::Other };

/// Platforms that no browser takes for one another. Who asks for a site's desktop form is on Linux in one of the two
/// places and on Android or ChromeOS in the other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Windows,
    MacOs,
    Ios,
    Linux,
}

/// How User-Agents name each; the first name counts, as apps add others.
const IN_AGENTS: [(&str, Family); 9] = [
    ("iPhone", Family::Ios),
    ("iPad", Family::Ios),
    ("iPod", Family::Ios),
    ("Windows NT", Family::Windows),
    ("Macintosh", Family::MacOs),
    ("Android", Family::Linux),
    ("CrOS", Family::Linux),
    ("Linux", Family::Linux),
    ("X11", Family::Linux),
];

/// Fires when what [`agree`] says is no.
pub fn signal(agree: Option<bool>) -> Option<Signal> {
    (agree == Some(false)).then_some(SIGNAL)
}

/// Whether User-Agent and hints name the same platform; `None` where one of them names none that is known.
pub fn agree(agent: &str, request: &Request) -> Option<bool> {
    let hinted = hinted(request.header("sec-ch-ua-platform")?)?;
    let places = IN_AGENTS.iter().filter_map(|(name, family)| Some((agent.find(name)?, *family)));
    let (_, claimed) = places.min_by_key(|(place, _)| *place)?;
    Some(claimed == hinted)
}

fn hinted(platform: &str) -> Option<Family> {
    match platform.trim().trim_matches('"') {
        "Windows" => Some(Family::Windows),
        "macOS" | "Mac OS X" => Some(Family::MacOs),
        "iOS" => Some(Family::Ios),
        "Android" | "Linux" | "Chrome OS" | "Chromium OS" => Some(Family::Linux),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::automation::visits::{self, CHROME_ANDROID, CHROME_WINDOWS, SAFARI_IPHONE, SAFARI_MAC, Visit};

    const CHROME_LINUX: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                                Chrome/142.0.0.0 Safari/537.36";
    const CHROME_OS: &str = "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) \
                             Chrome/142.0.0.0 Safari/537.36";

    fn of(agent: &str, platform: &str) -> Option<bool> {
        agree(agent, &Visit::of("a browser", agent, &[("sec-ch-ua-platform", platform)]).click.request)
    }

    #[test]
    fn a_platform_that_contradicts_the_user_agent_is_likely_a_programs() {
        for (agent, platform) in [
            (CHROME_WINDOWS, "\"Linux\""),
            (CHROME_WINDOWS, "\"macOS\""),
            (CHROME_WINDOWS, "\"Android\""),
            (SAFARI_MAC, "\"Windows\""),
            (SAFARI_MAC, "\"iOS\""),
            (SAFARI_IPHONE, "\"Linux\""),
            (SAFARI_IPHONE, "\"macOS\""),
            (CHROME_ANDROID, "\"Windows\""),
            (CHROME_LINUX, "\"macOS\""),
        ] {
            let visit = Visit::of("a program", agent, &[("sec-ch-ua-platform", platform)]);

            assert_eq!(visit.codes(), ["ch_mismatch"], "{agent} {platform}");
            assert_eq!(visit.judge().score, 60);
        }
    }

    #[test]
    fn people_do_not_trip_it() {
        for visit in visits::ordinary() {
            assert_eq!(signal(agree(visit.agent(), &visit.click.request)), None, "{}", visit.name);
        }
    }

    #[test]
    fn who_asks_for_the_desktop_form_is_on_linux_in_one_place() {
        for (agent, platform) in [
            (CHROME_LINUX, "\"Android\""),
            (CHROME_LINUX, "\"Chrome OS\""),
            (CHROME_ANDROID, "\"Linux\""),
            (CHROME_OS, "\"Android\""),
            (CHROME_OS, "\"Chromium OS\""),
        ] {
            assert_eq!(of(agent, platform), Some(true), "{agent} {platform}");
        }
    }

    #[test]
    fn what_names_no_known_platform_contradicts_nothing() {
        for platform in ["\"Unknown\"", "\"\"", "", "\"Fuchsia\"", "Win"] {
            assert_eq!(of(CHROME_WINDOWS, platform), None, "{platform}");
        }
        assert_eq!(of("Mozilla/5.0 (PlayStation 4 8.52)", "\"Windows\""), None);
        assert_eq!(agree(CHROME_WINDOWS, &Request::default()), None);
    }
}
