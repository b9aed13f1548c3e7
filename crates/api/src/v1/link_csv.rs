//! A link as a row of CSV. What people set comes first, under the names by which an import reads it again.

use super::links::LinkView;
use crate::csv::Row;

/// The columns, in their order; the description of the route names them too. A column is added at the end, none is ever moved.
pub const COLUMNS: [&str; 44] = [
    "url",
    "slug",
    "domain",
    "kind",
    "external_id",
    "campaign_id",
    "conversation_id",
    "contact_id",
    "message_id",
    "channel",
    "sequence_id",
    "step_id",
    "tags",
    "metadata",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "utm_id",
    "preview_title",
    "preview_description",
    "preview_image_url",
    "sent_at",
    "starts_at",
    "expires_at",
    "expired_url",
    "max_clicks",
    "enabled",
    "tracking",
    "status_code",
    "query_mode",
    // `id` would be read again as the sender's own
    "link_id",
    "tracked_url",
    "recording",
    "recording_decided_by",
    "has_password",
    "counted_clicks",
    "exhausted_at",
    "revision",
    "created_by",
    "created_at",
    "updated_at",
    "blocked_at",
];

/// The row of a link.
pub fn row(link: &LinkView) -> Vec<u8> {
    let mut row = Row::default();
    row.text(&link.url);
    row.text(&link.slug);
    row.text(&link.domain);
    row.own(link.kind);
    for label in [
        &link.external_id,
        &link.campaign_id,
        &link.conversation_id,
        &link.contact_id,
        &link.message_id,
        &link.channel,
        &link.sequence_id,
        &link.step_id,
    ] {
        row.maybe_text(label.as_deref());
    }
    row.text(&crate::link_files::tags_cell(&link.tags));
    let metadata =
        (!link.metadata.is_empty()).then(|| serde_json::to_string(&link.metadata).expect("texts are JSON"));
    row.maybe_text(metadata.as_deref());
    let utm = &link.utm;
    for part in [&utm.source, &utm.medium, &utm.campaign, &utm.term, &utm.content, &utm.id] {
        row.maybe_text(part.as_deref());
    }
    let preview = link.preview.as_ref();
    row.maybe_text(preview.map(|preview| preview.title.as_str()));
    row.maybe_text(preview.and_then(|preview| preview.description.as_deref()));
    row.maybe_text(preview.and_then(|preview| Some(preview.image_url.as_ref()?.as_str())));
    for part in [&link.sent_at, &link.starts_at, &link.expires_at, &link.expired_url] {
        row.maybe_text(part.as_deref());
    }
    row.maybe_own(link.max_clicks);
    row.own(link.enabled);
    row.own(link.tracking);
    row.own(link.status_code);
    row.own(link.query_mode);
    set_by_the_server(&mut row, link);
    row.end()
}

fn set_by_the_server(row: &mut Row, link: &LinkView) {
    row.own(&link.id);
    row.text(&link.tracked_url);
    row.own(link.recording);
    row.own(link.recording_decided_by);
    row.own(link.has_password);
    row.own(link.counted_clicks);
    row.maybe_own(link.exhausted_at.as_ref());
    row.own(link.revision);
    row.maybe_own(link.created_by.as_ref());
    row.own(&link.created_at);
    row.own(&link.updated_at);
    row.maybe_own(link.blocked_at.as_ref());
}
