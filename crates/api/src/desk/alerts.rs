//! The alert URL of a workspace: where it hears of webhooks that need a person. It is an endpoint of another kind.

use serde_json::Value;
use utoipa::ToSchema;

use model::event_type::EventTypePattern;
use model::secret::SigningSecret;
use model::{AlertFormat, EndpointId, EndpointUrl, SecretId};
use store::endpoints::{self, Endpoint, EndpointOptions, Kind, State};
use store::{AsyncConnection as _, Connection, secrets, workspaces};

use super::endpoint_move::Told;
use super::endpoint_url::check_url;
use super::endpoints::{came_into, change, notify, vanished};
use super::entity_tag::{check_match, etag};
use super::{announce, endpoint_auth, now};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields::{self, Fields, FromFields, Wrong, parsed};

/// A change of the settings that are about the workspace: what is left out stays as it is.
#[derive(ToSchema)]
pub struct WorkspaceChange {
    /// The alert URL; `null` removes it.
    #[schema(value_type = Option<NewAlert>)]
    pub alert: Option<Option<NewAlert>>,
}

impl FromFields for WorkspaceChange {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { alert: fields.change_or_clear("alert", alert) })
    }
}

fn alert(value: &Value) -> Result<NewAlert, Wrong> {
    fields::nested(value)
}

/// Where and how a workspace wants to be alerted.
#[derive(ToSchema)]
pub struct NewAlert {
    /// Where alerts are posted, by the same rules as webhooks.
    #[schema(value_type = String, example = "https://hooks.slack.com/services/T000/B000/XXXX")]
    pub url: EndpointUrl,
    /// `webhook`: the body of the event, as in `GET /v1/event-types`. `slack`: `{"text": "…"}`, a sentence with what to
    /// do next. Default: `webhook`.
    #[schema(value_type = Option<String>, example = "slack")]
    pub format: Option<AlertFormat>,
}

impl FromFields for NewAlert {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let url = fields.required("url", parsed);
        let format = fields.optional("format", parsed);
        Some(Self { url: url?, format })
    }
}

/// An alert URL that was just saved.
pub struct Saved {
    /// It.
    pub endpoint: Endpoint,
    /// Its signing secret, if it was made just now.
    pub secret: Option<SigningSecret>,
    /// Which that is.
    pub secret_id: Option<SecretId>,
    /// What its owner should know.
    pub warnings: Vec<String>,
}

/// The alert URL of the workspace, if it has one.
///
/// # Errors
/// When the database is away.
pub async fn find(shared: &Shared, caller: &Caller) -> Result<Option<Endpoint>, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(endpoints::find_alert(&mut conn, caller.workspace_id).await?)
}

/// What `If-Match` compares of the settings of a workspace.
pub fn revision(saved: Option<&Endpoint>) -> String {
    saved.map_or_else(|| "none".to_owned(), |endpoint| format!("{}.{}", endpoint.id, endpoint.revision))
}

/// Names the alert URL, or changes it: its secret stays. One that was paused or disabled gets alerts again.
///
/// # Errors
/// When its address is forbidden, or the settings are not those that `If-Match` names.
pub async fn save(
    shared: &Shared,
    caller: &Caller,
    if_match: Option<&str>,
    wanted: NewAlert,
) -> Result<Saved, ApiError> {
    let before = find(shared, caller).await?;
    let url_before = before.as_ref().map(|endpoint| &endpoint.options.url);
    let warnings = check_url(shared, caller, &wanted.url, url_before).await?;
    let mut conn = shared.pool.get().await?;
    let (endpoint, made) = conn
        .transaction::<_, ApiError, _>(async |conn| {
            workspaces::lock(conn, caller.workspace_id).await?;
            let saved = lock(conn, caller).await?;
            check_match(if_match, revision(saved.as_ref()))?;
            match saved {
                Some(endpoint) => {
                    if Told::at(&endpoint.options, &wanted.url).is_any() {
                        let detail = "is at another server than `auth` or `headers` of the endpoint were saved for: change \
                             them together at `/v1/webhook-endpoints`";
                        return Err(ApiError::field("/url", "invalid", detail));
                    }
                    Ok((update(shared, conn, caller, endpoint, &wanted).await?, None))
                }
                None => {
                    let (endpoint, made) = insert(shared, conn, caller, &wanted).await?;
                    Ok((endpoint, Some(made)))
                }
            }
        })
        .await?;
    drop(conn);
    notify(shared, caller, endpoint.id).await;
    let (secret, secret_id) = made.unzip();
    Ok(Saved { endpoint, secret, secret_id, warnings })
}

