//! Devices that say what they are in words of their own: consoles, readers, phones of before Android.

use model::device::DeviceKind;

/// A word in a User-Agent, the brand that it means, and the model if it tells one. The more special first.
const WORDS: [(&str, &str, Option<&str>); 16] = [
    ("Xbox Series X", "Microsoft", Some("Xbox Series X")),
    ("Xbox Series S", "Microsoft", Some("Xbox Series S")),
    ("Xbox One", "Microsoft", Some("Xbox One")),
    // it says that it is like an iPhone
    ("New Nintendo 3DS", "Nintendo", Some("3DS")),
    ("(Nintendo", "Nintendo", None),
    ("Steam Deck", "Valve", Some("Steam Deck")),
    ("OUYA", "OUYA", Some("OUYA")),
    ("GPD XD", "GPD", Some("XD")),
    ("PocketBook/", "PocketBook", None),
    ("EBRD", "Sony", None),
    ("Kobo ", "Kobo", None),
    (" Tesla/", "Tesla", None),
    ("AQUOSBrowser", "Sharp", None),
    ("VIZIO", "Vizio", None),
    ("Model/Vizio", "Vizio", None),
    ("SonyBDP", "Sony", None),
];

/// Letters at the end of Puffin's version: the system, and what a person holds.
const PUFFINS: [(&str, &str, DeviceKind); 7] = [
    ("AP", "Android", DeviceKind::Mobile),
    ("AT", "Android", DeviceKind::Tablet),
    ("IP", "iOS", DeviceKind::Mobile),
    ("IT", "iOS", DeviceKind::Tablet),
    ("WD", "Windows", DeviceKind::Desktop),
    ("LD", "Linux", DeviceKind::Desktop),
    ("MD", "macOS", DeviceKind::Desktop),
];

/// What phones say that came before browsers said `Mozilla`.
const OLD_PHONES: [&str; 8] = ["MIDP", "CLDC", "UP.Browser", "Obigo", "MAUI", "Teleca", "MTK", " Release/"];

/// What browsers begin with; what stands there is no phone.
const BROWSERS: [&str; 4] = ["Mozilla/", "Opera/", "UCWEB/", "Opera "];

/// What stands in the brackets of a Windows Phone and is neither maker nor model.
const NOT_ITS_NAME: [&str; 12] = [
    "compatible",
    "Mobile",
    "MSIE",
    "Windows Phone",
    "Android",
    "Trident",
    "IEMobile",
    "ARM",
    "Touch",
    "WebView",
    "WpsLumiaTotalTime",
    "rv:",
];

/// Brand and, if it is told, model, of devices that the rules do not know or take for another.
pub fn by_word(agent: &str) -> Option<(&'static str, Option<&'static str>)> {
    let (_, brand, model) = WORDS.iter().find(|(word, ..)| agent.contains(word))?;
    Some((brand, *model))
}

/// Browsers of other makers on iOS, by their tokens.
const IOS_BROWSERS: [&str; 4] = ["FxiOS/", "CriOS/", "EdgiOS/", " GSA/"];

/// System and kind of the device with Puffin, which names the system of the server that draws its pages as the browser's:
/// `(X11; Linux x86_64) … Puffin/9.4.1.51004AP`.
pub fn puffin(agent: &str) -> Option<(&'static str, DeviceKind)> {
    let (_, version) = agent.split_once("Puffin/")?;
    let letters = version.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    PUFFINS.iter().find(|(end, ..)| letters.starts_with(end)).map(|(_, os, kind)| (*os, *kind))
}

/// Whether it is an iPad that asks for the pages of a computer: the browser is one that exists on iOS alone. An iPhone whose owner
/// wants such pages says the same, and is rarer.
pub fn is_ipad_as_mac(agent: &str) -> bool {
    agent.contains("(Macintosh;") && IOS_BROWSERS.iter().any(|token| agent.contains(token))
}

/// Maker and model of a Windows Phone, the last two that its brackets name:
/// `(Windows Phone 10.0; Android 6.0.1; Microsoft; Lumia 950 XL)`.
pub fn windows_phone(agent: &str) -> Option<(&str, &str)> {
    let brackets = agent.split('(').skip(1).filter_map(|rest| rest.split(')').next());
    let inside = brackets.into_iter().find(|inside| inside.contains("Windows Phone"))?;
    let is_name = |part: &&str| !part.is_empty() && !NOT_ITS_NAME.iter().any(|other| part.starts_with(other));
    let mut names = inside.split(';').map(str::trim).filter(is_name);
    Some((names.next()?, names.next()?))
}

