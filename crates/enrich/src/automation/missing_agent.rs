//! Every browser says what it is; scanners and scripts often say nothing.

use model::automation::MachineClass;

use super::Signal;
use super::verdict::STRONG;

/// Fires when there is no User-Agent, or an empty one.
pub const SIGNAL: Signal = Signal { code: "ua_missing", weight: STRONG, class: MachineClass::Other };
