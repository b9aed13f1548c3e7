//! The directory under which `up` keeps everything, and the file by which other commands find it.

use std::env;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

/// Where root keeps data.
const SYSTEM_DIR: &str = "/var/lib/clickwire";

/// Only the owner may read and write.
const PRIVATE_FILE: u32 = 0o600;

/// Only the owner may enter.
const PRIVATE_DIR: u32 = 0o700;

/// Others may enter and read what is not private.
const ENTERED_DIR: u32 = 0o755;

/// `--data-dir`, as several commands have it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DataDirOption {
    /// Where `up` keeps everything [default: /var/lib/clickwire as root, ~/.local/share/clickwire otherwise]
    #[arg(long, value_name = "DIR", env = "CLICKWIRE_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

/// The directory of one installation.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    root: PathBuf,
}

/// Held by the process that uses the directory; the system lets go of it when the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// A running `up`: how to reach it. Its file can be read by the owner only, since it holds the keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Running {
    /// Process id.
    pub pid: u32,
    /// Where tracked links are answered.
    pub redirect_url: String,
    /// Where the REST API is.
    pub api_url: String,
    /// Where people sign in.
    pub console_url: String,
    /// Where `/readyz` and `/metrics` are.
    pub ops_url: String,
    /// An API key of workspace Default, with all scopes.
    pub key: String,
    /// The broker.
    pub nats_url: String,
    /// The database.
    pub database_url: String,
    /// Where everything is kept.
    pub data_dir: PathBuf,
}

impl DataDirOption {
    /// The directory that was named, or the user's.
    pub(crate) fn dir(&self) -> anyhow::Result<DataDir> {
        let root = match &self.data_dir {
            Some(dir) => std::path::absolute(dir).context("failed to read the working directory")?,
            None => default_dir()?,
        };
        Ok(DataDir { root })
    }
}

fn default_dir() -> anyhow::Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from(SYSTEM_DIR));
    }
    let named = |variable: &str| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    named("XDG_DATA_HOME")
        .or_else(|| Some(named("HOME")?.join(".local/share")))
        .map(|base| base.join("clickwire"))
        .context("there is no home directory to keep data in: say --data-dir DIR")
}

impl DataDir {
    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// Makes it when it is not there.
    pub(crate) fn create(&self) -> anyhow::Result<()> {
        let failed = || format!("failed to make {}", self.root.display());
        // as root, PostgreSQL runs as another user and must get in; what is private inside says so itself
        let mode = if rustix::process::geteuid().is_root() { ENTERED_DIR } else { PRIVATE_DIR };
        DirBuilder::new().recursive(true).mode(mode).create(&self.root).with_context(failed)?;
        fs::create_dir_all(self.geo()).with_context(failed)?;
        private_dir(&self.spool()).with_context(failed)
    }

    /// Takes the directory for this process, or says who has it.
    pub(crate) fn lock(&self) -> anyhow::Result<Lock> {
        let path = self.root.join("lock");
        let failed = || format!("failed to use {}", path.display());
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).with_context(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => bail!(self.taken()),
            Err(TryLockError::Error(error)) => Err(error).with_context(failed),
        }
    }

    fn taken(&self) -> String {
        let dir = self.root.display();
        match self.last_run() {
            Some(running) => format!(
                "it runs already on {dir}, as process {} (console: {}); stop it with `clickwire down --data-dir {dir}`",
                running.pid, running.console_url
            ),
            None => format!("another `clickwire up` is starting or stopping on {dir}"),
        }
    }

    /// The `up` that runs on this directory.
    pub(crate) fn running(&self) -> Option<Running> {
        let file = File::options().write(true).open(self.root.join("lock")).ok()?;
        let is_held = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        self.last_run().filter(|_| is_held)
    }

    /// Whether a process uses the directory, ready or not.
    pub(crate) fn is_taken(&self) -> bool {
        let file = File::options().write(true).open(self.root.join("lock"));
        file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }

    /// What was last written of a running `up`, which may have been killed since.
    fn last_run(&self) -> Option<Running> {
        serde_json::from_slice(&fs::read(self.running_file()).ok()?).ok()
    }

    /// Tells other commands how to reach us.
    pub(crate) fn announce(&self, running: &Running) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(running).context("failed to write JSON")?;
        let path = self.running_file();
        let new = path.with_extension("new");
        write_private(&new, &text)
            .and_then(|()| fs::rename(&new, &path))
            .context("failed to write running.json")
    }

    /// Takes that back.
    pub(crate) fn retire(&self) {
        // it may never have been written
        let _ = fs::remove_file(self.running_file());
    }

    fn running_file(&self) -> PathBuf {
        self.root.join("running.json")
    }

    /// Where the key lies that secrets are sealed with.
    pub(crate) fn sealing_key(&self) -> PathBuf {
        self.root.join("sealing.key")
    }

    /// Where the key lies that those of recipients' links are sealed with.
    pub(crate) fn minting_key(&self) -> PathBuf {
        self.root.join("minting.key")
    }

    /// Where the API key lies.
    pub(crate) fn api_key(&self) -> PathBuf {
        self.root.join("api.key")
    }

    /// Where the secret lies by which visitors are told apart.
    pub(crate) fn visitor_secret(&self) -> PathBuf {
        self.root.join("visitor.secret")
    }

    /// Clicks that wait for the broker.
    pub(crate) fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// Location files, if someone puts them there.
    pub(crate) fn geo(&self) -> PathBuf {
        self.root.join("geo")
    }

    /// What a detached `up` logs.
    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("clickwire.log")
    }
}

