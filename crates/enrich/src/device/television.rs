//! Brand and model of television sets, which the HbbTV standard (ETSI TS 102 796, section 7.3.2.4) writes into
//! brackets: `HbbTV/1.4.1 (+DRM;Samsung;SmartTV2016:UHD;T-HKMDEUC-1106.2;;)`.

/// What the brackets follow.
const HBBTV: &str = "HbbTV/";

/// What some write them behind that have none of those.
const OMI: &str = "OMI/";

/// Longest name that is believed, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Words of makers' own programs, for sets that do not follow the standard.
const WORDS: [(&str, &str); 12] = [
    ("BRAVIA", "Sony"),
    ("SonyDTV", "Sony"),
    ("VIDAA", "Hisense"),
    ("Web0S", "LG"),
    ("webOS.TV", "LG"),
    ("NetCast", "LG"),
    ("SMART-TV", "Samsung"),
    ("Viera", "Panasonic"),
    ("Roku", "Roku"),
    ("TV Safari", "Samsung"),
    ("LG Browser", "LG"),
    ("Maple", "Samsung"),
];

/// Brand and, if it is told, model.
pub fn of(agent: &str) -> Option<(String, Option<String>)> {
    by_standard(agent, HBBTV).or_else(|| by_vidaa(agent)).or_else(|| by_standard(agent, OMI)).or_else(|| {
        let (_, brand) = WORDS.iter().find(|(word, _)| agent.contains(word))?;
        Some(((*brand).to_owned(), None))
    })
}

fn by_standard(agent: &str, before_brackets: &str) -> Option<(String, Option<String>)> {
    in_brackets(agent.split_once(before_brackets)?.1)
}

fn in_brackets(rest: &str) -> Option<(String, Option<String>)> {
    let (_, rest) = rest.split_once('(')?;
    let (inside, _) = rest.split_once(')')?;
    let mut parts = inside.split(';').skip(1).map(name);
    let brand = parts.next()??;
    let brand = brand.split(['_', ',']).next().unwrap_or(brand);
    let model = parts.next().flatten();
    Some((brand.to_owned(), model.map(str::to_owned)))
}

/// The system of Hisense, which other makers' sets have too: `VIDAA/6.0(TOSHIBA;SmartTV;55UF3D53DB;…)`.
fn by_vidaa(agent: &str) -> Option<(String, Option<String>)> {
    let (_, rest) = agent.split_once("VIDAA/")?;
    let (_, inside) = rest.split_once('(')?;
    let mut parts = inside.split([';', ')']).map(name);
    let brand = parts.next()??;
    Some((brand.to_owned(), parts.nth(1).flatten().map(str::to_owned)))
}

fn name(part: &str) -> Option<&str> {
    let name = part.trim();
    let is_told = name.len() <= NAME_BYTES_MAX && name.starts_with(|c: char| c.is_alphanumeric());
    is_told.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_says_where_brand_and_model_stand() {
        let told = |agent| of(agent).map(|(brand, model)| (brand, model.unwrap_or_default()));
        let both = |brand: &str, model: &str| Some((brand.to_owned(), model.to_owned()));

        assert_eq!(
            told("HbbTV/1.4.1 (+DRM;Samsung;SmartTV2016:UHD;T-HKMDEUC-1106.2;;)"),
            both("Samsung", "SmartTV2016:UHD")
        );
        assert_eq!(
            told("Opera/9.80 (Linux) HbbTV/1.2.1 (; Loewe; SL320; LOH/4.2.5; LOH/1; )"),
            both("Loewe", "SL320")
        );
        assert_eq!(told("HbbTV/1.1.1 (;;;;;) Maple2011"), both("Samsung", ""));
        assert_eq!(
            told("Mozilla/5.0 (Linux) OPR/32.0 OMI/4.8.0.129(;Philips;TPM171E;;)"),
            both("Philips", "TPM171E")
        );
        assert_eq!(told("HbbTV/1.1.1 (;CUS;;;)"), both("CUS", ""));
        assert_eq!(told("Roku/DVP-12.0 (12.0.0.4182-88)"), both("Roku", ""));
        assert_eq!(told("Mozilla/5.0 (Windows NT 10.0)"), None);
        assert_eq!(
            told("Mozilla/5.0 (Linux; Android 9) VIDAA/6.0(TOSHIBA;SmartTV;55UF3D53DB;MTK9602/V1)"),
            both("TOSHIBA", "55UF3D53DB")
        );
    }
}
