//! What a device is called: brand, code, and the name that it is sold under.
//!
//! The rules of uap-core name most devices. They are corrected where they take a word for a device, cut a code short, or
//! know a maker but not which of its brands it is; the rest is told by words, codes and the schemes of makers.

use ua_parser::device::ValueRef;

use super::hints::Hints;
use super::{Devices, SPIDER, codes, own_words, schemes, television};

/// What the rules take for a model in `HuaweiBrowser/14` and `Silk/120`, whatever device it is.
const NOT_MODELS: [&str; 4] = [BROWSER, "Kindle", "GoogleTV", "Roku"];

const BROWSER: &str = "Browser";

const HUAWEI: &str = "Huawei";

/// Brands whose codes are names of several words, which the rules cut at the first.
const NAMES_HAVE_BLANKS: [&str; 2] = ["Nokia", HUAWEI];

/// Was a brand of Huawei's, and begins its codes with its name where the rules know Huawei.
const HONOR: &str = "Honor";

const APPLE: &str = "Apple";

/// Went on to make what the rules know as Nokia's.
const MICROSOFT: &str = "Microsoft";

/// What a device is called.
#[derive(Debug, Default)]
pub struct Named {
    /// Who makes it.
    pub brand: Option<String>,
    /// What it calls itself: `SM-A546B`.
    pub code: Option<String>,
    /// What it is sold as: `Galaxy A54 5G`.
    pub name: Option<String>,
}

impl Named {
    /// With this code, unless it has one.
    fn with_code(self, code: &str) -> Self {
        Self { code: self.code.or_else(|| Some(code.to_owned())), ..self }
    }
}

impl Devices {
    /// The hint is the code as its maker writes it, which the table lists; in a User-Agent the code has to be
    /// found, which the rules do better than the table where they know the brand.
    pub(super) fn name(&self, agent: &str, hints: &Hints<'_>, ruled: Option<ValueRef<'_>>) -> Named {
        let named = self.name_as_told(agent, hints, ruled);
        // rules and table do not spell all alike
        Named { brand: named.brand.map(|brand| self.models.spelled(brand)), ..named }
    }

    fn name_as_told(&self, agent: &str, hints: &Hints<'_>, ruled: Option<ValueRef<'_>>) -> Named {
        if own_words::is_ipad_as_mac(agent) {
            return Named { brand: Some(APPLE.to_owned()), ..Named::default() };
        }
        if let Some(code) = hints.model {
            let brand = || schemes::brand_of(code).map(str::to_owned).or_else(|| self.ruled_brand(code));
            return self.name_by_code(code, brand);
        }
        let Some(ruled) = ruled.filter(|ruled| ruled.device != SPIDER) else {
            return self.name_unruled(agent);
        };
        let code = ruled.model.as_deref().map(str::trim).filter(|model| is_model(model));
        match (ruled.brand.as_deref(), code) {
            (Some(brand), code) if !is_generic(brand) => self.name_ruled(agent, brand, code),
            (_, Some(code)) if !NOT_MODELS.contains(&code) => {
                let named = self.name_by_code(code, || None);
                let is_told = named.brand.is_some();
                name_by_words(agent).filter(|_| !is_told).map_or(named, |told| told.with_code(code))
            }
            _ => self.name_unruled(agent),
        }
    }

    /// What the rules name, corrected where they take a word for a device, cut its code short, or know the maker
    /// but not which of its brands it is.
    fn name_ruled(&self, agent: &str, brand: &str, code: Option<&str>) -> Named {
        if let Some((brand, model)) = own_words::by_word(agent).filter(|(named, _)| *named != brand) {
            return Named { brand: Some(brand.to_owned()), code: model.map(str::to_owned), name: None };
        }
        if code.is_some_and(|code| NOT_MODELS.contains(&code))
            && let Some(found) = codes::find(agent)
        {
            return self.name_by_found(agent, found);
        }
        if code == Some(BROWSER) {
            return Named::default();
        }
        if let Some(code) = code.and_then(|code| code.strip_prefix(HONOR)?.strip_prefix(' '))
            && brand == HUAWEI
        {
            let name = self.models.find(code).and_then(|known| known.name_by(HONOR));
            return Named { brand: Some(HONOR.to_owned()), code: Some(code.to_owned()), name };
        }
        let whole = code.and_then(|code| whole_code(agent, brand, code));
        // the rules put the brand before some codes
        let bare = code.filter(|code| !agent.contains(code)).and_then(|code| code.strip_prefix(brand));
        let code = whole.or(bare.map(str::trim).filter(|code| agent.contains(code))).or(code);
        let is_microsofts = own_words::windows_phone(agent).is_some_and(|(maker, _)| maker == MICROSOFT);
        let maker = if is_microsofts { MICROSOFT } else { brand };
        // the table lists some codes with the brand before them
        let written = codes::find(agent).filter(|written| code.is_some_and(|code| written.ends_with(code)));
        let known = written
            .and_then(|written| self.models.find(written))
            .or_else(|| code.and_then(|code| self.models.find(code)));
        let listed = known.as_ref().and_then(|known| known.brand.as_deref());
        let own = code.and_then(|code| schemes::own_brand(code, brand, listed)).unwrap_or(maker).to_owned();
        // who took it for another's has cut it as that one's codes are
        let code = written.filter(|_| own != maker).or(code);
        Named {
            name: known.and_then(|known| known.name_by(&own)),
            brand: Some(own),
            code: code.map(str::to_owned),
        }
    }

