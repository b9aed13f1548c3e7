//! The body of an alert: what webhooks get, or a sentence in the shape that Slack reads.
//!
//! The sentence says what happened and what to do next. Names in it are not ours: `&`, `<` and `>` are escaped, as Slack
//! asks, so that nobody's host name becomes a link or a mention.

use chrono::{DateTime, Utc};
use model::AlertFormat;
use model::event_type::{DELIVERY_DEAD, DELIVERY_FAILING, ENDPOINT_DISABLED, ENDPOINT_WARNING};
use serde_json::{Value, json};

use crate::own_event::OwnEvent;

/// What stands before a sentence that was only asked for to see it arrive.
const TEST: &str = "This is a test, nothing has happened. An alert looks like this: ";

/// The bytes that are signed, sent and stored.
pub fn body(event: &OwnEvent, format: AlertFormat) -> Vec<u8> {
    match format {
        AlertFormat::Webhook => event.body(),
        AlertFormat::Slack => json!({ "text": escaped(&text(event)) }).to_string().into_bytes(),
    }
}

/// A sentence for people, and what to do next.
pub(crate) fn text(event: &OwnEvent) -> String {
    let fact = Fact(event);
    let (what, next) = match event.event_type.as_str() {
        ENDPOINT_WARNING => warned(fact),
        ENDPOINT_DISABLED => disabled(fact),
        "endpoint.recovered" => (
            format!("{} works again.", fact.webhook("The")),
            "Nothing has to be done; what was given up meanwhile can be replayed.".to_owned(),
        ),
        DELIVERY_FAILING => (
            format!(
                "{} does not take its events: one has failed {} times{}.",
                fact.webhook("The"),
                fact.text("attempts"),
                fact.last()
            ),
            "They are tried again by its schedule. See whether the receiver is well.".to_owned(),
        ),
        DELIVERY_DEAD => (
            format!("{} given up of {}{}.", fact.deliveries(), fact.webhook("the"), fact.last()),
            "Mend the receiver, then replay what was given up: Replay, on the page of the webhook."
                .to_owned(),
        ),
        other => (format!("{other}: {}.", fact.webhook("the")), "Look at it in the console.".to_owned()),
    };
    let test = if event.data.get("test") == Some(&Value::Bool(true)) { TEST } else { "" };
    format!("{test}{what} {next} Its page: Settings > Link settings > Webhooks > {}", fact.id())
}

fn warned(fact: Fact<'_>) -> (String, String) {
    let what = format!(
        "{} has only failed since {}: {} events. It is disabled on {} if nothing changes.",
        fact.webhook("The"),
        fact.moment("failing_since"),
        fact.text("failed_messages"),
        fact.moment("disable_at"),
    );
    (what, "Mend the receiver, then send a test.".to_owned())
}

fn disabled(fact: Fact<'_>) -> (String, String) {
    let reason = match fact.value("reason").and_then(Value::as_str) {
        Some("failing") => {
            format!(
                "it has only failed since {}: {} events",
                fact.moment("failing_since"),
                fact.text("failed_messages")
            )
        }
        Some("gone") => "it answered 410, which means that it is gone for good".to_owned(),
        Some(other) => other.to_owned(),
        None => "somebody switched it off".to_owned(),
    };
    (
        format!("{} is disabled: {reason}.", fact.webhook("The")),
        "Nothing is sent to it. Mend the receiver, enable the webhook, then replay what it missed."
            .to_owned(),
    )
}

/// What an event says of itself.
#[derive(Clone, Copy)]
struct Fact<'a>(&'a OwnEvent);

