//! Everything that a click is told without asking anyone: place, device, verdict, and what of its address remains.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use model::automation::{MachineClass, Verdict};
use model::click::{Enrichment, LocationMissing};
use model::device::{Device, DeviceKind};
use model::{AddressTreatment, Click, EnrichedClick, EventId};

use crate::agent::{Agent, Agents};
use crate::automation::{Declared, KEPT_CRAWLERS, KEPT_LINK_FETCHERS, Rules};
use crate::device::{Devices, KEPT_RULES, Models};
use crate::geo::Geo;
use crate::metrics::Metrics;
use crate::settings::EnrichSettings;

/// The look-ups that a click goes through.
pub struct LookUp {
    geo: Arc<Geo>,
    agents: Agents,
    rules: Rules,
}

impl LookUp {
    /// Reads files and compiles rules, which takes a second: call it off the runtime.
    ///
    /// # Errors
    /// When a file that a setting names cannot be read, or its content cannot be used.
    pub fn open(settings: &EnrichSettings, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let devices = Devices::new(
            &text(settings.device_rules.as_deref(), KEPT_RULES, "enrich.device_rules")?,
            match &settings.android_devices {
                None => Models::kept(),
                file => Models::new(text(file.as_deref(), "", "enrich.android_devices")?.into()),
            },
        )
        .context("enrich.device_rules cannot be used")?;
        let declared = Declared::new(
            &text(settings.crawlers.as_deref(), KEPT_CRAWLERS, "enrich.crawlers")?,
            &text(settings.link_fetchers.as_deref(), KEPT_LINK_FETCHERS, "enrich.link_fetchers")?,
        )
        .context("enrich.crawlers or enrich.link_fetchers cannot be used")?;
        let geo = Geo::open(settings.geo_dir.as_deref(), settings.coordinate_decimals, metrics);
        Ok(Self {
            geo: Arc::new(geo),
            agents: Agents::new(devices, settings.agents_max),
            rules: Rules::new(declared),
        })
    }

    /// The location files, to be watched for changes.
    pub fn geo(&self) -> &Arc<Geo> {
        &self.geo
    }

    /// The click with everything but whether it is a first one.
    pub fn enrich(&self, click: &Click, now: DateTime<Utc>) -> EnrichedClick {
        let request = &click.request;
        // the place is that of the whole address: what policy leaves of it lies somewhere else
        let place = self.geo.look_up(request.ip);
        let agent = self.agents.read(request, &self.rules);
        let automation = self.rules.judge(request, &agent.signals);
        let device = device(&agent, automation.verdict);
        let mut click = click.clone();
        let redacted_fields = redact(&mut click);
        let enrichment = match place.missing {
            Some(LocationMissing::NoData) => Enrichment::Partial,
            _ => Enrichment::Complete,
        };
        EnrichedClick {
            event_id: EventId::of_click(click.id, 0),
            click,
            location: place.location,
            location_missing: place.missing,
            device,
            automation,
            is_first_click: None,
            redacted_fields,
            enrichment,
            enriched_at: now,
            test: false,
        }
    }
}

/// A program's device is a program, whatever it claims; a browser that loads ahead is still a phone.
fn device(agent: &Agent, verdict: Verdict) -> Device {
    let is_program = verdict == Verdict::Automated
        && agent
            .signals
            .iter()
            .any(|signal| signal.class != MachineClass::Prefetch && signal.code != "ua_missing");
    if is_program {
        return Device { kind: DeviceKind::Bot, ..agent.device.clone() };
    }
    agent.device.clone()
}

/// The one request header that is no trace of a person and that is repeated to subscribers.
const LANGUAGE_HEADER: &str = "accept-language";

/// Leaves of the visitor what the policy says, and names what it changed.
fn redact(click: &mut Click) -> Vec<String> {
    let is_anonymous = click.is_anonymous;
    let mut redacted = Vec::new();
    if let Some(address) = click.request.ip {
        let treatment = if is_anonymous { AddressTreatment::Drop } else { click.address_treatment };
        click.request.ip = treatment.apply(address);
        if treatment != AddressTreatment::Keep {
            redacted.push("ip".to_owned());
        }
    }
    if is_anonymous {
        let labels = &mut click.link.labels;
        let told = [
            ("user_agent", &mut click.request.user_agent),
            ("contact_id", &mut labels.contact_id),
            ("conversation_id", &mut labels.conversation_id),
            ("message_id", &mut labels.message_id),
        ];
        for (field, value) in told {
            if value.take().is_some() {
                redacted.push(field.to_owned());
            }
        }
        click.request.headers.retain(|(name, _)| name == LANGUAGE_HEADER);
    }
    redacted
}

fn text(file: Option<&Path>, kept: &str, setting: &str) -> anyhow::Result<String> {
    match file {
        None => Ok(kept.to_owned()),
        Some(path) => {
            fs::read_to_string(path).with_context(|| format!("{setting}: failed to read {}", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn an_anonymous_click_keeps_nothing_that_tells_who_it_was() {
        let mut click = sample::click();
        click.is_anonymous = true;
        click.address_treatment = AddressTreatment::Keep;
        click.request.headers.push(("sec-ch-ua-model".into(), "Pixel 9".into()));

        let redacted = redact(&mut click);

        assert_eq!(redacted, ["ip", "user_agent", "contact_id"]);
        assert_eq!((click.request.ip, click.request.user_agent), (None, None));
        assert_eq!(click.link.labels.contact_id, None);
        assert_eq!(click.request.headers, [("accept-language".to_owned(), "it-IT,it;q=0.9".to_owned())]);
    }

    #[test]
    fn the_address_is_what_the_policy_leaves_of_it() {
        for (treatment, kept, redacted) in [
            (AddressTreatment::Keep, Some("82.90.81.233"), &[][..]),
            (AddressTreatment::Truncate, Some("82.90.81.0"), &["ip"]),
            (AddressTreatment::Drop, None, &["ip"]),
        ] {
            let mut click = sample::click();
            click.address_treatment = treatment;

            assert_eq!(redact(&mut click), redacted);
            assert_eq!(click.request.ip, kept.map(|ip| ip.parse().expect("an address")));
        }
    }
}
