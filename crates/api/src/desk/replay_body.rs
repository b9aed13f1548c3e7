//! What a request says of a replay.

use chrono::{DateTime, Duration, Utc};
use utoipa::ToSchema;

use model::event_type::EventTypePattern;
use model::{DeliveryId, EndpointId};
use store::replays::{RATE_DEFAULT, RATE_MAX, Selection, What};

use super::link_fields::label;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, boolean, invalid, list, moment, number, parsed, word, wrong};

/// Most deliveries that a replay names one by one.
const DELIVERY_IDS_MAX: usize = 1000;

const STATUSES: &[(&str, What)] = &[("dead", What::Dead), ("delivered", What::Delivered), ("any", What::Any)];

/// A replay to be begun. It needs `endpoint_id`, and `since` or `delivery_ids`.
#[derive(ToSchema)]
pub struct NewReplay {
    /// Whom it is offered to: an endpoint that is not disabled.
    #[schema(value_type = String, example = "whe_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    pub endpoint_id: EndpointId,
    /// Of events at this moment or later.
    #[schema(example = "2026-11-23T00:00:00Z")]
    pub since: Option<DateTime<Utc>>,
    /// Of events before this moment. Default: now.
    pub until: Option<DateTime<Utc>>,
    /// Of events whose newest delivery is `dead`, `delivered`, or `any` of both. Default: `dead`, and `any` with
    /// `delivery_ids`.
    #[schema(value_type = Option<String>, example = "dead")]
    pub status: Option<What>,
    /// `true`: of recorded clicks that the endpoint wants and has no delivery of, also those that it was not owed
    /// because it was disabled or not there yet. One that it is owed and that is less than a minute old is on its way, not
    /// missing. Of days whose deliveries are not kept any more none is: nobody can tell what was delivered then.
    pub missing_only: Option<bool>,
    /// Only events of this type, or beginning with it (`link.*`).
    #[schema(value_type = Option<String>, example = "link.clicked")]
    pub event_type: Option<EventTypePattern>,
    /// Only clicks of this campaign, and what tells of them.
    #[schema(example = "spring")]
    pub campaign_id: Option<String>,
    /// Only these deliveries, at most 1000.
    #[schema(value_type = Option<Vec<String>>)]
    pub delivery_ids: Option<Vec<DeliveryId>>,
    /// Most deliveries a second, 1 to 1000. Default: 100.
    pub rate_per_second: Option<u32>,
    /// `true`: only tell how many match.
    pub dry_run: Option<bool>,
}

impl FromFields for NewReplay {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let endpoint_id = fields.required("endpoint_id", parsed);
        let wanted = Self {
            since: fields.optional("since", moment),
            until: fields.optional("until", moment),
            status: fields.optional("status", word(STATUSES)),
            missing_only: fields.optional("missing_only", boolean),
            event_type: fields.optional("event_type", parsed),
            campaign_id: fields.optional("campaign_id", label),
            delivery_ids: fields.optional("delivery_ids", list(DELIVERY_IDS_MAX, parsed)),
            rate_per_second: fields.optional("rate_per_second", number::<1, RATE_MAX>),
            dry_run: fields.optional("dry_run", boolean),
            endpoint_id: endpoint_id?,
        };
        wanted.check(fields);
        Some(wanted)
    }
}

impl NewReplay {
    /// Its own rate or the default.
    pub fn rate(&self) -> u32 {
        self.rate_per_second.unwrap_or(RATE_DEFAULT)
    }

    /// Which events it is about, asked at `now`.
    ///
    /// # Errors
    /// When the span of time is empty.
    pub fn selection(self, caller: &Caller, now: DateTime<Utc>) -> Result<Selection, ApiError> {
        let delivery_ids = self.delivery_ids.unwrap_or_default();
        // ids carry the moment of their events: without `since` and `until` they say themselves where to look
        let moments = || delivery_ids.iter().map(|id| id.timestamp());
        let after_last = || moments().max().map(|last| last + Duration::milliseconds(1));
        let since = self.since.or_else(|| moments().min()).unwrap_or(now);
        let until = self.until.or_else(after_last).unwrap_or(now);
        if since >= until {
            return Err(ApiError::field("/since", "invalid", "must be before `until`"));
        }
        let by_default = if delivery_ids.is_empty() { What::Dead } else { What::Any };
        let what =
            if self.missing_only == Some(true) { What::Missing } else { self.status.unwrap_or(by_default) };
        Ok(Selection {
            workspace_id: caller.workspace_id,
            endpoint_id: self.endpoint_id,
            what,
            since,
            until,
            event_type: self.event_type,
            campaign_id: self.campaign_id,
            delivery_ids,
        })
    }

    fn check(&self, fields: &mut Fields<'_>) {
        if self.delivery_ids.as_ref().is_some_and(Vec::is_empty) {
            fields.refuse("delivery_ids", invalid("must name at least one delivery"));
        }
        if self.since.is_none() && self.delivery_ids.is_none() {
            fields.refuse("since", wrong("required", "is required, unless `delivery_ids` says which"));
        }
        if self.missing_only == Some(true) {
            let others = [
                ("status", self.status.is_some()),
                ("event_type", self.event_type.is_some()),
                ("delivery_ids", self.delivery_ids.is_some()),
            ];
            for (name, _) in others.into_iter().filter(|(_, is_there)| *is_there) {
                fields
                    .refuse(name, invalid("says nothing of missing clicks: leave it out, or `missing_only`"));
            }
        }
    }
}
