//! What enrichment adds to a click: place, device and verdict.

use model::EnrichedClick;
use model::automation::{Automation, MachineClass, Reason, Verdict};
use model::click::{Enrichment, LocationMissing};
use model::device::{Device, DeviceKind};
use model::location::Location;

use super::{click_from_proto, click_to_proto, id, proto, time, timestamp};
use crate::messages::DecodeError;

pub(super) fn enriched_to_proto(click: &EnrichedClick) -> proto::EnrichedClick {
    proto::EnrichedClick {
        click: Some(click_to_proto(&click.click)),
        event_id: click.event_id.to_string(),
        location: Some(location_to_proto(&click.location)),
        location_missing: match click.location_missing {
            None => proto::LocationMissing::Unspecified,
            Some(LocationMissing::NoPublicAddress) => proto::LocationMissing::NoPublicAddress,
            Some(LocationMissing::NotFound) => proto::LocationMissing::NotFound,
            Some(LocationMissing::NoData) => proto::LocationMissing::NoData,
        }
        .into(),
        device: Some(device_to_proto(&click.device)),
        automation: Some(automation_to_proto(&click.automation)),
        is_first_click: click.is_first_click,
        redacted_fields: click.redacted_fields.clone(),
        enrichment: match click.enrichment {
            Enrichment::Complete => proto::Enrichment::Unspecified,
            Enrichment::Partial => proto::Enrichment::Partial,
        }
        .into(),
        enriched_at: Some(timestamp(click.enriched_at)),
        test: click.test,
        earlier: click.earlier.iter().map(automation_to_proto).collect(),
        first_click_before: click.first_click_before,
        erased: click.is_erased,
    }
}

pub(super) fn enriched_from_proto(click: proto::EnrichedClick) -> Result<EnrichedClick, DecodeError> {
    let location_missing = match proto::LocationMissing::try_from(click.location_missing) {
        Ok(proto::LocationMissing::Unspecified) => None,
        Ok(proto::LocationMissing::NoPublicAddress) => Some(LocationMissing::NoPublicAddress),
        Ok(proto::LocationMissing::NotFound) | Err(_) => Some(LocationMissing::NotFound),
        Ok(proto::LocationMissing::NoData) => Some(LocationMissing::NoData),
    };
    let enrichment = match proto::Enrichment::try_from(click.enrichment) {
        Ok(proto::Enrichment::Unspecified) => Enrichment::Complete,
        Ok(proto::Enrichment::Partial) | Err(_) => Enrichment::Partial,
    };
    Ok(EnrichedClick {
        click: click_from_proto(click.click.ok_or(DecodeError::Missing("click"))?)?,
        event_id: id(&click.event_id, "event_id")?,
        location: location_from_proto(click.location.unwrap_or_default()),
        location_missing,
        device: device_from_proto(click.device.unwrap_or_default()),
        automation: automation_from_proto(click.automation.ok_or(DecodeError::Missing("automation"))?),
        is_first_click: click.is_first_click,
        redacted_fields: click.redacted_fields,
        enrichment,
        enriched_at: time(click.enriched_at, "enriched_at")?,
        test: click.test,
        earlier: click.earlier.into_iter().map(automation_from_proto).collect(),
        first_click_before: click.first_click_before,
        is_erased: click.erased,
    })
}

fn location_to_proto(location: &Location) -> proto::Location {
    proto::Location {
        country: location.country.clone(),
        country_name: location.country_name.clone(),
        region: location.region.clone(),
        city: location.city.clone(),
        postal_code: location.postal_code.clone(),
        latitude: location.latitude,
        longitude: location.longitude,
        accuracy_km: location.accuracy_km,
        timezone: location.timezone.clone(),
        continent: location.continent.clone(),
        is_eu: location.is_eu,
        asn: location.asn,
        as_organization: location.as_organization.clone(),
        is_anonymizer: location.is_anonymizer,
        is_hosting: location.is_hosting,
    }
}

fn location_from_proto(location: proto::Location) -> Location {
    Location {
        country: location.country,
        country_name: location.country_name,
        region: location.region,
        city: location.city,
        postal_code: location.postal_code,
        latitude: location.latitude,
        longitude: location.longitude,
        accuracy_km: location.accuracy_km,
        timezone: location.timezone,
        continent: location.continent,
        is_eu: location.is_eu,
        asn: location.asn,
        as_organization: location.as_organization,
        is_anonymizer: location.is_anonymizer,
        is_hosting: location.is_hosting,
    }
}

