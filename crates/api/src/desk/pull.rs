//! Events that an endpoint fetches itself, whether or not they are sent to it as well: one look, or looks until something is
//! there. The order, and why it passes nothing over, is told in [`store::pulled`].

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;
use utoipa::IntoParams;

use model::{DeliveryId, EndpointId, EventId, WorkspaceId};
use store::pulled::{self, Offered, Position, Pulled, Recorded};
use webhook::{Shape, Site};

use super::{endpoints, now, sent};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, invalid, whole};

/// Events of an answer, unless the request says otherwise.
const LIMIT_DEFAULT: u32 = 50;

/// Most events of an answer: each body can take some ten KB.
const LIMIT_MAX: u32 = 100;

/// Longest wait for an event.
const WAIT_SECONDS_MAX: u32 = 30;

/// What stands before the place in a cursor, so that a later form can be told apart.
const CURSOR_BEGINNING: &str = "p1.";

/// How often who waits looks without being woken: notices can be lost, and there is none for an endpoint that is sent to.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// First pause before another look at what is there and may not be told yet; it doubles up to the other.
const AGAIN_MIN: Duration = Duration::from_millis(50);

/// How long `record` may need for a click whose body was not kept. What is not recorded by then is lost.
const RECORDED_WITHIN: TimeDelta = TimeDelta::minutes(10);

/// Most deliveries of another server that are taken on at a time.
const ADOPTED_MAX: i64 = 10_000;

/// Newest deliveries of an endpoint among which what is there to be fetched is counted.
pub const COUNTED_MAX: i64 = 10_000;

/// Which events are fetched.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
pub struct PullQuery {
    /// The `next_cursor` of the answer before, or the `cursor` of the last event that you have dealt with. Without it: from the
    /// oldest event that is kept.
    after: Option<String>,
    /// Events of an answer, 1 to 100. Default: 50.
    limit: Option<u32>,
    /// Seconds to wait for an event if there is none, 0 to 30. Default: 0.
    wait: Option<u32>,
}

/// What a query for events says.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// They have everything up to there.
    pub after: Position,
    /// Events at most.
    pub limit: u32,
    /// How long to wait for one.
    pub wait: Duration,
}

impl FromFields for Asked {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let after = fields.optional("after", |value| {
            let position = value.as_str().and_then(position);
            position
                .ok_or_else(|| invalid("must be the `next_cursor` of an answer, or the `cursor` of an event"))
        });
        let limit = fields.optional("limit", whole::<1, LIMIT_MAX>);
        let wait = fields.optional("wait", whole::<0, WAIT_SECONDS_MAX>);
        Some(Self {
            after: after.unwrap_or_else(Position::beginning),
            limit: limit.unwrap_or(LIMIT_DEFAULT),
            wait: Duration::from_secs(wait.unwrap_or(0).into()),
        })
    }
}

/// A place as it is told.
pub fn cursor(position: Position) -> String {
    format!("{CURSOR_BEGINNING}{}.{}", position.entered_in, position.id)
}

fn position(cursor: &str) -> Option<Position> {
    let (entered_in, id) = cursor.strip_prefix(CURSOR_BEGINNING)?.split_once('.')?;
    let entered_in = entered_in.parse().ok().filter(|number: &i64| *number >= 0)?;
    Some(Position { entered_in, id: id.parse().ok()? })
}

/// Whose events.
#[derive(Debug, Clone, Copy)]
pub struct Whose {
    /// The caller's.
    pub workspace_id: WorkspaceId,
    /// Owed to this endpoint.
    pub endpoint_id: EndpointId,
}

/// An event that is fetched.
pub struct Fetched {
    /// `webhook-id`.
    pub event_id: EventId,
    /// Its type.
    pub event_type: String,
    /// The delivery that it is.
    pub delivery_id: DeliveryId,
    /// After it.
    pub position: Position,
    /// What is posted where events are sent: the same JSON.
    pub body: Box<RawValue>,
}

/// What a look found.
pub struct Look {
    /// Events, in their order.
    pub events: Vec<Fetched>,
    /// Where the next look begins.
    pub position: Position,
    /// More are there already.
    pub has_more: bool,
    /// Events on the way whose body is told to nobody any more: their contact was erased, or they are lost.
    pub skipped: u64,
    /// Something is there and may not be told yet.
    is_held: bool,
}

/// What there is to tell of one event.
enum Telling {
    Body(Box<RawValue>),
    Nothing,
    NotYet,
}

