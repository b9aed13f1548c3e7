//! What kind of thing a device is: uap-core does not tell, words in the User-Agent do.

use std::sync::LazyLock;

use model::device::DeviceKind;
use regex::Regex;

use super::Named;
use super::hints::Hints;
use super::own_words;

/// Television sets and boxes, wherever the word stands.
const TVS: &[&str] = &[
    r"HbbTV|Hybridcast|CE-HTML|NETTV|NetCast|Web0S|webOS\.TV|VIDAA|SmartHub|Maple[ _/]?\d|\bOMI/|Opera TV|InettvBrowser",
    r"(?i:smart[ _-]?tv|apple ?tv|google ?tv|android ?tv|opera tv|philipstv|fire ?tv|\bmi ?tv\b|mitv-|mibox|tv ?box)",
    r"tvOS|Tizen.*\bTV\b|BRAVIA|SonyDTV|SonyCEBrowser|Viera|VIERA|AQUOSBrowser|AQUOS.*TV|TSBNetTV|VizioCast|Vizio|VIZIO",
    r"\bAFT[A-Z]+|Roku|CrKey|Chromecast|Nexus Player|ADT-\d|SHIELD Android|Boxee|TiVo|Freebox|Espial|Ekioh|ANTGalio|KreaTV",
    r"\b[A-Za-z]*STB\b|stbapp|\bMAG\d{3}|DuneHD|POV_TV|LaTivu|WhaleTV|Xumo|Titan OS|\bPVR\b|IPTV|SetTopBox|_STB(?:\b|_)|VSTVB",
    r"LG Browser|SonyBDP|BeyondTV|\bSWTV|(?i:[ _]atv\b|coocaa|streaming (?:box|stick)|tv streamer)",
    // sets whose apps say `Mobile`, as Android's view does
    r"; (?:(?:[^;()]*[^A-Za-z;])?(?:[248][Kk]|[FUQ]?HD|O?LED)[ _-](?:[^;()]*[ _])?TV|[A-Z][A-Za-z&]{3,}[ _]?TV|(?:[24]KTV-|TPM1\d\d|QM1\d\d)[^;()]*)(?: with MIC| UHD| [24][Kk]| ONE)?(?: Build/|[;)])",
    r"; [^;()]*(?i:\btv ?(?:stick|box|streamer)\b)",
    // boxes that operators of networks give away, by their makers' codes
    r"\b(?:UIW\d{4}|DV8\d{3}|VIP\d{4}W?|HP4\dA|DC?T?IW\d{3}|B86\dV\w*|Bouygtel4K)\b",
    // boxes that are sold under many names
    r"(?:^|; ?)(?:X96|H96(?:[ _-]|(?i:max|mini|pro)|$)|TX\d[ _-]?(?i:mini)|MXQ|M8S\b|T95[A-Z]?\b|A95X|Tanix|MECOOL|Beelink|HK1\b|UGOOS)",
];

/// Words of television sets that phones have in their names too: there is a Galaxy J2 TV.
const TVS_UNLESS_MOBILE: &[&str] = &[
    r"\bD?TV\b|[a-z0-9]TV\b|\bTV[A-Z0-9]|\bSTB\b|(?i:\bsmart ?box\b|projector)",
    // a size in inches, and what it is a size of
    r"(?:^|; ?)(?:[A-Za-z]+ )?(?:L|LED|LCD)?-?(?:24|32|39|4[023589]|5[058]|6[05]|7[057]|8[256])[A-Z]{1,4}\d{1,4}[A-Z]*\b|\bLED\d\d",
    r"(?:^|; ?)(?:TX[2-9]\d?|[A-Z]\d* [Bb]ox)(?: Build|[;)]|$)",
];

/// Makers of television sets and boxes, whose Android devices are these unless they say `Mobile`.
const TV_MAKERS: [&str; 16] = [
    "Beelink",
    "Changhong",
    "Coocaa",
    "Hartens",
    "Humax",
    "iFFalcon",
    "Kaon",
    "Kivi",
    "Konka",
    "Loewe",
    "Mecool",
    "Metz",
    "Skyworth",
    "Tanix",
    "Ugoos",
    "Zidoo",
];

