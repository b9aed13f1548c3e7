//! Messages for Slack.

use super::*;

#[test]
fn a_message_for_slack_is_a_sentence_and_blocks() {
    let said = body(&shape(json!({ "format": "slack" })), &click());

    let sentence = "This is a test, nobody clicked. Somebody opened the link k7m2xq9ra in Linköping, Sweden";
    let text = |text: &str| json!({ "type": "mrkdwn", "text": text, "verbatim": true });
    let expected = json!({
        "text": sentence,
        "blocks": [
            { "type": "section", "text": text(&format!("*{sentence}*")) },
            { "type": "section", "fields": [
                text("*Link*\n`go.example.com/k7m2xq9ra`"),
                text("*Leads to*\n`https://example.com/offer`"),
                text("*Device*\nApple, iPhone, iOS, Mobile Safari"),
                text("*Campaign*\ncmp_42"),
                text("*Conversation*\nconv_7"),
                text("*Contact*\ncont_9"),
                text("*Message*\nmsg_3"),
                text("*Channel*\nsms"),
            ] },
            { "type": "context", "elements": [text("clk_01kbr5zj7v0000000000000002 · 2026-11-23T14:16:12.345Z")] },
        ],
        "unfurl_links": false,
        "unfurl_media": false,
    });
    assert_eq!(said, expected);
}

#[test]
fn a_message_for_slack_says_nothing_that_the_mask_keeps_back() {
    let hidden = ["link", "location", "contact_id", "click_id", "clicked_at", "test", "automation"];
    let masked = shape(json!({ "format": "slack", "fields": { "exclude": hidden } }));

    let said = body(&masked, &click());

    assert_eq!(said["text"], "Somebody, or something, opened a link");
    assert_eq!(said["blocks"].as_array().map(Vec::len), Some(2), "{said}");
    for kept_back in ["k7m2xq9ra", "example.com", "Sweden", "cont_9", "clk_"] {
        assert!(!said.to_string().contains(kept_back), "{kept_back}: {said}");
    }
    let nothing = shape(json!({ "format": "slack", "fields": { "include": ["privacy"] } }));
    assert_eq!(body(&nothing, &click())["blocks"].as_array().map(Vec::len), Some(1));
}

#[test]
fn whatever_names_say_is_neither_a_link_nor_a_mention_for_slack_and_fits() {
    let hostile = "<!channel> & <https://evil.example|click>`\n".repeat(50);
    let mut click = click();
    click.click.link.slug = hostile.clone();
    click.click.link.domain = hostile.clone();
    click.click.link.original_url = hostile.clone();
    click.click.link.labels.campaign_id = Some(hostile.clone());
    (click.location.city, click.location.country_name) = (Some("&".repeat(500)), Some(hostile.clone()));
    (click.device.brand, click.device.model) = (Some("<".repeat(500)), Some(">".repeat(500)));
    (click.device.os, click.device.browser) = (Some("&".repeat(500)), Some("&".repeat(500)));
    let mut event =
        own_event::sample("endpoint.recovered", click.click.workspace_id, Utc::now()).expect("a sample");
    event.data.insert("host".to_owned(), hostile.into());
    let slack = shape(json!({ "format": "slack" }));

    for body in [slack.of_click(LINK_CLICKED, &click, &site()), slack.of_event(&event, &site())] {
        let text = std::str::from_utf8(&body).expect("UTF-8");
        assert!(!text.contains(['<', '>']) && text.contains("&lt;!channel&gt; &amp; "), "{text}");
        let said: Value = serde_json::from_slice(&body).expect("JSON");
        for block in said["blocks"].as_array().expect("blocks") {
            let chars = |text: &Value| text["text"].as_str().map_or(0, |text| text.chars().count());
            assert!(chars(&block["text"]) <= 3000, "{block}");
            for field in block["fields"].as_array().into_iter().flatten() {
                assert!(chars(field) <= 2000, "{field}");
                let text = field["text"].as_str().expect("a text");
                let is_code = text.starts_with("*Link*") || text.starts_with("*Leads to*");
                assert!(!is_code || text.matches('`').count() == 2, "{field}");
            }
        }
    }
}
