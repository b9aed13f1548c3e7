//! A browser says that a person's touch took it to the link as a page. It speaks for the person where something else
//! does not.

use model::automation::MachineClass;
use model::click::Request;

use super::{Case, Signal};

pub(super) const SIGNAL: Signal = Signal { code: "navigated", weight: -30, class: MachineClass::Other };

/// What it says then.
const HEADERS: [(&str, &str); 3] =
    [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("sec-fetch-user", "?1")];

/// Fires when it says all of that.
pub fn signal(case: &Case<'_>) -> Option<Signal> {
    is_complete(case.request).then_some(SIGNAL)
}

/// Whether it says all of that.
pub(super) fn is_complete(request: &Request) -> bool {
    HEADERS.iter().all(|(name, value)| request.header(name).is_some_and(|v| v.trim() == *value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::automation::visits::Visit;

    #[test]
    fn a_persons_navigation_speaks_for_the_person() {
        let mut visit = Visit::firefox();
        assert_eq!(signal(&visit.case()), Some(SIGNAL));
        assert_eq!(visit.codes(), [""; 0], "nothing speaks against the person");

        visit.without("accept-language");

        assert_eq!(visit.codes(), ["no_accept_language", "navigated"]);
        assert_eq!(visit.judge().score, 5);
    }

    #[test]
    fn one_that_is_not_complete_says_nothing() {
        for (name, _) in HEADERS {
            let mut visit = Visit::firefox();
            visit.without(name);
            assert_eq!(signal(&visit.case()), None, "without {name}");

            visit.click.request.headers.push((name.to_owned(), "empty".to_owned()));
            assert_eq!(signal(&visit.case()), None, "another {name}");
        }
    }
}