/// Game consoles, in the first brackets: apps are called so, too.
const CONSOLES: &[&str] = &[
    r"Steam Deck|(?i:playstation|xbox|nintendo)|OUYA|\bWii\b|SHIELD(?: Build|[;)])|GPD XD|(?i:gamepad)|Dreamcast|\bSEGA\b",
];

/// Watches.
const WATCHES: &[&str] = &[
    r"\bWatch\b|watchOS|Watch OS|\bSM-[RL]\d|Wear OS|KingWear|[a-z]Watch\b|Smartwatch|HUAWEI WATCH|WATCH GT",
];

/// Tablets and readers, wherever the word stands.
const TABLETS: &[&str] = &[
    r"iPad|Tablet(?: Build|[;)/]|\b [^P]|$)|PlayBook|Kindle|hp-tablet|[Tt]ouch[Pp]ad|Transformer|Xoom|XOOM|\bMZ60\d|Kobo |PocketBook/|\bEBRD\d|\bBOOX\b|(?i:tolino (?:tab|vision|shine|epos))",
    // Windows 8 says `Touch` where the screen is touched
    r"Windows NT 6\.[23];.*(?:ARM;|Touch[;)])",
];

/// Android tablets by the codes and names of their makers. Coolpad makes phones.
const ANDROID_TABLETS: &[&str] = &[
    r"(?i:\btab(?:let)?\b|\btab ?\d|[a-z]tab\b|[a-z]tab[ _-]?\d|\bpad\b|[a-km-z]pad\b|\bpad ?\d|[a-km-z]pad[ _-]?\d|_pad\b)",
    r"\bSM-[TXP]\d|\bGT-P\d|\bGT-N[58]\d|\bSCH-I(?:800|905|915)|\bSHW-M(?:180|380|480|486|500)|\bSPH-P\d",
    r"Nexus (?:7|9|10)\b|Pixel C\b|\bKF[A-Z]{2,}|\bSGP\d{3}|Sony Tablet|\bCORE-T\d|\bSOT\d|\bTegraNote|Tegra Note",
    r"\bTB-?[X\dQJ]|\bTB\d{3}|\bYT3?-X|Lenovo (?:A1000L?-|A2107|A2109|A3000|A3300|A3500|A5500|A7600|A8-50|A10-70|B6000|B8000|B8080|S6000|S5000|TB)",
    r"\bNokia T\d\d\b|\bTF\d{3}|\bME\d{3}[A-Z]|\bK0[01]\w\b|\bP0[0-2]\w\b|ASUS_P0|\bA[13]-[A28]\d|\bB[13]-[A7]\d|Iconia",
    r"MediaPad|MatePad|-W\d9\b|\b(?:AGS|BAH|KOB|SHT|CMR|SCM|BTV|BZ[TWKAC]|MR[XRO]|DBY|WGR|AGR|JDN|VRD|HDN|HDL|CPN|BG2|T[123]|S[78]|S10)\d?-[A-Z]{0,2}\d{2}",
    r"\bLG-?(?:V|VK|UK)[4-8]\d{2}|\bVK[48]\d{2}|\bQTA(?:Q|I|S)|\bQMV7|\bd-[0-5][1-9][A-Z]\b|dtab",
    r"\bBNTV|\bBNRV|(?i:\bnook\b)|\bVenue ?\d|\bSlate ?\d|\bStreak ?7|\bPMT\d|\bPMP\d|\bMID[ _-]?\d|\bRCT\d|\bTPC\b|\b8[08][679]\d[A-Z]\b|\b90(?:0[2-7]|[12]\d|3[02])[A-Z]\b",
    r"(?i:iplay|archos ?(?:7|8|9|1[0-3])\d|chuwi|teclast|\bonda\b|alldocube|\birbis tz|\boysters t\d|\bbq-?(?:7|8|9|1\d)\d{2}\b|\brmd-?\d|texet tm-(?:[789]|1\d)\d{3}|\bursus\b)",
];

