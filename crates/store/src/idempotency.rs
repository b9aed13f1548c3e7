//! Requests that came with an `Idempotency-Key`: for a day, the same one again makes nothing, and is told what it made.
//!
//! A key is claimed in the transaction that makes the thing. What was answered is not kept: it would hold secrets, and be
//! older than the thing. Of two requests with one key at once, the second one waits at the
//! key's row until the first is done: either that has made its thing, or it left nothing, and the second one makes it.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Timestamptz};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::WorkspaceId;

use crate::schema::idempotency_keys;
use crate::{Connection, QueryResult};

/// How long a key is remembered.
pub const KEPT: TimeDelta = TimeDelta::hours(24);

/// Keys that are forgotten with each one that is claimed: more than come.
const SWEPT_MAX: i64 = 10;

/// A request that is to be done once.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Who asks.
    pub workspace_id: WorkspaceId,
    /// What is asked for, so that a key may be used for each: `link.create`.
    pub operation: &'a str,
    /// The sender's own.
    pub key: &'a str,
    /// Tells one request from another; this one is kept.
    pub fingerprint: &'a [u8],
    /// What the same request may have been kept as before.
    pub earlier_fingerprints: &'a [[u8; 32]],
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// The key is new: go on.
    New,
    /// The same request came before, and made this.
    Before(Uuid),
    /// The key came before with another request.
    OfAnother,
}

/// What a claim would come to now. A request with the same key that is in hand is not seen.
pub async fn find(conn: &mut Connection, claim: Claim<'_>, now: DateTime<Utc>) -> QueryResult<Claimed> {
    use idempotency_keys::dsl;

    let held: Option<(Vec<u8>, Uuid)> = dsl::idempotency_keys
        .find((claim.workspace_id.uuid(), claim.operation, claim.key))
        .filter(dsl::created_at.gt(now - KEPT))
        .select((dsl::fingerprint, dsl::subject))
        .first(conn)
        .await
        .optional()?;
    let is_same =
        |kept: &[u8]| kept == claim.fingerprint || claim.earlier_fingerprints.iter().any(|f| kept == f);
    Ok(match held {
        None => Claimed::New,
        Some((kept, subject)) if is_same(&kept) => Claimed::Before(subject),
        Some(_) => Claimed::OfAnother,
    })
}

/// Claims a key; belongs into the transaction that does what is asked for, before that, with [`made`] at its end.
pub async fn claim(conn: &mut Connection, claim: Claim<'_>, now: DateTime<Utc>) -> QueryResult<Claimed> {
    use diesel::query_dsl::methods::FilterDsl as _;
    use idempotency_keys::dsl;

    let values =
        (dsl::fingerprint.eq(claim.fingerprint), dsl::subject.eq(Uuid::nil()), dsl::created_at.eq(now));
    let id = (
        dsl::workspace_id.eq(claim.workspace_id.uuid()),
        dsl::operation.eq(claim.operation),
        dsl::key.eq(claim.key),
    );
    let claimed = diesel::insert_into(dsl::idempotency_keys)
        .values((id, values))
        .on_conflict((dsl::workspace_id, dsl::operation, dsl::key))
        .do_update()
        .set(values)
        .filter(dsl::created_at.le(now - KEPT))
        .execute(conn)
        .await?;
    if claimed == 0 {
        return find(conn, claim, now).await;
    }
    sweep(conn, now).await?;
    Ok(Claimed::New)
}

/// Notes what the request with a claimed key made.
pub async fn made(conn: &mut Connection, claim: Claim<'_>, subject: Uuid) -> QueryResult<()> {
    use idempotency_keys::dsl;

    let held = (claim.workspace_id.uuid(), claim.operation, claim.key);
    diesel::update(dsl::idempotency_keys.find(held)).set(dsl::subject.eq(subject)).execute(conn).await?;
    Ok(())
}

/// Forgets some of the keys whose time is over; those that another request is forgetting are left to it.
async fn sweep(conn: &mut Connection, now: DateTime<Utc>) -> QueryResult<()> {
    diesel::sql_query(
        "DELETE FROM idempotency_keys USING (
            SELECT workspace_id, operation, key FROM idempotency_keys
            WHERE created_at <= $1 ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS old
        WHERE (idempotency_keys.workspace_id, idempotency_keys.operation, idempotency_keys.key)
            = (old.workspace_id, old.operation, old.key)",
    )
    .bind::<Timestamptz, _>(now - KEPT)
    .bind::<BigInt, _>(SWEPT_MAX)
    .execute(conn)
    .await?;
    Ok(())
}
