//! What `explain-ua` and `explain-click` say of a device and of a verdict.

use enrich::automation;
use model::automation::Automation;
use model::device::Device;

use crate::out;

/// A device, a line a field that is known.
pub(crate) fn device(device: &Device) {
    let version = |name: &Option<String>, version: &Option<String>| {
        name.as_ref().map(|name| format!("{name} {}", version.as_deref().unwrap_or("(version unknown)")))
    };
    out::line(&format!("device    {}", device.kind.as_str()));
    let parts = [
        ("brand", device.brand.clone()),
        ("model", device.model.clone()),
        ("sold as", device.model_name.clone()),
        ("system", version(&device.os, &device.os_version)),
        ("browser", version(&device.browser, &device.browser_version)),
        ("in app", device.in_app.clone()),
    ];
    for (name, value) in parts {
        if let Some(value) = value {
            out::line(&format!("{name:<8}  {}", value.escape_debug()));
        }
    }
}

/// A verdict, and a line a reason with its weight.
pub(crate) fn verdict(judged: &Automation) {
    let class = judged.class.map(|class| format!(" ({})", class.as_str())).unwrap_or_default();
    let (score, ruleset) = (judged.score, &judged.ruleset);
    out::line(&format!("verdict   {}{class}, score {score} by rules {ruleset}", judged.verdict.as_str()));
    if judged.reasons.is_empty() {
        out::line("reason    nothing speaks for a machine");
    }
    for reason in &judged.reasons {
        let meaning = automation::meaning(&reason.code).unwrap_or("a signal that these rules do not have");
        out::line(&format!("{:>+8}  {}: {meaning}", reason.weight, reason.code));
    }
}
