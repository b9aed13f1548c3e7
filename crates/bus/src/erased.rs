//! Messages of clicks whose contact was erased, for who keeps such messages elsewhere.

use model::{Click, EnrichedClick, WorkspaceId};

use crate::messages::Message as _;

/// A message of ENRICHED, emptied of what tells who it was. Of one that cannot be read nothing is left.
pub fn erased(event: &[u8]) -> Vec<u8> {
    match EnrichedClick::decode(event) {
        Ok(mut click) => {
            click.erase();
            click.outgoing().payload.into()
        }
        Err(_) => Vec::new(),
    }
}

/// Whose click a message of CLICKS or ENRICHED tells of; `None` when it names nobody, or cannot be read.
pub fn contact(payload: &[u8]) -> Option<(WorkspaceId, String)> {
    // a message of one is none of the other: their first fields differ in type
    let click = match EnrichedClick::decode(payload) {
        Ok(enriched) => enriched.click,
        Err(_) => Click::decode(payload).ok()?,
    };
    Some((click.workspace_id, click.link.labels.contact_id?))
}
