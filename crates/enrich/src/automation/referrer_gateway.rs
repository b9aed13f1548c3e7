//! Mail gateways rewrite links, and open them. A person who clicks comes through the gateway's page too, so that it only
//! adds to what else was seen.

use model::automation::MachineClass;

use super::verdict::WEAK;
use super::{Case, Signal};

const SIGNAL: Signal = Signal { code: "referrer_gateway", weight: WEAK, class: MachineClass::Scanner };

/// Hosts of rewritten links; each stands for those under it too (`nam02.safelinks.…`).
const HOSTS: [&str; 11] = [
    // Microsoft Defender for Office 365
    "safelinks.protection.outlook.com",
    // Proofpoint URL Defense
    "urldefense.com",
    "urldefense.proofpoint.com",
    // Mimecast
    "mimecast.com",
    "mimecastprotect.com",
    // Barracuda
    "linkprotect.cudasvc.com",
    // Cisco Secure Email
    "secure-web.cisco.com",
    // Symantec
    "clicktime.symantec.com",
    // Sophos
    "protection.sophos.com",
    // Check Point Harmony
    "url.avanan.click",
    // Trustwave
    "scanmail.trustwave.com",
];

/// Fires when the click came from one of them.
pub fn signal(case: &Case<'_>) -> Option<Signal> {
    let host = host(case.request.referrer.as_deref()?)?.to_ascii_lowercase();
    let is_under = |gateway: &&str| {
        host.strip_suffix(*gateway).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    HOSTS.iter().any(is_under).then_some(SIGNAL)
}

/// The host of a URL, without what may stand around it.
fn host(url: &str) -> Option<&str> {
    let (_, after) = url.split_once("://")?;
    let authority = after.split(['/', '?', '#']).next()?;
    let host_and_port = authority.rsplit('@').next()?;
    host_and_port.split(':').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::automation::visits::{self, Visit};

    fn from(referrer: &str) -> Visit {
        let mut visit = Visit::safari();
        visit.click.request.referrer = Some(referrer.to_owned());
        visit
    }

    #[test]
    fn the_page_of_a_gateway_adds_to_what_else_was_seen() {
        let mut visit = from("https://nam02.safelinks.protection.outlook.com/");
        assert_eq!(signal(&visit.case()), Some(SIGNAL));
        assert_eq!((visit.codes(), visit.judge().score), (Vec::<String>::new(), 0), "people come there too");

        visit.without("accept-language");

        assert_eq!(visit.codes(), ["no_accept_language", "referrer_gateway"]);
        assert_eq!(visit.judge().score, 50);
    }

    #[test]
    fn gateways_are_told_by_their_hosts() {
        for gateway in [
            "https://urldefense.com/v3/__https",
            "https://urldefense.proofpoint.com",
            "https://protect-eu.mimecast.com/s/abc",
            "https://linkprotect.cudasvc.com:443/url",
            "https://SECURE-WEB.cisco.com/1abc",
        ] {
            assert_eq!(signal(&from(gateway).case()), Some(SIGNAL), "{gateway}");
        }
        for other in [
            "https://notmimecast.com/",
            "https://mimecast.com.example.net/",
            "https://example.com/urldefense.com",
            "https://urldefense.com@example.com/",
            "https://example.com/?from=https://urldefense.com/",
            "urldefense.com",
            "",
        ] {
            assert_eq!(signal(&from(other).case()), None, "{other}");
        }
    }

    #[test]
    fn people_do_not_trip_it() {
        for mut visit in visits::ordinary() {
            for referrer in [None, Some("https://mail.google.com/"), Some("https://outlook.live.com/mail/0")]
            {
                visit.click.request.referrer = referrer.map(str::to_owned);
                assert_eq!(signal(&visit.case()), None, "{}", visit.name);
            }
        }
    }
}
