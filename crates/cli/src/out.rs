//! What people and scripts read. A reader that goes away (`| head`) is no error.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

/// How often a changing line is drawn again.
const REDRAW_AFTER: Duration = Duration::from_millis(200);

/// How often a log is told how far something is.
const REPEAT_AFTER: Duration = Duration::from_secs(10);

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

/// One line on standard output; `false` when nobody reads it any more.
pub(crate) fn is_read(text: &str) -> bool {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).is_ok()
}

/// What takes long, told on standard error while it lasts: in one line that changes where a person looks on, else in a line now
/// and then.
#[derive(Debug)]
pub(crate) struct Progress {
    is_terminal: bool,
    told_at: Instant,
}

impl Progress {
    /// Nothing is told at once.
    pub(crate) fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), told_at: Instant::now() }
    }

    /// Tells how far it is, unless it was told just before.
    pub(crate) fn tell(&mut self, text: impl FnOnce() -> String) {
        let pause = if self.is_terminal { REDRAW_AFTER } else { REPEAT_AFTER };
        if self.told_at.elapsed() < pause {
            return;
        }
        self.told_at = Instant::now();
        let mut stderr = std::io::stderr().lock();
        let _ = if self.is_terminal {
            write!(stderr, "\r\x1b[2K{}", text()).and_then(|()| stderr.flush())
        } else {
            writeln!(stderr, "{}", text())
        };
    }

    /// Takes the changing line away, before anything else is written.
    pub(crate) fn clear(&self) {
        if self.is_terminal {
            let mut stderr = std::io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[2K").and_then(|()| stderr.flush());
        }
    }
}

/// Whether a person is looking at standard output.
pub(crate) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}