/// Android phones by the codes of their makers, for browsers that leave `Mobile` out.
const ANDROID_PHONES: &[&str] = &[
    r"\bSM-[ACEFGJMNSW]\d|\bGT-[IS]\d|\bSGH-|\bCPH\d|\bRMX\d|\bvivo |\bV\d{4}[A-Z]?\b|Redmi|POCO|\bLM-|\bLG-|\bXT\d{3}",
    r"(?i:\bmoto )|\bPixel\b|ONEPLUS|\bHTC|\bSO-|Infinix X|TECNO |itel |-[ATLU][LXN]?\d{1,2}\b|Nexus [456S]|\bTA-\d|Nokia",
];

/// Phones that are not Android's.
const PHONES: &[&str] = &[
    r"iPhone|iPod|Windows Phone|Windows CE|Windows Mobile|IEMobile|BlackBerry|BB10|KAIOS|KaiOS|Opera Mini|Opera Mobi|J2ME|MIDP|Symb|SymbOS",
    r"webOS|UP\.Browser|UCWEB|DoCoMo|KDDI|SoftBank|Vodafone/|SonyEricsson|Nokia|SAMSUNG|\bMobile\b|Phone|MeeGo|Maemo|Sailfish|\bBada\b|Brew|MAUI|Obigo|NetFront|WAP[ -]Browser|WILLCOM",
];

/// Systems of desktop computers.
const DESKTOPS: &[&str] = &[
    r"Windows|Macintosh|Mac OS|Mac_PowerPC|X11|CrOS|\(PC; OpenHarmony|Linux|BSD|Win64|SunOS|\bWin(?:9[58x]|NT|32| 9x)|\bOS/2\b|Amiga|MorphOS|BeOS|Haiku",
    r"IRIX|HP-UX|\bAIX\b|OpenVMS|RISC OS|DragonFly|Darwin.*(?:x86_64|i386)|Ubuntu|Debian|Fedora|Gentoo|macOS",
];

/// A shorter code, in bytes, is used by many makers, so that its name in the table may be another device's.
const TELLING_CODE_BYTES_MIN: usize = 4;

static WORDS: LazyLock<Words> = LazyLock::new(|| Words {
    tvs: compile(TVS),
    tvs_unless_mobile: compile(TVS_UNLESS_MOBILE),
    consoles: compile(CONSOLES),
    watches: compile(WATCHES),
    tablets: compile(TABLETS),
    android_tablets: compile(ANDROID_TABLETS),
    android_phones: compile(ANDROID_PHONES),
    old_android: compile(&[r"Android[ /]?[12]\."]),
    phones: compile(PHONES),
    desktops: compile(DESKTOPS),
});

struct Words {
    tvs: Regex,
    tvs_unless_mobile: Regex,
    consoles: Regex,
    watches: Regex,
    tablets: Regex,
    android_tablets: Regex,
    android_phones: Regex,
    /// Before Android 3, there were no tablets to speak of.
    old_android: Regex,
    phones: Regex,
    desktops: Regex,
}

/// The kind of the device; whether it is a program's is decided elsewhere.
pub fn of(agent: &str, hints: &Hints<'_>, os: Option<&str>, named: &Named) -> DeviceKind {
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
    if let Some((_, kind)) = own_words::puffin(agent) {
        return kind;
    }
    match by_words(agent, os, named) {
        DeviceKind::Unknown | DeviceKind::Desktop if hints.is_mobile == Some(true) => DeviceKind::Mobile,
        kind => kind,
    }
}

