//! A link that people do not see in the message that hides it: who follows it reads messages as a machine does.

use model::automation::MachineClass;
use model::link::LinkKind;

use super::verdict::DECISIVE;
use super::{Case, Signal};

const SIGNAL: Signal = Signal { code: "honeypot", weight: DECISIVE, class: MachineClass::Scanner };

/// Fires on a click on a honeypot.
pub fn signal(case: &Case<'_>) -> Option<Signal> {
    let is_honeypot = case.link.is_some_and(|link| link.kind == LinkKind::Honeypot);
    is_honeypot.then_some(SIGNAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::automation::visits::{self, Visit};

    #[test]
    fn who_follows_a_honeypot_is_a_scanner_whatever_browser_it_is() {
        for mut visit in visits::ordinary() {
            visit.click.link.kind = LinkKind::Honeypot;
            let judged = visit.judge();

            assert_eq!(visit.codes(), ["honeypot"], "{}", visit.name);
            assert_eq!((judged.score, judged.class), (100, Some(MachineClass::Scanner)));
        }
    }

    #[test]
    fn other_links_are_for_people() {
        let of = |kind| {
            let mut visit = Visit::chrome();
            visit.click.link.kind = kind;
            signal(&visit.case())
        };

        assert_eq!((of(LinkKind::Shareable), of(LinkKind::Message)), (None, None));
    }
}
