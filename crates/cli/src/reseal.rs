//! `clickwire reseal`: seals secrets again that were sealed with a previous key, so that it can be removed.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};
use store::Connection;
use store::sealed::{self, Kind, Sealed};
use webhook::Keyring;
use webhook::sealing::Purpose;

use crate::connections::{ConnectionOptions, Connections};
use crate::out;

/// Rows that are read at a time.
const PAGE: i64 = 500;

/// Seal secrets again that were sealed with a previous key, so that it can be removed from the settings
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    connections: ConnectionOptions,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, Serialize)]
struct Done {
    /// Sealed again.
    resealed: u64,
    /// Sealed with the present key already.
    current: u64,
    /// Of no key in the settings, or damaged: left as they are.
    unreadable: u64,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let connections = options.connections.find()?;
    let (keyring, minting) = keyrings(&connections)?;
    let mut conn = connections.database().await?;
    let mut done = Done::default();
    for kind in Kind::ALL {
        let keyring = match kind {
            Kind::Secret | Kind::Headers | Kind::Key | Kind::Auth => Some(&keyring),
            Kind::MintingKey => minting.as_ref(),
        };
        if let Some(keyring) = keyring {
            reseal(&mut conn, keyring, kind, &mut done).await?;
        }
    }
    if options.json {
        out::json(&done);
    } else {
        out::line(&format!("{} sealed again, {} had the present key already", done.resealed, done.current));
        match done.unreadable {
            0 => out::line("previous_keys may be emptied; start api, deliver and redirect again then"),
            some => {
                out::line(&format!("{some} could not be opened and stay as they are: add the key they need"))
            }
        }
    }
    Ok(if done.unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What seals secrets and, if that is set, what seals the keys of recipients' links.
fn keyrings(connections: &Connections) -> anyhow::Result<(Keyring, Option<Keyring>)> {
    #[derive(Deserialize)]
    struct Settings {
        sealing: webhook::sealing::Settings,
        minting: webhook::sealing::Settings,
    }
    let defaults = [webhook::sealing::DEFAULTS, webhook::sealing::MINTING_DEFAULTS];
    let settings: Settings = connections.layers.load(&defaults, &connections.ours)?;
    let advice = "the keys that api and deliver have are needed";
    let sealing = settings.sealing.resolve(|path| std::fs::read_to_string(path)).context(advice)?;
    let minting = settings.minting.resolve_if_set(|path| std::fs::read_to_string(path));
    Ok((sealing, minting.context("the keys of `[minting]` that api and redirect have are needed")?))
}

async fn reseal(conn: &mut Connection, keyring: &Keyring, kind: Kind, done: &mut Done) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let page = sealed::page(conn, kind, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.row);
        for old in &page {
            if keyring.is_current(&old.bytes) {
                done.current += 1;
            } else if let Some(bytes) = again(keyring, old) {
                // who changed it meanwhile has sealed it with the key of its settings
                done.resealed += u64::from(sealed::replace(conn, old, &bytes).await?);
            } else {
                done.unreadable += 1;
                out::error(&format!("the {kind:?} of {} cannot be opened", owner(old)));
            }
        }
    }
}

/// Whose the bytes are, as people know it.
fn owner(old: &Sealed) -> String {
    match old.kind {
        Kind::Secret | Kind::Headers | Kind::Key | Kind::Auth => format!("endpoint {}", old.endpoint_id),
        Kind::MintingKey => format!("workspace {}", old.workspace_id),
    }
}

fn again(keyring: &Keyring, old: &Sealed) -> Option<Vec<u8>> {
    let purpose = match old.kind {
        Kind::Secret => Purpose::SigningSecret,
        Kind::Headers => Purpose::Headers,
        Kind::MintingKey => Purpose::MintingKey,
        Kind::Key => Purpose::SigningKey,
        Kind::Auth => Purpose::Auth,
    };
    let purpose = purpose.of(old.workspace_id, old.endpoint_id);
    let plain = keyring.open(&purpose, &old.bytes).ok()?;
    Some(keyring.seal(&purpose, &plain))
}
