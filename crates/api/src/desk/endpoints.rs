//! Webhook endpoints: find, change, pause, resume, remove.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use bus::{Changed, Table};
use model::EndpointId;
use store::AsyncConnection as _;
use store::endpoints::{self, DeliveryMode, Endpoint, EndpointOptions, Kind, State};
use webhook::shape::Format;
use webhook::{CustomHeaders, Filter};

use super::endpoint_body::EndpointChange;
use super::endpoint_order;
use super::endpoint_url::check_url;
use super::entity_tag::check_match;
use super::{Change, announce, endpoint_auth, endpoint_move, now, payload_body, signing_keys};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::page::PageRequest;

/// Why an endpoint is disabled that its owner switched off.
pub(super) const SWITCHED_OFF: &str = "switched off";

/// The workspace's endpoint with this id.
///
/// # Errors
/// When there is none.
pub async fn find(shared: &Shared, caller: &Caller, id: EndpointId) -> Result<Endpoint, ApiError> {
    let mut conn = shared.pool.get().await?;
    endpoints::find(&mut conn, caller.workspace_id, id).await?.ok_or_else(not_found)
}

/// One page of the workspace's endpoints and one row more.
///
/// # Errors
/// When the database is away.
pub async fn list(
    shared: &Shared,
    caller: &Caller,
    page: &PageRequest<EndpointId>,
) -> Result<Vec<Endpoint>, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(endpoints::list(&mut conn, caller.workspace_id, page.before, page.rows()).await?)
}

/// Changes an endpoint; tells it and what its owner should know.
///
/// # Errors
/// When it is not there, has another revision, or its new address is forbidden.
pub async fn update(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    if_match: Option<&str>,
    wanted: EndpointChange,
) -> Result<(Endpoint, Vec<String>), ApiError> {
    let now = now();
    let mut saved = None;
    if wanted.url.is_some() || wanted.auth.is_some() {
        let found = find(shared, caller, id).await?;
        // before names are looked up for what is refused anyway
        check_match(if_match, found.revision)?;
        saved = Some(found);
    }
    let saved_url = saved.as_ref().map(|endpoint| &endpoint.options.url);
    let mut warnings = match &wanted.url {
        Some(url) => check_url(shared, caller, url, saved_url).await?,
        None => Vec::new(),
    };
    if let Some(Some(auth)) = &wanted.auth {
        warnings.extend(endpoint_auth::check(shared, caller, auth, saved.as_ref()).await?);
    }
    let enabled = wanted.enabled;
    let mut conn = shared.pool.get().await?;
    let endpoint = conn
        .transaction::<_, ApiError, _>(async |conn| {
            if !endpoints::lock(conn, caller.workspace_id, id).await? {
                return Err(not_found());
            }
            let endpoint = endpoints::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
            check_match(if_match, endpoint.revision)?;
            check_kind(endpoint.options.kind, &wanted)?;
            endpoint_move::check(&endpoint.options, &wanted)?;
            let was_disabled = endpoint.state == State::Disabled;
            let options = wanted.apply(shared, caller, id, endpoint.options);
            check_batch(&options)?;
            check_delivery(&options)?;
            endpoint_order::check(&options)?;
            endpoint_auth::check_fit(shared, caller, id, &options)?;
            endpoints::update(conn, caller.workspace_id, id, &options, now).await?;
            if options.signs_v1a {
                signing_keys::complete(shared, conn, caller, id, now).await?;
            }
            let state = match enabled {
                Some(true) if was_disabled => Some((State::Active, None)),
                Some(false) if !was_disabled => Some((State::Disabled, Some(SWITCHED_OFF))),
                _ => None,
            };
            if let Some((state, reason)) = state {
                endpoints::set_state(conn, caller.workspace_id, id, state, reason, now).await?;
            }
            let endpoint = endpoints::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
            announce(conn, change(caller, now, "endpoint.updated", &endpoint)).await?;
            if let Some((state, _)) = state {
                announce(conn, change(caller, now, came_into(state), &endpoint)).await?;
            }
            Ok(endpoint)
        })
        .await?;
    drop(conn);
    notify(shared, caller, id).await;
    if endpoint.options.is_pulled() {
        // nothing is sent there
        warnings.clear();
    }
    Ok((endpoint, warnings))
}