/// What a phone of before Android calls itself: `Micromax X265` of `Micromax X265/MTK Release/2012`.
pub fn old_phone(agent: &str) -> Option<&str> {
    let is_browser = BROWSERS.iter().any(|start| agent.starts_with(start));
    let is_phone = OLD_PHONES.iter().any(|word| agent.contains(word));
    let name = agent.split('/').next().filter(|_| is_phone && !is_browser)?.trim();
    // the network that it is made for
    Some(name.strip_suffix("_TD").unwrap_or(name))
}

/// What a phone with KaiOS calls itself: `Nokia 8110 4G` of `(Mobile; Nokia 8110 4G; rv:48.0)`.
pub fn kaios(agent: &str) -> Option<&str> {
    let (before, _) = agent.split_once("KAIOS/").or_else(|| agent.split_once("KaiOS/"))?;
    let (_, inside) = before.split_once("(Mobile;")?;
    let name = inside.split([';', '/', ')']).next()?.trim();
    (!name.is_empty() && !name.starts_with("rv:")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_tells_the_device() {
        assert_eq!(
            by_word("Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) Chrome/58.0 Edge/16.16299"),
            Some(("Microsoft", Some("Xbox One")))
        );
        assert_eq!(
            by_word(
                "Mozilla/5.0 (New Nintendo 3DS like iPhone) AppleWebKit/536.30 Mobile NintendoBrowser/1.10"
            ),
            Some(("Nintendo", Some("3DS")))
        );
        assert_eq!(
            by_word("Mozilla/5.0 (Linux; U; en-us) PocketBook/632/6.1.900"),
            Some(("PocketBook", None))
        );
        assert_eq!(by_word("Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X)"), None);
    }

    #[test]
    fn puffin_ends_with_what_a_person_holds() {
        for (end, device) in [
            ("AT", Some(("Android", DeviceKind::Tablet))),
            ("IP Mobile", Some(("iOS", DeviceKind::Mobile))),
            ("M", None),
            ("", None),
        ] {
            let agent =
                format!("Mozilla/5.0 (X11; U; Linux x86_64; en-gb) Safari/537.36 Puffin/4.8.0.2965{end}");
            assert_eq!(puffin(&agent), device, "{end}");
        }
    }

    #[test]
    fn a_windows_phone_names_its_maker_and_itself() {
        for (agent, named) in [
            (
                "Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1; Microsoft; Lumia 950 XL) Edge/15.15254",
                Some(("Microsoft", "Lumia 950 XL")),
            ),
            (
                "Mozilla/5.0 (compatible; MSIE 10.0; Windows Phone 8.0; Trident/6.0; IEMobile/10.0; ARM; Touch; \
                 NOKIA; Lumia 520)",
                Some(("NOKIA", "Lumia 520")),
            ),
            ("Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1) Edge/15.15254", None),
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64)", None),
        ] {
            assert_eq!(windows_phone(agent), named, "{agent}");
        }
    }

    #[test]
    fn phones_of_before_android_begin_with_their_name() {
        assert_eq!(old_phone("Micromax X265/MTK Release/2012 Profile/MIDP-2.0"), Some("Micromax X265"));
        assert_eq!(
            old_phone(
                "HUAWEI_T8951_TD/V1 Linux/3.0.8 Android/4.0 Release/05.24.2012 Browser/AppleWebkit534.30"
            ),
            Some("HUAWEI_T8951")
        );
        assert_eq!(old_phone("ZTE-G-S213/1.0 Profile/MIDP-2.0"), Some("ZTE-G-S213"));
        assert_eq!(old_phone("Opera/9.80 (J2ME/MIDP; Opera Mini/7.1)"), None);
        assert_eq!(old_phone("Amazon CloudFront"), None);
    }

    #[test]
    fn phones_with_kaios_name_themselves_first() {
        let kaios_in =
            |name: &str| format!("Mozilla/5.0 (Mobile; {name}; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5");
        assert_eq!(kaios(&kaios_in("Doro 7060")), Some("Doro 7060"));
        assert_eq!(kaios(&kaios_in("LYF/F320B/LYF-F320B-001; Android")), Some("LYF"));
        assert_eq!(kaios("Mozilla/5.0 (Mobile; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5"), None);
        assert_eq!(kaios("Mozilla/5.0 (Mobile; rv:32.0) Gecko/32.0 Firefox/32.0"), None);
    }
}
