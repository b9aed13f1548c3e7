//! The browser and its version; in an app, the engine that shows the page.

use ua_parser::user_agent::ValueRef;

use super::hints::Hints;

/// What apps on iOS show pages with.
const IOS_ENGINE: &str = "Mobile Safari UI/WKWebView";

/// What apps on Android show pages with.
const ANDROID_ENGINE: &str = "Chrome Mobile WebView";

/// Brands that stand beside others: the more telling first.
const COMMON_BRANDS: [&str; 3] = ["Microsoft Edge", "Google Chrome", "Chromium"];

/// What the rules take Chromium for.
const PLAIN_CHROME: [&str; 3] = ["Chrome", "Chrome Mobile", "Chromium"];

/// Browsers that the rules take for the engine whose name stands beside theirs.
const OWN: [(&str, &str); 18] = [
    ("Vivaldi/", "Vivaldi"),
    ("Whale/", "Whale"),
    ("Falkon/", "Falkon"),
    ("Konqueror/", "Konqueror"),
    ("Midori/", "Midori"),
    ("Quark/", "Quark"),
    ("Dolphin/", "Dolphin"),
    ("NetSurf/", "NetSurf"),
    ("Otter/", "Otter"),
    ("WebPositive/", "WebPositive"),
    ("qutebrowser/", "qutebrowser"),
    (" Focus/", "Firefox Focus"),
    (" Klar/", "Firefox Klar"),
    ("Waterfox/", "Waterfox"),
    ("LibreWolf/", "LibreWolf"),
    ("Cyberfox/", "Cyberfox"),
    ("Iridium/", "Iridium"),
    ("w3m/", "w3m"),
];

/// What the rules take those for.
const ENGINES: [&str; 10] = [
    "Chrome",
    "Chrome Mobile",
    ANDROID_ENGINE,
    "Chromium",
    "Firefox",
    "Crosswalk",
    "Safari",
    "Mobile Safari",
    "Android",
    "Qt Web Engine",
];

/// Name and version of the browser.
pub fn of(
    agent: &str,
    hints: &Hints<'_>,
    os: Option<&str>,
    in_app: Option<&str>,
    ruled: Option<ValueRef<'_>>,
) -> (Option<String>, Option<String>) {
    if in_app.is_some()
        && let Some((engine, version)) = engine(agent, os)
    {
        return (Some(engine.to_owned()), version);
    }
    let ruled_name = ruled.as_ref().map(|ruled| ruled.family.as_ref()).filter(|family| *family != "Other");
    let own = own(agent).filter(|_| ruled_name.is_none_or(|ruled| ENGINES.contains(&ruled)));
    let own = opera_mini(agent).or(own);
    let ruled_version = match own {
        Some((_, token)) => after(agent, token),
        None => ruled.as_ref().and_then(version),
    };
    let ruled_name = own.map(|(name, _)| name).or(ruled_name);
    match hinted(hints, ruled_name) {
        Some((name, hinted_version)) => {
            let is_same = ruled_name == Some(name);
            // the User-Agent may tell more digits of the same version
            let version = ruled_version
                .filter(|version| is_same && version.starts_with(hinted_version))
                .unwrap_or_else(|| whole(hinted_version));
            (Some(name.to_owned()), Some(version))
        }
        None => (ruled_name.map(str::to_owned), ruled_version),
    }
}

/// Name and token of a browser that the rules may miss.
fn own(agent: &str) -> Option<(&'static str, &'static str)> {
    OWN.iter().find(|(token, _)| agent.contains(token)).map(|(token, name)| (*name, *token))
}

/// Opera Mini with Android's engine, which the rules take for the larger Opera: `Version/4.0 Chrome/90.0.4430.210 … OPR/65.0.2254.63257`.
fn opera_mini(agent: &str) -> Option<(&'static str, &'static str)> {
    let (_, version) = agent.split_once("OPR/")?;
    let is_mini = agent.contains("; wv)") && version.split('.').nth(2) == Some("2254");
    is_mini.then_some(("Opera Mini", "OPR/"))
}

/// The engine of an app on a phone, which the rules hide behind the app's own name.
fn engine(agent: &str, os: Option<&str>) -> Option<(&'static str, Option<String>)> {
    match os? {
        "iOS" => Some((IOS_ENGINE, after(agent, "Version/"))),
        "Android" if agent.contains("Chrome/") => Some((ANDROID_ENGINE, after(agent, "Chrome/"))),
        // before its own engine it had Android's
        "HarmonyOS" if agent.contains("Android") && agent.contains("Chrome/") => {
            Some((ANDROID_ENGINE, after(agent, "Chrome/")))
        }
        _ => None,
    }
}

