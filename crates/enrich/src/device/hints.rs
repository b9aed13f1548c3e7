//! Client Hints (`Sec-CH-UA…`): structured fields that anyone can send, so that rubbish is passed over.

use model::click::Request;

/// Longest hint that is believed, in bytes.
const HINT_BYTES_MAX: usize = 100;

/// Most brands that are read of a list.
const BRANDS_MAX: usize = 8;

/// What a request's hints tell; what they do not tell is `None` or empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hints<'a> {
    /// Brands of the browser with their versions: the full list if it came, else the short one.
    pub brands: Vec<(&'a str, &'a str)>,
    /// `Windows`, `Android`, ….
    pub platform: Option<&'a str>,
    /// Its version.
    pub platform_version: Option<&'a str>,
    /// Code of the device.
    pub model: Option<&'a str>,
    /// Whether the browser prefers a site's mobile form.
    pub is_mobile: Option<bool>,
    /// `Tablet`, `Mobile`, ….
    pub form_factor: Option<&'a str>,
}

impl<'a> Hints<'a> {
    /// The hints of a request.
    pub fn of(request: &'a Request) -> Self {
        let brands = |name| request.header(name).map(list).unwrap_or_default();
        let full = brands("sec-ch-ua-full-version-list");
        Self {
            brands: if full.is_empty() { brands("sec-ch-ua") } else { full },
            platform: request.header("sec-ch-ua-platform").and_then(text),
            platform_version: request.header("sec-ch-ua-platform-version").and_then(text).filter(is_version),
            model: request.header("sec-ch-ua-model").and_then(text).filter(|model| *model != "K"),
            is_mobile: match request.header("sec-ch-ua-mobile").map(str::trim) {
                Some("?1") => Some(true),
                Some("?0") => Some(false),
                _ => None,
            },
            form_factor: request
                .header("sec-ch-ua-form-factors")
                .and_then(|value| value.split(',').next())
                .and_then(text),
        }
    }
}

/// A string in quotes, without what it could escape.
fn text(value: &str) -> Option<&str> {
    let inner = value.trim().strip_prefix('"')?.strip_suffix('"')?.trim();
    let is_plain = !inner.is_empty()
        && inner.len() <= HINT_BYTES_MAX
        && !inner.contains(|c: char| c == '"' || c == '\\' || c.is_control());
    is_plain.then_some(inner)
}

/// `"Chromium";v="142", "Not_A Brand";v="99"`, read from one quote to the next, for made-up brands carry
/// commas and semicolons to see who splits at them.
fn list(value: &str) -> Vec<(&str, &str)> {
    let mut brands = Vec::new();
    let mut rest = value;
    while brands.len() < BRANDS_MAX {
        let Some((_, after)) = rest.split_once('"') else { break };
        let Some((brand, after)) = after.split_once('"') else { break };
        let Some((_, after)) = after.split_once(";v=\"") else { break };
        let Some((version, after)) = after.split_once('"') else { break };
        rest = after;
        if is_brand(brand) && is_version(&version) {
            brands.push((brand, version));
        }
    }
    brands
}

/// Made-up brands are variations of `Not A;Brand` with odd punctuation.
fn is_brand(brand: &str) -> bool {
    let is_made_up = brand.contains("Not") && brand.contains("Brand");
    let is_plain = brand.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | '-' | '/'));
    !brand.is_empty() && brand.len() <= HINT_BYTES_MAX && is_plain && !is_made_up
}

fn is_version(version: &&str) -> bool {
    version.starts_with(|c: char| c.is_ascii_digit())
        && version.len() <= HINT_BYTES_MAX
        && version.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_brands_are_passed_over() {
        let brands =
            list(r#"" Not A;Brand";v="99", "Chromium";v="142", "(Not(A:Brand";v="8", "Brave";v="142.1""#);

        assert_eq!(brands, [("Chromium", "142"), ("Brave", "142.1")]);
    }

    #[test]
    fn rubbish_is_passed_over() {
        for rubbish in ["", "\"", "\"\"", "Android", "\"a\"b\"", "\"a\\\"\""] {
            assert_eq!(text(rubbish), None, "{rubbish}");
        }
        for rubbish in ["", "garbage;;\"", "\"A\"", "\"A\";v=", "\"A\";v=\"x\""] {
            assert_eq!(list(rubbish), [], "{rubbish}");
        }
        assert_eq!(list(&r#""A";v="1", "#.repeat(100)).len(), BRANDS_MAX);
    }
}
