//! How the order of an endpoint is shown, and what holds it up.

use serde::Serialize;
use utoipa::ToSchema;

use model::Ordering;
use store::lines::HoldUp;

use super::time;

/// In which order an endpoint gets what it is owed.
#[derive(Serialize, ToSchema)]
pub struct OrderingView {
    /// `none`; `per_link`: the clicks of a link one after the other; `strict`: everything one after the other.
    mode: &'static str,
    /// After how many attempts a delivery is given up so that the next one goes; `null`: strict order stops there.
    skip_after: Option<u32>,
}

impl From<Ordering> for OrderingView {
    fn from(ordering: Ordering) -> Self {
        Self { mode: ordering.mode(), skip_after: ordering.skip_after() }
    }
}

/// A delivery that has failed, and that others wait for.
#[derive(Serialize, ToSchema)]
pub struct HoldUpView {
    #[schema(example = "dlv_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    delivery_id: String,
    /// The link whose clicks wait. Strict order holds up everything.
    link_id: Option<String>,
    sequence: u64,
    attempt_count: u32,
    /// Its first attempt that failed since it was last accepted, if it was.
    since: String,
}

impl From<HoldUp> for HoldUpView {
    fn from(hold_up: HoldUp) -> Self {
        Self {
            delivery_id: hold_up.delivery_id.to_string(),
            link_id: hold_up.link_id.map(|id| id.to_string()),
            sequence: hold_up.sequence,
            attempt_count: hold_up.attempt_count,
            since: time(hold_up.since),
        }
    }
}
