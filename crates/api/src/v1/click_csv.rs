//! A click as a row of CSV.

use model::EnrichedClick;

use super::time;
use crate::csv::Row;

/// The columns, in their order; the description of the route names them too. A column is added at the end, none is ever moved.
pub const COLUMNS: [&str; 42] = [
    "click_id",
    "clicked_at",
    "link_id",
    "tracked_url",
    "original_url",
    "destination_url",
    "external_id",
    "campaign_id",
    "conversation_id",
    "contact_id",
    "message_id",
    "channel",
    "sequence_id",
    "step_id",
    "tags",
    "verdict",
    "automation_class",
    "automation_score",
    "is_first_click",
    "revision",
    "country",
    "country_name",
    "region",
    "city",
    "postal_code",
    "latitude",
    "longitude",
    "timezone",
    "as_organization",
    "device_type",
    "brand",
    "model",
    "os",
    "os_version",
    "browser",
    "browser_version",
    "in_app",
    "referrer",
    "language",
    "user_agent",
    "ip",
    "recorded_at",
];

/// The row of a click.
pub fn row(enriched: &EnrichedClick, recorded_at: chrono::DateTime<chrono::Utc>) -> Vec<u8> {
    let mut row = Row::default();
    let (click, location, device) = (&enriched.click, &enriched.location, &enriched.device);
    let (link, labels, automation) = (&click.link, &click.link.labels, &enriched.automation);
    row.own(click.id);
    row.own(time(click.clicked_at));
    row.own(link.id);
    row.text(&link.tracked_url);
    row.text(&link.original_url);
    row.text(&click.destination_url);
    for label in [
        &labels.external_id,
        &labels.campaign_id,
        &labels.conversation_id,
        &labels.contact_id,
        &labels.message_id,
        &labels.channel,
        &labels.sequence_id,
        &labels.step_id,
    ] {
        row.maybe_text(label.as_deref());
    }
    row.text(&labels.tags.join(";"));
    row.own(automation.verdict.as_str());
    row.maybe_own(automation.class.map(|class| class.as_str()));
    row.own(automation.score);
    row.maybe_own(enriched.is_first_click);
    row.own(enriched.event_id.revision());
    for part in
        [&location.country, &location.country_name, &location.region, &location.city, &location.postal_code]
    {
        row.maybe_text(part.as_deref());
    }
    row.maybe_own(location.latitude);
    row.maybe_own(location.longitude);
    row.maybe_text(location.timezone.as_deref());
    row.maybe_text(location.as_organization.as_deref());
    row.own(device.kind.as_str());
    for part in [
        &device.brand,
        &device.model,
        &device.os,
        &device.os_version,
        &device.browser,
        &device.browser_version,
        &device.in_app,
    ] {
        row.maybe_text(part.as_deref());
    }
    row.maybe_text(click.request.referrer.as_deref());
    row.maybe_text(click.request.language());
    row.maybe_text(click.request.user_agent.as_deref());
    row.maybe_own(click.request.ip);
    row.own(time(recorded_at));
    row.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    use chrono::{TimeZone as _, Utc};
    use model::WorkspaceId;

    #[test]
    fn a_row_has_a_cell_for_each_column() {
        let now = Utc.timestamp_millis_opt(1_795_443_372_345).single().expect("a moment");
        let mut click = webhook::payload::sample(WorkspaceId::generate(), now);
        click.location.region = None;
        click.click.link.labels.tags = vec!["spring".to_owned(), "=1+1".to_owned()];
        click.click.link.labels.channel = Some("=cmd()".to_owned());
        click.click.request.user_agent = Some("agent, with a comma".to_owned());

        let headings = String::from_utf8(crate::csv::headings(&COLUMNS)).expect("text");
        let line = String::from_utf8(row(&click, now)).expect("text");

        let cells: Vec<&str> = line.trim_end().split(',').collect();
        // one more: the comma of the user agent
        assert_eq!(cells.len(), COLUMNS.len() + 1, "{line}");
        let at = |name: &str| {
            let place = COLUMNS.iter().position(|column| *column == name).expect("a column");
            cells[place]
        };
        assert_eq!(headings.trim_end().split(',').collect::<Vec<_>>(), COLUMNS);
        assert_eq!(
            (at("click_id"), at("clicked_at")),
            (click.click.id.to_string().as_str(), "2026-11-23T14:16:12.345Z")
        );
        assert_eq!((at("channel"), at("tags"), at("region")), ("'=cmd()", "\"spring;=1+1\"", ""));
        assert_eq!((at("latitude"), at("device_type"), at("verdict")), ("58.4", "mobile", "human"));
        assert_eq!(at("is_first_click"), "true");
    }
}
