//! Programs that do not start like a browser: `curl/8.5`, `python-httpx/0.27`, `MyScript 1.0`.
//!
//! Old phones and apps do not start like one either, but the device rules know those: then it is a doubt only.

use model::automation::MachineClass;
use model::device::DeviceKind;

use super::Signal;
use super::verdict::{MEDIUM, STRONG};
use crate::device::Described;

/// How browsers start; `Mozilla` since 1994.
const BROWSERS: [&str; 3] = ["Mozilla/", "Opera/", "Opera "];

/// Browsers of before, or that show text alone: people use them, and scripts do.
const TEXT_BROWSERS: [&str; 6] = ["Links (", "ELinks", "Lynx/", "w3m/", "NetSurf/", "Dillo/"];

/// What programs of devices fetch with, whatever device it is: nobody sees a page in these.
const FETCHERS: [&str; 4] = ["CFNetwork/", "Dalvik/", "okhttp/", "dataaccessd/"];

/// Fires when a User-Agent starts like no browser.
pub fn signal(agent: &str, described: &Described) -> Option<Signal> {
    let agent = agent.trim_start();
    if BROWSERS.iter().any(|start| agent.starts_with(start)) {
        return None;
    }
    let device = &described.device;
    let is_an_app = device.in_app.is_some();
    let is_a_text_browser = TEXT_BROWSERS.iter().any(|start| agent.starts_with(start));
    let is_a_fetcher = FETCHERS.iter().any(|fetcher| agent.contains(fetcher));
    let is_a_device = !is_a_fetcher
        && (device.brand.is_some() || !matches!(device.kind, DeviceKind::Unknown | DeviceKind::Desktop));
    let weight = if is_an_app || is_a_text_browser || is_a_device { MEDIUM } else { STRONG };
    Some(Signal { code: "ua_not_a_browser", weight, class: MachineClass::Library })
}
