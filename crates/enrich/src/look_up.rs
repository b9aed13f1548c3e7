//! Everything that a click is told without asking anyone: place, device, verdict, and what of its address remains.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use model::automation::{Automation, MachineClass, Verdict};
use model::click::{Enrichment, LocationMissing, Request};
use model::device::{Device, DeviceKind};
use model::erasure::coarsen;
use model::{AddressTreatment, Click, EnrichedClick, EventId};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::agent::{Agent, Agents};
use crate::agent_files::AgentFiles;
use crate::automation::{Case, Declared, KEPT_CRAWLERS, KEPT_LINK_FETCHERS, Rules, extended, is_navigated};
use crate::device::{Devices, KEPT_RULES, Models};
use crate::evidence;
use crate::geo::Geo;
use crate::metrics::Metrics;
use crate::settings::EnrichSettings;

/// The look-ups that a click goes through.
pub struct LookUp {
    geo: Arc<Geo>,
    agents: Agents,
    rules: Rules,
    files: Mutex<Option<AgentFiles>>,
    metrics: Arc<Metrics>,
}

impl LookUp {
    /// Reads files and compiles rules, which takes a second: call it off the runtime.
    ///
    /// # Errors
    /// When what is compiled in cannot be used.
    pub fn open(settings: &EnrichSettings, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        thread::scope(|scope| {
            // meanwhile rules are compiled
            let geo = scope.spawn(|| {
                Geo::open(settings.geo_dir.as_deref(), settings.coordinate_decimals, Arc::clone(&metrics))
            });
            let mut files = settings.agents_dir.clone().map(AgentFiles::new);
            let found = files.as_mut().map(AgentFiles::look).unwrap_or_default();
            let devices = match usable(found.devices, &metrics) {
                Some(devices) => devices,
                None => Devices::new(KEPT_RULES, Models::kept()).context("the kept rules cannot be used")?,
            };
            let declared = match usable(found.declared, &metrics) {
                Some(declared) => declared,
                None => Declared::new(KEPT_CRAWLERS, KEPT_LINK_FETCHERS)
                    .context("the kept lists cannot be used")?,
            };
            let agents = Agents::new(devices, settings.agents_max, &metrics.agent_lookups_total);
            let geo = geo.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok(Self {
                geo: Arc::new(geo),
                agents,
                rules: Rules::new(declared),
                files: Mutex::new(files),
                metrics: Arc::clone(&metrics),
            })
        })
    }

    /// Takes what changed in the folder of data about User-Agents into use, and says whether anything did. Compiles
    /// rules: call it off the runtime.
    pub fn refresh_agents(&self) -> bool {
        let mut files = self.files.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let Some(changed) = files.as_mut().map(AgentFiles::look) else { return false };
        let devices = usable(changed.devices, &self.metrics);
        let declared = usable(changed.declared, &self.metrics);
        let has_changed = devices.is_some() || declared.is_some();
        if let Some(devices) = devices {
            self.agents.use_devices(devices);
        }
        if let Some(declared) = declared {
            self.agents.use_declared(declared, &self.rules);
        }
        if has_changed {
            info!("newer data about User-Agents serves");
        }
        has_changed
    }

    /// Looks for changed data about User-Agents every `poll` until `stop`.
    pub async fn watch_agents(self: Arc<Self>, poll: Duration, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(poll)).await.is_some() {
            let look_up = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || look_up.refresh_agents()).await {
                warn!(error = format!("{error:#}"), "the data about User-Agents could not be looked at");
            }
        }
    }

    /// The location files, to be watched for changes.
    pub fn geo(&self) -> &Arc<Geo> {
        &self.geo
    }

    /// The device that made a request, and the verdict on it alone.
    pub fn tell(&self, request: &Request) -> (Device, Automation) {
        let agent = self.agents.read(request, &self.rules);
        let automation = self.rules.judge(&Case::of_request(request, &agent.shown));
        (device(&agent, automation.verdict), automation)
    }

    /// The verdict of these rules on a click that was told of, with what other clicks have shown of it; `None` when a person
    /// gave its verdict, or what it would be judged by was not kept.
    pub fn judge_again(&self, told: &EnrichedClick) -> Option<Automation> {
        let is_kept = told.redacted_fields.iter().all(|field| field != "user_agent");
        if told.automation.is_overruled() || told.is_erased || !is_kept {
            return None;
        }
        let request = &told.click.request;
        let agent = self.agents.read(request, &self.rules);
        let alone = self.rules.judge(&Case {
            link: Some(&told.click.link),
            clicked_at: Some(told.click.clicked_at),
            location: Some(&told.location),
            ..Case::of_request(request, &agent.shown)
        });
        Some(extended(&alone, &evidence::counted_in(&told.automation), is_navigated(request)))
    }

    /// The click with everything but whether it is a first one.
    pub fn enrich(&self, click: &Click, now: DateTime<Utc>) -> EnrichedClick {
        let request = &click.request;
        // the place is that of the whole address: what policy leaves of it lies somewhere else
        let mut place = self.geo.look_up(request.ip);
        let agent = self.agents.read(request, &self.rules);
        let automation = self.rules.judge(&Case {
            link: Some(&click.link),
            clicked_at: Some(click.clicked_at),
            location: Some(&place.location),
            ..Case::of_request(request, &agent.shown)
        });
        let mut device = device(&agent, automation.verdict);
        let mut click = click.clone();
        let mut redacted_fields = redact(&mut click);
        if click.is_anonymous {
            redacted_fields.extend(coarsen(&mut place.location, &mut device).into_iter().map(str::to_owned));
        }
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
            earlier: Vec::new(),
            first_click_before: None,
            is_erased: false,
        }
    }
}

