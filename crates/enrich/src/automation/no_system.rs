//! Programs that start like a browser and name nothing that it could run on: `Mozilla/5.0 (compatible; Thing)`.

use model::automation::MachineClass;
use model::device::DeviceKind;

use super::Signal;
use super::verdict::STRONG;
use crate::device::Described;

/// What browsers start with.
const BROWSER: &str = "Mozilla/";

/// Fires when a User-Agent starts like a browser's, and neither system nor device can be told from it.
pub fn signal(agent: &str, described: &Described) -> Option<Signal> {
    let device = &described.device;
    let tells_something = device.os.is_some()
        || device.brand.is_some()
        || device.in_app.is_some()
        || device.kind != DeviceKind::Unknown;
    let signal = Signal { code: "ua_no_system", weight: STRONG, class: MachineClass::Other };
    (agent.trim_start().starts_with(BROWSER) && !tells_something).then_some(signal)
}
