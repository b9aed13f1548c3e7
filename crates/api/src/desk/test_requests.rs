//! Tests of endpoints: `deliver` is asked to send something, and says how it went.

use anyhow::Context as _;

use bus::RequestError;
use model::EndpointId;
use model::delivery::{Attempt, TestReply, TestRequest};
use store::endpoints::{self, Endpoint};

use super::endpoints::{change, not_found};
use super::{audit, now};
use crate::app::Shared;
use crate::at_once::Running;
use crate::auth::Caller;
use crate::error::ApiError;

/// Tests and challenges of one workspace at a time: `deliver` makes a few at a time for all workspaces together.
pub const TESTS_OF_WORKSPACE_MAX: usize = 2;

/// How a test went.
pub struct Tested {
    /// The attempt that `deliver` made.
    pub attempt: Attempt,
    /// The bytes that were sent.
    pub request_body: String,
}

/// Asks `deliver` to send a sample event, and waits for how it went.
///
/// # Errors
/// When there is no such endpoint, it fetches its events, [`TESTS_OF_WORKSPACE_MAX`] are under way, or no `deliver` answers.
pub async fn send(shared: &Shared, caller: &Caller, id: EndpointId) -> Result<Tested, ApiError> {
    let now = now();
    let running = begin_test(shared, caller)?;
    let mut conn = shared.pool.get().await?;
    let endpoint = endpoints::find(&mut conn, caller.workspace_id, id).await?.ok_or_else(not_found)?;
    check_sent_to(&endpoint)?;
    audit(&mut conn, change(caller, now, "endpoint.tested", &endpoint)).await?;
    drop(conn);
    let request = TestRequest { workspace_id: caller.workspace_id, endpoint_id: id, challenge: None };
    attempted(shared, request, running).await
}

/// The right to have `deliver` send something to an endpoint.
pub(super) fn begin_test(shared: &Shared, caller: &Caller) -> Result<Running, ApiError> {
    let too_many = ApiError::Busy(
        "as many tests and challenges of the workspace's endpoints are under way as may be at once: wait for one to end",
    );
    shared.tests.begin(caller.workspace_id).map_err(|_| too_many)
}

/// Refuses to send anything to an endpoint that fetches its events.
pub(super) fn check_sent_to(endpoint: &Endpoint) -> Result<(), ApiError> {
    if !endpoint.options.is_pulled() {
        return Ok(());
    }
    Err(ApiError::Conflict {
        code: "endpoint_fetches",
        pointer: None,
        detail: format!(
            "nothing is sent to an endpoint that fetches its events (`delivery` is `pull`): click a tracked link, then GET \
             /v1/webhook-endpoints/{}/events",
            endpoint.id
        ),
    })
}

/// Asks `deliver` to send a sample or a challenge, and waits for how it went.
pub(super) async fn attempted(
    shared: &Shared,
    request: TestRequest,
    running: Running,
) -> Result<Tested, ApiError> {
    let (bus, limit) = (shared.bus.clone(), shared.settings.test_timeout);
    // a task of its own: a client who goes away does not make room before the test is over
    let asking = actix_web::rt::spawn(async move {
        let _running = running;
        bus.request_test(&request, limit).await
    });
    let reply = asking.await.context("asking for a test panicked").map_err(ApiError::Internal)?;
    match reply.map_err(unanswered)? {
        TestReply::Attempted { attempt, request_body } => Ok(Tested { attempt, request_body }),
        TestReply::NoSuchEndpoint => Err(not_found()),
        TestReply::Failed { detail } => Err(ApiError::Away(format!("the test could not be sent: {detail}"))),
    }
}

fn unanswered(error: RequestError) -> ApiError {
    ApiError::Away(format!("the test could not be sent: {error}"))
}
