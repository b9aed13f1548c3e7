//! Networks of servers. Private relays, VPNs and offices lead people through them, so that it only adds to what else
//! was seen.

use model::automation::MachineClass;

use super::verdict::WEAK;
use super::{Case, Signal};

const SIGNAL: Signal = Signal { code: "asn_hosting", weight: WEAK, class: MachineClass::Other };

/// Fires on a click from an address that a location file knows as a server's.
pub fn signal(case: &Case<'_>) -> Option<Signal> {
    let is_hosting = case.location.is_some_and(|location| location.is_hosting == Some(true));
    is_hosting.then_some(SIGNAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::automation::visits::{self, Visit};

    #[test]
    fn a_server_adds_to_what_else_was_seen() {
        let mut visit = Visit::safari();
        visit.location.is_hosting = Some(true);
        assert_eq!(signal(&visit.case()), Some(SIGNAL));
        assert_eq!((visit.codes(), visit.judge().score), (Vec::<String>::new(), 0), "people are there too");

        visit.without("accept-language");

        assert_eq!(visit.codes(), ["no_accept_language", "asn_hosting"]);
        assert_eq!(visit.judge().score, 50);
    }

    #[test]
    fn people_do_not_trip_it() {
        for mut visit in visits::ordinary() {
            for is_hosting in [None, Some(false)] {
                visit.location.is_hosting = is_hosting;
                assert_eq!(signal(&visit.case()), None, "{}", visit.name);
            }
        }
    }
}