/// Looks once.
///
/// # Errors
/// When there is no such endpoint, the cursor is none of this database, or the database is away.
pub async fn fetch(
    shared: &Shared,
    caller: &Caller,
    endpoint_id: EndpointId,
    asked: &Asked,
) -> Result<Look, ApiError> {
    endpoints::find(shared, caller, endpoint_id).await?;
    look(shared, Whose { workspace_id: caller.workspace_id, endpoint_id }, asked.after, asked.limit).await
}

/// What is there for an endpoint of the caller's, among its newest [`COUNTED_MAX`] deliveries. How much of it was fetched is known
/// to whoever keeps the cursor alone.
///
/// # Errors
/// When the database is away.
pub async fn offered(shared: &Shared, caller: &Caller, endpoint_id: EndpointId) -> Result<Offered, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(pulled::offered(&mut conn, caller.workspace_id, endpoint_id, COUNTED_MAX).await?)
}

/// Looks until there is an event, until `ends_at`, or until the process stops; begins with what a look found that found none.
///
/// What goes wrong meanwhile ends the wait, and is told to the next request.
pub async fn until_there_is_one(
    shared: &Shared,
    whose: Whose,
    mut found: Look,
    limit: u32,
    ends_at: Instant,
) -> Look {
    let mut notices = shared.pulls.hear();
    let mut again = AGAIN_MIN;
    loop {
        // what came before it began to hear is found by looking
        match look(shared, whose, found.position, limit).await {
            Ok(next) => found = Look { skipped: found.skipped + next.skipped, ..next },
            Err(error) => {
                error.log();
                return found;
            }
        }
        if !found.events.is_empty() {
            return found;
        }
        let pause = if found.is_held { again } else { LOOK_INTERVAL };
        again = if found.is_held { (again * 2).min(LOOK_INTERVAL) } else { AGAIN_MIN };
        tokio::select! {
            () = shared.pulls.stop.cancelled() => return found,
            () = sleep_until(ends_at) => return found,
            () = sleep(pause) => {}
            () = notices.of(whose.workspace_id, whose.endpoint_id) => {}
        }
    }
}

async fn look(shared: &Shared, whose: Whose, after: Position, limit: u32) -> Result<Look, ApiError> {
    let Whose { workspace_id, endpoint_id } = whose;
    let mut conn = shared.pool.get().await?;
    let rows = pulled::page(&mut conn, workspace_id, endpoint_id, after, i64::from(limit) + 1).await?;
    if rows.iter().any(|row| row.is_foreign) {
        let adopted = pulled::adopt(&mut conn, workspace_id, endpoint_id, ADOPTED_MAX).await?;
        warn!(endpoint.id = %endpoint_id, deliveries = adopted, "deliveries of another server are fetched anew");
        return Ok(Look { is_held: true, ..Look::empty(after) });
    }
    if rows.is_empty() && pulled::is_ahead(&mut conn, after).await? {
        let detail = "is of the server that this database was restored from: begin again without it";
        return Err(ApiError::field("?after", "invalid", detail));
    }
    let shape = match rows.iter().any(|row| row.body.is_none()) {
        true => store::endpoints::payload(&mut conn, workspace_id, endpoint_id).await?,
        false => None,
    };
    let shape = Shape::stored(shape.as_ref()).unwrap_or_default();
    let site = Site::new(&shared.settings.public_url);
    Ok(Look::of(rows, after, limit, |row| telling(row, &shape, &site, now())))
}

impl Look {
    fn empty(position: Position) -> Self {
        Self { events: Vec::new(), position, has_more: false, skipped: 0, is_held: false }
    }

    /// What may be told of `rows`, of which there may be one more than fits: all up to the first that may not be told yet.
    fn of(rows: Vec<Pulled>, after: Position, limit: u32, telling: impl Fn(&Pulled) -> Telling) -> Self {
        let mut look = Self::empty(after);
        for (told, row) in (0_u32..).zip(rows) {
            let telling = telling(&row);
            if matches!(telling, Telling::NotYet) {
                look.is_held = true;
                break;
            }
            if told == limit {
                look.has_more = true;
                break;
            }
            look.position = row.position;
            match telling {
                Telling::Body(body) => look.events.push(Fetched {
                    event_id: row.event_id,
                    event_type: row.event_type,
                    delivery_id: row.position.id,
                    position: row.position,
                    body,
                }),
                Telling::Nothing | Telling::NotYet => look.skipped += 1,
            }
        }
        look
    }
}