/// The alert URL of the workspace, locked until the transaction ends: who changes it as an endpoint locks nothing else.
async fn lock(conn: &mut Connection, caller: &Caller) -> Result<Option<Endpoint>, ApiError> {
    let Some(seen) = endpoints::find_alert(conn, caller.workspace_id).await? else { return Ok(None) };
    endpoints::lock(conn, caller.workspace_id, seen.id).await?;
    // as it is by now, or not any more
    Ok(endpoints::find_alert(conn, caller.workspace_id).await?)
}

async fn insert(
    shared: &Shared,
    conn: &mut Connection,
    caller: &Caller,
    wanted: &NewAlert,
) -> Result<(Endpoint, (SigningSecret, SecretId)), ApiError> {
    let now = now();
    let id = EndpointId::generate_at(now);
    let kind = Kind::Alert(wanted.format.unwrap_or_default());
    let options = EndpointOptions {
        description: Some("Alerts".to_owned()),
        ..EndpointOptions::to(kind, wanted.url.clone(), EventTypePattern::alerts())
    };
    let secret = SigningSecret::generate();
    let sealed = shared.keyring.seal_secret(caller.workspace_id, id, &secret);
    endpoints::insert(conn, caller.workspace_id, id, &options, State::Active, None, now).await?;
    let kept = secrets::insert(conn, caller.workspace_id, id, &sealed, now).await?;
    let endpoint = endpoints::find_alert(conn, caller.workspace_id).await?.ok_or_else(vanished)?;
    announce(conn, change(caller, now, "endpoint.created", &endpoint)).await?;
    Ok((endpoint, (secret, kept.id)))
}

async fn update(
    shared: &Shared,
    conn: &mut Connection,
    caller: &Caller,
    endpoint: Endpoint,
    wanted: &NewAlert,
) -> Result<Endpoint, ApiError> {
    let (now, id, was_active) = (now(), endpoint.id, endpoint.state == State::Active);
    // what is left out stays as it is
    let format = wanted.format.or(endpoint.options.kind.alert_format()).unwrap_or_default();
    let options = EndpointOptions {
        kind: Kind::Alert(format),
        url: wanted.url.clone(),
        event_types: EventTypePattern::alerts(),
        ..endpoint.options
    };
    endpoint_auth::check_fit(shared, caller, id, &options)?;
    endpoints::update(conn, caller.workspace_id, id, &options, now).await?;
    if !was_active {
        endpoints::set_state(conn, caller.workspace_id, id, State::Active, None, now).await?;
    }
    let endpoint = endpoints::find_alert(conn, caller.workspace_id).await?.ok_or_else(vanished)?;
    announce(conn, change(caller, now, "endpoint.updated", &endpoint)).await?;
    if !was_active {
        announce(conn, change(caller, now, came_into(State::Active), &endpoint)).await?;
    }
    Ok(endpoint)
}

/// Removes the alert URL; without one nothing happens.
///
/// # Errors
/// When the settings are not those that `If-Match` names.
pub async fn remove(shared: &Shared, caller: &Caller, if_match: Option<&str>) -> Result<(), ApiError> {
    let saved = find(shared, caller).await?;
    check_match(if_match, revision(saved.as_ref()))?;
    let Some(endpoint) = saved else { return Ok(()) };
    // one that somebody changes meanwhile is not what was looked at
    let seen = if_match.map(|_| etag(endpoint.revision));
    super::endpoints::delete(shared, caller, endpoint.id, seen.as_deref()).await
}
