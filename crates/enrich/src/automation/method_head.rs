//! HEAD asks for a link's answer without following it: no browser does that for a person.

use model::automation::MachineClass;
use model::click::Request;

use super::Signal;
use super::verdict::DECISIVE;

/// Fires on HEAD.
pub fn signal(request: &Request) -> Option<Signal> {
    let signal = Signal { code: "method_head", weight: DECISIVE, class: MachineClass::Monitor };
    request.method.eq_ignore_ascii_case("HEAD").then_some(signal)
}
