//! Link settings of a workspace, and the domains that its links are served under.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use bus::{Changed, Table};
use model::privacy::SignalPolicy;
use model::url::AppScheme;
use model::{AddressTreatment, DestinationUrl, DomainId, Host, SlugCase};
use store::domains::{self, Domain, Recasing, Removal};
use store::settings::{self, LinkSettings};
use store::{AsyncConnection as _, Connection, workspaces};

use super::domain_proof::{check_verified, host_taken};
use super::idempotency::{Done, IdempotencyKey, Once, gone};
use super::link_rules::check_loop;
use super::tracking::{self, Say};
use super::{Change, announce, check_match, now};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, boolean, list, number, parsed, word};
use crate::settings::DomainVerification;

/// Longest time in which browsers are to reach a domain over https alone, in seconds: two years.
const HSTS_MAX: u32 = 63_072_000;

/// Most schemes that links of a workspace may lead to beside `https` and `http`.
const APP_SCHEMES_MAX: usize = 16;

/// Bytes of the digest that stands for a domain's revision.
const DIGEST_BYTES: usize = 8;

const SIGNAL_POLICIES: &[(&str, SignalPolicy)] = &[
    ("ignore", SignalPolicy::Ignore),
    ("redact", SignalPolicy::Redact),
    ("anonymous", SignalPolicy::Anonymous),
    ("off", SignalPolicy::Off),
];

/// Whether capital letters in slugs tell links apart.
const CASES: &[(&str, SlugCase)] = &[
    (SlugCase::Insensitive.as_str(), SlugCase::Insensitive),
    (SlugCase::Sensitive.as_str(), SlugCase::Sensitive),
];

const TREATMENTS: &[(&str, AddressTreatment)] = &[
    ("drop", AddressTreatment::Drop),
    ("truncate", AddressTreatment::Truncate),
    ("keep", AddressTreatment::Keep),
];

/// A change of the link settings: what is left out stays as it is.
#[derive(Debug, ToSchema)]
pub struct SettingsChange {
    /// Off: every link redirects and records nothing.
    tracking: Option<bool>,
    /// `true`: clicks of every link are recorded without what tells who it was, as those of a link whose `tracking` is
    /// `anonymous`.
    anonymous: Option<bool>,
    /// What is recorded of the clicks of a channel's links, by channel: `full`, `anonymous` or `off`, as a link says it of itself in
    /// `tracking`; `null`: nothing of its own. Channels that are left out stay as they are; at most 500 may say something. Of link,
    /// campaign and channel the nearest counts, and the workspace's `tracking` and `anonymous` are above them all.
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>, example = json!({"sms": "off"}))]
    channel_tracking: Option<Vec<Say>>,
    /// The same by campaign.
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>, example = json!({"spring": "anonymous"}))]
    campaign_tracking: Option<Vec<Say>>,
    /// What becomes of a click whose browser sends `Sec-GPC: 1`: `redact` drops address and User-Agent and keeps the ids that you
    /// gave, `anonymous` keeps nothing that tells who it was, `off` redirects and records nothing, `ignore` heeds it not. A link
    /// with `max_clicks` counts all of its clicks: there `off` is `anonymous`.
    #[schema(value_type = Option<String>, example = "redact")]
    gpc_policy: Option<SignalPolicy>,
    /// The same of `DNT: 1`.
    #[schema(value_type = Option<String>, example = "ignore")]
    dnt_policy: Option<SignalPolicy>,
    /// What is kept of visitors' addresses once their place is known: `drop`, `truncate` (/24 and /48) or `keep`.
    #[schema(value_type = Option<String>, example = "drop")]
    address_policy: Option<AddressTreatment>,
    /// Where visitors of a closed link go; `null`: a small page.
    #[schema(value_type = Option<String>, example = "https://example.com/")]
    fallback_url: Option<Option<DestinationUrl>>,
    /// What links may lead to beside `https` and `http`, all of it: at most 16 schemes like `mailto`, `tel`, `sms`, or an app's own.
    /// Links to a scheme that is taken out lead nowhere until it is back.
    #[schema(value_type = Option<Vec<String>>, example = json!(["mailto", "tel"]))]
    app_schemes: Option<Vec<AppScheme>>,
}

impl FromFields for SettingsChange {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            tracking: fields.change("tracking", boolean),
            anonymous: fields.change("anonymous", boolean),
            channel_tracking: fields.change("channel_tracking", tracking::says),
            campaign_tracking: fields.change("campaign_tracking", tracking::says),
            gpc_policy: fields.change("gpc_policy", word(SIGNAL_POLICIES)),
            dnt_policy: fields.change("dnt_policy", word(SIGNAL_POLICIES)),
            address_policy: fields.change("address_policy", word(TREATMENTS)),
            fallback_url: fields.change_or_clear("fallback_url", parsed),
            app_schemes: fields.change("app_schemes", list(APP_SCHEMES_MAX, parsed)),
        })
    }
}

