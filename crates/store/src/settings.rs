//! What a workspace has decided about its links: tracking, visitors' addresses, fallback.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use model::link::{DecidedBy, LinkLabels, Recording, Tracking, TrackingSays};
use model::privacy::{SignalPolicies, SignalPolicy};
use model::url::AppScheme;
use model::{AddressTreatment, DestinationUrl, WorkspaceId};

use crate::link_row::unreadable;
use crate::parse::parsed;
use crate::schema::settings;
use crate::{Connection, QueryResult};

/// The link settings of a workspace. One that never saved any has the defaults, at revision 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSettings {
    /// Off: every link redirects and records nothing.
    pub is_tracking: bool,
    /// Clicks of every link are recorded without what tells who it was.
    pub is_anonymous: bool,
    /// What is recorded of the clicks of a channel's links, by channel: those that say something of their own.
    pub channel_tracking: BTreeMap<String, Tracking>,
    /// The same by campaign.
    pub campaign_tracking: BTreeMap<String, Tracking>,
    /// What is kept of visitors' addresses.
    pub address_treatment: AddressTreatment,
    /// What becomes of clicks whose visitors ask for privacy.
    pub signals: SignalPolicies,
    /// Where visitors of a closed link go.
    pub fallback_url: Option<DestinationUrl>,
    /// What links may lead to beside `https` and `http`.
    pub app_schemes: Vec<AppScheme>,
    /// Counts the changes.
    pub revision: i64,
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self {
            is_tracking: true,
            is_anonymous: false,
            channel_tracking: BTreeMap::new(),
            campaign_tracking: BTreeMap::new(),
            address_treatment: AddressTreatment::default(),
            signals: SignalPolicies::default(),
            fallback_url: None,
            app_schemes: Vec::new(),
            revision: 0,
        }
    }
}

impl LinkSettings {
    /// What is recorded of the clicks of a link with these labels and a word of its own, and who decided it.
    pub fn recording_of(&self, labels: &LinkLabels, own: Tracking) -> (Recording, DecidedBy) {
        let said = |of: &BTreeMap<String, Tracking>, name: Option<&String>| {
            name.and_then(|name| of.get(name)).copied().unwrap_or_default()
        };
        let says = TrackingSays {
            is_workspace_tracking: self.is_tracking,
            is_workspace_anonymous: self.is_anonymous,
            channel: said(&self.channel_tracking, labels.channel.as_ref()),
            campaign: said(&self.campaign_tracking, labels.campaign_id.as_ref()),
            link: own,
        };
        says.decided()
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = settings)]
struct Row {
    is_tracking: bool,
    is_anonymous: bool,
    channel_tracking: serde_json::Value,
    campaign_tracking: serde_json::Value,
    address_treatment: String,
    gpc_policy: String,
    dnt_policy: String,
    fallback_url: Option<String>,
    app_schemes: Vec<String>,
    revision: i64,
}

/// The link settings of a workspace.
pub async fn find(conn: &mut Connection, workspace_id: WorkspaceId) -> QueryResult<LinkSettings> {
    let row: Option<Row> =
        settings::table.find(workspace_id.uuid()).select(Row::as_select()).first(conn).await.optional()?;
    let Some(row) = row else { return Ok(LinkSettings::default()) };
    Ok(LinkSettings {
        is_tracking: row.is_tracking,
        is_anonymous: row.is_anonymous,
        channel_tracking: tracking_of(row.channel_tracking).map_err(unreadable("channel_tracking"))?,
        campaign_tracking: tracking_of(row.campaign_tracking).map_err(unreadable("campaign_tracking"))?,
        address_treatment: treatment_of(&row.address_treatment),
        signals: signals_of(&row.gpc_policy, &row.dnt_policy),
        fallback_url: row.fallback_url.as_deref().map(parsed).transpose()?,
        app_schemes: row.app_schemes.iter().map(|scheme| parsed(scheme)).collect::<QueryResult<_>>()?,
        revision: row.revision,
    })
}

/// Saves the settings and counts the change; tells the new revision. Whoever read them before holds
/// [`workspaces::lock`](crate::workspaces::lock) since: a change of one is not to undo a change of another.
pub async fn save(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    wanted: &LinkSettings,
    now: DateTime<Utc>,
) -> QueryResult<i64> {
    let app_schemes: Vec<&str> = wanted.app_schemes.iter().map(AppScheme::as_str).collect();
    let channel_tracking = tracking_words(&wanted.channel_tracking);
    let campaign_tracking = tracking_words(&wanted.campaign_tracking);
    let values = (
        settings::is_tracking.eq(wanted.is_tracking),
        settings::address_treatment.eq(treatment_word(wanted.address_treatment)),
        settings::fallback_url.eq(wanted.fallback_url.as_ref().map(DestinationUrl::as_str)),
        settings::app_schemes.eq(&app_schemes),
        settings::is_anonymous.eq(wanted.is_anonymous),
        settings::channel_tracking.eq(&channel_tracking),
        settings::campaign_tracking.eq(&campaign_tracking),
        settings::gpc_policy.eq(wanted.signals.gpc.as_str()),
        settings::dnt_policy.eq(wanted.signals.dnt.as_str()),
        settings::updated_at.eq(now),
    );
    diesel::insert_into(settings::table)
        .values((settings::workspace_id.eq(workspace_id.uuid()), values))
        .on_conflict(settings::workspace_id)
        .do_update()
        .set((values, settings::revision.eq(settings::revision + 1)))
        .returning(settings::revision)
        .get_result(conn)
        .await
}

fn tracking_of(kept: serde_json::Value) -> serde_json::Result<BTreeMap<String, Tracking>> {
    let words: BTreeMap<String, String> = serde_json::from_value(kept)?;
    Ok(words.into_iter().map(|(name, word)| (name, Tracking::of_kept(&word))).collect())
}

fn tracking_words(by_name: &BTreeMap<String, Tracking>) -> serde_json::Value {
    let words = by_name.iter().map(|(name, tracking)| (name.clone(), tracking.as_str().into()));
    serde_json::Value::Object(words.collect())
}

/// A word of a newer release counts as the policy that tells least of what is recorded.
pub(crate) fn signals_of(gpc: &str, dnt: &str) -> SignalPolicies {
    let policy = |word| SignalPolicy::of_word(word).unwrap_or(SignalPolicy::Anonymous);
    SignalPolicies { gpc: policy(gpc), dnt: policy(dnt) }
}

pub(crate) fn treatment_of(word: &str) -> AddressTreatment {
    match word {
        "keep" => AddressTreatment::Keep,
        "truncate" => AddressTreatment::Truncate,
        _ => AddressTreatment::Drop,
    }
}

const fn treatment_word(treatment: AddressTreatment) -> &'static str {
    match treatment {
        AddressTreatment::Drop => "drop",
        AddressTreatment::Truncate => "truncate",
        AddressTreatment::Keep => "keep",
    }
}