/// The text in a private file; made with `generate` when it is not there.
pub(crate) fn kept_secret(path: &Path, generate: impl FnOnce() -> String) -> anyhow::Result<String> {
    let failed = || format!("failed to keep a secret in {}", path.display());
    match File::options().write(true).create_new(true).mode(PRIVATE_FILE).open(path) {
        Ok(mut file) => {
            let secret = generate();
            file.write_all(secret.as_bytes()).and_then(|()| file.sync_all()).with_context(failed)?;
            Ok(secret)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let mut secret = String::new();
            File::open(path).and_then(|mut file| file.read_to_string(&mut secret)).with_context(failed)?;
            let secret = secret.trim().to_owned();
            if secret.is_empty() {
                bail!("{} is empty: remove it, or put the secret back", path.display());
            }
            Ok(secret)
        }
        Err(error) => Err(error).with_context(failed),
    }
}

/// Makes a directory that only its owner may enter, unless it is there.
pub(crate) fn private_dir(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(path)
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(true).mode(PRIVATE_FILE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn data_dir() -> (tempfile::TempDir, DataDir) {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDirOption { data_dir: Some(dir.path().join("data")) }.dir().unwrap();
        data_dir.create().unwrap();
        (dir, data_dir)
    }

    fn running(data_dir: &DataDir) -> Running {
        Running {
            pid: 7,
            redirect_url: "http://127.0.0.1:8080".to_owned(),
            api_url: "http://127.0.0.1:8081".to_owned(),
            console_url: "http://127.0.0.1:8081/".to_owned(),
            ops_url: "http://127.0.0.1:9101".to_owned(),
            key: "cw_x".to_owned(),
            nats_url: "nats://127.0.0.1:4222".to_owned(),
            database_url: "postgres://127.0.0.1/x".to_owned(),
            data_dir: data_dir.path().to_owned(),
        }
    }

    #[test]
    fn a_secret_is_made_once_and_private() {
        let (_dir, data_dir) = data_dir();

        let made = kept_secret(&data_dir.api_key(), || "first".to_owned()).unwrap();
        let kept = kept_secret(&data_dir.api_key(), || "second".to_owned()).unwrap();

        assert_eq!((made.as_str(), kept.as_str()), ("first", "first"));
        assert_eq!(fs::metadata(data_dir.api_key()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(data_dir.spool()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn an_empty_secret_is_refused() {
        let (_dir, data_dir) = data_dir();
        fs::write(data_dir.api_key(), "\n").unwrap();

        let error = kept_secret(&data_dir.api_key(), || "x".to_owned()).unwrap_err();

        assert!(
            error.to_string().ends_with("api.key is empty: remove it, or put the secret back"),
            "{error}"
        );
    }

    #[test]
    fn a_run_is_found_while_its_directory_is_held() {
        let (_dir, data_dir) = data_dir();
        let lock = data_dir.lock().unwrap();
        let running = running(&data_dir);
        data_dir.announce(&running).unwrap();

        assert_eq!(data_dir.running(), Some(running));
        let refused = data_dir.lock().unwrap_err().to_string();
        assert!(refused.contains("as process 7"), "{refused}");
        drop(lock);
        assert_eq!(data_dir.running(), None);
    }
}
