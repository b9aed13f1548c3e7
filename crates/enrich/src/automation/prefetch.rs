//! A browser that loads ahead says so; the person has not clicked yet.

use model::automation::MachineClass;
use model::click::Request;

use super::Signal;
use super::verdict::DECISIVE;

/// The header of today, then those of older Chromium and Safari, of old Safari, and of old Firefox.
const HEADERS: [&str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];

/// Fires when one of [`HEADERS`] names a prefetch, a prerender or a preview.
pub fn signal(request: &Request) -> Option<Signal> {
    let loads_ahead = HEADERS.iter().filter_map(|name| request.header(name)).any(|value| {
        let value = value.to_ascii_lowercase();
        value.split([';', ',']).any(|word| ["prefetch", "prerender", "preview"].contains(&word.trim()))
    });
    let signal = Signal { code: "prefetch_header", weight: DECISIVE, class: MachineClass::Prefetch };
    loads_ahead.then_some(signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loading_ahead_is_told_by_old_and_new_headers() {
        let with = |name: &str, value: &str| {
            let headers = vec![(name.to_owned(), value.to_owned())];
            signal(&Request { headers, ..Request::default() }).is_some()
        };

        assert!(with("sec-purpose", "prefetch;prerender"));
        assert!(with("sec-purpose", "prefetch;anonymous-client-ip"));
        assert!(with("purpose", "Prefetch"));
        assert!(with("x-purpose", "preview"));
        assert!(with("x-moz", "prefetch"));
        assert!(!with("purpose", "prefetching is nice"));
        assert!(!with("accept", "prefetch"));
    }
}
