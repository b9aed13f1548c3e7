//! Whether an endpoint wants what is sent to it: `deliver` posts a challenge, and the answer has to give it back.

use model::delivery::TestRequest;
use model::{EndpointId, Token};
use store::AsyncConnection as _;
use store::endpoints::Endpoint;
use store::{endpoints, ownership};
use webhook::verification;

use super::endpoints::{change, not_found, notify, vanished};
use super::test_requests::{Tested, attempted, begin_test, check_sent_to};
use super::{audit, now};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// How a challenge was answered.
pub struct Challenged {
    /// The endpoint as it is now.
    pub endpoint: Endpoint,
    /// The exchange.
    pub tested: Tested,
    /// Why it shows nothing; `None`: the endpoint is verified.
    pub failure: Option<Failure>,
}

/// Why an answer shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It is no 2xx, or there is none.
    NotAccepted,
    /// It does not give the challenge back.
    NotEchoed,
    /// The endpoint was changed meanwhile: it may have been at another server when it answered.
    Moved,
}

impl Failure {
    /// The stable word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAccepted => "not_accepted",
            Self::NotEchoed => "not_echoed",
            Self::Moved => "moved",
        }
    }

    /// For people.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::NotAccepted => "the request was not answered with 2xx",
            Self::NotEchoed => {
                "the answer does not give the challenge back: answer with the JSON {\"challenge\": …}, or with data.challenge of \
                 the request as plain text"
            }
            Self::Moved => "the endpoint was changed meanwhile: ask again",
        }
    }
}

/// Challenges an endpoint, and notes it when the answer gives the challenge back.
///
/// # Errors
/// When there is no such endpoint, it fetches its events, as many tests of the workspace are under way as may be, or no `deliver` answers.
pub async fn verify(shared: &Shared, caller: &Caller, id: EndpointId) -> Result<Challenged, ApiError> {
    let now = now();
    let running = begin_test(shared, caller)?;
    let challenge = Token::generate().reveal();
    let mut conn = shared.pool.get().await?;
    let endpoint = endpoints::find(&mut conn, caller.workspace_id, id).await?.ok_or_else(not_found)?;
    check_sent_to(&endpoint)?;
    audit(&mut conn, change(caller, now, "endpoint.challenged", &endpoint)).await?;
    drop(conn);
    let request = TestRequest {
        workspace_id: caller.workspace_id,
        endpoint_id: id,
        challenge: Some(challenge.clone()),
    };
    let tested = attempted(shared, request, running).await?;
    let answer = tested.attempt.response_body.as_deref().unwrap_or_default();
    let failure = match tested.attempt.is_success() {
        false => Some(Failure::NotAccepted),
        true if !verification::is_echoed(&challenge, answer) => Some(Failure::NotEchoed),
        true => None,
    };
    if failure.is_some() {
        return Ok(Challenged { endpoint, tested, failure });
    }
    let (endpoint, failure) = keep(shared, caller, id, endpoint.revision).await?;
    if failure.is_none() {
        notify(shared, caller, id).await;
    }
    Ok(Challenged { endpoint, tested, failure })
}

/// Notes that an endpoint gave its challenge back that had this revision when it was challenged: one that was changed since may have
/// been at a server of its owner's for just as long as it took to answer, and is at somebody else's again.
async fn keep(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    revision: i64,
) -> Result<(Endpoint, Option<Failure>), ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        if !endpoints::lock(conn, caller.workspace_id, id).await? {
            return Err(not_found());
        }
        let endpoint = endpoints::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
        if endpoint.revision != revision {
            return Ok((endpoint, Some(Failure::Moved)));
        }
        ownership::verified(conn, caller.workspace_id, id, now).await?;
        audit(conn, change(caller, now, "endpoint.verified", &endpoint)).await?;
        let endpoint = endpoints::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
        Ok((endpoint, None))
    })
    .await
}
