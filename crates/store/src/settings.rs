//! What a workspace has decided about its links: tracking, visitors' addresses, fallback.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use model::privacy::{SignalPolicies, SignalPolicy};
use model::url::AppScheme;
use model::{AddressTreatment, DestinationUrl, WorkspaceId};

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
            address_treatment: AddressTreatment::default(),
            signals: SignalPolicies::default(),
            fallback_url: None,
            app_schemes: Vec::new(),
            revision: 0,
        }
    }
}

type Row = (bool, String, Option<String>, Vec<String>, i64, bool, String, String);

/// The link settings of a workspace.
pub async fn find(conn: &mut Connection, workspace_id: WorkspaceId) -> QueryResult<LinkSettings> {
    let row: Option<Row> = settings::table
        .find(workspace_id.uuid())
        .select((
            settings::is_tracking,
            settings::address_treatment,
            settings::fallback_url,
            settings::app_schemes,
            settings::revision,
            settings::is_anonymous,
            settings::gpc_policy,
            settings::dnt_policy,
        ))
        .first(conn)
        .await
        .optional()?;
    let Some((is_tracking, treatment, fallback_url, app_schemes, revision, is_anonymous, gpc, dnt)) = row
    else {
        return Ok(LinkSettings::default());
    };
    Ok(LinkSettings {
        is_tracking,
        is_anonymous,
        address_treatment: treatment_of(&treatment),
        signals: signals_of(&gpc, &dnt),
        fallback_url: fallback_url.as_deref().map(parsed).transpose()?,
        app_schemes: app_schemes.iter().map(|scheme| parsed(scheme)).collect::<QueryResult<_>>()?,
        revision,
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
    let values = (
        settings::is_tracking.eq(wanted.is_tracking),
        settings::address_treatment.eq(treatment_word(wanted.address_treatment)),
        settings::fallback_url.eq(wanted.fallback_url.as_ref().map(DestinationUrl::as_str)),
        settings::app_schemes.eq(&app_schemes),
        settings::is_anonymous.eq(wanted.is_anonymous),
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
