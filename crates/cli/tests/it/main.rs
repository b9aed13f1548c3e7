//! The command as people and scripts use it: the real program, its output and its exit status.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod command;
mod daily;
mod destinations;
mod doctor;
mod events;
mod listen;
mod quarantine;
mod receivers;
mod rejudge;
mod reseal;
mod spool;
mod status;
mod tools;
mod up;
