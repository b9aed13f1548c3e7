//! The operating system and its version, unless the browser sends a frozen one.

use ua_parser::os::ValueRef;

use super::hints::Hints;
use super::{own_words, television};

/// A browser of this version or later sends an older version of iOS for ever.
const IOS_FROZEN_SINCE: u32 = 26;

/// It says that it is Android, too, of the version whose programs it runs.
const HARMONY: &str = "HarmonyOS";

/// Name and version of the operating system.
pub fn of(agent: &str, hints: &Hints<'_>, ruled: Option<ValueRef<'_>>) -> (Option<String>, Option<String>) {
    if let Some(version) = harmony(agent) {
        return (Some(HARMONY.to_owned()), version);
    }
    if own_words::is_ipad_as_mac(agent) {
        return (Some("iOS".to_owned()), None);
    }
    let drawn_for = own_words::puffin(agent).map(|(os, _)| os);
    // some browsers of television sets write it so, that sites do not take the set for a phone
    let ruled = ruled.filter(|_| !agent.contains("Andr0id"));
    // of some television sets the rules name the maker here
    let maker = agent.contains("HbbTV/").then(|| television::of(agent)).flatten().map(|(brand, _)| brand);
    let ruled = ruled.filter(|ruled| maker.as_deref() != Some(ruled.os.as_ref()));
    let ruled = ruled.filter(|ruled| drawn_for.is_none_or(|os| os == name(&ruled.os)));
    let ruled_name = ruled.as_ref().map(|ruled| name(&ruled.os));
    let hinted_name = hints.platform.and_then(platform);
    // "Linux" is said of Ubuntu too, and the User-Agent of some browsers knows better
    let agrees = match (hinted_name, ruled_name) {
        (Some("Linux"), Some(ruled)) => !["Android", "Windows", "macOS", "iOS", "ChromeOS"].contains(&ruled),
        (Some(hinted), Some(ruled)) => hinted == ruled,
        _ => true,
    };
    let name = if agrees {
        ruled_name.or(hinted_name).or(drawn_for).or_else(|| unruled(agent))
    } else {
        hinted_name
    };
    let version = match (hints.platform_version, hinted_name) {
        (Some(version), Some("Windows")) => windows(version),
        (Some(version), Some(_)) => Some(trimmed(version)),
        _ if agrees => match &ruled {
            Some(ruled) => version(agent, ruled),
            None => unruled_version(agent),
        },
        _ => None,
    };
    (name.map(str::to_owned), version.filter(|version| !version.is_empty()))
}

/// Systems that the rules do not know, by a word.
const UNRULED: [(&str, &str); 17] = [
    ("KAIOS", "KaiOS"),
    ("Web0S", "webOS"),
    ("webOS", "webOS"),
    ("Tizen", "Tizen"),
    ("Andr0id", "Android"),
    ("Android", "Android"),
    ("Adr ", "Android"),
    ("PlayStation", "PlayStation"),
    ("PLAYSTATION", "PlayStation"),
    ("Nintendo", "Nintendo"),
    ("Win98", "Windows"),
    ("Windows", "Windows"),
    ("Linux", "Linux"),
    ("J2ME", "Java ME"),
    ("FreeBSD", "FreeBSD"),
    ("Haiku", "Haiku"),
    ("(OS/2", "OS/2"),
];

/// Words that a version follows, where the rules do not know the system by them.
const BEFORE_VERSIONS: [&str; 2] = ["Andr0id ", "Adr "];

fn unruled_version(agent: &str) -> Option<String> {
    BEFORE_VERSIONS.iter().find_map(|word| digits_after(agent, word))
}

fn digits_after(agent: &str, word: &str) -> Option<String> {
    let (_, after) = agent.split_once(word)?;
    let version = after.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    (!version.is_empty()).then(|| trimmed(version))
}

/// `AppleTV11,1/16.1`, `(Apple TV; U; CPU OS 17_1 like Mac OS X)`.
fn apple_tv(agent: &str) -> Option<String> {
    match agent.split_once("AppleTV").and_then(|(_, model)| model.split_once('/')) {
        Some((_, version)) => digits_after(version, ""),
        None => digits_after(&agent.replace('_', "."), "CPU OS "),
    }
}

/// Its version, if it is told, where the system is HarmonyOS.
fn harmony(agent: &str) -> Option<Option<String>> {
    let (_, after) = agent.split_once("OpenHarmony").or_else(|| agent.split_once(HARMONY))?;
    let after = after.strip_prefix([' ', '/']).unwrap_or_default();
    let version: String = after.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    Some((!version.is_empty()).then(|| trimmed(&version)))
}

fn unruled(agent: &str) -> Option<&'static str> {
    UNRULED.iter().find(|(word, _)| agent.contains(word)).map(|(_, name)| *name)
}

/// The rules' name, but for those that their makers have changed since.
fn name(ruled: &str) -> &str {
    match ruled {
        "Mac OS X" => "macOS",
        "Chrome OS" => "ChromeOS",
        "Web0S" => "webOS",
        "ATV OS X" => "tvOS",
        "Chromecast Android" => "Android",
        "Chromecast Linux" | "Chromecast SmartSpeaker" => "Linux",
        name => name,
    }
}

/// Platforms that a hint can name (User-Agent Client Hints section 3.4); anything else is rubbish.
fn platform(hint: &str) -> Option<&'static str> {
    match hint {
        "Windows" => Some("Windows"),
        "macOS" | "Mac OS X" => Some("macOS"),
        "Android" => Some("Android"),
        "iOS" => Some("iOS"),
        "Linux" => Some("Linux"),
        "Chrome OS" | "Chromium OS" => Some("ChromeOS"),
        "Fuchsia" => Some("Fuchsia"),
        _ => None,
    }
}