/// A domain to be added.
#[derive(Debug, ToSchema)]
pub struct NewDomain {
    /// The host name, which must lead to `redirect`.
    #[schema(value_type = String, example = "go.example.com")]
    host: Host,
    /// Make links under it unless they name another. The first domain is the default one anyway. Where a proof is required, a new
    /// domain cannot be the default one yet.
    default: Option<bool>,
    /// For how many seconds browsers are to reach it over https alone (`Strict-Transport-Security`), at most two years. Set it only
    /// when it has a certificate, and will keep one. Default: as the server is set.
    #[schema(maximum = 63_072_000)]
    hsts_max_age: Option<u32>,
    /// Whether capital letters in slugs tell links apart: `insensitive` (`/Sale` and `/sale` are one link) or `sensitive` (they
    /// are two). It stays as it is from the first link on. Default: `insensitive`.
    #[schema(value_type = Option<String>, example = "insensitive")]
    case: Option<SlugCase>,
}

impl FromFields for NewDomain {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let host = fields.required("host", parsed);
        let default = fields.optional("default", boolean);
        let hsts_max_age = fields.optional("hsts_max_age", number::<0, HSTS_MAX>);
        let case = fields.optional("case", word(CASES));
        Some(Self { host: host?, default, hsts_max_age, case })
    }
}

/// A change of a domain.
#[derive(Debug, ToSchema)]
pub struct DomainChange {
    /// `true`: make links under it unless they name another.
    default: Option<bool>,
    /// For how many seconds browsers are to reach it over https alone; `null`: as the server is set.
    #[schema(value_type = Option<u32>, maximum = 63_072_000)]
    hsts_max_age: Option<Option<u32>>,
    /// Whether capital letters in slugs tell links apart: `insensitive` or `sensitive`. Once a link was made under the domain,
    /// archived or not, another value is refused.
    #[schema(value_type = Option<String>, example = "sensitive")]
    case: Option<SlugCase>,
}

impl FromFields for DomainChange {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            default: fields.change("default", boolean),
            hsts_max_age: fields.change_or_clear("hsts_max_age", number::<0, HSTS_MAX>),
            case: fields.change("case", word(CASES)),
        })
    }
}

/// The link settings of the workspace.
///
/// # Errors
/// When the database is away.
pub async fn find(shared: &Shared, caller: &Caller) -> Result<LinkSettings, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(settings::find(&mut conn, caller.workspace_id).await?)
}

/// Changes the link settings.
///
/// # Errors
/// When they have another revision, or the fallback URL would be a loop.
pub async fn update(
    shared: &Shared,
    caller: &Caller,
    if_match: Option<&str>,
    wanted: SettingsChange,
) -> Result<LinkSettings, ApiError> {
    let now = now();
    let channels = tracking::told(wanted.channel_tracking.as_deref());
    let campaigns = tracking::told(wanted.campaign_tracking.as_deref());
    let mut conn = shared.pool.get().await?;
    let saved = conn
        .transaction::<_, ApiError, _>(async |conn| {
            workspaces::lock(conn, caller.workspace_id).await?;
            let mut saved = settings::find(conn, caller.workspace_id).await?;
            check_match(if_match, saved.revision)?;
            saved.is_tracking = wanted.tracking.unwrap_or(saved.is_tracking);
            saved.is_anonymous = wanted.anonymous.unwrap_or(saved.is_anonymous);
            tracking::apply("/channel_tracking", &mut saved.channel_tracking, wanted.channel_tracking)?;
            tracking::apply("/campaign_tracking", &mut saved.campaign_tracking, wanted.campaign_tracking)?;
            saved.signals.gpc = wanted.gpc_policy.unwrap_or(saved.signals.gpc);
            saved.signals.dnt = wanted.dnt_policy.unwrap_or(saved.signals.dnt);
            saved.address_treatment = wanted.address_policy.unwrap_or(saved.address_treatment);
            if let Some(fallback_url) = wanted.fallback_url
                && fallback_url != saved.fallback_url
            {
                if let Some(url) = &fallback_url {
                    check_loop(shared, conn, caller.workspace_id, "/fallback_url", url).await?;
                }
                saved.fallback_url = fallback_url;
            }
            if let Some(mut app_schemes) = wanted.app_schemes {
                app_schemes.sort();
                app_schemes.dedup();
                saved.app_schemes = app_schemes;
            }
            saved.revision = settings::save(conn, caller.workspace_id, &saved, now).await?;
            let details = json!({
                "tracking": saved.is_tracking,
                "anonymous": saved.is_anonymous,
                "channel_tracking": channels,
                "campaign_tracking": campaigns,
                "gpc_policy": saved.signals.gpc,
                "dnt_policy": saved.signals.dnt,
                "address_policy": saved.address_treatment,
                "fallback_url": saved.fallback_url,
                "app_schemes": scheme_words(&saved),
            });
            let subject = caller.workspace_id.to_string();
            announce(conn, Change { caller, now, action: "settings.updated", subject, details }).await?;
            Ok(saved)
        })
        .await?;
    drop(conn);
    notify(shared, caller).await;
    Ok(saved)
}

