//! Many links in one go: a batch is one transaction, and what is wrong with one link is told beside it.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::json;
use tracing::warn;

use bus::{Changed, Table};
use model::{DomainId, Host, LinkId, Slug, WorkspaceId};
use store::domains::{self, Domain};
use store::link_import::{self as rows, NewLink as Row};
use store::links::LinkOptions;
use store::{AsyncConnection as _, Connection, events};

use super::domain_proof::check_verified;
use super::link_body::{NewLink, Wanted};
use super::link_rules::{self, Known, urls_of};
use super::links::{
    SLUG_DRAWS_MAX, cases_for, external_id_taken, foreign_domain, no_domain, slug_taken, tracked_url_of,
    vanished,
};
use super::{Change, audit, now};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// How often a batch is tried that the database refuses as a whole, as it does when two wait for each other.
const TRIES_MAX: usize = 3;

/// A link that was made.
#[derive(Debug, Clone)]
pub struct Imported {
    /// Its id.
    pub id: LinkId,
    /// What to send to people.
    pub tracked_url: String,
}

/// What became of a link of a batch.
pub type Result<T> = std::result::Result<T, ApiError>;

/// A link that keeps to the rules, on its way into the table.
struct Candidate<'a> {
    /// Where it stands in the batch.
    at: usize,
    id: LinkId,
    domain_id: DomainId,
    host: &'a Host,
    slug: Slug,
    /// Whether the slug is ours to choose.
    is_drawn: bool,
    options: &'a LinkOptions,
}

/// Makes a batch of links, at most [`rows::LINKS_MAX`]; tells what became of each, in their order.
///
/// # Errors
/// When nothing was made because the database is away or refuses.
pub async fn import(
    shared: &Shared,
    caller: &Caller,
    batch: Vec<Result<NewLink>>,
) -> Result<Vec<Result<Imported>>> {
    let mut wanted = Vec::with_capacity(batch.len());
    for new in batch {
        wanted.push(match new {
            Ok(new) => hashed(shared, new).await,
            Err(error) => Err(error),
        });
    }
    let mut tries = 1;
    let (results, keys) = loop {
        let now = now();
        let mut conn = shared.pool.get().await?;
        let made = conn
            .transaction::<_, ApiError, _>(async |conn| insert(shared, conn, caller, &wanted, now).await)
            .await;
        match made {
            Err(ApiError::Internal(error)) if tries < TRIES_MAX => {
                warn!(
                    error = format!("{error:#}"),
                    tries, "a batch of links was refused, and is tried again"
                );
                tries += 1;
            }
            made => break made?,
        }
    };
    if !keys.is_empty() {
        let changed = Changed { table: Table::Links, workspace_id: caller.workspace_id, keys };
        shared.bus.notify(&changed).await;
    }
    let results = wanted.into_iter().zip(results).map(|(wanted, result)| {
        wanted?;
        result.unwrap_or_else(|| Err(vanished()))
    });
    Ok(results.collect())
}

async fn hashed(shared: &Shared, new: NewLink) -> Result<Wanted> {
    let mut wanted = new.into_wanted();
    if let Some(typed) = &wanted.password {
        wanted.options.password = Some(shared.link_passwords.hash(typed).await?);
    }
    Ok(wanted)
}

/// What became of each link of a batch, unless it could not be read, and the keys of those that were made.
type Inserted = (Vec<Option<Result<Imported>>>, Vec<String>);

