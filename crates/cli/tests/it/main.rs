//! The command as people and scripts use it: the real program, its output and its exit status.

mod command;
mod listen;
mod tools;
mod up;
