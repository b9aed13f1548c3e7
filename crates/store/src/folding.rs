//! Slugs that were kept before they were folded as they are now: found after each migration, and folded.
//!
//! What a visitor types is folded before it is looked up, so that a link whose slug is not is never found. A slug whose
//! folded form is taken under its domain, or is no slug, keeps what it has.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{Slug, SlugCase};

use crate::lost::is_taken;
use crate::schema::{domains, links};
use crate::{Connection, QueryResult};

/// Links that are looked at together.
const BATCH: i64 = 1000;

/// Folds slugs that are not, but for those of domains that tell capital letters apart; tells how many. Safe to run again, and beside everything else. It looks at no link whose slug is
/// ASCII: those were always kept in lower case.
pub(crate) async fn fold_slugs(conn: &mut Connection) -> QueryResult<usize> {
    let (mut after, mut folded) = (Uuid::nil(), 0);
    loop {
        // as the index `links_beyond_ascii` says it
        let is_beyond_ascii = sql::<Bool>("octet_length(slug) <> char_length(slug)");
        let rows: Vec<(Uuid, Uuid, String)> = links::table
            .inner_join(domains::table)
            .filter(is_beyond_ascii)
            .filter(domains::slug_case.eq(SlugCase::Insensitive.as_str()))
            .filter(links::id.gt(after))
            .order(links::id)
            .limit(BATCH)
            .select((links::id, links::domain_id, links::slug))
            .load(conn)
            .await?;
        let Some((last, ..)) = rows.last() else { return Ok(folded) };
        after = *last;
        for (id, domain_id, kept) in rows {
            let Ok(slug) = kept.parse::<Slug>() else { continue };
            if slug.as_str() != kept && rename(conn, id, domain_id, &slug).await? {
                folded += 1;
            }
        }
    }
}

/// Gives a link this slug, unless another of its domain has it.
async fn rename(conn: &mut Connection, id: Uuid, domain_id: Uuid, slug: &Slug) -> QueryResult<bool> {
    let others = diesel::alias!(links as others);
    let holder = others
        .filter(others.field(links::domain_id).eq(domain_id))
        .filter(others.field(links::slug).eq(slug.as_str()));
    let renamed = diesel::update(links::table.filter(links::id.eq(id)))
        .filter(diesel::dsl::not(diesel::dsl::exists(holder)))
        .set(links::slug.eq(slug.as_str()))
        .execute(conn)
        .await;
    match renamed {
        // made at the same moment
        Err(error) if is_taken(&error) => Ok(false),
        renamed => Ok(renamed? > 0),
    }
}