fn device_to_proto(device: &Device) -> proto::Device {
    proto::Device {
        kind: match device.kind {
            DeviceKind::Mobile => proto::DeviceKind::Mobile,
            DeviceKind::Tablet => proto::DeviceKind::Tablet,
            DeviceKind::Desktop => proto::DeviceKind::Desktop,
            DeviceKind::Tv => proto::DeviceKind::Tv,
            DeviceKind::Console => proto::DeviceKind::Console,
            DeviceKind::Watch => proto::DeviceKind::Watch,
            DeviceKind::Bot => proto::DeviceKind::Bot,
            DeviceKind::Unknown => proto::DeviceKind::Unspecified,
        }
        .into(),
        brand: device.brand.clone(),
        model: device.model.clone(),
        model_name: device.model_name.clone(),
        os: device.os.clone(),
        os_version: device.os_version.clone(),
        browser: device.browser.clone(),
        browser_version: device.browser_version.clone(),
        in_app: device.in_app.clone(),
    }
}

fn device_from_proto(device: proto::Device) -> Device {
    Device {
        kind: match device.kind() {
            proto::DeviceKind::Unspecified => DeviceKind::Unknown,
            proto::DeviceKind::Mobile => DeviceKind::Mobile,
            proto::DeviceKind::Tablet => DeviceKind::Tablet,
            proto::DeviceKind::Desktop => DeviceKind::Desktop,
            proto::DeviceKind::Tv => DeviceKind::Tv,
            proto::DeviceKind::Console => DeviceKind::Console,
            proto::DeviceKind::Watch => DeviceKind::Watch,
            proto::DeviceKind::Bot => DeviceKind::Bot,
        },
        brand: device.brand,
        model: device.model,
        model_name: device.model_name,
        os: device.os,
        os_version: device.os_version,
        browser: device.browser,
        browser_version: device.browser_version,
        in_app: device.in_app,
    }
}

fn automation_to_proto(automation: &Automation) -> proto::Automation {
    proto::Automation {
        verdict: match automation.verdict {
            Verdict::Human => proto::Verdict::Human,
            Verdict::Automated => proto::Verdict::Automated,
            Verdict::Unknown => proto::Verdict::Unspecified,
        }
        .into(),
        class: match automation.class {
            None => proto::MachineClass::Unspecified,
            Some(MachineClass::Preview) => proto::MachineClass::Preview,
            Some(MachineClass::Crawler) => proto::MachineClass::Crawler,
            Some(MachineClass::Scanner) => proto::MachineClass::Scanner,
            Some(MachineClass::Monitor) => proto::MachineClass::Monitor,
            Some(MachineClass::Library) => proto::MachineClass::Library,
            Some(MachineClass::Ai) => proto::MachineClass::Ai,
            Some(MachineClass::Prefetch) => proto::MachineClass::Prefetch,
            Some(MachineClass::Other) => proto::MachineClass::Other,
        }
        .into(),
        score: automation.score.into(),
        reasons: automation
            .reasons
            .iter()
            .map(|reason| proto::Reason { code: reason.code.clone(), weight: reason.weight.into() })
            .collect(),
        ruleset: automation.ruleset.clone(),
    }
}

fn automation_from_proto(automation: proto::Automation) -> Automation {
    let class = match proto::MachineClass::try_from(automation.class) {
        Ok(proto::MachineClass::Unspecified) => None,
        Ok(proto::MachineClass::Preview) => Some(MachineClass::Preview),
        Ok(proto::MachineClass::Crawler) => Some(MachineClass::Crawler),
        Ok(proto::MachineClass::Scanner) => Some(MachineClass::Scanner),
        Ok(proto::MachineClass::Monitor) => Some(MachineClass::Monitor),
        Ok(proto::MachineClass::Library) => Some(MachineClass::Library),
        Ok(proto::MachineClass::Ai) => Some(MachineClass::Ai),
        Ok(proto::MachineClass::Prefetch) => Some(MachineClass::Prefetch),
        Ok(proto::MachineClass::Other) | Err(_) => Some(MachineClass::Other),
    };
    Automation {
        verdict: match automation.verdict() {
            proto::Verdict::Unspecified => Verdict::Unknown,
            proto::Verdict::Human => Verdict::Human,
            proto::Verdict::Automated => Verdict::Automated,
        },
        class,
        score: u8::try_from(automation.score).unwrap_or(100).min(100),
        reasons: automation
            .reasons
            .into_iter()
            .map(|reason| Reason { code: reason.code, weight: saturated(reason.weight) })
            .collect(),
        ruleset: automation.ruleset,
    }
}

fn saturated(weight: i32) -> i16 {
    i16::try_from(weight).unwrap_or(if weight < 0 { i16::MIN } else { i16::MAX })
}
