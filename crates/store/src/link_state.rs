//! Whether links lead somewhere, and if not, why.

use chrono::{DateTime, SecondsFormat, Utc};
use diesel::QueryableByName;
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::sql_types::{BigInt, Bool, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{LinkId, Slug, WorkspaceId};

use crate::links::Link;
use crate::{Connection, QueryResult};

/// Whether a link leads somewhere, and if not, why. Of several reasons the first one here is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// An operator has it blocked, or its domain.
    Blocked,
    /// It is switched off.
    Off,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotStarted,
    /// It had as many clicks as it may have.
    Exhausted,
    /// It leads where it should.
    Live,
}

impl LinkState {
    /// The state of a link at a moment; its domain may be blocked all the same.
    pub fn of(link: &Link, now: DateTime<Utc>) -> Self {
        let options = &link.options;
        if link.blocked_at.is_some() {
            Self::Blocked
        } else if !options.enabled {
            Self::Off
        } else if options.expires_at.is_some_and(|at| at <= now) {
            Self::Expired
        } else if options.starts_at.is_some_and(|at| at > now) {
            Self::NotStarted
        } else if link.exhausted_at.is_some() {
            Self::Exhausted
        } else {
            Self::Live
        }
    }
}

/// Whether a link, joined with its domain, is in a state.
pub(crate) fn is_in(state: LinkState, now: DateTime<Utc>) -> SqlLiteral<Bool> {
    let at = now.to_rfc3339_opts(SecondsFormat::Micros, true);
    let conditions = [
        (LinkState::Blocked, "coalesce(links.blocked_at, domains.blocked_at) IS NOT NULL".to_owned()),
        (LinkState::Off, "NOT links.enabled".to_owned()),
        (LinkState::Expired, format!("links.expires_at <= '{at}'")),
        (LinkState::NotStarted, format!("links.starts_at > '{at}'")),
        (LinkState::Exhausted, "links.exhausted_at IS NOT NULL".to_owned()),
    ];
    let mut all = Vec::new();
    for (reason, condition) in conditions {
        if reason == state {
            all.push(condition);
            break;
        }
        all.push(format!("({condition}) IS NOT TRUE"));
    }
    sql::<Bool>(&format!("({})", all.join(" AND ")))
}

/// Links that are looked at for [`ended`], the newest ones.
const ENDED_AMONG: i64 = 2000;

/// Those of the newest links that led somewhere until not long ago, `since`, and now lead to nothing of their own, nor of
/// their domain: their time is over, or they had as many clicks as they may have. The newest first, at most `limit`.
pub async fn ended(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<(LinkId, Slug)>> {
    #[derive(QueryableByName)]
    struct Ended {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Text)]
        slug: String,
    }
    let ended: Vec<Ended> = diesel::sql_query(
        "SELECT id, slug FROM (SELECT * FROM links WHERE workspace_id = $1 AND archived_at IS NULL
             ORDER BY id DESC LIMIT $5) AS newest
         WHERE enabled AND blocked_at IS NULL AND expired_url IS NULL
             AND NOT EXISTS (SELECT 1 FROM domains WHERE domains.id = domain_id AND fallback_url IS NOT NULL)
             AND (expires_at > $2 AND expires_at <= $3 OR exhausted_at > $2)
         ORDER BY id DESC LIMIT $4",
    )
    .bind::<SqlUuid, _>(workspace_id.uuid())
    .bind::<Timestamptz, _>(since)
    .bind::<Timestamptz, _>(now)
    .bind::<BigInt, _>(limit)
    .bind::<BigInt, _>(ENDED_AMONG)
    .load(conn)
    .await?;
    Ok(ended.into_iter().map(|Ended { id, slug }| (LinkId::from_uuid(id), Slug::kept(slug))).collect())
}
