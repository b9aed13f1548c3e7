//! What channels and campaigns say of the recording of their links' clicks, and what becomes of a link by it.

use std::collections::BTreeMap;

use serde_json::Value;

use model::link::{DecidedBy, Recording, Tracking};
use store::links::Link;
use store::settings::LinkSettings;

use super::link_fields::label;
use crate::error::ApiError;
use crate::fields::{Wrong, any_object, word, wrong};

/// Most channels, and most campaigns, that say something: each link is looked up with all of them.
const SAYS_MAX: usize = 500;

/// What may be said.
pub const CHOICES: &[(&str, Tracking)] =
    &[("full", Tracking::Full), ("anonymous", Tracking::Anonymous), ("off", Tracking::Off)];

/// A channel or a campaign, and what is to be recorded of it; `None`: nothing of its own.
pub type Say = (String, Option<Tracking>);

/// What a request says, by name.
pub fn says(value: &Value) -> Result<Vec<Say>, Wrong> {
    let object = any_object(value)?;
    if object.len() > SAYS_MAX {
        return Err(wrong("too_long", format_args!("must have at most {SAYS_MAX} names")));
    }
    let say = |(name, value): (&String, &Value)| {
        let name = label(&Value::from(name.as_str())).map_err(|wrong| wrong.at(name))?;
        let choice = (!value.is_null()).then(|| word(CHOICES)(value)).transpose();
        choice.map_err(|wrong| wrong.at(&name)).map(|choice| (name, choice))
    };
    object.iter().map(say).collect()
}

/// Puts in what is said, and takes out what says nothing any more; the rest stays.
///
/// # Errors
/// [`ApiError::Invalid`] when more names than [`SAYS_MAX`] say something then.
pub fn apply(
    pointer: &str,
    kept: &mut BTreeMap<String, Tracking>,
    said: Option<Vec<Say>>,
) -> Result<(), ApiError> {
    for (name, choice) in said.unwrap_or_default() {
        match choice {
            Some(choice) => drop(kept.insert(name, choice)),
            None => drop(kept.remove(&name)),
        }
    }
    if kept.len() <= SAYS_MAX {
        return Ok(());
    }
    let detail = format!("at most {SAYS_MAX} may say something: take out those that are over, with `null`");
    Err(ApiError::field(pointer, "too_long", detail))
}

/// What a request says, for the audit log: of hundreds of names those that it names.
pub fn told(said: Option<&[Say]>) -> Value {
    let pair = |(name, choice): &Say| (name.clone(), Value::from(choice.map(Tracking::as_str)));
    Value::Object(said.unwrap_or_default().iter().map(pair).collect())
}

/// What is recorded of a link's clicks, and who decided it.
pub fn of(link: &Link, settings: &LinkSettings) -> (Recording, DecidedBy) {
    settings.recording_of(&link.options.labels, link.options.tracking)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_said_goes_in_and_null_takes_it_out() {
        let mut kept =
            BTreeMap::from([("sms".to_owned(), Tracking::Off), ("email".to_owned(), Tracking::Full)]);

        let said = says(&json!({"sms": null, "whatsapp": "anonymous"})).expect("it can be read");
        apply("/channel_tracking", &mut kept, Some(said)).expect("not too many");

        let expected = [("email", Tracking::Full), ("whatsapp", Tracking::Anonymous)];
        assert_eq!(kept, expected.map(|(name, tracking)| (name.to_owned(), tracking)).into());
    }

    #[test]
    fn what_is_wrong_is_told_by_name() {
        for (value, pointer) in [
            (json!({"sms": "inherit"}), "/channel_tracking/sms"),
            (json!({" sms": "off"}), "/channel_tracking/ sms"),
            (json!({"a/b": 1}), "/channel_tracking/a~1b"),
            (json!(["sms"]), "/channel_tracking"),
        ] {
            assert_eq!(says(&value).expect_err("wrong").of("channel_tracking").pointer, pointer);
        }
    }

    #[test]
    fn no_more_say_something_than_may() {
        let full: Vec<Say> = (0..SAYS_MAX).map(|n| (n.to_string(), Some(Tracking::Off))).collect();
        let mut kept = BTreeMap::new();
        apply("/campaign_tracking", &mut kept, Some(full)).expect("as many as may");

        let refused =
            apply("/campaign_tracking", &mut kept, Some(vec![("one more".to_owned(), Some(Tracking::Off))]));

        assert_eq!(refused.expect_err("too many").field_errors()[0].pointer, "/campaign_tracking");
    }
}
