//! The fields of a link in requests: their limits, and how each is read.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use model::link::{LinkKind, LinkPreview, QueryMode, RedirectStatus, Tracking};
use model::password::PASSWORD_CHARS_MAX;
use model::{DestinationUrl, SlugCase, TypedSlug, Utm};
use unicode_security::mixed_script::AugmentedScriptSet;

use super::passwords::TypedPassword;
use crate::fields::{self, Wrong, invalid, text, wrong};

/// Longest label, in characters.
pub const LABEL_CHARS_MAX: usize = 128;
/// Longest external id, in characters.
pub const EXTERNAL_ID_CHARS_MAX: usize = 255;
/// Most tags of a link.
const TAGS_MAX: usize = 20;
/// Longest tag, in characters.
pub const TAG_CHARS_MAX: usize = 50;
/// Most pairs of metadata.
const METADATA_PAIRS_MAX: usize = 16;
/// Most bytes of metadata, names and values together.
const METADATA_BYTES_MAX: usize = 1024;

/// Longest campaign parameter, in characters.
const UTM_CHARS_MAX: usize = 128;
/// Longest headline of a preview, in characters.
const PREVIEW_TITLE_CHARS_MAX: usize = 200;
/// Longest description of a preview, in characters.
const PREVIEW_DESCRIPTION_CHARS_MAX: usize = 500;
/// Most clicks that a link may be limited to.
pub const MAX_CLICKS_MAX: u32 = 1_000_000;

/// The kinds of links.
pub const KINDS: &[(&str, LinkKind)] =
    &[("shareable", LinkKind::Shareable), ("message", LinkKind::Message), ("honeypot", LinkKind::Honeypot)];
/// What becomes of a visitor's query.
pub const QUERY_MODES: &[(&str, QueryMode)] = &[
    ("fill_missing", QueryMode::FillMissing),
    ("drop", QueryMode::Drop),
    ("append", QueryMode::Append),
    ("override", QueryMode::Override),
];
/// What is recorded.
pub const TRACKINGS: &[(&str, Tracking)] = &[
    ("inherit", Tracking::Inherit),
    ("full", Tracking::Full),
    ("anonymous", Tracking::Anonymous),
    ("off", Tracking::Off),
];

/// What a link is about, and for whom: fields with one text each.
pub const LABEL_NAMES: [&str; 8] = [
    "campaign_id",
    "conversation_id",
    "contact_id",
    "message_id",
    "channel",
    "sequence_id",
    "step_id",
    "external_id",
];

/// The names within `preview`.
pub const PREVIEW_NAMES: &[&str] = &["title", "description", "image_url"];

/// The names within `utm`.
pub const UTM_NAMES: &[&str] = &["source", "medium", "campaign", "term", "content", "id"];

/// A slug that people choose. Its letters are of one script, so that it cannot be taken for another: `pаypal` with a
/// Cyrillic `а` looks like `paypal`. Latin letters beside Chinese, Japanese or Korean ones are usual (UTS 39,
/// "highly restrictive").
pub fn slug(value: &Value) -> Result<TypedSlug, Wrong> {
    let slug = fields::chosen_slug(value)?;
    let folded = slug.of(SlugCase::Insensitive).as_str();
    let scripts = |text: &str| AugmentedScriptSet::for_str(text);
    let latin = scripts("a");
    let others: String = folded.chars().filter(|c| AugmentedScriptSet::for_char(*c) != latin).collect();
    let others = scripts(&others);
    let is_east_asian = others.hanb || others.jpan || others.kore;
    if is_east_asian || !scripts(folded).is_empty() {
        return Ok(slug);
    }
    Err(wrong("mixed_scripts", "must not mix letters of several scripts: it could be taken for another"))
}

/// A text without white space around it: a form could not tell it from the one without.
fn trimmed<const MAX: usize>(value: &Value) -> Result<String, Wrong> {
    let text = text::<MAX>(value)?;
    if text.trim() != text {
        return Err(invalid("must not begin or end with white space"));
    }
    Ok(text)
}

/// A label.
pub fn label(value: &Value) -> Result<String, Wrong> {
    trimmed::<LABEL_CHARS_MAX>(value)
}

/// The sender's own id.
pub fn external_id(value: &Value) -> Result<String, Wrong> {
    trimmed::<EXTERNAL_ID_CHARS_MAX>(value)
}

/// Tags, which people type with commas between them.
pub fn tags(value: &Value) -> Result<Vec<String>, Wrong> {
    fields::list(TAGS_MAX, |value| {
        let tag = trimmed::<TAG_CHARS_MAX>(value)?;
        if tag.contains(',') {
            return Err(invalid("must not contain `,`: send several tags as several entries"));
        }
        Ok(tag)
    })(value)
}

