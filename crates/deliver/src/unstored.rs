//! Whether the results of the fast lane can be stored. While they cannot, the row comes before the request: a PostgreSQL that reads
//! and does not write (its disk is full, or an index of the table is being made) would have every click sent again whenever it
//! comes again, and nobody would ever know of it.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the last results could not be stored.
#[derive(Debug, Default)]
pub struct Unstored(AtomicBool);

/// Results that are being stored. Unless they are [`done`](Storing::done) before this is dropped, they could not be.
#[must_use]
pub struct Storing<'a> {
    unstored: &'a AtomicBool,
    is_done: bool,
}

impl Unstored {
    /// Whether it is so.
    pub fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Results begin to be stored.
    pub fn storing(&self) -> Storing<'_> {
        Storing { unstored: &self.0, is_done: false }
    }
}

impl Storing<'_> {
    /// They are stored.
    pub fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Storing<'_> {
    fn drop(&mut self) {
        self.unstored.store(!self.is_done, Ordering::Relaxed);
    }
}