/// The alert URL chooses neither what it is told nor more of how than its format.
fn check_kind(kind: Kind, wanted: &EndpointChange) -> Result<(), ApiError> {
    if kind == Kind::Webhook {
        return Ok(());
    }
    let choices = [("/event_types", wanted.event_types.is_some()), ("/filter", wanted.filter.is_some())];
    if let Some((pointer, _)) = choices.into_iter().find(|(_, is_chosen)| *is_chosen) {
        let detail = "the alert URL is told of what needs a person, and of nothing else";
        return Err(ApiError::field(pointer, "invalid", detail));
    }
    if wanted.payload.is_some() {
        let detail = "the alert URL has a format of its own, in the settings of the workspace";
        return Err(ApiError::field("/payload", "invalid", detail));
    }
    if wanted.batch.flatten().is_some() {
        return Err(ApiError::field("/batch", "invalid", "each alert goes alone: people read them"));
    }
    Ok(())
}

/// A batch has one format around it.
pub(super) fn check_batch(options: &EndpointOptions) -> Result<(), ApiError> {
    if options.batch.is_some() && payload_body::shape(options.payload.as_ref()).format != Format::default() {
        let detail = "batches come as Standard Webhooks: leave `payload.format` at `standard_webhooks`, or let each event go alone";
        return Err(ApiError::field("/batch", "invalid", detail));
    }
    Ok(())
}

impl EndpointChange {
    fn apply(
        self,
        shared: &Shared,
        caller: &Caller,
        id: EndpointId,
        mut options: EndpointOptions,
    ) -> EndpointOptions {
        fn set<T>(place: &mut T, change: Option<T>) {
            if let Some(value) = change {
                *place = value;
            }
        }
        set(&mut options.url, self.url);
        set(&mut options.description, self.description);
        set(&mut options.event_types, self.event_types);
        set(&mut options.filter, self.filter.map(|filter| filter.as_ref().map(as_json)));
        let sealed = self.headers.map(|headers| seal_headers(shared, caller, id, headers.as_ref()));
        set(&mut options.headers_sealed, sealed);
        set(&mut options.max_in_flight, self.max_in_flight);
        set(&mut options.rate_per_second, self.rate_per_second);
        set(&mut options.rate_burst, self.rate_burst);
        set(&mut options.retry_schedule, self.retry_schedule);
        set(&mut options.settle_ms, self.settle_ms.map(Option::unwrap_or_default));
        set(&mut options.timeout_ms, self.timeout_ms);
        set(&mut options.permanent_statuses, self.permanent_statuses);
        set(&mut options.auto_disable, self.auto_disable);
        let payload = self.payload.map(|change| payload_body::changed(options.payload.as_ref(), change));
        set(&mut options.payload, payload.map(Some));
        set(&mut options.batch, self.batch);
        set(&mut options.delivery, self.delivery);
        set(&mut options.ordering, self.ordering.map(Option::unwrap_or_default));
        set(&mut options.checkpoint_minutes, self.checkpoint_minutes);
        set(&mut options.signs_v1a, self.signatures.map(|wanted| wanted.has_v1a));
        let sealed = self.auth.map(|auth| auth.map(|auth| endpoint_auth::seal(shared, caller, id, &auth)));
        set(&mut options.auth_sealed, sealed);
        options
    }
}

/// Refuses ways of getting events that contradict what else an endpoint is.
pub(super) fn check_delivery(options: &EndpointOptions) -> Result<(), ApiError> {
    let refuse = |pointer: &str, detail: &str| Err(ApiError::field(pointer, "invalid", detail));
    match options.delivery {
        DeliveryMode::Push => Ok(()),
        DeliveryMode::Pull if options.kind != Kind::Webhook => {
            refuse("/delivery", "alerts are sent: somebody is to hear of them")
        }
        DeliveryMode::Pull if options.settle_ms > 0 => refuse(
            "/settle_ms",
            "must be 0 where delivery is `pull`: events are there at once, and what is learned later is another event",
        ),
        DeliveryMode::Pull if options.batch.is_some() => refuse(
            "/batch",
            "must be null where delivery is `pull`: how many events an answer holds is asked for with it",
        ),
        DeliveryMode::Pull => Ok(()),
    }
}

/// Holds back what an endpoint is owed until it is resumed.
///
/// # Errors
/// When there is none, or it is disabled.
pub async fn pause(shared: &Shared, caller: &Caller, id: EndpointId) -> Result<Endpoint, ApiError> {
    set_state(shared, caller, id, State::Paused).await
}