/// Free pairs.
pub fn metadata(value: &Value) -> Result<BTreeMap<String, String>, Wrong> {
    let pairs = fields::pairs(value)?;
    if pairs.len() > METADATA_PAIRS_MAX {
        return Err(invalid(format_args!("must have at most {METADATA_PAIRS_MAX} pairs")));
    }
    let size: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > METADATA_BYTES_MAX {
        return Err(invalid(format_args!(
            "must be at most {METADATA_BYTES_MAX} bytes, names and values together"
        )));
    }
    if pairs.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
        return Err(invalid("must not contain the character U+0000"));
    }
    Ok(pairs)
}

/// The status of a redirect.
pub fn status_code(value: &Value) -> Result<RedirectStatus, Wrong> {
    let code = fields::number::<301, 308>(value)?;
    let code = u16::try_from(code).map_err(invalid)?;
    RedirectStatus::try_from(code).map_err(invalid)
}

/// Campaign parameters, all of them.
pub fn utm(value: &Value) -> Result<Utm, Wrong> {
    let mut texts = fields::texts::<UTM_CHARS_MAX>(UTM_NAMES)(value)?;
    if let Some((name, _)) = texts.iter().find(|(_, text)| text.trim() != text.as_str()) {
        return Err(invalid("must not begin or end with white space").at(name));
    }
    Ok(Utm {
        source: texts.remove("source"),
        medium: texts.remove("medium"),
        campaign: texts.remove("campaign"),
        term: texts.remove("term"),
        content: texts.remove("content"),
        id: texts.remove("id"),
    })
}

/// Where a link leads. Whether the workspace allows the scheme of an app, `link_rules` says.
pub fn destination(value: &Value) -> Result<DestinationUrl, Wrong> {
    let text = value.as_str().ok_or_else(|| wrong("wrong_type", "must be a string"))?;
    DestinationUrl::of_any_scheme(text).map_err(invalid)
}

/// What messengers show.
pub fn preview(value: &Value) -> Result<LinkPreview, Wrong> {
    let object = fields::object(PREVIEW_NAMES, value)?;
    let given = |name: &str| object.get(name).filter(|value| !value.is_null());
    let title = given("title").ok_or_else(|| wrong("required", "a preview needs a title").at("title"))?;
    let description = given("description").map(trimmed::<PREVIEW_DESCRIPTION_CHARS_MAX>).transpose();
    let image_url = given("image_url").map(fields::parsed::<DestinationUrl>).transpose();
    Ok(LinkPreview {
        title: trimmed::<PREVIEW_TITLE_CHARS_MAX>(title).map_err(|wrong| wrong.at("title"))?,
        description: description.map_err(|wrong| wrong.at("description"))?,
        image_url: image_url.map_err(|wrong| wrong.at("image_url"))?,
    })
}

/// A password, as it was typed: white space counts.
pub fn password(value: &Value) -> Result<TypedPassword, Wrong> {
    let typed = value.as_str().ok_or_else(|| wrong("wrong_type", "must be a string"))?;
    match typed.chars().count() {
        0 => Err(invalid("must not be empty; leave it out or send null instead")),
        1..=PASSWORD_CHARS_MAX => Ok(TypedPassword::new(typed)),
        _ => Err(wrong("too_long", format_args!("must be at most {PASSWORD_CHARS_MAX} characters long"))),
    }
}

/// Rules between fields that are broken, each with the field that has to change.
pub fn broken(
    url: Option<&DestinationUrl>,
    utm: &Utm,
    starts_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
) -> impl Iterator<Item = (&'static str, Wrong)> {
    let is_over_before = starts_at.zip(expires_at).is_some_and(|(starts, expires)| expires <= starts);
    let times = is_over_before.then(|| ("expires_at", invalid("must be later than `starts_at`")));
    let too_long = url.and_then(|url| utm.applied_to(url).err());
    let utm = too_long.map(|error| ("utm", wrong("too_long", error)));
    times.into_iter().chain(utm)
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    #[test]
    fn a_slug_in_one_script_is_accepted_whichever_it_is() {
        for accepted in [
            "spring-sale_2.0",
            "Café",
            "весна-26",
            "άνοιξη",
            "春のsale",
            "봄-sale",
            "春天",
            "ربيع",
            "🎉",
            "sale🎉",
            "наука™",
        ] {
            assert!(slug(&json!(accepted)).is_ok(), "{accepted}");
        }
    }

    #[test]
    fn a_slug_that_looks_like_another_is_refused() {
        for refused in ["p\u{430}ypal", "g\u{3bf}ogle", "с-sale", "春-весна", "ab\u{585}"] {
            let wrong = slug(&json!(refused)).expect_err(refused).of("slug");
            assert_eq!((wrong.pointer.as_str(), wrong.code), ("/slug", "mixed_scripts"), "{refused}");
        }
    }
}