async fn insert(
    shared: &Shared,
    conn: &mut Connection,
    caller: &Caller,
    wanted: &[Result<Wanted>],
    now: DateTime<Utc>,
) -> Result<Inserted> {
    let named: HashSet<&Host> = wanted.iter().flatten().filter_map(|wanted| wanted.domain.as_ref()).collect();
    let named: Vec<&Host> = named.into_iter().collect();
    let domains = domains::default_and(conn, caller.workspace_id, &named).await?;
    let default = domains.iter().find(|domain| domain.is_default);
    let by_host: HashMap<&Host, &Domain> = domains.iter().map(|domain| (&domain.host, domain)).collect();
    let typed = wanted.iter().flatten().filter_map(|wanted| {
        let domain = wanted.domain.as_ref().map_or(default, |host| by_host.get(host).copied());
        Some((wanted.slug.as_ref()?, domain?.id))
    });
    let cases = cases_for(conn, typed).await?;
    let led_to = wanted.iter().flatten().flat_map(|wanted| urls_of(&wanted.options)).collect();
    let known = Known::of(conn, caller.workspace_id, led_to).await?;

    let mut results: Vec<Option<Result<Imported>>> = wanted.iter().map(|_| None).collect();
    let mut candidates = Vec::with_capacity(wanted.len());
    for (at, wanted) in wanted.iter().enumerate() {
        let Ok(wanted) = wanted else { continue };
        let domain = domain_of(wanted, &by_host, default);
        match link_rules::check(shared, &known, None, &wanted.options).and(domain) {
            Err(error) => results[at] = Some(Err(error)),
            Ok((host, domain_id)) => {
                let case = cases.get(&domain_id).copied().unwrap_or_default();
                let chosen = wanted.slug.as_ref().map(|typed| typed.of(case).clone());
                candidates.push(Candidate {
                    at,
                    id: LinkId::generate_at(now),
                    domain_id,
                    host,
                    is_drawn: chosen.is_none(),
                    slug: chosen.unwrap_or_else(|| Slug::generate(wanted.options.kind)),
                    options: &wanted.options,
                });
            }
        }
    }
    let mut made = BTreeSet::new();
    let mut keys = Vec::with_capacity(candidates.len());
    // of several lines that want a name the first one gets it, if it gets anything
    let (first, again) = first_of_each(candidates);
    let mut settled = settle(conn, caller, first, Slug::generate, now).await?;
    settled.extend(settle(conn, caller, again, Slug::generate, now).await?);
    for (candidate, result) in settled {
        let Candidate { at, id, host, slug, .. } = candidate;
        results[at] = Some(result.map(|()| {
            made.insert(id);
            keys.push(format!("{host}/{slug}"));
            Imported { id, tracked_url: tracked_url_of(shared, host, &slug) }
        }));
    }
    announce(conn, caller, &made, now).await?;
    Ok((results, keys))
}

/// The domain that a link is to stand under.
fn domain_of<'a>(
    wanted: &Wanted,
    by_host: &HashMap<&Host, &'a Domain>,
    default: Option<&'a Domain>,
) -> Result<(&'a Host, DomainId)> {
    let domain = match &wanted.domain {
        Some(host) => by_host.get(host).copied().ok_or_else(|| foreign_domain(host))?,
        None => default.ok_or_else(no_domain)?,
    };
    check_verified("/domain", domain)?;
    Ok((&domain.host, domain.id))
}

/// The candidates that are the first ones to want their names, and the others.
fn first_of_each(candidates: Vec<Candidate<'_>>) -> (Vec<Candidate<'_>>, Vec<Candidate<'_>>) {
    let (mut slugs, mut external_ids) = (HashSet::new(), HashSet::new());
    candidates.into_iter().partition(|candidate| {
        let has_new_slug = slugs.insert((candidate.domain_id, candidate.slug.clone()));
        let external_id = candidate.options.labels.external_id.as_deref();
        let has_new_id = external_id.is_none_or(|id| external_ids.insert(id));
        has_new_slug && has_new_id
    })
}

/// Inserts the links, and draws slugs again that are taken, until each is made or has its reason.
async fn settle<'a>(
    conn: &mut Connection,
    caller: &Caller,
    mut left: Vec<Candidate<'a>>,
    draw: impl Fn(model::link::LinkKind) -> Slug,
    now: DateTime<Utc>,
) -> Result<Vec<(Candidate<'a>, Result<()>)>> {
    // two batches that want the same names wait for each other in one order
    left.sort_by(|a, b| {
        let key = |c: &Candidate<'a>| (c.options.labels.external_id.as_deref(), c.domain_id);
        key(a).cmp(&key(b)).then_with(|| a.slug.cmp(&b.slug))
    });
    let mut settled = Vec::with_capacity(left.len());
    let (workspace_id, created_by) = (caller.workspace_id, caller.actor());
    for _ in 0..=SLUG_DRAWS_MAX {
        if left.is_empty() {
            break;
        }
        let row = |c: &Candidate<'a>| (c.id, c.domain_id, c.slug.clone(), c.options);
        let owned: Vec<_> = left.iter().map(row).collect();
        let new: Vec<Row<'_>> = owned
            .iter()
            .map(|(id, domain_id, slug, options)| Row {
                id: *id,
                domain_id: *domain_id,
                slug,
                options,
                created_by: &created_by,
            })
            .collect();
        let made = rows::insert(conn, workspace_id, &new, now).await?;
        let (done, refused): (Vec<_>, Vec<_>) = left.into_iter().partition(|c| made.contains(&c.id));
        settled.extend(done.into_iter().map(|candidate| (candidate, Ok(()))));
        let taken = taken_ids(conn, workspace_id, &refused).await?;
        left = Vec::new();
        for mut candidate in refused {
            let external_id = candidate.options.labels.external_id.as_deref();
            if external_id.is_some_and(|id| taken.contains(id)) {
                settled.push((candidate, Err(external_id_taken())));
            } else if candidate.is_drawn {
                candidate.slug = draw(candidate.options.kind);
                left.push(candidate);
            } else {
                let error = slug_taken(&candidate.slug, candidate.host);
                settled.push((candidate, Err(error)));
            }
        }
    }
    let taken = left.into_iter().map(|candidate| {
        let error = slug_taken(&candidate.slug, candidate.host);
        (candidate, Err(error))
    });
    settled.extend(taken);
    Ok(settled)
}

