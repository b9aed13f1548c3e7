//! Programs that have the beginning of a browser's User-Agent, or its pattern: `Mozilla/5.0 (Windows NT 10.0; Win64; x64)` with
//! nothing behind it, `Chrome/W.X.Y.Z`.

use model::automation::MachineClass;
use model::device::DeviceKind;

use super::Signal;
use super::verdict::STRONG;
use crate::device::Described;

/// Browsers that always say their version.
const VERSIONED: [&str; 2] = ["Chrome/", "Firefox/"];

/// A longer one may have been cut on its way, in bytes.
const UNCUT_BYTES_MAX: usize = 200;

/// Fires when a User-Agent names the system of a computer and no browser, or a browser with no version.
pub fn signal(agent: &str, described: &Described) -> Option<Signal> {
    let (agent, device) = (agent.trim(), &described.device);
    let is_system_alone = device.kind == DeviceKind::Desktop
        && device.browser.is_none()
        && agent.starts_with("Mozilla/")
        && agent.find(')').is_some_and(|end| end + 1 == agent.len());
    let has_no_version = |token: &&str| {
        let Some((_, version)) = agent.split_once(token) else { return false };
        let is_cut_off = version.is_empty() && agent.len() <= UNCUT_BYTES_MAX;
        is_cut_off || version.starts_with(|c: char| c.is_ascii_alphabetic())
    };
    let fires = device.in_app.is_none() && (is_system_alone || VERSIONED.iter().any(has_no_version));
    let signal = Signal { code: "ua_cut_off", weight: STRONG, class: MachineClass::Other };
    fires.then_some(signal)
}
