//! Networks that mail scanners ask from. People ask from them too (a virtual desktop, an office's way out), so that it
//! only adds to what else was seen.

use model::automation::MachineClass;

use super::verdict::WEAK;
use super::{Case, Signal};

const SIGNAL: Signal = Signal { code: "asn_scanner", weight: WEAK, class: MachineClass::Scanner };

/// Autonomous systems, a line for each whose they are.
const NETWORKS: [&[u32]; 6] = [
    // Microsoft: Defender for Office 365 asks from Azure
    &[8074, 8075, 12076],
    // Google
    &[15169],
    // Proofpoint
    &[13916, 22843, 26211, 52129],
    // Mimecast
    &[30031],
    // Barracuda Networks
    &[15324],
    // Cisco's IronPort division: Secure Email
    &[16417, 30214, 30215, 30238, 40427],
];

/// Fires on a click from one of them.
pub fn signal(case: &Case<'_>) -> Option<Signal> {
    let network = case.location?.asn?;
    NETWORKS.iter().any(|numbers| numbers.contains(&network)).then_some(SIGNAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::automation::visits::{self, Visit};

    #[test]
    fn the_network_of_a_scanner_adds_to_what_else_was_seen() {
        let mut visit = Visit::safari();
        visit.location.asn = Some(8075);
        assert_eq!(signal(&visit.case()), Some(SIGNAL));
        assert_eq!((visit.codes(), visit.judge().score), (Vec::<String>::new(), 0), "people are there too");

        visit.without("accept-language");

        assert_eq!(visit.codes(), ["no_accept_language", "asn_scanner"]);
        assert_eq!(visit.judge().score, 50);
    }

    #[test]
    fn people_do_not_trip_it() {
        for mut visit in visits::ordinary() {
            visit.location.asn = Some(3269);
            assert_eq!(signal(&visit.case()), None, "{}", visit.name);

            visit.location.asn = None;
            assert_eq!(signal(&visit.case()), None, "{}", visit.name);
        }
    }
}
