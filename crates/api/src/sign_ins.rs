//! How often somebody may fail to sign in: so often from an address, and with an e-mail address wherever they are. Tried is
//! counted before the password is looked at, so that many at once are no more than one after the other.
//!
//! Whoever wants to keep somebody out could use that up for them, so a browser that somebody has signed in with before is counted
//! for itself: what others do changes nothing for it, and it guesses no more often than an address may. All such browsers of an
//! account together guess no more often than [`KNOWN_BROWSERS`] addresses: somebody who knows its password can have any number.
//!
//! All are counted in memory of a fixed size. Who has very many addresses may share a slot with others and use theirs up for
//! a minute; nobody is ever let through more often.

use std::net::IpAddr;
use std::time::Instant;

use model::Email;
use service::tally::{SLOTS, Taken, Tally, network};

/// Browsers of one person that may all fail as often as they may within a minute.
const KNOWN_BROWSERS: u32 = 5;

/// Tries of the last minute.
pub struct SignIns {
    of_address: Tally,
    of_account: Tally,
    of_browser: Tally,
    of_known: Tally,
}

/// One that is going on: whoever gets in has it forgiven.
#[must_use = "drop it to have it counted as failed"]
pub struct Try(Tried);

enum Tried {
    Known { of_browser: Taken, of_known: Taken },
    Unknown { of_address: Taken, of_account: Option<Taken> },
}

/// Somebody tried too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// From this address.
    Address,
    /// With this e-mail address, from wherever.
    Account,
    /// With this browser.
    Browser,
}

impl Limited {
    /// What is told: the same whether there is such an account.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Address => "Too many failed sign-ins from your address. Try again in a minute.",
            Self::Account => "Too many failed sign-ins with this e-mail address. Try again in a minute.",
            Self::Browser => "Too many failed sign-ins with this browser. Try again in a minute.",
        }
    }
}

impl SignIns {
    /// Lets each fail so often within a minute.
    pub fn new(address_failures_max: u32, account_failures_max: u32) -> Self {
        Self {
            of_address: Tally::new(SLOTS, address_failures_max),
            of_account: Tally::new(SLOTS, account_failures_max),
            of_browser: Tally::new(SLOTS, address_failures_max),
            of_known: Tally::new(SLOTS, address_failures_max.saturating_mul(KNOWN_BROWSERS)),
        }
    }

    /// Begins a try.
    ///
    /// # Errors
    /// [`Limited`] when there were too many.
    pub fn begin(&self, address: IpAddr, account: Option<&Email>, now: Instant) -> Result<Try, Limited> {
        let source = match address.to_canonical() {
            v6 @ IpAddr::V6(_) => network(v6),
            v4 @ IpAddr::V4(_) => v4,
        };
        let of_address = self.of_address.take(source, now).map_err(|_| Limited::Address)?;
        let of_account = match account {
            Some(email) => Some(self.of_account.take(email, now).map_err(|_| Limited::Account)?),
            None => None,
        };
        Ok(Try(Tried::Unknown { of_address, of_account }))
    }

    /// Begins a try with a browser that somebody has signed in with before, and their address; it is known by a word.
    ///
    /// # Errors
    /// [`Limited`] when there were too many.
    pub fn begin_known(&self, browser: &str, account: &Email, now: Instant) -> Result<Try, Limited> {
        let of_browser = self.of_browser.take(browser, now).map_err(|_| Limited::Browser)?;
        let of_known = self.of_known.take(account, now).map_err(|_| Limited::Account)?;
        Ok(Try(Tried::Known { of_browser, of_known }))
    }

    /// Forgets a try that was none: it got in.
    pub fn forgive(&self, it: Try) {
        match it.0 {
            Tried::Known { of_browser, of_known } => {
                self.of_browser.give_back(of_browser);
                self.of_known.give_back(of_known);
            }
            Tried::Unknown { of_address, of_account } => {
                self.of_address.give_back(of_address);
                if let Some(taken) = of_account {
                    self.of_account.give_back(taken);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn fails(sign_ins: &SignIns, address: IpAddr, account: Option<&Email>, now: Instant) -> Option<Limited> {
        sign_ins.begin(address, account, now).map(drop).err()
    }

    #[test]
    fn a_guesser_is_limited_for_a_minute_and_nobody_else_is() {
        let sign_ins = SignIns::new(2, 10);
        let (guesser, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let now = Instant::now();

        assert_eq!(fails(&sign_ins, guesser, None, now), None);
        assert_eq!(fails(&sign_ins, guesser, None, now), None);

        assert_eq!(fails(&sign_ins, guesser, None, now), Some(Limited::Address));
        assert_eq!(fails(&sign_ins, other, None, now), None);
        assert_eq!(fails(&sign_ins, guesser, None, now + MINUTE), None);
    }

    #[test]
    fn an_account_is_guarded_from_guessers_with_many_addresses() {
        let sign_ins = SignIns::new(10, 2);
        let email: Email = "ada@example.com".parse().expect("an address");
        let other: Email = "bob@example.com".parse().expect("an address");
        let now = Instant::now();

        for last in 1..=2 {
            assert_eq!(fails(&sign_ins, IpAddr::from([192, 0, 2, last]), Some(&email), now), None);
        }

        let elsewhere = IpAddr::from([198, 51, 100, 1]);
        assert_eq!(fails(&sign_ins, elsewhere, Some(&email), now), Some(Limited::Account));
        assert_eq!(fails(&sign_ins, elsewhere, Some(&other), now), None);
    }

    #[test]
    fn what_others_fail_keeps_no_browser_out_that_is_known_and_it_guesses_no_more_than_an_address() {
        let sign_ins = SignIns::new(2, 1);
        let (address, now) = (IpAddr::from([192, 0, 2, 1]), Instant::now());
        let email: Email = "ada@example.com".parse().expect("an address");
        assert_eq!(fails(&sign_ins, address, Some(&email), now), None);
        assert_eq!(fails(&sign_ins, address, Some(&email), now), Some(Limited::Account));

        let known = |browser| sign_ins.begin_known(browser, &email, now).map(drop).err();
        assert_eq!([known("a"), known("a"), known("a")], [None, None, Some(Limited::Browser)]);
        assert_eq!(known("b"), None);
    }

    #[test]
    fn many_known_browsers_guess_no_more_often_than_a_few() {
        let sign_ins = SignIns::new(2, 1);
        let now = Instant::now();
        let email: Email = "ada@example.com".parse().expect("an address");
        let other: Email = "bob@example.com".parse().expect("an address");
        let fails = |browser: u32, account: &Email| {
            sign_ins.begin_known(&browser.to_string(), account, now).map(drop).err()
        };

        for browser in 0..KNOWN_BROWSERS {
            assert_eq!([fails(browser, &email), fails(browser, &email)], [None, None]);
        }

        assert_eq!(fails(KNOWN_BROWSERS, &email), Some(Limited::Account));
        assert_eq!(fails(KNOWN_BROWSERS + 1, &other), None);
        let it = sign_ins.begin_known("later", &email, now + MINUTE).expect("a try");
        sign_ins.forgive(it);
    }

    #[test]
    fn whoever_gets_in_has_not_failed() {
        let sign_ins = SignIns::new(1, 1);
        let (address, now) = (IpAddr::from([192, 0, 2, 1]), Instant::now());
        let email: Email = "ada@example.com".parse().expect("an address");

        for _ in 0..3 {
            let it = sign_ins.begin(address, Some(&email), now).expect("a try");
            sign_ins.forgive(it);
        }
    }
}
