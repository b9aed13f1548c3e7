//! Recipients' links, which their senders made: a token says whose link of which template it is, and proves it.

use std::time::Instant;

use actix_http::{Payload, Request};
use actix_web::HttpResponse;

use model::orphan::OrphanReason;

use super::nowhere::Nowhere;
use super::{Follow, Guessing};
use crate::links::{Met, Proof, Unknown};
use crate::pages::Refusal;
use crate::target::Minted;

impl Follow {
    /// Answers who asks for a recipient's link.
    pub(super) async fn minted(
        &self,
        request: &Request,
        body: Payload,
        host: Option<&str>,
        minted: &Minted,
        started_at: Instant,
    ) -> HttpResponse {
        match self.proven(request, host, minted, started_at).await {
            Ok((proof, host)) => {
                let (route, recipient, closed) = proof.met();
                let met = Met { route, recipient: Some(recipient), closed };
                self.answer_of(request, body, met, minted.is_inspected, host, started_at).await
            }
            Err(nowhere) => self.nowhere(request, host, nowhere, started_at).await,
        }
    }

    /// What a token proves; one that proves nothing is as a slug that no link has, and a guess.
    async fn proven<'h>(
        &self,
        request: &Request,
        host: Option<&'h str>,
        minted: &Minted,
        started_at: Instant,
    ) -> Result<(Proof, &'h str), Nowhere> {
        self.check_prefetch(&request.head().headers)?;
        let host = host.ok_or(Refusal::NotFound)?;
        let guessing = Guessing { follow: self, request, started_at };
        let found = self.links.prove(host, &minted.presented, started_at, &guessing).await;
        match found {
            Ok(Some(proof)) => Ok((proof, host)),
            Ok(None) => {
                let is_inspected = minted.is_inspected;
                if !is_inspected {
                    self.tell(request, host, None, OrphanReason::UnknownSlug, started_at);
                }
                Err(Nowhere::NoLink { is_inspected })
            }
            Err(Unknown::Unavailable) => Err(Refusal::Unavailable.into()),
            Err(Unknown::Refused(over)) => Err(Refusal::Limited(over).into()),
        }
    }
}