/// Lets a paused endpoint have what waits, and a disabled one what is clicked from now on.
///
/// # Errors
/// When there is none.
pub async fn resume(shared: &Shared, caller: &Caller, id: EndpointId) -> Result<Endpoint, ApiError> {
    set_state(shared, caller, id, State::Active).await
}

async fn set_state(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    state: State,
) -> Result<Endpoint, ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    let endpoint = conn
        .transaction::<_, ApiError, _>(async |conn| {
            if !endpoints::lock(conn, caller.workspace_id, id).await? {
                return Err(not_found());
            }
            let endpoint = endpoints::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
            if endpoint.state == state {
                return Ok(endpoint);
            }
            if state == State::Paused && endpoint.state == State::Disabled {
                return Err(ApiError::Conflict {
                    code: "endpoint_disabled",
                    pointer: None,
                    detail: "a disabled endpoint cannot be paused: nothing waits for it".to_owned(),
                });
            }
            endpoints::set_state(conn, caller.workspace_id, id, state, None, now).await?;
            let endpoint = endpoints::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
            announce(conn, change(caller, now, came_into(state), &endpoint)).await?;
            Ok(endpoint)
        })
        .await?;
    drop(conn);
    notify(shared, caller, id).await;
    Ok(endpoint)
}

/// Removes an endpoint; its deliveries stay readable.
///
/// # Errors
/// When there is none, or it has another revision.
pub async fn delete(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    if_match: Option<&str>,
) -> Result<(), ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        if !endpoints::lock(conn, caller.workspace_id, id).await? {
            return Err(not_found());
        }
        let endpoint = endpoints::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
        check_match(if_match, endpoint.revision)?;
        endpoints::delete(conn, caller.workspace_id, id, now).await?;
        announce(conn, change(caller, now, "endpoint.removed", &endpoint)).await
    })
    .await?;
    drop(conn);
    notify(shared, caller, id).await;
    Ok(())
}

/// Custom headers of an endpoint.
///
/// # Errors
/// When they were sealed with a key that is gone.
pub fn open_headers(
    shared: &Shared,
    caller: &Caller,
    endpoint: &Endpoint,
) -> Result<CustomHeaders, ApiError> {
    match &endpoint.options.headers_sealed {
        None => Ok(CustomHeaders::default()),
        Some(sealed) => CustomHeaders::open(&shared.keyring, caller.workspace_id, endpoint.id, sealed)
            .map_err(|error| ApiError::Internal(anyhow::Error::new(error).context("failed to open headers"))),
    }
}

pub(super) fn seal_headers(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    headers: Option<&CustomHeaders>,
) -> Option<Vec<u8>> {
    let headers = headers.filter(|headers| !headers.is_empty())?;
    Some(headers.seal(&shared.keyring, caller.workspace_id, id))
}

pub(super) fn as_json(filter: &Filter) -> Value {
    serde_json::to_value(filter).expect("a filter is JSON")
}

pub(super) fn change<'a>(
    caller: &'a Caller,
    now: DateTime<Utc>,
    action: &'a str,
    endpoint: &Endpoint,
) -> Change<'a> {
    let details = json!({
        "url": endpoint.options.url,
        "state": endpoint.state.as_str(),
        "reason": endpoint.state_reason,
        "revision": endpoint.revision,
    });
    Change { caller, now, action, subject: endpoint.id.to_string(), details }
}

/// The event of an endpoint that comes into a state.
pub(super) const fn came_into(state: State) -> &'static str {
    match state {
        State::Active => "endpoint.resumed",
        State::Paused => "endpoint.paused",
        State::Disabled => "endpoint.disabled",
    }
}

/// Tells `deliver` that an endpoint or its secrets changed.
pub async fn notify(shared: &Shared, caller: &Caller, id: EndpointId) {
    let keys = vec![id.to_string()];
    let changed = Changed { table: Table::Endpoints, workspace_id: caller.workspace_id, keys };
    shared.bus.notify(&changed).await;
}

/// No such endpoint.
pub fn not_found() -> ApiError {
    ApiError::NotFound("webhook endpoint")
}

pub(super) fn vanished() -> ApiError {
    ApiError::Internal(anyhow::anyhow!("a row that is locked by this transaction was not found"))
}
