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
    let known = known(conn, table, leased).await?;
    if !known.told.is_empty() {
        let told: Vec<_> =
            known.told.iter().map(|(id, revision, body)| (*id, *revision, &body[..])).collect();
        settling::retell(conn, &told, leased_by).await?;
    }
    if !known.unwanted.is_empty() {
        settling::withdraw(conn, &known.unwanted, leased_by).await?;
    }
    let changed = known.told.len() + known.unwanted.len();
    Ok(Settled { leased: known.leased, changed })
}

/// What is to be sent, and what has to be written down before it is.
#[derive(Debug, Default)]
pub struct Known {
    /// What is sent, in the order in which it came.
    pub leased: Vec<Leased>,
    /// Which of them tell another revision of their clicks, with these bytes.
    pub told: Vec<(DeliveryId, u32, Vec<u8>)>,
    /// What is not sent: the endpoint does not want to hear of it any more.
    pub unwanted: Vec<DeliveryId>,
}

/// Holds deliveries that are leased or locked against what is recorded.
///
/// # Errors
/// When the database is away.
pub async fn known(conn: &mut Connection, table: &EndpointTable, leased: Vec<Leased>) -> QueryResult<Known> {
    let waited: Vec<_> = leased
        .iter()
        .filter(|leased| has_waited(table, leased))
        .filter_map(|leased| Some((leased.id, leased.click_id?, leased.told_revision)))
        .collect();
    if waited.is_empty() {
        return Ok(Known { leased, ..Known::default() });
    }
    let later = settling::later(conn, &waited).await?;
    if later.is_empty() {
        return Ok(Known { leased, ..Known::default() });
    }
    let mut known = Known { leased: Vec::with_capacity(leased.len()), ..Known::default() };
    for mut leased in leased {
        let recorded = later.get(&leased.id).and_then(|event| decoded(leased.id, event));
        if let Some(click) = recorded {
            let endpoint =
                table.get(leased.owed.endpoint_id).filter(|endpoint| endpoint.lets_through(&click));
            let Some(endpoint) = endpoint else {
                known.unwanted.push(leased.id);
                continue;
            };
            leased.told_revision = click.event_id.revision();
            let body = endpoint.body(LINK_CLICKED, &click);
            leased.body = Some(body.clone());
            known.told.push((leased.id, leased.told_revision, body));
        }
        known.leased.push(leased);
    }
    Ok(known)
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
        .inspect_err(|error| error!(delivery.id = %id, %error, "a recorded click cannot be read"))
        .ok()
}
