//! Where the keys come from: settings, or a file that they name.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{KEY_BYTES, Keyring};

/// `[sealing]`: the key that secrets are sealed with, and `[minting]`: the one that keys of recipients' links are sealed with.
/// Who loads settings reads the file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The key itself, as [`generate_key`](super::generate_key) writes it.
    #[serde(default)]
    pub key: Option<KeyText>,
    /// A file with nothing but the key in it.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// Keys that still open what was sealed with them, but seal nothing any more.
    #[serde(default)]
    pub previous_keys: Vec<KeyText>,
}

/// A key as text. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct KeyText(pub String);

/// Why there is no keyring.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Neither `key` nor `key_file`.
    #[error(
        "no sealing key: set `sealing.key_file` or `sealing.key` to the base64 of {KEY_BYTES} random bytes"
    )]
    Missing,
    /// Both `key` and `key_file`.
    #[error("`sealing.key` and `sealing.key_file` are both set: which one is meant?")]
    Both,
    /// The file could not be read.
    #[error("failed to read the sealing key from {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Not the base64 of 32 bytes.
    #[error("the {which} sealing key is not the base64 of {KEY_BYTES} bytes")]
    Malformed {
        /// `current` or `previous`.
        which: &'static str,
    },
}

impl Settings {
    /// The keyring that these settings describe; `read` reads the key file.
    ///
    /// # Errors
    /// [`KeyringError`] names the setting.
    pub fn resolve(&self, read: impl Fn(&Path) -> io::Result<String>) -> Result<Keyring, KeyringError> {
        let current = match (&self.key, &self.key_file) {
            (Some(_), Some(_)) => return Err(KeyringError::Both),
            (Some(KeyText(key)), None) => key.clone(),
            (None, Some(path)) => {
                read(path).map_err(|source| KeyringError::File { path: path.clone(), source })?
            }
            (None, None) => return Err(KeyringError::Missing),
        };
        let previous: Vec<String> = self.previous_keys.iter().map(|KeyText(key)| key.clone()).collect();
        Keyring::new(&current, &previous)
    }

    /// The same for a keyring that need not be there: `None` when no key is set, or its file is not there.
    ///
    /// # Errors
    /// [`KeyringError`] names what is wrong with a key that is set.
    pub fn resolve_if_set(
        &self,
        read: impl Fn(&Path) -> io::Result<String>,
    ) -> Result<Option<Keyring>, KeyringError> {
        match self.resolve(read) {
            Ok(keyring) => Ok(Some(keyring)),
            Err(KeyringError::Missing) => Ok(None),
            Err(KeyringError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(…)")
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::super::generate_key;
    use super::*;

    #[test]
    fn the_key_comes_from_one_place() {
        let read = |path: &Path| match path.to_str() {
            Some("/key") => Ok(format!("{}\n", generate_key())),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let key = Some(KeyText(generate_key()));
        let settings = |key: &Option<KeyText>, file: Option<&str>| Settings {
            key: key.clone(),
            key_file: file.map(PathBuf::from),
            previous_keys: Vec::new(),
        };

        assert!(settings(&key, None).resolve(read).is_ok());
        assert!(settings(&None, Some("/key")).resolve(read).is_ok());
        assert!(matches!(settings(&key, Some("/key")).resolve(read), Err(KeyringError::Both)));
        assert!(matches!(settings(&None, None).resolve(read), Err(KeyringError::Missing)));
        assert!(matches!(settings(&None, Some("/x")).resolve(read), Err(KeyringError::File { .. })));
        let short = Some(KeyText(STANDARD.encode([0; 16])));
        assert!(matches!(settings(&short, None).resolve(read), Err(KeyringError::Malformed { .. })));

        for (nothing, file) in [(None, None), (None, Some("/x"))] {
            assert!(matches!(settings(&nothing, file).resolve_if_set(read), Ok(None)), "{file:?}");
        }
        assert!(matches!(settings(&key, None).resolve_if_set(read), Ok(Some(_))));
        assert!(settings(&short, None).resolve_if_set(read).is_err());
    }
}
