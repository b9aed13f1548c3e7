//! Chrome without a window calls itself another brand in the hints, which who changes its User-Agent often forgets.

use model::automation::MachineClass;
use model::click::Request;

use super::Signal;
use super::verdict::DECISIVE;

const SIGNAL: Signal = Signal { code: "headless_browser", weight: DECISIVE, class: MachineClass::Other };

/// Lists of brands.
const LISTS: [&str; 2] = ["sec-ch-ua", "sec-ch-ua-full-version-list"];

/// The brand as it stands in a list.
const BRAND: &str = "\"HeadlessChrome\"";

/// Fires when a list has that brand.
pub fn signal(request: &Request) -> Option<Signal> {
    let is_headless = LISTS.iter().filter_map(|list| request.header(list)).any(|list| list.contains(BRAND));
    is_headless.then_some(SIGNAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::automation::visits::{self, CHROME_WINDOWS, Visit};

    #[test]
    fn a_browser_without_a_window_is_a_machines() {
        for list in LISTS {
            let brands = r#""Chromium";v="142", "HeadlessChrome";v="142", "Not_A Brand";v="99""#;
            let visit = Visit::of("headless", CHROME_WINDOWS, &[(list, brands)]);

            assert_eq!(
                (visit.codes(), visit.judge().score),
                (vec!["headless_browser".to_owned()], 100),
                "{list}"
            );
        }
    }

    #[test]
    fn people_do_not_trip_it() {
        for visit in visits::ordinary() {
            assert_eq!(signal(&visit.click.request), None, "{}", visit.name);
        }
    }
}
