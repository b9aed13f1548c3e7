//! Newer data about User-Agents than what is compiled in: files of a folder, exchanged while clicks flow.
//!
//! A file that cannot be used leaves in use what was used before: an earlier content, or what is compiled in.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;

use crate::automation::{Declared, KEPT_CRAWLERS, KEPT_LINK_FETCHERS};
use crate::device::{Devices, KEPT_RULES, Models};

/// Rules of uap-core.
const RULES: &str = "uap-core.json";

/// Table of Android devices.
const ANDROID_DEVICES: &str = "android-devices.tsv";

/// List of crawlers.
const CRAWLERS: &str = "crawler-user-agents.json";

/// List of link fetchers.
const LINK_FETCHERS: &str = "link-fetchers.json";

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The folder, remembered with what was last seen in it.
pub struct AgentFiles {
    dir: PathBuf,
    stamps: BTreeMap<&'static str, Option<Stamp>>,
}

/// Tells whether a file was exchanged.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified_at: SystemTime,
    size_bytes: u64,
    inode: u64,
}

/// What changed since the last look, each with what it is made of now, or why it cannot be.
#[derive(Default)]
pub struct Changed {
    /// Devices, of rules and table.
    pub devices: Option<anyhow::Result<Devices>>,
    /// Declared programs, of both lists.
    pub declared: Option<anyhow::Result<Declared>>,
}

impl AgentFiles {
    /// A folder that was not looked at yet.
    pub fn new(dir: PathBuf) -> Self {
        let stamps = [RULES, ANDROID_DEVICES, CRAWLERS, LINK_FETCHERS].map(|name| (name, None)).into();
        Self { dir, stamps }
    }

    /// Reads and compiles what changed. A file that came, changed or went is a change; call it off the runtime.
    pub fn look(&mut self) -> Changed {
        let mut has_changed = |name| {
            let stamp = stamp(&self.dir.join(name));
            self.stamps.insert(name, stamp) != Some(stamp)
        };
        // both are looked at, for both stamps must be remembered
        let devices = [RULES, ANDROID_DEVICES].map(&mut has_changed).contains(&true);
        let declared = [CRAWLERS, LINK_FETCHERS].map(&mut has_changed).contains(&true);
        Changed {
            devices: devices.then(|| devices_of(&self.dir)),
            declared: declared.then(|| declared_of(&self.dir)),
        }
    }
}

/// Devices by the files of `dir`; what is not there is what is compiled in.
fn devices_of(dir: &Path) -> anyhow::Result<Devices> {
    let models = match read(dir, ANDROID_DEVICES)? {
        None => Models::kept(),
        Some(text) => Models::checked(text).with_context(|| format!("{ANDROID_DEVICES} cannot be used"))?,
    };
    let rules = read(dir, RULES)?;
    let devices = Devices::new(rules.as_deref().unwrap_or(KEPT_RULES), models)
        .with_context(|| format!("{RULES} cannot be used"))?;
    anyhow::ensure!(devices.know_phones(), "{RULES} cannot be used: by it an iPhone is none");
    Ok(devices)
}

fn declared_of(dir: &Path) -> anyhow::Result<Declared> {
    let (crawlers, link_fetchers) = (read(dir, CRAWLERS)?, read(dir, LINK_FETCHERS)?);
    let declared = Declared::new(
        crawlers.as_deref().unwrap_or(KEPT_CRAWLERS),
        link_fetchers.as_deref().unwrap_or(KEPT_LINK_FETCHERS),
    )
    .with_context(|| format!("{CRAWLERS} or {LINK_FETCHERS} cannot be used"))?;
    declared.check().with_context(|| format!("{CRAWLERS} or {LINK_FETCHERS} cannot be used"))?;
    Ok(declared)
}

fn read(dir: &Path, name: &str) -> anyhow::Result<Option<String>> {
    let path = dir.join(name);
    let bytes = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("failed to read {}", path.display())),
    };
    anyhow::ensure!(
        bytes <= FILE_BYTES_MAX,
        "{name} has {bytes} bytes, more than the {FILE_BYTES_MAX} that are read"
    );
    fs::read_to_string(&path).map(Some).with_context(|| format!("failed to read {}", path.display()))
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp { modified_at: metadata.modified().ok()?, size_bytes: metadata.len(), inode: metadata.ino() })
}