/// Windows hints the version of its API contract: 13 and more is Windows 11, 1 to 10 is Windows 10.
fn windows(hint: &str) -> Option<String> {
    let mut parts = hint.split('.').map(str::parse::<u32>);
    let version = match (parts.next()?.ok()?, parts.next()) {
        (13.., _) => "11",
        (1..=10, _) => "10",
        (0, Some(Ok(3))) => "8.1",
        (0, Some(Ok(2))) => "8",
        (0, Some(Ok(1))) => "7",
        _ => return None,
    };
    Some(version.to_owned())
}

/// `15.0.0` is what people call 15.
fn trimmed(version: &str) -> String {
    let mut version = version;
    while let Some(shorter) = version.strip_suffix(".0") {
        version = shorter;
    }
    version.to_owned()
}

fn version(agent: &str, ruled: &ValueRef<'_>) -> Option<String> {
    let parts = [&ruled.major, &ruled.minor, &ruled.patch];
    let version = parts
        .into_iter()
        .map_while(|part| part.as_deref())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>();
    let version = version.join(".");
    match ruled.os.as_ref() {
        // any macOS since 2020; Firefox leaves the patch out
        "Mac OS X" if version == "10.15.7" || version == "10.15" => None,
        "Windows" if agent.contains("Windows NT 10.0") => None,
        "Android" if agent.contains("Android 10; K)") => None,
        // of Chromecasts it is the program's
        "Chromecast Android" => digits_after(agent, "Android "),
        "Chrome OS" | "Chromecast Linux" | "Chromecast SmartSpeaker" => None,
        "ATV OS X" if version.is_empty() => apple_tv(agent),
        "iOS" => Some(newer_ios(agent).unwrap_or(version)),
        _ => Some(version),
    }
}

/// Safari's own version, where the system's is frozen: both count alike since iOS 26.
fn newer_ios(agent: &str) -> Option<String> {
    let is_frozen = agent.contains("OS 18_6") || agent.contains("OS 18_7");
    let (_, after) = agent.split_once("Version/").filter(|_| is_frozen)?;
    let version: String = after.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let major: u32 = version.split('.').next()?.parse().ok()?;
    (major >= IOS_FROZEN_SINCE).then(|| trimmed(&version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_that_the_rules_do_not_know_are_told_by_a_word() {
        assert_eq!(unruled("UCWEB/2.0 (Linux; U; Adr 4.4.4; en-US; X)"), Some("Android"));
        assert_eq!(unruled("Opera/9.80 (J2ME/MIDP; Opera Mini/7.1)"), Some("Java ME"));
        assert_eq!(unruled("Mozilla/5.0 (BeOS; U; Haiku BePC; en-US) Firefox/2.0"), Some("Haiku"));
        assert_eq!(unruled("Mozilla/5.0 (OS/2; Warp 4.5; rv:45.0) Firefox/45.0"), Some("OS/2"));
        assert_eq!(unruled("App/1 macOS/26.0.1"), None);
        assert_eq!(unruled("Thing/1.0"), None);
        assert_eq!(unruled_version("UCWEB/2.0 (Linux; U; Adr 4.4.4; en-US; X)").as_deref(), Some("4.4.4"));
        assert_eq!(unruled_version("Mozilla/5.0 (Linux; Andr0id 9; BRAVIA)").as_deref(), Some("9"));
        assert_eq!(unruled_version("Thing/1.0"), None);
        assert_eq!(apple_tv("AppleTV11,1/16.1").as_deref(), Some("16.1"));
        let agent = "AppleCoreMedia/1.0.0.19J346 (Apple TV; U; CPU OS 15_1_1 like Mac OS X; de_de)";
        assert_eq!(apple_tv(agent).as_deref(), Some("15.1.1"));
        assert_eq!(apple_tv("AppleTV"), None);
    }

    #[test]
    fn harmony_is_no_android() {
        let told = |agent| of(agent, &Hints::default(), None);
        let harmony = |version: Option<&str>| (Some("HarmonyOS".to_owned()), version.map(str::to_owned));

        assert_eq!(told("Mozilla/5.0 (Phone; OpenHarmony 5.0) ArkWeb/4.1.6.1 Mobile"), harmony(Some("5")));
        assert_eq!(
            told(
                "Mozilla/5.0 (Linux; Android 12; HarmonyOS; NOH-AN00; HMSCore 6.13.0.302) Mobile Safari/537.36"
            ),
            harmony(None)
        );
    }

    #[test]
    fn the_version_of_windows_follows_from_its_hint() {
        for (hint, version) in [
            ("15.0.0", Some("11")),
            ("13.0.0", Some("11")),
            ("10.0.0", Some("10")),
            ("1.0.0", Some("10")),
            ("0.3.0", Some("8.1")),
            ("0.1.0", Some("7")),
            ("0.0.0", None),
            ("11.0.0", None),
        ] {
            assert_eq!(windows(hint).as_deref(), version, "{hint}");
        }
    }

    #[test]
    fn a_frozen_ios_takes_the_version_of_its_safari() {
        let agent = |os: &str, safari: &str| {
            format!("Mozilla/5.0 (iPhone; CPU iPhone OS {os} like Mac OS X) Version/{safari} Mobile/15E148")
        };

        assert_eq!(newer_ios(&agent("18_6", "26.0")).as_deref(), Some("26"));
        assert_eq!(newer_ios(&agent("18_7", "26.1.2 x")).as_deref(), Some("26.1.2"));
        assert_eq!(newer_ios(&agent("18_6", "18.6")), None);
        assert_eq!(newer_ios(&agent("18_1", "26.0")), None);
    }
}