    /// What the rules have nothing for: codes in unusual places, and television sets that follow the standard.
    fn name_unruled(&self, agent: &str) -> Named {
        if let Some(named) = name_by_words(agent) {
            return named;
        }
        if let Some(found) = codes::find(agent) {
            return self.name_by_found(agent, found);
        }
        let own = own_words::kaios(agent).or_else(|| own_words::old_phone(agent));
        own.and_then(|name| self.name_by_brand(name)).unwrap_or_default()
    }

    fn name_by_found(&self, agent: &str, code: &str) -> Named {
        // Honor's phones have the same codes, but not this system
        let is_huaweis = agent.contains("HarmonyOS") && schemes::likely_brand_of(code).is_some();
        self.name_by_code(code, || is_huaweis.then(|| HUAWEI.to_owned()))
    }

    /// The rest of a name that begins with a brand: what is sold under it.
    fn name_by_brand(&self, name: &str) -> Option<Named> {
        let brand = self.models.brand_named(name)?;
        let code = name.get(brand.len()..).map(|rest| rest.trim_matches([' ', '_', '-']));
        let code = code.filter(|code| !code.is_empty()).map(str::to_owned);
        Some(Named { brand: Some(brand.to_owned()), code, name: None })
    }

    fn name_by_code(&self, code: &str, ruled_brand: impl FnOnce() -> Option<String>) -> Named {
        let Some(known) = self.models.find(code) else {
            let brand = ruled_brand().or_else(|| self.models.brand_like(code).map(str::to_owned));
            return Named { brand, code: Some(code.to_owned()), name: None };
        };
        // of several who use the code, and of a maker's brands
        let own = match known.brand.as_deref() {
            Some(brand) => schemes::own_brand(code, brand, None),
            None => schemes::brand_of(code),
        };
        Named { brand: own.map(str::to_owned).or(known.brand), code: Some(code.to_owned()), name: known.name }
    }

    /// What the rules say of a code that a hint told: in the place where a User-Agent would have it.
    fn ruled_brand(&self, code: &str) -> Option<String> {
        let agent = format!(
            "Mozilla/5.0 (Linux; Android 10; {code}) AppleWebKit/537.36 Chrome/120.0.0.0 Mobile Safari/537.36"
        );
        let brand = self.rules.dev.extract(&agent).and_then(|ruled| ruled.brand.map(String::from));
        brand.filter(|brand| !is_generic(brand))
    }
}

/// What words of their own say of television sets, consoles and readers.
fn name_by_words(agent: &str) -> Option<Named> {
    let (brand, code) = television::of(agent).or_else(|| {
        let (brand, model) = own_words::by_word(agent)?;
        Some((brand.to_owned(), model.map(str::to_owned)))
    })?;
    Some(Named { brand: Some(brand), code, name: None })
}

/// The code as it stands in the brackets, where the rules cut it in the middle of a word, stopped at its first blank, or
/// left some of the rest of the brackets on it.
fn whole_code<'a>(agent: &'a str, brand: &str, ruled: &str) -> Option<&'a str> {
    let goes_on = |own: &'a str, blanks: &[char]| {
        let from = own.find(ruled)?;
        own[from + ruled.len()..].starts_with(blanks).then(|| &own[from..])
    };
    if let Some((_, own)) = own_words::windows_phone(agent) {
        return goes_on(own, &[' ']);
    }
    if let Some(own) = own_words::kaios(agent) {
        return goes_on(own, &[' ', '_']);
    }
    let found = codes::find(agent)?;
    let place = found.find(ruled);
    if let Some(own) = place.map(|at| &found[at..])
        && (own[ruled.len()..].starts_with('.')
            || own[ruled.len()..].starts_with(' ') && NAMES_HAVE_BLANKS.contains(&brand))
    {
        return Some(own);
    }
    let before = place.map(|at| &found[..at]);
    let is_cut = ruled.starts_with(char::is_lowercase)
        && before.is_some_and(|word| word.ends_with(char::is_lowercase) && !word.eq_ignore_ascii_case(brand));
    let has_more = ruled.contains(" Build/");
    (is_cut || has_more).then_some(found)
}

/// The rules name classes of devices in the place of a brand, too.
fn is_generic(brand: &str) -> bool {
    brand.starts_with("Generic")
}

/// The rules name classes of devices in the place of a model, and `K` is what browsers send to say nothing.
fn is_model(model: &str) -> bool {
    !model.is_empty()
        && !["K", "Smartphone", "Tablet", "Desktop", "Feature Phone", "Android", "Other"].contains(&model)
}

