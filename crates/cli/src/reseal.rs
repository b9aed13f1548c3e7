//! `clickwire reseal`: seals secrets again that were sealed with a previous key, so that it can be removed.

use std::process::ExitCode;

use anyhow::{Context, bail};
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
    /// Not looked at, as `[minting]` has no key here.
    skipped: u64,
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
        match keyring {
            Some(keyring) => reseal(&mut conn, keyring, kind, &mut done).await?,
            None => done.skipped += count(&mut conn, kind).await?,
        }
    }
    let is_all_done = done.unreadable == 0 && done.skipped == 0;
    if options.json {
        out::json(&done);
    } else {
        print(&done);
    }
    Ok(if is_all_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(done: &Done) {
    let Done { resealed, current, unreadable, skipped } = done;
    out::line(&format!("{resealed} sealed again, {current} had the present key already"));
    if *unreadable > 0 {
        out::line(&format!("{unreadable} could not be opened and stay as they are: add the key they need"));
    }
    if *skipped > 0 {
        out::line(&format!(
            "{skipped} keys of recipients' links were not looked at: set minting.key_file to the key that api and redirect \
             have, and leave minting.previous_keys as it is until they were"
        ));
    }
    if *unreadable == 0 && *skipped == 0 {
        out::line("previous_keys may be emptied; start api, deliver and redirect again then");
    }
}

/// What seals secrets and, if that is set, what seals the keys of recipients' links: as settings say, else as `up` keeps them.
fn keyrings(connections: &Connections) -> anyhow::Result<(Keyring, Option<Keyring>)> {
    #[derive(Deserialize)]
    struct Settings {
        sealing: webhook::sealing::Settings,
        minting: webhook::sealing::Settings,
    }
    let defaults = [webhook::sealing::DEFAULTS, webhook::sealing::MINTING_DEFAULTS];
    let settings: Settings = connections.layers.load(&defaults, &connections.ours_of_up())?;
    let advice = "the keys that api and deliver have are needed";
    let sealing = settings.sealing.resolve(|path| std::fs::read_to_string(path)).context(advice)?;
    let minting = settings.minting.resolve_if_set(|path| std::fs::read_to_string(path));
    let minting = minting.context("the keys of `[minting]` that api and redirect have are needed")?;
    if minting.is_none() && !settings.minting.previous_keys.is_empty() {
        bail!(
            "minting.previous_keys is set, and there is no key to seal with again: set minting.key_file to the one that api and \
             redirect have"
        );
    }
    Ok((sealing, minting))
}

/// How many there are.
async fn count(conn: &mut Connection, kind: Kind) -> anyhow::Result<u64> {
    let (mut count, mut after) = (0, None);
    loop {
        let page = sealed::page(conn, kind, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(count) };
        after = Some(last.row);
        count += u64::try_from(page.len())?;
    }
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
