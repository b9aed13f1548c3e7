//! What a redirect asks: which link a host and a slug lead to, with what its workspace has decided for it.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Text};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::link::{Tracking, TrackingSays};
use model::privacy::SignalPolicies;
use model::{DestinationUrl, Host, Link, LinkId, Slug, SlugCase, TypedSlug, WorkspaceId};

use crate::domains::slug_case;
use crate::link_row::{Row, unreadable};
use crate::schema::{domains, links, settings};
use crate::settings::{signals_of, treatment_of};
use crate::statement::expression;
use crate::{Connection, QueryError, QueryResult};

#[derive(Queryable, Selectable)]
#[diesel(table_name = settings)]
struct Decided {
    is_tracking: bool,
    address_treatment: String,
    fallback_url: Option<String>,
    app_schemes: Vec<String>,
    is_anonymous: bool,
    gpc_policy: String,
    dnt_policy: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = domains)]
struct OfDomain {
    hsts_max_age: Option<i32>,
    slug_case: String,
    blocked_at: Option<DateTime<Utc>>,
    fallback_url: Option<String>,
}

impl OfDomain {
    /// One that cannot be read is none: links under the domain are followed all the same.
    fn fallback_url(&self) -> Option<DestinationUrl> {
        self.fallback_url.as_deref()?.parse().ok()
    }
}

/// What the workspace says of the recording of a link's channel, in SQL.
const CHANNEL_TRACKING: &str = "settings.channel_tracking ->> links.channel";

/// And of its campaign.
const CAMPAIGN_TRACKING: &str = "settings.campaign_tracking ->> links.campaign_id";

/// Where visitors go of a link that leads nowhere, in SQL.
const FALLBACK_URL: &str = "COALESCE(links.expired_url, domains.fallback_url, settings.fallback_url)";

/// Whether a URL leads to a host under which the workspace serves links: whoever follows could go round in circles. It is
/// refused when a link is saved; here it matters for domains that were added later. A URL with a port leads to something else,
/// and all that are saved are written in one way.
pub(crate) fn leads_back(url: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM domains led WHERE led.workspace_id = domains.workspace_id AND led.verified_at IS NOT NULL \
         AND led.host = rtrim(substring({url} from '^https?://([^/:?#]+)(?:[/?#]|$)'), '.'))"
    )
}

/// Whether a URL leads to a host that an operator has blocked as a destination, or below one; each name is found by its key.
fn leads_to_blocked(url: &str) -> String {
    let led = format!(r"rtrim(substring({url} from '^https?://(\[[^]]+\]|[^/:?#]+)'), '.')");
    format!(
        "EXISTS (SELECT 1 FROM string_to_array({led}, '.') labels, generate_subscripts(labels, 1) n, blocked_destinations blocked \
         WHERE blocked.host = array_to_string(labels[n:], '.'))"
    )
}

/// Whether a fallback is not to be served. It may have been there before what it leads to was blocked.
fn leads_wrong(url: &str) -> String {
    format!("({} OR {})", leads_back(url), leads_to_blocked(url))
}

/// What the workspace says of the recording of a link's channel and campaign, if anything.
type Said = (Option<String>, Option<String>);

/// A link's row, its domain, what its workspace decided of all links and of those of its channel and campaign, whether it leads
/// back to tracked links, and whether its fallback does or leads to what is blocked.
type Found = (Row, OfDomain, Option<Decided>, Said, (bool, bool));

/// The link that this host and slug lead to. One that leads to a tracked link leads nowhere, as if it were switched off. Archived links lead nowhere.
pub async fn find_for_redirect(conn: &mut Connection, host: &Host, slug: &Slug) -> QueryResult<Option<Link>> {
    let found: Option<Found> = links::table
        .inner_join(domains::table)
        .left_join(settings::table.on(settings::workspace_id.eq(links::workspace_id)))
        .filter(domains::host.eq(host.as_str()).and(domains::verified_at.is_not_null()))
        .filter(links::slug.eq(slug.as_str()).and(links::archived_at.is_null()))
        .select((
            Row::as_select(),
            OfDomain::as_select(),
            Option::<Decided>::as_select(),
            (expression::<Nullable<Text>>(CHANNEL_TRACKING), expression::<Nullable<Text>>(CAMPAIGN_TRACKING)),
            (
                expression::<Bool>(leads_back("links.original_url")),
                expression::<Bool>(leads_wrong(FALLBACK_URL)),
            ),
        ))
        .first(conn)
        .await
        .optional()?;
    let read = |(row, domain, decided, said, (is_loop, is_fallback_wrong)): Found| {
        let link_id = LinkId::from_uuid(row.id);
        let link = read(row, domain, (decided, said), host, slug);
        let mut link = link.map_err(|source| UnreadableLink { link_id, source })?;
        link.enabled &= !is_loop;
        link.fallback_url = link.fallback_url.filter(|_| !is_fallback_wrong);
        Ok(link)
    };
    let link: Result<_, UnreadableLink> = found.map(read).transpose();
    link.map_err(|error| QueryError::DeserializationError(Box::new(error)))
}

/// A link that does not hold what it should.
#[derive(Debug, thiserror::Error)]
#[error("link {link_id} cannot be read")]
struct UnreadableLink {
    link_id: LinkId,
    source: QueryError,
}

