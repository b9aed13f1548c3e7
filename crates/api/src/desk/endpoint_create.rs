//! New webhook endpoints, each with its first signing secret.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use model::event_type::EventTypePattern;
use model::secret::SigningSecret;
use model::{EndpointId, SecretId};
use store::endpoints::{self, DeliveryMode, Endpoint, EndpointOptions, Kind, State};
use store::secrets::Secret;
use store::{AsyncConnection as _, Connection};

use super::endpoint_body::NewEndpoint;
use super::endpoint_order;
use super::endpoint_url::check_url;
use super::endpoints::{
    SWITCHED_OFF, as_json, change, check_batch, check_delivery, notify, seal_headers, vanished,
};
use super::idempotency::{Done, IdempotencyKey, Once, gone};
use super::{announce, endpoint_auth, limit_reached, now, payload_body, secrets, signing_keys};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// An endpoint that was just made.
pub struct Created {
    /// It.
    pub endpoint: Endpoint,
    /// The signing secret that it was made with, while that signs and to whom it may be shown.
    pub secret: Option<SigningSecret>,
    /// Which that is.
    pub secret_id: Option<SecretId>,
    /// What its owner should know.
    pub warnings: Vec<String>,
}

/// Makes an endpoint and its first secret; with a key that came before, tells of the one that it made, as it is now.
///
/// # Errors
/// When the key came with another request, its address is forbidden, or the workspace has as many as it may have.
pub async fn create(
    shared: &Shared,
    caller: &Caller,
    new: NewEndpoint,
    key: Option<&IdempotencyKey>,
) -> Result<Done<Created>, ApiError> {
    let now = now();
    let once = Once::new(caller, key, "endpoint.create", now);
    if key.is_some() {
        let mut conn = shared.pool.get().await?;
        if let Some(before) = once.before(&mut conn).await? {
            return created_before(shared, &mut conn, caller, before, now).await.map(Done::Before);
        }
    }
    let mut warnings = check_url(shared, caller, &new.url, None).await?;
    if let Some(auth) = &new.auth {
        warnings.extend(endpoint_auth::check(shared, caller, auth, None).await?);
    }
    let id = EndpointId::generate_at(now);
    let (state, reason) = match new.enabled {
        Some(false) => (State::Disabled, Some(SWITCHED_OFF)),
        _ => (State::Active, None),
    };
    let options = new.into_options(shared, caller, id);
    check_batch(&options)?;
    check_delivery(&options)?;
    endpoint_order::check(&options)?;
    endpoint_auth::check_fit(shared, caller, id, &options)?;
    if options.is_pulled() {
        // nothing is sent there
        warnings.clear();
    }
    let secret = SigningSecret::generate();
    let sealed = shared.keyring.seal_secret(caller.workspace_id, id, &secret);
    let mut conn = shared.pool.get().await?;
    let done = conn
        .transaction::<_, ApiError, _>(async |conn| {
            if let Some(before) = once.claim(conn).await? {
                return created_before(shared, conn, caller, before, now).await.map(Done::Before);
            }
            let max = shared.settings.endpoints_max;
            if endpoints::count(conn, caller.workspace_id).await? >= max.into() {
                return Err(limit_reached(max, "endpoints"));
            }
            endpoints::insert(conn, caller.workspace_id, id, &options, state, reason, now).await?;
            let kept = store::secrets::insert(conn, caller.workspace_id, id, &sealed, now).await?;
            if options.signs_v1a {
                signing_keys::complete(shared, conn, caller, id, now).await?;
            }
            let endpoint = endpoints::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
            announce(conn, change(caller, now, "endpoint.created", &endpoint)).await?;
            once.made(conn, id.uuid()).await?;
            Ok(Done::Now(Created { endpoint, secret: Some(secret), secret_id: Some(kept.id), warnings }))
        })
        .await?;
    drop(conn);
    if let Done::Now(_) = done {
        notify(shared, caller, id).await;
    }
    Ok(done)
}

/// What a request that is repeated made.
async fn created_before(
    shared: &Shared,
    conn: &mut Connection,
    caller: &Caller,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Created, ApiError> {
    let id = EndpointId::from_uuid(id);
    let endpoint = endpoints::find(conn, caller.workspace_id, id).await?.ok_or_else(gone)?;
    let is_first = |secret: &Secret| secret.created_at == endpoint.created_at;
    let revealed = match secrets::reveal_again(shared, conn, caller, id, is_first, now).await {
        // somebody else's request: the endpoint is shown without it
        Err(ApiError::Forbidden(_)) => None,
        revealed => revealed?,
    };
    let (secret, secret_id) = revealed.map(|revealed| (revealed.secret, revealed.id)).unzip();
    Ok(Created { endpoint, secret, secret_id, warnings: Vec::new() })
}

impl NewEndpoint {
    fn into_options(self, shared: &Shared, caller: &Caller, id: EndpointId) -> EndpointOptions {
        EndpointOptions {
            kind: Kind::Webhook,
            url: self.url,
            description: self.description,
            event_types: self.event_types.unwrap_or_else(|| vec![EventTypePattern::link_clicked()]),
            filter: self.filter.as_ref().map(as_json),
            headers_sealed: seal_headers(shared, caller, id, self.headers.as_ref()),
            max_in_flight: self.max_in_flight,
            rate_per_second: self.rate_per_second,
            rate_burst: self.rate_burst,
            settle_ms: self.settle_ms.unwrap_or_default(),
            timeout_ms: self.timeout_ms,
            retry_schedule: self.retry_schedule,
            permanent_statuses: self.permanent_statuses.unwrap_or_default(),
            auto_disable: self.auto_disable.unwrap_or(true),
            payload: Some(payload_body::made(self.payload)),
            batch: self.batch,
            delivery: self.delivery.unwrap_or(DeliveryMode::Push),
            ordering: self.ordering.unwrap_or_default(),
            checkpoint_minutes: self.checkpoint_minutes,
            signs_v1a: self.signatures.is_some_and(|wanted| wanted.has_v1a),
            auth_sealed: self.auth.map(|auth| endpoint_auth::seal(shared, caller, id, &auth)),
        }
    }
}
