//! Requests that reach no link: for what is not there, for what is answered without one, and for more than is allowed.

use std::time::Instant;

use actix_http::Request;
use actix_web::HttpResponse;
use actix_web::http::{Method, StatusCode, header};

use model::DestinationUrl;
use model::orphan::OrphanReason;

use super::{Follow, Guessing};
use crate::links::{Hsts, OfHost};
use crate::methods::{Methods, is_read};
use crate::pages::{self, Refusal};
use crate::target::Target;

/// Why a request reaches no link.
pub(super) enum Nowhere {
    /// It was answered, or refused, without asking for one.
    Answered(Result<HttpResponse, Refusal>),
    /// There is no such link, and that was counted as a guess.
    NoLink {
        /// Who asks would only see where it leads.
        is_inspected: bool,
    },
}

impl From<Refusal> for Nowhere {
    fn from(refusal: Refusal) -> Self {
        Self::Answered(Err(refusal))
    }
}

impl Follow {
    /// The answer to who reaches no link. Its host has a say in it all the same.
    pub(super) async fn nowhere(
        &self,
        request: &Request,
        host: Option<&str>,
        nowhere: Nowhere,
        started_at: Instant,
    ) -> HttpResponse {
        let guessing = Guessing { follow: self, request, started_at };
        let guesser = if matches!(nowhere, Nowhere::NoLink { .. }) { None } else { Some(&guessing) };
        let OfHost { hsts, fallback_url } = match host {
            Some(host) => self.links.of_host(host, started_at, guesser).await,
            None => Hsts::AsSet.into(),
        };
        let fallback_url = fallback_url.filter(|url| host.is_none_or(|host| !leads_back(url, host)));
        let answered = match (nowhere, fallback_url) {
            (Nowhere::Answered(answered), _) => answered,
            (Nowhere::NoLink { is_inspected: false }, Some(url)) if is_read(request.method()) => {
                self.metrics.not_found.inc();
                let target = pages::location(&url);
                Ok(pages::redirect(StatusCode::FOUND, false, self.referrer_policy.clone(), target))
            }
            (Nowhere::NoLink { .. }, _) => Err(Refusal::NotFound),
        };
        let mut answer = answered.unwrap_or_else(|refusal| self.refuse(refusal));
        let hsts = match hsts {
            Hsts::Own(value) => Some(value),
            Hsts::AsSet => self.hsts.clone(),
            Hsts::Unknown => None,
        };
        if let Some(hsts) = hsts {
            answer.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts);
        }
        answer
    }

    /// A path that no link has.
    pub(super) fn no_link(
        &self,
        request: &Request,
        host: Option<&str>,
        target: Target<'_>,
        started_at: Instant,
    ) -> Result<HttpResponse, Refusal> {
        let head = request.head();
        if head.method == Method::OPTIONS {
            return Ok(pages::options(Methods::Follow));
        }
        let reason = match target {
            Target::Robots | Target::Favicon if !is_read(&head.method) => {
                return Err(Refusal::Method(Methods::Follow));
            }
            Target::Robots => return Ok(pages::robots()),
            Target::Favicon => return Ok(pages::favicon()),
            Target::Noise => return Err(Refusal::Noise),
            Target::Base => OrphanReason::BaseUrl,
            Target::Bad => OrphanReason::BadPath,
            Target::Reserved | Target::Link(_) | Target::Inspect(_) | Target::Minted(_) => {
                return Err(Refusal::NotFound);
            }
        };
        if let Some(host) = host {
            self.tell(request, host, None, reason, started_at);
        }
        Err(Refusal::NotFound)
    }
}

/// Whether a fallback leads to the host that was asked for: whoever follows could go round in circles. With `links.any_host` that
/// may be a host that is nobody's domain. A URL with a port leads to something else.
pub(super) fn leads_back(url: &DestinationUrl, host: &str) -> bool {
    let url = url.url();
    url.port().is_none() && url.host_str().is_some_and(|led| led.strip_suffix('.').unwrap_or(led) == host)
}