fn by_words(agent: &str, os: Option<&str>, named: &Named) -> DeviceKind {
    if own_words::is_ipad_as_mac(agent) {
        return DeviceKind::Tablet;
    }
    let code = named.code.as_deref().unwrap_or("");
    // many makers have an S7
    let name = named.name.as_deref().filter(|_| code.len() >= TELLING_CODE_BYTES_MIN).unwrap_or("");
    let says = |words: &Regex| words.is_match(agent) || words.is_match(code) || words.is_match(name);
    let front = agent.split(')').next().unwrap_or(agent);
    let is_android = os == Some("Android") || agent.contains("Android");
    if says(&WORDS.tvs) {
        DeviceKind::Tv
    } else if WORDS.consoles.is_match(front) || WORDS.consoles.is_match(code) || WORDS.consoles.is_match(name)
    {
        DeviceKind::Console
    } else if says(&WORDS.watches) {
        DeviceKind::Watch
    } else if says(&WORDS.tablets) {
        DeviceKind::Tablet
    } else if is_android {
        let says = |words: &Regex| words.is_match(code) || words.is_match(name);
        let makes_tvs = named
            .brand
            .as_deref()
            .is_some_and(|brand| TV_MAKERS.iter().any(|maker| maker.eq_ignore_ascii_case(brand)));
        of_android(agent, makes_tvs, says)
    } else if WORDS.tvs_unless_mobile.is_match(agent) && !agent.contains("Mobile") {
        DeviceKind::Tv
    } else if WORDS.phones.is_match(agent) {
        DeviceKind::Mobile
    } else if WORDS.desktops.is_match(agent) {
        DeviceKind::Desktop
    } else {
        match os {
            Some("iOS") => DeviceKind::Mobile,
            Some("Windows" | "macOS" | "Linux" | "ChromeOS") => DeviceKind::Desktop,
            // the phones of old named nothing but themselves
            _ if named.brand.is_some() => DeviceKind::Mobile,
            _ => DeviceKind::Unknown,
        }
    }
}

/// Browsers leave `Mobile` out on tablets and television sets; programs of an app never say it.
fn of_android(agent: &str, makes_tvs: bool, says: impl Fn(&Regex) -> bool) -> DeviceKind {
    let is_mobile = agent.contains("Mobile") || !agent.starts_with("Mozilla/");
    if !is_mobile && (makes_tvs || says(&WORDS.tvs_unless_mobile) || WORDS.tvs_unless_mobile.is_match(agent))
    {
        DeviceKind::Tv
    } else if says(&WORDS.android_tablets) || agent.contains("Silk/") && !agent.contains("Mobile") {
        DeviceKind::Tablet
    } else if is_mobile || says(&WORDS.android_phones) || WORDS.old_android.is_match(agent) {
        DeviceKind::Mobile
    } else {
        DeviceKind::Tablet
    }
}

