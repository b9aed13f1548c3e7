//! The promises, each shown on the real processes: clicks go in at one end, webhooks come out at the other.

mod acceptance;
mod asymmetric;
mod console;
mod crash;
mod delivery;
mod expiry;
mod imports;
mod isolation;
mod links;
mod marks;
mod minting;
mod payload;
mod people;
mod permissions;
mod privacy;
mod rollback;
mod services;
mod stack;
mod start;
mod steps;
mod storm;
mod subscribers;
mod trace;
mod troubleshooting;
mod verifiers;
mod workspaces;
