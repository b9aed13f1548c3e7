//! Links that are not followed at once: those that ask for a password or whether to follow them, and previews.

use std::time::Instant;

use actix_http::{Payload, Request};
use actix_web::HttpResponse;
use actix_web::http::Method;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use model::PasswordHash;
use model::privacy::Telling;

use super::{Follow, telling};
use crate::forms::{self, Asked};
use crate::links::Met;
use crate::pages::Refusal;
use crate::passwords::Attempt;
use crate::{destination, previews, visitor};

impl Follow {
    /// Shows a program that fetches previews the link's own. It is recorded as what it says it is.
    pub(super) async fn preview(
        &self,
        request: &Request,
        route: Met<'_>,
        page: &Bytes,
        now: DateTime<Utc>,
        started_at: Instant,
    ) -> HttpResponse {
        self.note(request, route, now, started_at).await;
        self.metrics.previewed.inc();
        previews::answer(page.clone())
    }

    /// Asks whether to follow a link whose only click that is. Who merely looks does not use it up: a visit becomes a click
    /// with the form. Those that are no persons by their own account are recorded all the same: they do not count.
    pub(super) async fn confirm(
        &self,
        request: &Request,
        route: Met<'_>,
        now: DateTime<Utc>,
        started_at: Instant,
    ) -> HttpResponse {
        let head = request.head();
        if head.method == Method::POST {
            return self.send_on(request, route, now, started_at).await;
        }
        if head.method == Method::HEAD
            || visitor::is_prefetch(&head.headers)
            || previews::is_agent(&head.headers)
        {
            self.note(request, route, now, started_at).await;
        }
        self.metrics.confirm_asked.inc();
        forms::confirm()
    }

    /// Records a visit that was not sent on.
    async fn note(&self, request: &Request, route: Met<'_>, now: DateTime<Utc>, started_at: Instant) {
        let no_track = destination::without_no_track(request.uri().query()).1;
        let telling = telling(route.route, &request.head().headers, no_track);
        if telling != Telling::Nothing {
            self.append(request, route, None, telling, now, started_at).await;
        }
    }

    /// Asks for the password. A visit becomes a click with the right one.
    pub(super) async fn unlock(
        &self,
        request: &Request,
        body: Payload,
        route: Met<'_>,
        hash: &PasswordHash,
        started_at: Instant,
    ) -> Result<HttpResponse, Refusal> {
        let head = request.head();
        let asked = if head.method == Method::POST {
            let typed = self.passwords.read(head, body).await?;
            let client = self.client(request);
            match self.passwords.attempt(route.link_id, hash, typed, client, started_at).await {
                Attempt::Right => return Ok(self.send_on(request, route, Utc::now(), started_at).await),
                Attempt::Wrong => Asked::Wrong,
                Attempt::TooMany(over) => Asked::TooOften(over),
                Attempt::Busy => return Err(Refusal::Unavailable),
            }
        } else {
            Asked::First
        };
        match asked {
            Asked::First => self.metrics.password_asked.inc(),
            Asked::Wrong => self.metrics.password_wrong.inc(),
            Asked::TooOften(_) => self.metrics.limited.inc(),
        }
        Ok(forms::password(asked))
    }
}
