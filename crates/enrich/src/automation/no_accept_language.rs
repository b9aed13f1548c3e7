//! Every browser says which languages its person reads; programs that borrow its User-Agent forget to.

use model::automation::MachineClass;

use super::verdict::MEDIUM;
use super::{Case, Signal};

const SIGNAL: Signal = Signal { code: "no_accept_language", weight: MEDIUM, class: MachineClass::Other };

/// Fires on a browser's request without a language. A click whose headers were not kept shows nothing: only one with
/// `Accept`, which everything sends, shows what else was there.
pub fn signal(case: &Case<'_>) -> Option<Signal> {
    let request = case.request;
    let fires = case.agent.is_browser
        && request.header("accept").is_some()
        && request.header("accept-language").unwrap_or_default().trim().is_empty();
    fires.then_some(SIGNAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::automation::visits::{self, Visit};

    #[test]
    fn a_browser_that_reads_no_language_is_doubtful() {
        for mut visit in [Visit::chrome(), Visit::safari()] {
            visit.without("accept-language");
            assert_eq!(signal(&visit.case()), Some(SIGNAL), "{}", visit.name);

            visit.click.request.headers.push(("accept-language".into(), " ".into()));
            assert_eq!(signal(&visit.case()), Some(SIGNAL), "{}", visit.name);
        }
        let mut visit = Visit::safari();
        visit.without("accept-language");
        assert_eq!((visit.codes(), visit.judge().score), (vec!["no_accept_language".to_owned()], 35));
    }

    #[test]
    fn people_and_clicks_whose_headers_were_not_kept_do_not_trip_it() {
        for mut visit in visits::ordinary() {
            assert_eq!(signal(&visit.case()), None, "{}", visit.name);

            visit.click.request.headers.clear();
            assert_eq!(signal(&visit.case()), None, "{}", visit.name);
        }
    }

    #[test]
    fn what_claims_no_browser_owes_no_language() {
        let visit = Visit::of("a script", "MyScript/1.0", &[("accept", "*/*")]);

        assert_eq!(visit.codes(), ["ua_not_a_browser"]);
    }
}