async fn taken_ids(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    refused: &[Candidate<'_>],
) -> Result<HashSet<String>> {
    let external_ids: Vec<&str> =
        refused.iter().filter_map(|candidate| candidate.options.labels.external_id.as_deref()).collect();
    if external_ids.is_empty() {
        return Ok(HashSet::new());
    }
    Ok(rows::taken_external_ids(conn, workspace_id, &external_ids).await?)
}

/// One event and one entry of the audit log for the batch: a hundred thousand of them would drown what else happens.
async fn announce(
    conn: &mut Connection,
    caller: &Caller,
    made: &BTreeSet<LinkId>,
    now: DateTime<Utc>,
) -> Result<()> {
    let (Some(first), Some(last)) = (made.first(), made.last()) else { return Ok(()) };
    let event = json!({"ids": made, "actor": caller.actor()});
    events::announce(conn, caller.workspace_id, "link.imported", event, now).await?;
    let details = json!({"links": made.len(), "last": last});
    audit(conn, Change { caller, now, action: "link.imported", subject: first.to_string(), details }).await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use testkit::{TestDatabase, given};

    use super::*;

    fn slug(text: &str) -> Slug {
        text.parse().expect(text)
    }

    /// Settles links that all draw `taken` first, then what `draw` says; tells their slugs, or that they have none.
    async fn settled(links: usize, draw: impl Fn() -> String) -> Vec<Option<String>> {
        let database = TestDatabase::new().await;
        let mut conn = store::connect(&database.settings()).await.expect("a connection");
        let workspace_id = given::workspace(&mut conn).await;
        let domain = given::domain(&mut conn, workspace_id, "a.example").await;
        let options = LinkOptions::to("https://example.com/".parse().expect("a URL"));
        let candidate = |at| Candidate {
            at,
            id: LinkId::generate(),
            domain_id: domain.id,
            host: &domain.host,
            slug: slug("taken"),
            is_drawn: true,
            options: &options,
        };
        let candidates = (0..links).map(candidate).collect();

        let key = given::api_key(&mut conn, workspace_id).await;
        let key = store::api_keys::find_by_hash(&mut conn, &key.hash()).await.expect("no error");
        let caller = Caller::from(key.expect("it is there"));

        let settled = settle(&mut conn, &caller, candidates, |_| slug(&draw()), now()).await;

        let mut settled = settled.expect("no error");
        settled.sort_by_key(|(candidate, _)| candidate.at);
        settled.into_iter().map(|(candidate, made)| made.ok().map(|()| candidate.slug.to_string())).collect()
    }

    #[tokio::test]
    async fn a_slug_that_was_drawn_and_is_taken_is_drawn_again() {
        let draws = Cell::new(0);

        let slugs = settled(3, || {
            draws.set(draws.get() + 1);
            ["one", "taken", "two"][draws.get() - 1].to_owned()
        })
        .await;

        assert_eq!(slugs, [Some("taken".into()), Some("one".into()), Some("two".into())]);
        assert_eq!(draws.get(), 3);
    }

    #[tokio::test]
    async fn drawing_ends_when_every_slug_is_taken() {
        assert_eq!(settled(2, || "taken".to_owned()).await, [Some("taken".into()), None]);
    }
}
