//! A language, and hints that fit the User-Agent: who borrows a User-Agent has to think of both. It speaks for a person
//! where something else does not.

use model::automation::MachineClass;

use super::{Case, Signal};

const SIGNAL: Signal = Signal { code: "language_and_hints", weight: -20, class: MachineClass::Other };

/// Fires when a language is named and the hints' platform is the User-Agent's.
pub fn signal(case: &Case<'_>) -> Option<Signal> {
    (case.agent.hints_agree && case.request.language().is_some()).then_some(SIGNAL)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::automation::visits::Visit;

    #[test]
    fn a_language_and_fitting_hints_speak_for_a_person() {
        let mut visit = Visit::chrome();
        visit.without("sec-fetch-user");
        assert_eq!(signal(&visit.case()), Some(SIGNAL));
        assert_eq!(visit.codes(), [""; 0], "nothing speaks against the person");

        visit.click.link.sent_at = Some(visit.click.clicked_at - TimeDelta::seconds(1));

        assert_eq!(visit.codes(), ["too_soon", "language_and_hints"]);
        assert_eq!(visit.judge().score, 0);
    }

    #[test]
    fn one_of_the_two_says_nothing() {
        let mut visit = Visit::chrome();
        visit.without("accept-language");
        assert_eq!(signal(&visit.case()), None);

        for silent in [Visit::firefox(), Visit::safari()] {
            assert_eq!(signal(&silent.case()), None, "{} sends no hints", silent.name);
        }
    }
}
