//! What people and scripts read. A reader that goes away (`| head`) is no error.

use std::io::{IsTerminal, Write};

use serde::Serialize;

/// One line on standard output.
pub(crate) fn line(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// One value as one line of JSON on standard output.
pub(crate) fn json(value: &impl Serialize) {
    line(&serde_json::to_string(value).expect("what we print has text keys"));
}

/// One line on standard error.
pub(crate) fn error(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Whether a person is looking at standard output.
pub(crate) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}
