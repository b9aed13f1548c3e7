//! The end of the wait for evidence: at its first lease a click is told as it is known by then.
//!
//! Amendments change what waits as they come to us ([`matching`](crate::matching)). `record` reads the same stream, and may have
//! read further: a click that is recorded with a later revision is rendered again before it is sent, or is not sent at all if
//! the endpoint's filter keeps it back as it is now. The amendment itself, when it comes, finds that it was told. From the
//! first attempt on the bytes stay.

use bus::Message as _;
use model::event_type::LINK_CLICKED;
use model::{DeliveryId, EnrichedClick};
use store::leases::Leased;
use store::{Connection, QueryResult, settling};
use tracing::error;
use uuid::Uuid;
use webhook::payload;

use crate::endpoints::EndpointTable;

/// What was leased, as it is to be sent.
#[derive(Debug, Default)]
pub struct Settled {
    /// What is sent.
    pub leased: Vec<Leased>,
    /// How many tell more than they did, or are not told.
    pub changed: usize,
}

/// Holds what was leased by `leased_by` against what is recorded.
///
/// # Errors
/// When the database is away.
pub async fn as_known(
    conn: &mut Connection,
    table: &EndpointTable,
    leased: Vec<Leased>,
    leased_by: Uuid,
) -> QueryResult<Settled> {
    let waited: Vec<_> = leased
        .iter()
        .filter(|leased| has_waited(table, leased))
        .filter_map(|leased| Some((leased.id, leased.click_id?, leased.told_revision)))
        .collect();
    if waited.is_empty() {
        return Ok(Settled { leased, changed: 0 });
    }
    let later = settling::later(conn, &waited).await?;
    if later.is_empty() {
        return Ok(Settled { leased, changed: 0 });
    }
    let mut settled = Settled { leased: Vec::with_capacity(leased.len()), changed: 0 };
    let (mut told, mut unwanted) = (Vec::new(), Vec::new());
    for mut leased in leased {
        let known = later.get(&leased.id).and_then(|event| decoded(leased.id, event));
        if let Some(click) = known {
            settled.changed += 1;
            if table.get(leased.owed.endpoint_id).is_none_or(|endpoint| !endpoint.lets_through(&click)) {
                unwanted.push(leased.id);
                continue;
            }
            leased.told_revision = click.event_id.revision();
            let body = payload::link_clicked(&click);
            leased.body = Some(body.clone());
            told.push((leased.id, leased.told_revision, body));
        }
        settled.leased.push(leased);
    }
    if !told.is_empty() {
        let told: Vec<_> = told.iter().map(|(id, revision, body)| (*id, *revision, &body[..])).collect();
        settling::retell(conn, &told, leased_by).await?;
    }
    if !unwanted.is_empty() {
        settling::withdraw(conn, &unwanted, leased_by).await?;
    }
    Ok(settled)
}

/// Whether it is the first telling of a click to an endpoint that waits for evidence, and was not tried yet. Who had it in hand
/// before us may have sent it: then its bytes stay, and the change is told as an amendment.
fn has_waited(table: &EndpointTable, leased: &Leased) -> bool {
    leased.attempt_count == 0
        && !leased.is_taken_over
        && !leased.is_replay
        && leased.event_type == LINK_CLICKED
        && table.get(leased.owed.endpoint_id).is_some_and(|endpoint| endpoint.settles())
}

fn decoded(id: DeliveryId, event: &[u8]) -> Option<EnrichedClick> {
    EnrichedClick::decode(event)
        .inspect_err(|error| error!(delivery_id = %id, %error, "a recorded click cannot be read"))
        .ok()
}
