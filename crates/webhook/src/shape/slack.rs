//! A message as Slack's incoming webhooks read it: a sentence for who only sees a notification, and blocks for the channel.
//!
//! Nothing in it is a link, and Slack is asked to look none up: who unfolds a tracked URL clicks it, and would be told of.
//! Names are not ours: `&`, `<` and `>` are escaped, as Slack asks, and texts are taken as they stand (`verbatim`), so that
//! nobody's city becomes a link or a mention.

use model::event_type::LINK_CLICK_AMENDED;
use serde::Serialize;
use serde_json::{Value, json};

use crate::alert;
use crate::own_event::OwnEvent;

/// Most characters of one value. Escaped, four of them are within the 2000 that Slack takes in a field, and three of them and
/// some words within the 3000 of a text.
const VALUE_CHARS_MAX: usize = 90;

/// Most characters of a sentence: escaped, they are within the 3000.
const SENTENCE_CHARS_MAX: usize = 590;

/// What stands before the sentence of a sample.
const TEST: &str = "This is a test, nobody clicked. ";

/// The whole message.
#[derive(Serialize)]
pub(super) struct Message {
    text: String,
    blocks: Vec<Value>,
    unfurl_links: bool,
    unfurl_media: bool,
}

/// A click, by what is left of its `data`.
pub(super) fn of_click(event_type: &str, data: &Value) -> Message {
    let said = Said(data);
    let sentence = sentence(event_type, said);
    let mut blocks = vec![section(&format!("*{sentence}*"))];
    let fields: Vec<Value> = facts(said)
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| text(&format!("*{name}*\n{value}")))
        .collect();
    if !fields.is_empty() {
        blocks.push(json!({ "type": "section", "fields": fields }));
    }
    let context = said.list(&["/click_id", "/clicked_at"], " · ");
    if !context.is_empty() {
        blocks.push(json!({ "type": "context", "elements": [text(&context)] }));
    }
    message(sentence, blocks)
}

/// An event of our own: the sentence of an alert.
pub(super) fn of_event(event: &OwnEvent) -> Message {
    let sentence = shown(&alert::text(event), SENTENCE_CHARS_MAX);
    let blocks = vec![section(&sentence)];
    message(sentence, blocks)
}

fn message(text: String, blocks: Vec<Value>) -> Message {
    Message { text, blocks, unfurl_links: false, unfurl_media: false }
}

/// What happened, to which link, where.
fn sentence(event_type: &str, said: Said<'_>) -> String {
    let link = match said.value("/link/slug") {
        Some(slug) => format!("the link {slug}"),
        None => "a link".to_owned(),
    };
    let place = said.list(&["/location/city", "/location/country_name"], ", ");
    let place = if place.is_empty() { place } else { format!(" in {place}") };
    let test = if said.0.get("test") == Some(&Value::Bool(true)) { TEST } else { "" };
    let verdict = said.0.pointer("/automation/verdict").and_then(Value::as_str);
    let what = match (event_type, verdict) {
        (LINK_CLICK_AMENDED, Some("human")) => format!("It was a person who opened {link}{place}"),
        (LINK_CLICK_AMENDED, Some("automated")) => format!("It was a machine that opened {link}{place}"),
        (LINK_CLICK_AMENDED, _) => format!("More is known of a click of {link}{place}"),
        (_, Some("human")) => format!("Somebody opened {link}{place}"),
        (_, Some("automated")) => format!("A machine opened {link}{place}"),
        _ => format!("Somebody, or something, opened {link}{place}"),
    };
    format!("{test}{what}")
}

/// What is told beside it, by name; Slack takes ten.
fn facts(said: Said<'_>) -> [(&'static str, String); 8] {
    let code = |text: String| if text.is_empty() { text } else { format!("`{}`", text.replace('`', "'")) };
    [
        ("Link", code(said.list(&["/link/domain", "/link/slug"], "/"))),
        ("Leads to", code(said.list(&["/link/original_url"], ""))),
        ("Device", said.list(&["/device/brand", "/device/model", "/device/os", "/device/browser"], ", ")),
        ("Campaign", said.list(&["/campaign_id"], "")),
        ("Conversation", said.list(&["/conversation_id"], "")),
        ("Contact", said.list(&["/contact_id"], "")),
        ("Message", said.list(&["/message_id"], "")),
        ("Channel", said.list(&["/channel"], "")),
    ]
}

/// What is left of a click's `data`, whatever that is.
#[derive(Clone, Copy)]
struct Said<'a>(&'a Value);

impl Said<'_> {
    /// The text there, as it is shown.
    fn value(self, pointer: &str) -> Option<String> {
        let text = self.0.pointer(pointer).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).map(|text| shown(text, VALUE_CHARS_MAX))
    }

    /// Those that there are.
    fn list(self, pointers: &[&str], between: &str) -> String {
        let values: Vec<String> = pointers.iter().filter_map(|pointer| self.value(pointer)).collect();
        values.join(between)
    }
}

/// A text of somebody else's: in one line, cut, and escaped.
fn shown(text: &str, chars_max: usize) -> String {
    let line = |c: char| if c.is_control() { ' ' } else { c };
    let mut cut: String = text.chars().take(chars_max).map(line).collect();
    if text.chars().nth(chars_max).is_some() {
        cut.push('…');
    }
    alert::escaped(&cut)
}

fn section(words: &str) -> Value {
    json!({ "type": "section", "text": text(words) })
}

fn text(words: &str) -> Value {
    json!({ "type": "mrkdwn", "text": words, "verbatim": true })
}