impl<'a> Fact<'a> {
    /// A value of the event, wherever it stands in it.
    fn value(self, name: &str) -> Option<&'a Value> {
        let data = &self.0.data;
        let found = data.get(name).or_else(|| data.get("details")?.get(name));
        found.filter(|value| !value.is_null())
    }

    fn text(self, name: &str) -> String {
        match self.value(name) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => "some".to_owned(),
        }
    }

    fn moment(self, name: &str) -> String {
        let at: Option<DateTime<Utc>> =
            self.value(name).and_then(Value::as_str).and_then(|at| at.parse().ok());
        at.map_or_else(|| "a while ago".to_owned(), |at| at.format("%-d %B %Y %H:%M UTC").to_string())
    }

    fn id(self) -> String {
        self.0.endpoint_id().map(|id| id.to_string()).unwrap_or_default()
    }

    /// The webhook by its host; what stands in the path may be secret.
    fn webhook(self, article: &str) -> String {
        let url = || {
            let url: model::EndpointUrl = self.value("url")?.as_str()?.parse().ok()?;
            url.url().host_str().map(str::to_owned)
        };
        match self.value("host").and_then(Value::as_str).map(str::to_owned).or_else(url) {
            Some(host) => format!("{article} webhook to {host}"),
            None => format!("{article} webhook {}", self.id()),
        }
    }

    fn deliveries(self) -> String {
        match self.value("deliveries").and_then(Value::as_u64) {
            None | Some(1) => "One delivery was".to_owned(),
            Some(count) => format!("{count} deliveries were"),
        }
    }

    /// How the last attempt ended.
    fn last(self) -> String {
        match (self.value("last_status"), self.value("last_error").and_then(Value::as_str)) {
            (Some(status), _) => format!(", last with the answer {status}"),
            (None, Some(error)) => format!(", last with the error `{error}`"),
            (None, None) => String::new(),
        }
    }
}

/// A text that Slack shows as it is.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::own_event::sample;
    use chrono::TimeZone;
    use model::WorkspaceId;
    use model::alert::ALERT_TYPES;

    fn said(event: &OwnEvent) -> String {
        let body: Value = serde_json::from_slice(&body(event, AlertFormat::Slack)).expect("JSON");
        let object = body.as_object().expect("an object");
        assert_eq!(object.keys().collect::<Vec<_>>(), ["text"]);
        let text = body["text"].as_str().expect("a text");
        text.replace(&event.endpoint_id().expect("an id").to_string(), "[endpoint]")
    }

    #[test]
    fn each_alert_is_a_sentence_and_says_what_to_do_next() {
        let now = Utc.with_ymd_and_hms(2026, 11, 23, 14, 16, 12).unwrap();
        let sentences: Vec<String> = ALERT_TYPES
            .into_iter()
            .map(|name| said(&sample(name, WorkspaceId::generate(), now).expect("a sample")))
            .collect();

        insta::assert_snapshot!(sentences.join("\n"), @r"
        The webhook to crm.example.com has only failed since 21 November 2026 02:16 UTC: 31 events. It is disabled on 26 November 2026 02:16 UTC if nothing changes. Mend the receiver, then send a test. Its page: Settings &gt; Link settings &gt; Webhooks &gt; [endpoint]
        The webhook to crm.example.com is disabled: it has only failed since 18 November 2026 14:16 UTC: 62 events. Nothing is sent to it. Mend the receiver, enable the webhook, then replay what it missed. Its page: Settings &gt; Link settings &gt; Webhooks &gt; [endpoint]
        The webhook to crm.example.com works again. Nothing has to be done; what was given up meanwhile can be replayed. Its page: Settings &gt; Link settings &gt; Webhooks &gt; [endpoint]
        The webhook to crm.example.com does not take its events: one has failed 3 times, last with the answer 500. They are tried again by its schedule. See whether the receiver is well. Its page: Settings &gt; Link settings &gt; Webhooks &gt; [endpoint]
        One delivery was given up of the webhook [endpoint], last with the answer 500. Mend the receiver, then replay what was given up: Replay, on the page of the webhook. Its page: Settings &gt; Link settings &gt; Webhooks &gt; [endpoint]
        ");
    }

    #[test]
    fn a_hostile_name_is_neither_a_link_nor_a_mention() {
        let mut event = sample("endpoint.recovered", WorkspaceId::generate(), Utc::now()).expect("a sample");
        event.data.insert("host".to_owned(), "<!channel> & <https://evil.example|click>".into());

        let text = said(&event);

        assert!(text.contains("&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;"), "{text}");
    }

    #[test]
    fn an_alert_in_the_shape_of_webhooks_is_the_webhook() {
        let event = sample("endpoint.disabled", WorkspaceId::generate(), Utc::now()).expect("a sample");

        assert_eq!(body(&event, AlertFormat::Webhook), event.body());
    }
}
