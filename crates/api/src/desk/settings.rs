//! Link settings of a workspace: what holds for all of its links.

use serde_json::json;
use utoipa::ToSchema;

use bus::{Changed, Table};
use model::privacy::SignalPolicy;
use model::url::AppScheme;
use model::{AddressTreatment, DestinationUrl};
use store::settings::{self, LinkSettings};
use store::{AsyncConnection as _, workspaces};

use super::entity_tag::check_match;
use super::link_rules::check_loop;
use super::tracking::{self, Say};
use super::{Change, announce, now};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, boolean, list, parsed, word};

/// Most schemes that links of a workspace may lead to beside `https` and `http`.
const APP_SCHEMES_MAX: usize = 16;

const SIGNAL_POLICIES: &[(&str, SignalPolicy)] = &[
    ("ignore", SignalPolicy::Ignore),
    ("redact", SignalPolicy::Redact),
    ("anonymous", SignalPolicy::Anonymous),
    ("off", SignalPolicy::Off),
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
    /// Where visitors of a closed link go whose domain names nothing of its own; `null`: a small page.
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