fn telling(row: &Pulled, shape: &Shape, site: &Site, now: DateTime<Utc>) -> Telling {
    if !row.is_certain || row.settles_at.is_some_and(|at| at > now) {
        return Telling::NotYet;
    }
    let body = match (&row.body, &row.recorded) {
        (Some(body), _) => Some(body.clone()),
        (None, Recorded::Event(event)) => sent::rendered(&row.event_type, row.event_id, event, shape, site)
            .unwrap_or_else(|error| {
                warn!(delivery.id = %row.position.id, %error, "a recorded click cannot be read");
                None
            }),
        (None, Recorded::Nothing) if row.click_id.is_some() && now - row.created_at < RECORDED_WITHIN => {
            return Telling::NotYet;
        }
        (None, Recorded::Nothing | Recorded::Erased) => None,
    };
    let body = body.and_then(|body| RawValue::from_string(String::from_utf8(body).ok()?).ok());
    body.map_or(Telling::Nothing, Telling::Body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fields::{known_fields, read};

    fn row(entered_in: i64, body: &str) -> Pulled {
        Pulled {
            position: Position { entered_in, id: DeliveryId::generate() },
            event_id: EventId::generate(),
            event_type: "link.clicked".to_owned(),
            click_id: None,
            created_at: Utc::now(),
            body: Some(body.into()),
            recorded: Recorded::Nothing,
            settles_at: None,
            is_certain: true,
            is_foreign: false,
        }
    }

    fn look(rows: Vec<Pulled>, limit: u32) -> Look {
        let (shape, site) = (Shape::default(), Site::new(""));
        Look::of(rows, Position::beginning(), limit, |row| telling(row, &shape, &site, Utc::now()))
    }

    #[test]
    fn a_query_knows_what_its_description_says() {
        let described: Vec<String> = PullQuery::into_params(|| None).into_iter().map(|p| p.name).collect();

        assert_eq!(known_fields::<Asked>(), described);
    }

    #[test]
    fn a_cursor_leads_back_to_its_place_and_what_is_none_is_refused() {
        let position = Position { entered_in: 4711, id: DeliveryId::generate() };

        for place in [position, Position::beginning()] {
            let asked: Asked =
                read(&json!({"after": cursor(place), "wait": "30", "limit": "100"})).expect("a query");
            assert_eq!((asked.after, asked.wait, asked.limit), (place, Duration::from_secs(30), 100));
        }
        for wrong in [
            "",
            "p1.",
            "p1.1",
            "4711",
            "p1.-1.dlv_01jd8m3x5v9k2n4p6q8r0s1t3w",
            "c1.dlv_01jd8m3x5v9k2n4p6q8r0s1t3w",
        ] {
            assert!(read::<Asked>(&json!({"after": wrong})).is_err(), "{wrong}");
        }
        for wrong in
            [json!({"wait": "31"}), json!({"limit": "0"}), json!({"limit": "101"}), json!({"wait": "-1"})]
        {
            assert!(read::<Asked>(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_told_beyond_what_may_not_be_told_yet() {
        let uncertain = Pulled { is_certain: false, ..row(2, "{}") };
        let settling = Pulled { settles_at: Some(Utc::now() + TimeDelta::seconds(10)), ..row(2, "{}") };
        let click_id = Some(model::ClickId::generate());
        let unrecorded = Pulled { body: None, click_id, ..row(2, "{}") };

        for held in [uncertain, settling, unrecorded] {
            let first = row(1, r#"{"id": 1}"#);
            let found = look(vec![first.clone(), held, row(3, "{}")], 50);

            assert_eq!(found.events.len(), 1);
            assert_eq!((found.position, found.has_more, found.is_held), (first.position, false, true));
            assert_eq!(found.events[0].body.get(), r#"{"id": 1}"#, "byte for byte");
        }
    }

    #[test]
    fn what_is_told_to_nobody_any_more_is_passed_over_and_counted() {
        let erased = Pulled { body: None, recorded: Recorded::Erased, ..row(1, "{}") };
        let click_id = Some(model::ClickId::generate());
        let created_at = Utc::now() - RECORDED_WITHIN;
        let lost = Pulled { body: None, click_id, created_at, ..row(2, "{}") };
        let last = row(3, "no JSON");

        let found = look(vec![erased, lost, last.clone()], 50);

        assert_eq!((found.events.len(), found.skipped, found.position), (0, 3, last.position));
    }

    #[test]
    fn an_answer_ends_at_its_limit_and_says_that_there_is_more() {
        let rows = [row(1, "{}"), row(1, "{}"), row(2, "{}")];

        let found = look(rows.to_vec(), 2);
        assert_eq!((found.events.len(), found.has_more, found.position), (2, true, rows[1].position));

        let held = Pulled { is_certain: false, ..rows[2].clone() };
        let found = look([rows[..2].to_vec(), vec![held]].concat(), 2);
        assert_eq!((found.events.len(), found.has_more), (2, false), "it is not there yet");
    }
}
