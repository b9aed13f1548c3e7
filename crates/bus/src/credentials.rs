//! The credentials file (`nats.creds`): a user's JWT, and the seed of the key that it is for.
//!
//! It is read at every connect, so that new credentials need no restart: the broker disconnects whose old ones have expired,
//! and whoever comes back shows what the file holds by then.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use async_nats::{Auth, AuthError, ConnectOptions};
use nkeys::KeyPair;

/// A line that begins or ends a part of the file has these on both sides.
const RULE: &str = "---";

/// Options that sign in with a file, which can be read now.
pub(crate) fn options(path: PathBuf) -> io::Result<ConnectOptions> {
    read(&path)?;
    Ok(ConnectOptions::with_auth_callback(move |nonce| {
        let signed = sign_in(&path, &nonce);
        std::future::ready(signed)
    }))
}

fn sign_in(path: &Path, nonce: &[u8]) -> Result<Auth, AuthError> {
    let unusable = |error: &dyn std::fmt::Display| AuthError::new(format!("{}: {error}", path.display()));
    let (jwt, key) = read(path).map_err(|error| unusable(&error))?;
    let mut auth = Auth::new();
    auth.signature = Some(key.sign(nonce).map_err(|error| unusable(&error))?);
    auth.jwt = Some(jwt);
    Ok(auth)
}

fn read(path: &Path) -> io::Result<(String, KeyPair)> {
    parse(&fs::read_to_string(path)?)
}

/// The two parts of a file: what stands between its ruled lines, but for words to people.
fn parse(text: &str) -> io::Result<(String, KeyPair)> {
    let unusable = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let part = |begin: &str| {
        let mut lines = text.lines().map(str::trim);
        lines.find(|line| line.starts_with(RULE) && line.ends_with(RULE) && line.contains(begin))?;
        lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with(RULE))
    };
    let jwt = part("BEGIN NATS USER JWT").ok_or_else(|| unusable("it holds no user JWT".to_owned()))?;
    let seed = part("BEGIN USER NKEY SEED").ok_or_else(|| unusable("it holds no seed".to_owned()))?;
    let key = KeyPair::from_seed(seed).map_err(|error| unusable(format!("its seed is none: {error}")))?;
    Ok((jwt.to_owned(), key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(jwt: &str, seed: &str) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\nNKEY Seed printed below.\n\n\
             -----BEGIN USER NKEY SEED-----\r\n{seed}\r\n------END USER NKEY SEED------\n"
        )
    }

    #[test]
    fn a_file_holds_a_jwt_and_its_key() {
        let key = KeyPair::new_user();

        let (jwt, parsed) = parse(&file("a.b.c", &key.seed().expect("a seed"))).expect("credentials");

        assert_eq!((jwt.as_str(), parsed.public_key()), ("a.b.c", key.public_key()));
    }

    #[test]
    fn what_lacks_a_part_is_named() {
        let refused = |text: &str| parse(text).expect_err("refused").to_string();

        assert_eq!(refused("hello"), "it holds no user JWT");
        assert_eq!(
            refused("-----BEGIN NATS USER JWT-----\na.b.c\n------END NATS USER JWT------"),
            "it holds no seed"
        );
        assert!(refused(&file("a.b.c", "SU")).starts_with("its seed is none"));
        assert_eq!(refused(&file("", "SU")), "it holds no user JWT");
    }
}