#[cfg(test)]
mod tests {
    use super::super::tests::describe;

    /// Brand and code of a device, `?` for what is not told.
    fn named(agent: &str) -> (String, String) {
        let device = describe(agent, &[]);
        let told = |value: Option<String>| value.unwrap_or_else(|| "?".to_owned());
        (told(device.brand), told(device.model))
    }

    fn android(code: &str) -> String {
        format!(
            "Mozilla/5.0 (Linux; Android 13; {code}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 \
             Mobile Safari/537.36"
        )
    }

    fn assert_named(cases: &[(&str, &str, &str)]) {
        for (agent, brand, code) in cases {
            let agent = if agent.contains('/') { (*agent).to_owned() } else { android(agent) };
            assert_eq!(named(&agent), ((*brand).to_owned(), (*code).to_owned()), "{agent}");
        }
    }

    #[test]
    fn a_code_is_told_whole() {
        assert_named(&[
            ("motorola edge 50 ultra", "Motorola", "motorola edge 50 ultra"),
            (
                "Mozilla/5.0 (Linux; Android 12; moto g pure Build/S3RH32; wv) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Version/4.0 Chrome/120.0.0.0 Mobile Safari/537.36",
                "Motorola",
                "moto g pure",
            ),
            ("LE2121", "OnePlus", "LE2121"),
            ("Nokia 7.2", "Nokia", "7.2"),
            ("Nokia C21 Plus", "Nokia", "C21 Plus"),
            (
                "Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1; Microsoft; Lumia 950 XL) AppleWebKit/537.36 \
                 (KHTML, like Gecko) Chrome/52.0.2743.116 Mobile Safari/537.36 Edge/15.15254",
                "Microsoft",
                "Lumia 950 XL",
            ),
            (
                "Mozilla/5.0 (Mobile; Nokia 8110 4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5.1",
                "Nokia",
                "8110 4G",
            ),
        ]);
    }

    #[test]
    fn the_name_of_a_browser_is_no_model() {
        let huawei = |code: &str| {
            format!(
                "Mozilla/5.0 (Linux; Android 10; {code}; HMSCore 6.13.0.302) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/114.0.5735.196 HuaweiBrowser/14.0.5.303 Mobile Safari/537.36"
            )
        };
        assert_named(&[
            (&huawei("JKM-LX1"), "Huawei", "JKM-LX1"),
            (&huawei("HarmonyOS; NOH-AN01"), "Huawei", "NOH-AN01"),
            (&huawei("K"), "?", "?"),
            (
                "Mozilla/5.0 (Linux; Android 11; AFTR Build/RS8128) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Silk/120.3.1 like Chrome/120.0.6099.144 Safari/537.36",
                "Amazon",
                "AFTR",
            ),
        ]);
    }

    #[test]
    fn a_makers_brand_is_told_by_its_codes() {
        assert_named(&[
            ("RMX3890", "realme", "RMX3890"),
            ("NX721J", "Nubia", "NX721J"),
            ("SO-52C", "Sony", "SO-52C"),
            ("2312DRA50G", "Xiaomi", "2312DRA50G"),
            ("ELI-NX9", "Honor", "ELI-NX9"),
            ("ELS-NX9", "Huawei", "ELS-NX9"),
            ("CPH2581", "OnePlus", "CPH2581"),
            ("CPH2387", "Oppo", "CPH2387"),
            ("A142", "Nothing", "A142"),
            ("BL9000", "Blackview", "BL9000"),
            ("GN2200", "OnePlus", "GN2200"),
            ("LGE-NX9", "Honor", "LGE-NX9"),
            (
                "Mozilla/5.0 (Linux; Android 12; PGT-AN10 Build/HONORPGT-AN10; wv) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Version/4.0 Chrome/99.0.4844.88 Mobile Safari/537.36",
                "Honor",
                "PGT-AN10",
            ),
            ("BAH4-W09", "Huawei", "BAH4-W09"),
            ("HMD Aura", "HMD", "HMD Aura"),
        ]);
    }

    #[test]
    fn other_devices_are_told_by_their_words() {
        assert_named(&[
            ("Roku/DVP-13.0 (13.0.0.4182-46)", "Roku", "?"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox Series X) AppleWebKit/537.36 \
                 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edge/44.22621.2861",
                "Microsoft",
                "Xbox Series X",
            ),
            (
                "Mozilla/5.0 (X11; Linux armv7l) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/84.0.4147.125 \
                 Safari/537.36 CrKey/1.0.999999 VIZIO SmartCast(Conjure/MTKE-5.0.29)",
                "Vizio",
                "?",
            ),
            ("Micromax X265/MTK Release/2012 Browser/MAUI Profile/MIDP-2.0", "Micromax", "X265"),
            ("Mozilla/5.0 (Mobile; Doro 7060; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5", "Doro", "7060"),
        ]);
    }
}
