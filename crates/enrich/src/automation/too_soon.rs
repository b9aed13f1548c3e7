//! A click before a person could have read the message: what receives mail looks at its links at once.

use chrono::TimeDelta;
use model::automation::MachineClass;

use super::verdict::WEAK;
use super::{Case, Signal};

const SIGNAL: Signal = Signal { code: "too_soon", weight: WEAK, class: MachineClass::Scanner };

/// Faster than a message is shown and touched.
const TOO_SOON: TimeDelta = TimeDelta::seconds(2);

/// Fires when the click came that soon after the message was sent. A click before it says that the clocks differ.
pub fn signal(case: &Case<'_>) -> Option<Signal> {
    let sent_at = case.link?.sent_at?;
    let waited = case.clicked_at? - sent_at;
    let fires = waited >= TimeDelta::zero() && waited < TOO_SOON;
    fires.then_some(SIGNAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::automation::visits::{self, Visit};

    fn after(visit: &mut Visit, waited: TimeDelta) -> Option<Signal> {
        visit.click.link.sent_at = Some(visit.click.clicked_at - waited);
        signal(&visit.case())
    }

    #[test]
    fn a_click_at_once_is_a_little_doubtful() {
        let mut visit = Visit::safari();

        assert_eq!(after(&mut visit, TimeDelta::milliseconds(1_999)), Some(SIGNAL));
        assert_eq!(after(&mut visit, TimeDelta::zero()), Some(SIGNAL));
        assert_eq!((visit.codes(), visit.judge().score), (vec!["too_soon".to_owned()], 15));
    }

    #[test]
    fn people_read_before_they_click() {
        for mut visit in visits::ordinary() {
            assert_eq!(signal(&visit.case()), None, "{}", visit.name);
            assert_eq!(after(&mut visit, TimeDelta::seconds(2)), None, "{}", visit.name);
            assert_eq!(after(&mut visit, TimeDelta::milliseconds(-1)), None, "the clocks differ");

            visit.click.link.sent_at = None;
            assert_eq!(signal(&visit.case()), None, "{}", visit.name);
        }
    }
}