fn compile(patterns: &[&str]) -> Regex {
    Regex::new(&patterns.join("|")).expect("a test uses every pattern")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(agent: &str) -> DeviceKind {
        of(agent, &Hints::default(), None, &named(agent))
    }

    fn named(agent: &str) -> Named {
        Named { code: super::super::codes::find(agent).map(str::to_owned), ..Named::default() }
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
            ("Mozilla/5.0 (Linux; Andr0id 9; BRAVIA 4K UR2) OPR/46.0 OMI/4.13", DeviceKind::Tv),
            (
                "Mozilla/5.0 (Linux; Android 9; ATV R1 4K Smart TV) AppleWebKit/537.36 Safari/537.36",
                DeviceKind::Tv,
            ),
            ("Mozilla/5.0 (Linux; U; Android 2.3.5; en-us; A60 Build/X) Safari/533.1", DeviceKind::Mobile),
            ("Mozilla/5.0 (Linux; Android 9; SM-G960F) Safari/537.36", DeviceKind::Mobile),
            ("Mozilla/5.0 (Linux; Android 6.0; Coolpad 3600I) Mobile Safari/537.36", DeviceKind::Mobile),
            ("Mozilla/5.0 (Linux; Android 6.0; MyPhone my77 DTV) Mobile Safari/537.36", DeviceKind::Mobile),
            ("Mozilla/5.0 (Linux; Android 11; 55U6H) AppleWebKit/537.36 Safari/537.36", DeviceKind::Tv),
            (
                "Mozilla/5.0 (Linux; U; Android 4.0.3; zh-cn; Hisense LED42K600A3D) Safari/534.30",
                DeviceKind::Tv,
            ),
            ("Mozilla/5.0 (Linux; Android 9; HAIER_MT5561_ATV Build/PTT1) Safari/537.36", DeviceKind::Tv),
            ("Mozilla/5.0 (Linux; Android 11; Nokia Streaming Box 8010) Safari/537.36", DeviceKind::Tv),
            ("Mozilla/5.0 (Linux; Android 9; VIP5662W Build/PI) Safari/537.36", DeviceKind::Tv),
            (
                "Mozilla/5.0 (Linux; Android 9; PHILIPS 4K TV Build/PTO2; wv) Mobile Safari/537.36",
                DeviceKind::Tv,
            ),
            ("Mozilla/5.0 (Linux; Android 11; Onn 2k TV stick; wv) Mobile Safari/537.36", DeviceKind::Tv),
            (
                "Mozilla/5.0 (Linux; Android 5.1; Samsung Galaxy J2 TV) Mobile Safari/537.36",
                DeviceKind::Mobile,
            ),
            ("Mozilla/5.0 (Linux; Android 7.1.2; TX6 Build/NHG47L) Safari/537.36", DeviceKind::Tv),
            ("Mozilla/5.0 (Linux; Android 12; TX6) Mobile Safari/537.36", DeviceKind::Mobile),
            ("Mozilla/5.0 (Linux; Android 10; 5033D_EEA) Safari/537.36", DeviceKind::Tablet),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 16_6 like Mac OS X) PlayStationApp/23.10",
                DeviceKind::Mobile,
            ),
            ("Mozilla/5.0 (Linux; U; en-us) PocketBook/632/6.1.900 (screen 1072x1448)", DeviceKind::Tablet),
            ("Mozilla/5.0 (Linux; Android 9; HUAWEI WATCH 3) Mobile Safari/537.36", DeviceKind::Watch),
            ("Mozilla/5.0 (Linux; Android 6.0; MRX-AL19) Safari/537.36", DeviceKind::Tablet),
            ("Mozilla/5.0 (PC; OpenHarmony 5.0) Chrome/114.0.0.0 Safari/537.36", DeviceKind::Desktop),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/128.0 Safari/605.1.15",
                DeviceKind::Tablet,
            ),
            ("Mozilla/5.0 (DTV; TSBNetTV/T3) NetFront/4.1", DeviceKind::Tv),
            ("Mozilla/5.0 (Linux; Android 9; TAB 7 Build/X) Mobile Safari/537.36", DeviceKind::Tablet),
            ("Mozilla/4.0 (compatible; MSIE 5.0; Win98)", DeviceKind::Desktop),
            ("", DeviceKind::Unknown),
            ("x", DeviceKind::Unknown),
        ] {
            assert_eq!(kind(agent), expected, "{agent}");
        }
    }

    #[test]
    fn the_name_of_a_device_tells_its_kind() {
        let agent =
            "Mozilla/5.0 (Linux; Android 9; P6000) AppleWebKit/537.36 Chrome/99.0 Mobile Safari/537.36";
        let named = |name: &str| Named { name: Some(name.to_owned()), ..named(agent) };

        assert_eq!(of(agent, &Hints::default(), None, &named("Acme Tab 3")), DeviceKind::Tablet);
        assert_eq!(of(agent, &Hints::default(), None, &named("Acme Two TV")), DeviceKind::Mobile);
        let agent = &agent.replace("Mobile ", "");
        assert_eq!(of(agent, &Hints::default(), None, &named("Acme Two TV")), DeviceKind::Tv);
    }

    #[test]
    fn a_mobile_hint_makes_a_desktop_a_phone() {
        let hints = Hints { is_mobile: Some(true), ..Hints::default() };

        assert_eq!(
            of("Mozilla/5.0 (X11; Linux x86_64)", &hints, Some("Linux"), &Named::default()),
            DeviceKind::Mobile
        );
    }
}
