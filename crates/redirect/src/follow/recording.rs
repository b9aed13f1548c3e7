//! A click on its way into the spool.

use std::time::Instant;

use actix_http::Request;
use actix_web::http::header::HeaderMap;
use bus::ClickRef;
use chrono::{DateTime, Utc};

use model::privacy::Telling;
use model::{ClickId, DestinationUrl};

use super::Follow;
use crate::links::{Met, Route};
use crate::visitor;
use service::telemetry::{SpanKind, Step, within};
use tracing::debug;

impl Follow {
    /// Appends the click to the spool, as the first step of its trace. It is encoded before the wait: what waits holds
    /// nothing of it.
    pub(super) fn append(
        &self,
        request: &Request,
        met: Met<'_>,
        destination_url: Option<&DestinationUrl>,
        telling: Telling,
        now: DateTime<Utc>,
        started_at: Instant,
    ) -> impl Future<Output = ()> {
        let head = request.head();
        // nobody is followed who is nobody
        let theirs = visitor::traceparent(&head.headers).filter(|_| telling != Telling::Anonymous);
        let id = ClickId::generate_at(now);
        let mut step = match telling {
            Telling::Anonymous => None,
            _ => self.traces.step("redirect", SpanKind::Server, theirs),
        };
        if let Some(step) = &mut step {
            step.note("clickwire.click.id", id.to_string());
        }
        let ours = step.as_ref().map(Step::traceparent);
        let click = ClickRef {
            template: &met.route.clicks,
            id,
            clicked_at: now,
            destination_url: destination_url.map(DestinationUrl::as_str),
            recipient: met.recipient,
            telling,
            request: visitor::request(head.method.as_str(), self.asker(request), &head.headers),
            traceparent: ours.as_deref().or(theirs),
        };
        let appended = within(step.as_ref(), || {
            debug!(click.id = %id, "a click goes to the spool");
            self.clicks.append(&click, started_at)
        });
        async move {
            appended.await;
            drop(step);
        }
    }
}

/// What may be told of a click on this link by this visitor.
pub(super) fn telling(route: &Route, headers: &HeaderMap, no_track: bool) -> Telling {
    route.recording.telling(visitor::wishes(headers, no_track), route.signals, route.is_limited)
}
