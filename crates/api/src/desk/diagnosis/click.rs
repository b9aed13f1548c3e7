//! What an event does not tell, and why.

use model::EnrichedClick;
use model::click::{Enrichment, LocationMissing};

use super::{Code, Finding};

/// What is missing in the payload of a click. None of it keeps a webhook back.
pub fn findings(click: &EnrichedClick) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(click.location_missing.map(location));
    if click.enrichment == Enrichment::Partial && click.location_missing != Some(LocationMissing::NoData) {
        findings.push(Finding::hint(
            Code::Partial,
            "the payload is incomplete (`enrichment` is `partial`): PostgreSQL or a location file was away",
            "see `clickwire doctor`; the next click is complete when it is back",
        ));
    }
    if !click.redacted_fields.is_empty() {
        findings.push(
            Finding::hint(
                Code::Redacted,
                format!(
                    "privacy settings, or the visitor's wish (Sec-GPC, DNT), left out: {}",
                    click.redacted_fields.join(", ")
                ),
                "if your program needs them and you may keep them, change what is kept in the link settings",
            )
            .at("/settings/links"),
        );
    }
    findings
}

fn location(missing: LocationMissing) -> Finding {
    match missing {
        LocationMissing::NoPublicAddress => Finding::hint(
            Code::LocationNoPublicAddress,
            "the payload has no location: the visitor has no public address, as on your own network",
            "click from outside, or try an address with `clickwire click LINK --from IP`; behind a proxy, set \
             redirect.trusted_proxies",
        ),
        LocationMissing::NotFound => Finding::hint(
            Code::LocationNotFound,
            "the payload has no location: the location files do not know the visitor's address",
            "newer or fuller files know more: see enrich.geo_dir",
        ),
        LocationMissing::NoData => Finding::hint(
            Code::LocationNoData,
            "the payload is incomplete (`enrichment` is `partial`): no location file is loaded",
            "put location files where enrich.geo_dir points; `scripts/geo-data` fetches some",
        ),
    }
}
