//! Looks for the record that proves whose a domain is.

use model::domain_proof::{ProofFailure, can_have_record, judge, record_name, record_value};
use model::{DomainId, Host};
use store::domains::{self, Domain};
use store::{AsyncConnection as _, domain_proofs, workspaces};

use super::domains::told;
use super::endpoint_url::begin_look_up;
use super::settings::notify;
use super::{Change, announce, now};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::settings::DomainVerification;

/// Looks the record of a domain up, and uses the domain from then on when it is there. A domain that is proven stays so: its
/// record may go, and a name server may fail.
///
/// # Errors
/// When there is no such domain, another workspace has the name proven, or as many names of the workspace are being looked up as may
/// be.
pub async fn verify(shared: &Shared, caller: &Caller, id: DomainId) -> Result<Domain, ApiError> {
    let mut conn = shared.pool.get().await?;
    let domain = domains::find(&mut conn, caller.workspace_id, id).await?;
    // a look-up takes seconds
    drop(conn);
    let domain = domain.ok_or(ApiError::NotFound("domain"))?;
    if domain.is_verified() {
        return Ok(domain);
    }
    let shown = match shared.domain_verification {
        DomainVerification::Required => {
            let _running = begin_look_up(shared, caller)?;
            look_up(shared, &domain).await
        }
        DomainVerification::Off => Ok(()),
    };
    let mut conn = shared.pool.get().await?;
    if let Err(failure) = shown {
        let failed = domain_proofs::failed(&mut conn, caller.workspace_id, id, failure, now()).await?;
        return failed.ok_or(ApiError::NotFound("domain"));
    }
    let kept = conn
        .transaction::<_, ApiError, _>(async |conn| {
            workspaces::lock(conn, caller.workspace_id).await?;
            let kept = domain_proofs::verified(conn, caller.workspace_id, id, now()).await;
            let kept = kept.map_err(|error| match store::is_taken(&error) {
                true => host_taken(&domain.host),
                false => error.into(),
            })?;
            let kept = kept.ok_or(ApiError::NotFound("domain"))?;
            announce(conn, Change::of(caller, now(), "domain.verified", id, told(&kept))).await?;
            Ok(kept)
        })
        .await?;
    drop(conn);
    notify(shared, caller).await;
    Ok(kept)
}

async fn look_up(shared: &Shared, domain: &Domain) -> Result<(), ProofFailure> {
    if !can_have_record(&domain.host) {
        return Err(ProofFailure::NoName);
    }
    let lookup = (shared.ask_texts)(record_name(&domain.host));
    let texts = match tokio::time::timeout(shared.settings.resolve_timeout, lookup).await {
        Ok(Ok(texts)) => texts,
        _ => return Err(ProofFailure::NoAnswer),
    };
    judge(texts.iter().map(String::as_str), &domain.proof.token)
}

/// Refuses what only a domain may do that links are served under.
///
/// # Errors
/// [`ApiError::Invalid`] says how to prove it.
pub(super) fn check_verified(pointer: &str, domain: &Domain) -> Result<(), ApiError> {
    if domain.is_verified() {
        return Ok(());
    }
    let Domain { id, host, proof, .. } = domain;
    let detail = format!(
        "`{host}` is not verified yet: set the TXT record `{}` to `{}`, then POST /v1/domains/{id}/verify",
        record_name(host),
        record_value(&proof.token),
    );
    Err(ApiError::field(pointer, "domain_unverified", detail))
}

/// Somebody has the name.
pub(super) fn host_taken(host: &Host) -> ApiError {
    ApiError::Conflict {
        code: "host_taken",
        pointer: Some("/host"),
        detail: format!("`{host}` is in use already"),
    }
}
