//! What was found wrong, as pages show it: the cause, what to do, and where.

use chrono::Utc;

use store::links::Link;

use super::doors::Doors;
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::desk::diagnosis::{self, Code, Finding};
use crate::error::ApiError;

/// A finding in sentences.
pub struct FindingText {
    /// For tests and scripts.
    pub code: Code,
    /// Whether it keeps webhooks from arriving.
    pub stops: bool,
    /// What is so.
    pub text: String,
    /// What to do; empty when there is nothing to.
    pub fix: String,
    /// Where; empty when it is not done in the console.
    pub page: String,
}

impl FindingText {
    /// The finding for somebody: pages that are closed to them are not named.
    fn of(finding: &Finding, caller: &Caller) -> Self {
        let doors = Doors::of(caller);
        let page = finding.page.as_deref().filter(|page| doors.opens(page));
        Self {
            code: finding.code,
            stops: finding.stops,
            text: sentence(&finding.text),
            fix: finding.fix.as_deref().map(sentence).unwrap_or_default(),
            page: page.unwrap_or_default().to_owned(),
        }
    }
}

/// Those of several that want looking at.
pub fn wanting(findings: &[Finding], caller: &Caller) -> Vec<FindingText> {
    let wanting = findings.iter().filter(|finding| finding.stops || finding.fix.is_some());
    wanting.map(|finding| FindingText::of(finding, caller)).collect()
}

/// What there is to say of a link and its last click, for who may see clicks and webhooks.
///
/// # Errors
/// When the database is away.
pub async fn of_link(shared: &Shared, caller: &Caller, link: &Link) -> Result<Vec<FindingText>, ApiError> {
    let needed = [Scope::ClicksRead, Scope::EndpointsRead, Scope::DeliveriesRead];
    if !needed.into_iter().all(|scope| caller.may(scope)) {
        return Ok(Vec::new());
    }
    let mut conn = shared.pool.get().await?;
    let mut findings =
        diagnosis::look(&mut conn, caller.workspace_id, link, shared.ownership, Utc::now()).await?;
    drop(conn);
    // of a link whose clicks are not recorded none is under way
    if !findings.iter().any(|finding| finding.code.is_closed()) {
        findings.extend(diagnosis::services(&shared.bus, &findings).await);
    }
    Ok(findings.iter().map(|finding| FindingText::of(finding, caller)).collect())
}

fn sentence(text: &str) -> String {
    format!("{}.", super::capital(text.trim_end_matches('.')))
}