/// A host name and whose links are served under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedDomain {
    /// The domain.
    pub host: Host,
    /// Who it belongs to.
    pub workspace_id: WorkspaceId,
    /// Whether the workspace has anything recorded.
    pub is_tracking: bool,
    /// Seconds in which browsers are to reach it over https alone; `None`: as the server is set.
    pub hsts_max_age: Option<u32>,
    /// Whether capital letters in slugs tell its links apart.
    pub slug_case: SlugCase,
    /// Where visitors go of a slug that no link has; `None`: they see a page that says so.
    pub fallback_url: Option<DestinationUrl>,
}

/// The link that a tracked URL with this host and this slug, as somebody typed it, leads to. With `any_host` a host that no
/// domain has is served as the default one (`links.any_host`).
pub async fn find_as_typed(
    conn: &mut Connection,
    host: &Host,
    typed: &TypedSlug,
    any_host: bool,
) -> QueryResult<Option<Link>> {
    let served = if any_host { serving_domain(conn, host).await? } else { domain(conn, host).await? };
    match served {
        Some(domain) => find_for_redirect(conn, &domain.host, typed.of(domain.slug_case)).await,
        None => Ok(None),
    }
}

/// The domain with this host name, if it is someone's.
pub async fn domain(conn: &mut Connection, host: &Host) -> QueryResult<Option<ServedDomain>> {
    Ok(serving_domain(conn, host).await?.filter(|domain| domain.host == *host))
}

/// The domain whose links are served under `host`: its own, if it is someone's, else the default domain (the oldest, if
/// several workspaces have one).
pub async fn serving_domain(conn: &mut Connection, host: &Host) -> QueryResult<Option<ServedDomain>> {
    let is_it = domains::host.eq(host.as_str());
    let found: Option<(String, Uuid, OfDomain, Option<bool>, bool)> = domains::table
        .left_join(settings::table.on(settings::workspace_id.eq(domains::workspace_id)))
        .filter(is_it.or(domains::is_default).and(domains::verified_at.is_not_null()))
        .order((is_it.desc(), domains::id))
        .select((
            domains::host,
            domains::workspace_id,
            OfDomain::as_select(),
            settings::is_tracking.nullable(),
            expression::<Bool>(leads_wrong("domains.fallback_url")),
        ))
        .first(conn)
        .await
        .optional()?;
    let Some((host, workspace_id, domain, is_tracking, is_fallback_wrong)) = found else { return Ok(None) };
    // a fallback is as much the owner's as what was blocked
    let has_fallback = !is_fallback_wrong && domain.blocked_at.is_none();
    Ok(Some(ServedDomain {
        host: Host::kept(host),
        workspace_id: WorkspaceId::from_uuid(workspace_id),
        is_tracking: is_tracking.unwrap_or(true),
        hsts_max_age: domain.hsts_max_age.and_then(|seconds| u32::try_from(seconds).ok()),
        slug_case: slug_case(&domain.slug_case),
        fallback_url: domain.fallback_url().filter(|_| has_fallback),
    }))
}

fn read(
    row: Row,
    domain: OfDomain,
    (decided, said): (Option<Decided>, Said),
    host: &Host,
    slug: &Slug,
) -> QueryResult<Link> {
    let decided = decided.unwrap_or_else(|| Decided {
        is_tracking: true,
        address_treatment: String::new(),
        fallback_url: None,
        app_schemes: Vec::new(),
        is_anonymous: false,
        gpc_policy: SignalPolicies::default().gpc.as_str().to_owned(),
        dnt_policy: SignalPolicies::default().dnt.as_str().to_owned(),
    });
    let options = row.options.read()?;
    // one that the workspace allows no more leads nowhere, as if it were switched off
    let url = &options.original_url;
    let is_allowed = url.is_web() || decided.app_schemes.iter().any(|scheme| scheme == url.url().scheme());
    let fallback_url = decided.fallback_url.as_deref().map(str::parse).transpose();
    let fallback_url = fallback_url.map_err(unreadable("settings.fallback_url"))?;
    let says = |kept: Option<String>| kept.as_deref().map(Tracking::of_kept).unwrap_or_default();
    let (recording, recording_decided_by) = TrackingSays {
        is_workspace_tracking: decided.is_tracking,
        is_workspace_anonymous: decided.is_anonymous,
        channel: says(said.0),
        campaign: says(said.1),
        link: options.tracking,
    }
    .decided();
    Ok(Link {
        id: LinkId::from_uuid(row.id),
        workspace_id: WorkspaceId::from_uuid(row.workspace_id),
        kind: options.kind,
        revision: u32::try_from(row.revision).map_err(unreadable("revision"))?,
        domain: host.clone(),
        slug: slug.clone(),
        original_url: options.original_url,
        utm: options.utm,
        labels: options.labels,
        sent_at: options.sent_at,
        status_code: options.status_code,
        query_mode: options.query_mode,
        password: options.password,
        enabled: options.enabled && is_allowed,
        starts_at: options.starts_at,
        expires_at: options.expires_at,
        max_clicks: options.max_clicks,
        is_exhausted: row.exhausted_at.is_some(),
        fallback_url: options.expired_url.or(domain.fallback_url()).or(fallback_url),
        recording,
        recording_decided_by,
        signals: signals_of(&decided.gpc_policy, &decided.dnt_policy),
        address_treatment: treatment_of(&decided.address_treatment),
        preview: options.preview,
        hsts_max_age: domain.hsts_max_age.and_then(|seconds| u32::try_from(seconds).ok()),
        slug_case: slug_case(&domain.slug_case),
        is_blocked: row.blocked_at.is_some() || domain.blocked_at.is_some(),
    })
}
