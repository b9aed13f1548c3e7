//! What kind of thing a device is: uap-core does not tell, words in the User-Agent do.

use std::sync::LazyLock;

use model::device::DeviceKind;
use regex::Regex;

use super::hints::Hints;

/// Words that decide, in this order; the first that occurs wins.
const WORDS: [(&str, DeviceKind); 4] = [
    (
        r"HbbTV|SMART-TV|SmartTV|Smart-TV|Smart TV|Web0S|webOS\.TV|NetCast|Tizen.*\bTV\b|BRAVIA|Google ?TV|Android ?TV|\bAFT[A-Z]|Roku|CrKey|VIDAA|Apple ?TV|tvOS|InettvBrowser|MiTV|MIBOX|SHIELD|PhilipsTV|\bDTV\b|Opera TV|Viera|\bTV\b",
        DeviceKind::Tv,
    ),
    (r"(?i:PlayStation)|Xbox|XBOX|Nintendo", DeviceKind::Console),
    (r"\bWatch\b|watchOS|Watch OS|\bSM-R\d|Wear OS", DeviceKind::Watch),
    (
        r"iPad|Tablet(?: Build|;|\)|\b [^P]|$)|PlayBook|Kindle|\bKF[A-Z]{2,}|Silk/|\bSM-[TXP]\d|\bGT-[PN]\d|Nexus (?:7|9|10)\b|\bPad\b|[a-z]Pad\b|\bTab\b|Transformer|Xoom|\bTB-[X\d]|hp-tablet|Touchpad|TouchPad",
        DeviceKind::Tablet,
    ),
];

/// Phones that are not Android's.
const PHONES: &str = r"iPhone|iPod|Windows Phone|BlackBerry|BB10|KAIOS|Opera Mini|Opera Mobi|J2ME|MIDP|Symb|webOS|UP\.Browser|UCWEB|DoCoMo|SonyEricsson|Nokia|SAMSUNG|\bMobile\b|Phone";

/// Systems of desktop computers.
const DESKTOPS: &str = r"Windows|Macintosh|Mac OS X|X11|CrOS|Linux|BSD|Win64|SunOS";

static COMPILED: LazyLock<Compiled> = LazyLock::new(|| Compiled {
    words: WORDS.map(|(pattern, kind)| (compile(pattern), kind)),
    phones: compile(PHONES),
    desktops: compile(DESKTOPS),
});

struct Compiled {
    words: [(Regex, DeviceKind); WORDS.len()],
    phones: Regex,
    desktops: Regex,
}

/// The kind of the device; whether it is a program's is decided elsewhere.
pub fn of(agent: &str, hints: &Hints<'_>, os: Option<&str>) -> DeviceKind {
    let hinted = match hints.form_factor {
        Some("Tablet" | "EInk") => Some(DeviceKind::Tablet),
        Some("Mobile") => Some(DeviceKind::Mobile),
        Some("Desktop") => Some(DeviceKind::Desktop),
        Some("Watch") => Some(DeviceKind::Watch),
        _ => None,
    };
    if let Some(kind) = hinted {
        return kind;
    }
    match by_words(agent, os) {
        DeviceKind::Unknown | DeviceKind::Desktop if hints.is_mobile == Some(true) => DeviceKind::Mobile,
        kind => kind,
    }
}

fn by_words(agent: &str, os: Option<&str>) -> DeviceKind {
    if let Some((_, kind)) = COMPILED.words.iter().find(|(words, _)| words.is_match(agent)) {
        return *kind;
    }
    if agent.contains("Android") {
        // browsers leave `Mobile` out on tablets; programs of an app never say it
        let is_tablet = agent.starts_with("Mozilla/") && !agent.contains("Mobile");
        return if is_tablet { DeviceKind::Tablet } else { DeviceKind::Mobile };
    }
    if COMPILED.phones.is_match(agent) {
        return DeviceKind::Mobile;
    }
    match os {
        _ if COMPILED.desktops.is_match(agent) => DeviceKind::Desktop,
        Some("iOS" | "Android") => DeviceKind::Mobile,
        Some("Windows" | "macOS" | "Linux" | "ChromeOS") => DeviceKind::Desktop,
        _ => DeviceKind::Unknown,
    }
}

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a test uses every pattern")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(agent: &str) -> DeviceKind {
        of(agent, &Hints::default(), None)
    }

    #[test]
    fn words_tell_the_kind() {
        for (agent, expected) in [
            ("Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 Chrome/79.0.3945.79", DeviceKind::Tv),
            ("Mozilla/5.0 (Linux; Android 9; AFTWMST22) AppleWebKit/537.36", DeviceKind::Tv),
            ("Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15", DeviceKind::Console),
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) Edge/44", DeviceKind::Console),
            ("Mozilla/5.0 (Apple Watch; CPU Watch OS 5_0 like Mac OS X)", DeviceKind::Watch),
            ("Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) Mobile/15E148", DeviceKind::Tablet),
            ("Mozilla/5.0 (Linux; Android 11; KFTUWI) AppleWebKit/537.36 Safari/537.36", DeviceKind::Tablet),
            ("Mozilla/5.0 (Linux; Android 13; SM-X710) Safari/537.36", DeviceKind::Tablet),
            ("Mozilla/5.0 (Linux; Android 14; CUBOT KINGKONG 9) Mobile Safari/537.36", DeviceKind::Mobile),
            ("Mozilla/5.0 (Linux; Android 14; Unheard Of) Safari/537.36", DeviceKind::Tablet),
            ("Dalvik/2.1.0 (Linux; U; Android 12; M2101K6G)", DeviceKind::Mobile),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X)", DeviceKind::Mobile),
            ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Tablet PC 2.0)", DeviceKind::Desktop),
            ("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) Chrome/142.0.0.0", DeviceKind::Desktop),
            ("", DeviceKind::Unknown),
            ("x", DeviceKind::Unknown),
        ] {
            assert_eq!(kind(agent), expected, "{agent}");
        }
    }

    #[test]
    fn a_mobile_hint_makes_a_desktop_a_phone() {
        let hints = Hints { is_mobile: Some(true), ..Hints::default() };

        assert_eq!(of("Mozilla/5.0 (X11; Linux x86_64)", &hints, Some("Linux")), DeviceKind::Mobile);
    }
}