/// The brand of the hints, by the name that the rules would give it. Chromium stands beside most brands, Chrome and
/// Edge beside some that are made of them; and some browsers hide behind Chrome's: then the User-Agent decides.
fn hinted<'a>(hints: &Hints<'a>, ruled: Option<&'a str>) -> Option<(&'a str, &'a str)> {
    let is_mobile = hints.is_mobile == Some(true);
    let own = hints.brands.iter().find(|(brand, _)| !COMMON_BRANDS.contains(brand));
    let common =
        || COMMON_BRANDS.iter().find_map(|common| hints.brands.iter().find(|(brand, _)| brand == common));
    let (brand, version) = own.or_else(common)?;
    let name = match (*brand, is_mobile) {
        ("Google Chrome", true) => "Chrome Mobile",
        ("Google Chrome", false) => "Chrome",
        ("Microsoft Edge", true) => "Edge Mobile",
        ("Microsoft Edge", false) => "Edge",
        ("Opera", true) => "Opera Mobile",
        ("Android WebView", _) => ANDROID_ENGINE,
        ("Microsoft Edge WebView2", _) => "Edge WebView2",
        ("YaBrowser" | "Yandex", _) => "Yandex Browser",
        ("HuaweiBrowser", _) => "Huawei Browser",
        ("CocCoc", _) => "Coc Coc",
        // it says no more than that: so do browsers that say more in the User-Agent
        ("Chromium", _) if ruled.is_some_and(|ruled| !PLAIN_CHROME.contains(&ruled)) => return None,
        (brand, _) => brand,
    };
    let hides = name.starts_with("Chrome") && ruled.is_some_and(|ruled| !ruled.starts_with("Chrome"));
    (!hides).then_some((name, *version))
}

fn version(ruled: &ValueRef<'_>) -> Option<String> {
    let parts = [ruled.major, ruled.minor, ruled.patch, ruled.patch_minor];
    let parts: Vec<&str> = parts.into_iter().map_while(|part| part.filter(|part| !part.is_empty())).collect();
    (!parts.is_empty()).then(|| whole(&parts.join(".")))
}

/// `142.0.0.0`: browsers freeze what follows the first number.
fn whole(version: &str) -> String {
    version.strip_suffix(".0.0.0").unwrap_or(version).to_owned()
}

fn after(agent: &str, token: &str) -> Option<String> {
    let (_, after) = agent.split_once(token)?;
    let version: String = after.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    (!version.is_empty()).then(|| whole(&version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(brands: &[&'static str], ruled: &'static str) -> Option<&'static str> {
        let brands = brands.iter().map(|brand| (*brand, "142")).collect();
        let hints = Hints { brands, is_mobile: Some(false), ..Hints::default() };
        hinted(&hints, Some(ruled)).map(|(name, _)| name)
    }

    #[test]
    fn a_browser_is_not_taken_for_its_engine() {
        for (agent, token) in [
            (
                "Mozilla/5.0 (Linux; Android 12; RMX3085) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/115.0.0.0 \
                 Mobile Safari/537.36 Vivaldi/6.1.3035.305",
                Some(("Vivaldi", "6.1.3035.305")),
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Falkon/23.04.3 \
                 Chrome/102.0.5005.177 Safari/537.36",
                Some(("Falkon", "23.04.3")),
            ),
            ("Mozilla/5.0 (compatible; NetSurf/3.10; RISC OS)", Some(("NetSurf", "3.10"))),
            ("Mozilla/5.0 (X11; Linux x86_64) Chrome/115.0.0.0 Safari/537.36", None),
        ] {
            let (name, version) = of(agent, &Hints::default(), None, None, None);
            assert_eq!(name.as_deref().zip(version.as_deref()), token, "{agent}");
        }
    }

    #[test]
    fn the_most_telling_brand_is_the_browser() {
        assert_eq!(name(&["Chromium", "Google Chrome", "Opera GX"], "Chrome"), Some("Opera GX"));
        assert_eq!(name(&["Google Chrome", "Chromium", "Microsoft Edge"], "Chrome"), Some("Edge"));
        assert_eq!(name(&["Chromium", "Google Chrome"], "Chrome"), Some("Chrome"));
        assert_eq!(name(&["Chromium"], "Chrome"), Some("Chromium"));
        assert_eq!(name(&["Chromium"], "Vivaldi"), None, "the User-Agent says more");
        assert_eq!(name(&["Chromium", "Google Chrome"], "Vivaldi"), None, "it hides behind Chrome");
        assert_eq!(name(&[], "Chrome"), None);
    }
}
