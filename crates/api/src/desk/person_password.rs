//! What a password of a person must be: long, and not what is tried first. No rules of composition (NIST SP 800-63B section
//! 3.1.1.2: length, and a list of the common ones).

use model::Email;
use model::password::PASSWORD_CHARS_MAX;

use super::passwords::TypedPassword;
use crate::error::ApiError;

/// Shortest password, in characters.
pub const CHARS_MIN: usize = 12;

/// What is tried first, of those that are long enough; compared in lower case.
const COMMON: [&str; 40] = [
    "000000000000",
    "111111111111",
    "112233445566",
    "121212121212",
    "123123123123",
    "123412341234",
    "123456123456",
    "1234567890123",
    "1234567890qwerty",
    "1234567890987654321",
    "123456789012",
    "123456789abc",
    "123456789101112",
    "1q2w3e4r5t6y",
    "1q2w3e4r5t6y7u8i",
    "1qaz2wsx3edc",
    "1qaz2wsx3edc4rfv",
    "abc123456789",
    "abcdefghijkl",
    "abcdefghijklmnopqrstuvwxyz",
    "abcd12345678",
    "admin1234567",
    "administrator",
    "administrator1",
    "asdfghjkl123",
    "changeme1234",
    "changemenow1",
    "clickwire123",
    "clickwireclickwire",
    "correcthorsebatterystaple",
    "iloveyou1234",
    "letmein12345",
    "password1234",
    "password12345",
    "passwordpassword",
    "qazwsxedcrfv",
    "qwerty123456",
    "qwertyuiop12",
    "qwertyuiopasdfghjkl",
    "welcome12345",
];

/// Refuses a password that is too short or too easy to guess.
///
/// # Errors
/// The field `pointer` with the rule that it breaks.
pub fn check(pointer: &str, typed: &TypedPassword, email: &Email) -> Result<(), ApiError> {
    match broken_rule(typed.text(), email) {
        None => Ok(()),
        Some((code, detail)) => Err(ApiError::field(pointer, code, detail)),
    }
}

fn broken_rule(text: &str, email: &Email) -> Option<(&'static str, String)> {
    let chars = text.chars().count();
    let folded = text.to_lowercase();
    if chars < CHARS_MIN {
        return Some(("too_short", format!("must be at least {CHARS_MIN} characters long")));
    }
    if chars > PASSWORD_CHARS_MAX {
        return Some(("too_long", format!("must be at most {PASSWORD_CHARS_MAX} characters long")));
    }
    if folded.trim() == email.as_str() || folded.trim() == email.local() {
        return Some(("too_common", "must not be the e-mail address".to_owned()));
    }
    let mut distinct: Vec<char> = folded.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if COMMON.contains(&folded.trim()) || distinct.len() < 3 {
        let detail =
            "is one of the first that would be tried; take a few words that only you would put together";
        return Some(("too_common", detail.to_owned()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_and_not_what_is_tried_first() {
        let email: Email = "ada.lovelace@example.com".parse().expect("an address");
        let code = |text: &str| broken_rule(text, &email).map(|(code, _)| code);

        assert_eq!(code("eleven char"), Some("too_short"));
        assert_eq!(code(&"é".repeat(PASSWORD_CHARS_MAX + 1)), Some("too_long"));
        for common in [
            "Ada.Lovelace@Example.com",
            "ada.lovelace",
            "PassWordPassword",
            "aaaaaaaaaaaaab",
            "             ",
        ] {
            assert_eq!(code(common), Some("too_common"), "{common}");
        }
        for fine in ["green tea at four", "dozen of eels", "ååååäääöööøø"] {
            assert_eq!(code(fine), None, "{fine}");
        }
        assert!(COMMON.iter().all(|common| common.chars().count() >= CHARS_MIN));
    }
}