/// The schemes that links may lead to beside `https` and `http`.
pub fn scheme_words(saved: &LinkSettings) -> Vec<String> {
    saved.app_schemes.iter().map(ToString::to_string).collect()
}

/// Tells caches that anything of the workspace may have changed: which hosts are its own as well.
pub(super) async fn notify(shared: &Shared, caller: &Caller) {
    let changed = Changed { table: Table::Settings, workspace_id: caller.workspace_id, keys: Vec::new() };
    shared.bus.notify(&changed).await;
}

/// The domains of the workspace, the default one first.
///
/// # Errors
/// When the database is away.
pub async fn domains(shared: &Shared, caller: &Caller) -> Result<Vec<Domain>, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(domains::list(&mut conn, caller.workspace_id, shared.settings.domains_max.into()).await?)
}

/// The workspace's domain with this id.
///
/// # Errors
/// When there is none.
pub async fn find_domain(shared: &Shared, caller: &Caller, id: DomainId) -> Result<Domain, ApiError> {
    let mut conn = shared.pool.get().await?;
    domains::find(&mut conn, caller.workspace_id, id).await?.ok_or(ApiError::NotFound("domain"))
}

/// What `If-Match` compares of a domain, whose changes are not counted: a digest of all that can be changed.
pub fn domain_revision(domain: &Domain) -> String {
    let digest = Sha256::digest(told(domain).to_string());
    digest.iter().take(DIGEST_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// Adds a domain, which is used at once unless it takes a proof first; with a key that came before, tells of the one that it added.
///
/// # Errors
/// When the key came with another request, the host name is taken, or the workspace has as many as it may have.
pub async fn add_domain(
    shared: &Shared,
    caller: &Caller,
    new: NewDomain,
    key: Option<&IdempotencyKey>,
) -> Result<Done<Domain>, ApiError> {
    let now = now();
    let once = Once::new(caller, key, "domain.create", now);
    let mut conn = shared.pool.get().await?;
    let done = conn
        .transaction::<_, ApiError, _>(async |conn| {
            if let Some(before) = once.claim(conn).await? {
                let domain = domains::find(conn, caller.workspace_id, DomainId::from_uuid(before)).await?;
                return domain.map(Done::Before).ok_or_else(gone);
            }
            workspaces::lock(conn, caller.workspace_id).await?;
            let max = shared.settings.domains_max;
            let present = domains::list(conn, caller.workspace_id, max.into()).await?;
            if present.len() >= max as usize {
                return Err(limit_reached(max, "domains"));
            }
            let added = match shared.domain_verification {
                DomainVerification::Required => {
                    domains::claim(conn, caller.workspace_id, &new.host, now).await?
                }
                DomainVerification::Off => domains::insert(conn, caller.workspace_id, &new.host, now).await?,
            };
            let mut domain = added.ok_or_else(|| host_taken(&new.host))?;
            if new.default == Some(true) && !domain.is_default {
                check_verified("/default", &domain)?;
                domain.is_default = domains::make_default(conn, caller.workspace_id, domain.id).await?;
            }
            if new.hsts_max_age.is_some() {
                domains::set_hsts(conn, caller.workspace_id, domain.id, new.hsts_max_age).await?;
                domain.hsts_max_age = new.hsts_max_age;
            }
            if let Some(case) = new.case {
                set_case(conn, caller, &mut domain, case).await?;
            }
            announce(conn, domain_change(caller, now, "domain.created", domain.id, told(&domain))).await?;
            once.made(conn, domain.id.uuid()).await?;
            Ok(Done::Now(domain))
        })
        .await?;
    drop(conn);
    if let Done::Now(_) = done {
        notify(shared, caller).await;
    }
    Ok(done)
}

/// Changes a domain: whether links are made under it unless they name another, what browsers are told, and whether capital
/// letters in slugs tell its links apart.
///
/// # Errors
/// When there is none, it is not as `If-Match` says, it is to be the default one no more, or its links were found in another way so far.
pub async fn change_domain(
    shared: &Shared,
    caller: &Caller,
    id: DomainId,
    if_match: Option<&str>,
    change: DomainChange,
) -> Result<Domain, ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    let domain = conn
        .transaction::<_, ApiError, _>(async |conn| {
            workspaces::lock(conn, caller.workspace_id).await?;
            let domain = domains::find(conn, caller.workspace_id, id).await?;
            let mut domain = domain.ok_or(ApiError::NotFound("domain"))?;
            check_match(if_match, domain_revision(&domain))?;
            let before = domain.clone();
            match change.default {
                Some(true) if !domain.is_default => {
                    check_verified("/default", &domain)?;
                    domain.is_default = domains::make_default(conn, caller.workspace_id, id).await?;
                }
                Some(false) if domain.is_default => {
                    let detail = "there is always a default domain: make another one the default instead";
                    return Err(ApiError::field("/default", "invalid", detail));
                }
                _ => {}
            }
            if let Some(max_age) = change.hsts_max_age.filter(|max_age| *max_age != domain.hsts_max_age) {
                domains::set_hsts(conn, caller.workspace_id, id, max_age).await?;
                domain.hsts_max_age = max_age;
            }
            if let Some(case) = change.case {
                set_case(conn, caller, &mut domain, case).await?;
            }
            if domain != before {
                announce(conn, domain_change(caller, now, "domain.updated", id, told(&domain))).await?;
            }
            Ok(domain)
        })
        .await?;
    drop(conn);
    notify(shared, caller).await;
    Ok(domain)
}

async fn set_case(
    conn: &mut Connection,
    caller: &Caller,
    domain: &mut Domain,
    case: SlugCase,
) -> Result<(), ApiError> {
    match domains::set_slug_case(conn, caller.workspace_id, domain.id, case).await? {
        Recasing::Done => domain.slug_case = case,
        Recasing::NotFound => return Err(ApiError::NotFound("domain")),
        Recasing::HasLinks => {
            return Err(ApiError::Conflict {
                code: "domain_in_use",
                pointer: Some("/case"),
                detail:
                    "links are or were served under this domain: how their slugs are compared stays as it is"
                        .to_owned(),
            });
        }
    }
    Ok(())
}

/// Removes a domain under which no link was ever made.
///
/// # Errors
/// When there is none, it is not as `If-Match` says, links were made under it, it is the default one, or it is blocked.
pub async fn remove_domain(
    shared: &Shared,
    caller: &Caller,
    id: DomainId,
    if_match: Option<&str>,
) -> Result<(), ApiError> {
    let now = now();
    let in_use =
        |detail: &str| ApiError::Conflict { code: "domain_in_use", pointer: None, detail: detail.to_owned() };
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        workspaces::lock(conn, caller.workspace_id).await?;
        let domain = domains::find(conn, caller.workspace_id, id).await?;
        check_match(if_match, domain_revision(&domain.ok_or(ApiError::NotFound("domain"))?))?;
        let default = domains::default(conn, caller.workspace_id).await?;
        if default.is_some_and(|domain| domain.id == id) {
            return Err(in_use("the default domain cannot be removed: make another one the default first"));
        }
        match domains::delete(conn, caller.workspace_id, id).await? {
            Removal::Removed => {
                announce(conn, domain_change(caller, now, "domain.removed", id, json!({}))).await
            }
            Removal::NotFound => Err(ApiError::NotFound("domain")),
            Removal::HasLinks => Err(in_use("links are or were served under this domain")),
            Removal::Blocked => Err(ApiError::Conflict {
                code: "domain_blocked",
                pointer: None,
                detail: "who runs the server has blocked this domain: it cannot be removed while it is"
                    .to_owned(),
            }),
        }
    })
    .await?;
    drop(conn);
    notify(shared, caller).await;
    Ok(())
}

/// Too many of something.
pub fn limit_reached(max: u32, what: &str) -> ApiError {
    ApiError::Conflict {
        code: "limit_reached",
        pointer: None,
        detail: format!("the workspace has {max} {what}, as many as it may have"),
    }
}

pub(super) fn told(domain: &Domain) -> Value {
    json!({
        "host": domain.host,
        "default": domain.is_default,
        "hsts_max_age": domain.hsts_max_age,
        "case": domain.slug_case.as_str(),
        "verified": domain.is_verified(),
    })
}

pub(super) fn domain_change<'a>(
    caller: &'a Caller,
    now: chrono::DateTime<chrono::Utc>,
    action: &'a str,
    id: DomainId,
    details: Value,
) -> Change<'a> {
    Change { caller, now, action, subject: id.to_string(), details }
}
