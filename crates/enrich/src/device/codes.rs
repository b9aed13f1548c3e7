//! The code of an Android device, where the rules of uap-core do not look for one.

/// How the part that names the system begins; UC Browser abbreviates it.
const SYSTEMS: [&str; 4] = ["Android", "Adr ", "GoogleTV", "MIDP-"];

/// What stands beside the code and is none.
const OTHERS: [&str; 12] = [
    "wv",
    "U",
    "I",
    "K",
    "Mobile",
    "Tablet",
    "TV",
    "arm",
    "arm_64",
    "HarmonyOS",
    "Linux",
    "Unspecified Device",
];

/// How other things that are no code begin.
const OTHER_STARTS: [&str; 5] = ["rv:", "HMSCore", "GMSCore", "Android", "Adr "];

/// The code after the system in the first brackets that name one: `(Linux; Android 9; en-us; CODE Build/X)`.
pub fn find(agent: &str) -> Option<&str> {
    let mut parts = brackets(agent)
        .map(|brackets| brackets.split(';').map(str::trim))
        .find(|parts| parts.clone().any(is_system))?
        .skip_while(|part| !is_system(part))
        .skip(1);
    let code = parts.find(|part| is_code(part))?;
    let code = code.split(" Build").next().unwrap_or(code).trim();
    (!code.is_empty()).then_some(code)
}

/// What stands in brackets, with the brackets in it: some phones are called `moto g(60)s`.
fn brackets(agent: &str) -> impl Iterator<Item = &str> {
    let mut rest = agent;
    std::iter::from_fn(move || {
        let (_, inside) = rest.split_once('(')?;
        let mut depth = 1;
        let end = inside.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        let (found, after) = inside.split_at(end.unwrap_or(inside.len()));
        rest = after;
        Some(found)
    })
}

fn is_system(part: &str) -> bool {
    SYSTEMS.iter().any(|system| part.starts_with(system))
}

fn is_code(part: &str) -> bool {
    let is_other = OTHERS.contains(&part) || OTHER_STARTS.iter().any(|start| part.starts_with(start));
    !part.is_empty() && !part.starts_with("Build") && !is_other && !is_language(part)
}

/// `en`, `en-US`, `pt_br`.
fn is_language(part: &str) -> bool {
    let is_short = part.len() == 2 || (part.len() == 5 && matches!(part.as_bytes()[2], b'-' | b'_'));
    is_short
        && part.starts_with(|c: char| c.is_ascii_lowercase())
        && !part.contains(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_follows_the_system() {
        for (agent, code) in [
            ("Mozilla/5.0 (Linux; Android 10; HarmonyOS; ELS-AN10; HMSCore 6.1.0) Mobile", Some("ELS-AN10")),
            (
                "UCWEB/2.0 (Linux; U; Adr 4.4.4; en-US; Che1-L04) U2/1.0.0 UCBrowser/9.4 Mobile",
                Some("Che1-L04"),
            ),
            ("Mozilla/5.0 (Linux; U; Android 4.2; de-de; GS 5 Build/JDQ39) Safari/534.30", Some("GS 5")),
            ("Dalvik/2.1.0 (Linux; U; Android 12; M2101K6G Build/SKQ1)", Some("M2101K6G")),
            (
                "Mozilla/5.0 (Linux; Android 14; moto g stylus 5G (2023) Build/UP1A.231005.007; wv) Mobile",
                Some("moto g stylus 5G (2023)"),
            ),
            ("Mozilla/5.0 (Linux; Android 13; moto g(60)s) AppleWebKit/537.36 (KHTML)", Some("moto g(60)s")),
            (
                "UCWEB/2.0 (MIDP-2.0; U; Adr 4.4.2; en-US; Micromax_A106) U2/1.0.0 UCBrowser/10.7 Mobile",
                Some("Micromax_A106"),
            ),
            ("Mozilla/5.0 (Linux; Android 10; K) Chrome/142.0.0.0 Mobile Safari/537.36", None),
            ("Mozilla/5.0 (Android 14; Mobile; rv:131.0) Gecko/131.0 Firefox/131.0", None),
            ("Mozilla/5.0 (X11; Linux x86_64) Chrome/142.0.0.0", None),
            ("(", None),
            ("", None),
        ] {
            assert_eq!(find(agent), code, "{agent}");
        }
    }
}
