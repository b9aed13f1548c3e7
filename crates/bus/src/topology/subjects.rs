//! The subject of each message.

use model::{Click, EnrichedClick, WorkspaceId};

use super::SHARDS;
use crate::changes::Table;
use crate::shard;

/// Subject of a click on CLICKS.
pub fn click_subject(click: &Click) -> String {
    format!("{}{}", clicks_prefix(click.workspace_id), shard_token(shard::of_click(click)))
}

/// Subject of a workspace's clicks, up to the shard.
pub(crate) fn clicks_prefix(workspace_id: WorkspaceId) -> String {
    format!("clickwire.clicks.raw.{workspace_id}.")
}

/// The last token of a click's subject.
pub(crate) const fn shard_token(shard: u64) -> &'static str {
    const TOKENS: [&str; SHARDS as usize] =
        ["00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15"];
    TOKENS[(shard % SHARDS) as usize]
}

/// What subjects of visits that led nowhere begin with.
pub(crate) const ORPHANS: &str = "clickwire.clicks.orphan.";

/// Subject on CLICKS of a visit that led nowhere.
pub fn orphan_subject(workspace_id: Option<WorkspaceId>) -> String {
    match workspace_id {
        Some(workspace_id) => format!("{ORPHANS}{workspace_id}"),
        None => format!("{ORPHANS}none"),
    }
}

/// Subject of an enriched click on ENRICHED; what was learned later goes to `amended`.
pub fn enriched_subject(click: &EnrichedClick) -> String {
    let workspace_id = click.click.workspace_id;
    if click.event_id.revision() > 0 {
        return format!("clickwire.clicks.amended.{workspace_id}");
    }
    format!("clickwire.clicks.enriched.{workspace_id}.{}", click.automation.verdict.as_str())
}

/// The subjects of a workspace on ENRICHED.
pub(crate) fn enriched_subjects(workspace_id: WorkspaceId) -> [String; 2] {
    [
        format!("clickwire.clicks.enriched.{workspace_id}.*"),
        format!("clickwire.clicks.amended.{workspace_id}"),
    ]
}

/// Subject of an event (`noun.verb`) on EVENTS.
pub fn event_subject(workspace_id: WorkspaceId, event_type: &str) -> String {
    let (noun, verb) = event_type.split_once('.').unwrap_or((event_type, "happened"));
    format!("clickwire.events.{workspace_id}.{}.{}", token(noun), token(verb))
}

/// Subject on QUARANTINE of what this consumer put aside.
pub fn quarantine_subject(consumer: &str) -> String {
    format!("clickwire.quarantine.{}", token(consumer))
}

/// Subject (core NATS) of notices that rows of a table have changed.
pub(crate) fn changed_subject(table: Table, workspace_id: WorkspaceId) -> String {
    format!("clickwire.changed.{}.{workspace_id}", table.as_str())
}

/// Subject (core NATS) of all notices of a table.
pub(crate) fn changes_subject(table: Table) -> String {
    format!("clickwire.changed.{}.*", table.as_str())
}

/// One token of a subject: what NATS gives a meaning to, or cannot carry, becomes `_`.
fn token(text: &str) -> String {
    let token: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' })
        .collect();
    if token.is_empty() { "_".to_owned() } else { token }
}

#[cfg(test)]
mod tests {
    use testkit::given;

    use super::*;

    #[test]
    fn subjects_are_those_of_the_contract() {
        let mut click = given::enriched_click();
        let workspace_id = click.click.workspace_id;

        assert_eq!(enriched_subject(&click), format!("clickwire.clicks.enriched.{workspace_id}.human"));
        click.event_id = model::EventId::of_click(click.click.id, 1);
        assert_eq!(enriched_subject(&click), format!("clickwire.clicks.amended.{workspace_id}"));
        assert_eq!(
            event_subject(workspace_id, "endpoint.disabled"),
            format!("clickwire.events.{workspace_id}.endpoint.disabled")
        );
        assert_eq!(event_subject(workspace_id, "a b.>"), format!("clickwire.events.{workspace_id}.a_b._"));
        assert_eq!(quarantine_subject("record-quarantine"), "clickwire.quarantine.record-quarantine");
        assert!(click_subject(&click.click).starts_with(&format!("clickwire.clicks.raw.{workspace_id}.")));
    }
}
