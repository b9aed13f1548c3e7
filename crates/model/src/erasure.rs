//! What is left of a click whose contact was erased: that there was one, on which link, from which country, with which kind
//! of device, and what the rules said. Nothing that tells who it was. An anonymous click is emptied alike.

use crate::click::{Click, EnrichedClick, Request};
use crate::device::Device;
use crate::location::Location;

/// The one request header that tells of no person: the payload's `language`.
const LANGUAGE_HEADER: &str = "accept-language";

impl EnrichedClick {
    /// Empties what tells who it was, and names what it emptied in `redacted_fields`. Doing so again changes nothing.
    ///
    /// Emptied are the ids of the contact, the conversation and the message, the sender's own id and metadata of the link
    /// (both are free text, and of a link for one person), address, User-Agent, Client Hints and referrer, the queries of
    /// all URLs (senders and visitors put names there), the place below the country, the network, and the model of the
    /// device. Campaign, channel, sequence, step and tags stay: they are of many.
    pub fn erase(&mut self) {
        self.is_erased = true;
        let mut emptied = self.click.erase();
        emptied.extend(coarsen(&mut self.location, &mut self.device));
        for field in emptied {
            if self.redacted_fields.iter().all(|redacted| redacted != field) {
                self.redacted_fields.push(field.to_owned());
            }
        }
    }
}

/// Leaves of a place its country, and of a device what many have: together with the moment, a small town and a rare phone can
/// tell who it was. Names the fields of the payload that it emptied.
pub fn coarsen(location: &mut Location, device: &mut Device) -> Vec<&'static str> {
    let place = std::mem::take(location);
    let whole = std::mem::take(device);
    let is_told = [
        ("location.region", place.region.is_some()),
        ("location.city", place.city.is_some()),
        ("location.postal_code", place.postal_code.is_some()),
        ("location.latitude", place.latitude.is_some()),
        ("location.longitude", place.longitude.is_some()),
        ("location.asn", place.asn.is_some()),
        ("location.as_organization", place.as_organization.is_some()),
        ("device.model", whole.model.is_some()),
    ];
    *location = Location {
        country: place.country,
        country_name: place.country_name,
        continent: place.continent,
        is_eu: place.is_eu,
        is_anonymizer: place.is_anonymizer,
        is_hosting: place.is_hosting,
        ..Location::default()
    };
    *device = Device { kind: whole.kind, os: whole.os, browser: whole.browser, ..Device::default() };
    is_told.into_iter().filter(|(_, told)| *told).map(|(field, _)| field).collect()
}

impl Click {
    /// The same of what the redirect told; tells which fields of the payload it emptied. Also for a click that is to tell of
    /// nobody in the first place ([`crate::privacy::Telling::Anonymous`]).
    pub fn erase(&mut self) -> Vec<&'static str> {
        let (labels, request) = (&mut self.link.labels, &mut self.request);
        let emptied = [
            ("contact_id", labels.contact_id.take().is_some()),
            ("conversation_id", labels.conversation_id.take().is_some()),
            ("message_id", labels.message_id.take().is_some()),
            ("link.external_id", labels.external_id.take().is_some()),
            ("link.metadata", !std::mem::take(&mut labels.metadata).is_empty()),
            ("link.tracked_url", cut_query(&mut self.link.tracked_url)),
            ("link.original_url", cut_query(&mut self.link.original_url)),
            ("link.destination_url", cut_query(&mut self.destination_url)),
            ("ip", request.ip.is_some()),
            ("user_agent", request.user_agent.is_some()),
            ("referrer", request.referrer.is_some()),
        ];
        let mut headers = std::mem::take(&mut request.headers);
        headers.retain(|(name, _)| name == LANGUAGE_HEADER);
        *request = Request { method: std::mem::take(&mut request.method), headers, ..Request::default() };
        self.traceparent = None;
        emptied.into_iter().filter(|(_, told)| *told).map(|(field, _)| field).collect()
    }
}

/// Cuts query and fragment off; tells whether there were any.
fn cut_query(url: &mut String) -> bool {
    let end = url.find(['?', '#']);
    if let Some(end) = end {
        url.truncate(end);
    }
    end.is_some()
}