/// A program's device is a program, whatever it claims; a browser that loads ahead is still a phone.
fn device(agent: &Agent, verdict: Verdict) -> Device {
    let is_program = verdict == Verdict::Automated
        && agent
            .shown
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

/// Leaves of the visitor what the policy says, and names what it changed. An anonymous click loses what that of an erased
/// contact loses: what the sender attached for one person, and what the request carried. (What was found out about place and
/// device is [coarsened](coarsen).)
fn redact(click: &mut Click) -> Vec<String> {
    if click.is_anonymous {
        return click.erase().into_iter().map(str::to_owned).collect();
    }
    let mut redacted = Vec::new();
    if let Some(address) = click.request.ip {
        let treatment = if click.is_redacted { AddressTreatment::Drop } else { click.address_treatment };
        click.request.ip = treatment.apply(address);
        if treatment != AddressTreatment::Keep {
            redacted.push("ip".to_owned());
        }
    }
    if click.is_redacted {
        if click.request.user_agent.take().is_some() {
            redacted.push("user_agent".to_owned());
        }
        // Client Hints are a User-Agent in pieces
        click.request.headers.retain(|(name, _)| name == LANGUAGE_HEADER);
    }
    redacted
}

/// What can be used of what changed; what cannot is said, and leaves what is in use as it is.
fn usable<T>(changed: Option<anyhow::Result<T>>, metrics: &Metrics) -> Option<T> {
    changed?
        .inspect_err(|error| {
            metrics.agent_broken_files_total.inc();
            warn!(
                error = format!("{error:#}"),
                "data about User-Agents cannot serve: what served before does"
            );
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use model::link::LinkLabels;
    use model::location::Location;

    #[test]
    fn an_anonymous_click_keeps_nothing_that_tells_who_it_was() {
        let mut click = sample::click();
        click.is_anonymous = true;
        click.address_treatment = AddressTreatment::Keep;
        click.request.headers.push(("sec-ch-ua-model".into(), "Pixel 9".into()));

        let redacted = redact(&mut click);

        assert_eq!(redacted, ["contact_id", "ip", "user_agent"]);
        assert_eq!((click.request.ip, click.request.user_agent), (None, None));
        assert_eq!(click.link.labels.contact_id, None);
        assert_eq!(click.request.headers, [("accept-language".to_owned(), "it-IT,it;q=0.9".to_owned())]);
    }

    #[test]
    fn an_anonymous_click_keeps_its_country_and_what_many_devices_are() {
        let mut location = Location {
            country: Some("IT".into()),
            is_eu: Some(true),
            city: Some("Rome".into()),
            latitude: Some(41.9),
            asn: Some(3269),
            ..Location::default()
        };
        let mut device = Device {
            kind: DeviceKind::Mobile,
            os: Some("Android".into()),
            model: Some("Pixel 9".into()),
            ..Device::default()
        };

        let emptied = coarsen(&mut location, &mut device);

        assert_eq!(emptied, ["location.city", "location.latitude", "location.asn", "device.model"]);
        let country = Location { country: Some("IT".into()), is_eu: Some(true), ..Location::default() };
        assert_eq!(location, country);
        assert_eq!(
            (device.kind, device.os.as_deref(), device.model),
            (DeviceKind::Mobile, Some("Android"), None)
        );
    }

    #[test]
    fn an_anonymous_click_loses_what_was_attached_for_one_person_and_keeps_what_is_of_many() {
        let mut click = sample::click();
        click.is_anonymous = true;
        click.link.labels = LinkLabels {
            external_id: Some("anna-7".into()),
            campaign_id: Some("cmp_1".into()),
            conversation_id: Some("conv_1".into()),
            contact_id: Some("cont_9".into()),
            message_id: Some("msg_3".into()),
            channel: Some("sms".into()),
            tags: vec!["spring".into()],
            metadata: [("name".to_owned(), "Anna".to_owned())].into(),
            ..LinkLabels::default()
        };
        click.link.tracked_url.push_str("?to=anna");
        click.link.original_url.push_str("?to=anna");
        click.destination_url.push_str("?to=anna&ref=7#part");
        click.request.referrer = Some("https://mail.example.com/anna".into());
        click.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());

        let redacted = redact(&mut click);

        assert_eq!(
            redacted,
            [
                "contact_id",
                "conversation_id",
                "message_id",
                "link.external_id",
                "link.metadata",
                "link.tracked_url",
                "link.original_url",
                "link.destination_url",
                "ip",
                "user_agent",
                "referrer",
            ]
        );
        let kept = LinkLabels {
            campaign_id: Some("cmp_1".into()),
            channel: Some("sms".into()),
            tags: vec!["spring".into()],
            ..LinkLabels::default()
        };
        assert_eq!(click.link.labels, kept);
        assert_eq!(click.link.tracked_url, "https://go.example.com/k7m2xq9ra");
        assert_eq!(click.link.original_url, "https://example.com/offer");
        assert_eq!(click.destination_url, "https://example.com/offer");
        assert_eq!((click.request.referrer, click.traceparent), (None, None));
        assert!(redact(&mut sample::click()).iter().all(|field| field == "ip"));
    }

    #[test]
    fn a_visitor_who_asks_for_privacy_leaves_the_ids_that_the_sender_gave() {
        let mut click = sample::click();
        click.is_redacted = true;
        click.address_treatment = AddressTreatment::Keep;
        click.request.headers.push(("sec-ch-ua-model".into(), "Pixel 9".into()));

        let redacted = redact(&mut click);

        assert_eq!(redacted, ["ip", "user_agent"]);
        assert_eq!((click.request.ip, click.request.user_agent), (None, None));
        assert_eq!(click.link.labels.contact_id.as_deref(), Some("cont_9"));
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
