//! Until when the credentials and certificates are good that a process lives on: a metric, so that somebody hears of it in
//! time.
//!
//! A credentials file says it in its JWT, a server in its certificate. The certificate is looked at over a connection of its
//! own: those that carry messages last for weeks, and the server may have been given another one meanwhile.

mod probe;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use prometheus::{IntGaugeVec, Opts, Registry};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::metrics::Maker;
use probe::Greeting;

/// How often it is looked, and how soon again when somebody did not answer.
const LOOK_EVERY: Duration = Duration::from_secs(600);
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Of the metric's name, what follows the service's.
const METRIC: &str = "credential_expiry_timestamp_seconds";

/// What the metric's label `credential` says of a credentials file of NATS.
pub const NATS_CREDENTIALS: &str = "nats_credentials";

/// What it says of a server of NATS.
pub const NATS_CERTIFICATE: &str = "nats_certificate";

/// What it says of a server of PostgreSQL.
pub const DATABASE_CERTIFICATE: &str = "database_certificate";

/// What a service lives on that can expire.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    /// The credentials file of NATS (`nats.creds`).
    pub nats_creds: Option<PathBuf>,
    /// Servers of NATS, by host and port. Those that speak TLS say so themselves.
    pub nats_servers: Vec<(String, u16)>,
    /// Servers of PostgreSQL that are spoken to over TLS, by host and port.
    pub database_servers: Vec<(String, u16)>,
}

/// Until when one of them is good.
#[derive(Debug)]
pub struct Looked {
    /// What it is, as the metric's label says it.
    pub credential: &'static str,
    /// The file, or the server's host and port.
    pub place: String,
    /// In seconds since 1970; `None`: it does not expire, or the server does not speak TLS.
    pub expires_at: io::Result<Option<i64>>,
}

/// What one service of a process watches, and where it tells of it.
#[derive(Debug)]
struct Expiring {
    watched: Watched,
    expires_at: IntGaugeVec,
}

/// What the services of a process watch. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expirings(Arc<RwLock<Vec<Arc<Expiring>>>>);

impl Expirings {
    /// Adds what a service watches, with a metric of the service's.
    pub(crate) fn add(&self, service: &str, watched: Watched, registry: &Registry) -> prometheus::Result<()> {
        let help = "When a credential that the service lives on ceases to be good, in seconds since 1970; of several the first.";
        let make = Maker::new(registry, service);
        let expires_at =
            make.registered(IntGaugeVec::new(Opts::new(make.name(METRIC), help), &["credential"]))?;
        let expiring = Arc::new(Expiring { watched, expires_at });
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(expiring);
        Ok(())
    }

    /// Looks at once, then again and again until `stop`.
    pub(crate) async fn keep_looking(self, stop: CancellationToken) {
        loop {
            let all = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
            let (told, looked) = oneshot::channel();
            // files and handshakes take their time, and no end of a process waits for this thread
            std::thread::spawn(move || {
                let seen = all.iter().filter(|expiring| expiring.look()).count();
                let _ = told.send(seen == all.len());
            });
            let pause = if looked.await == Ok(true) { LOOK_EVERY } else { LOOK_AGAIN };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

impl Watched {
    /// Looks at each thing now. It waits for files and servers, so it is not for a thread that serves.
    pub fn look(&self) -> Vec<Looked> {
        let credentials = self.nats_creds.iter().map(|path| Looked {
            credential: NATS_CREDENTIALS,
            place: path.display().to_string(),
            expires_at: credentials_expire_at(path),
        });
        let mut looked: Vec<Looked> = credentials.collect();
        for (credential, servers, greeting) in [
            (NATS_CERTIFICATE, &self.nats_servers, Greeting::Nats),
            (DATABASE_CERTIFICATE, &self.database_servers, Greeting::Postgres),
        ] {
            looked.extend(servers.iter().map(|(host, port)| Looked {
                credential,
                place: format!("{host}:{port}"),
                expires_at: probe::certificate_expires_at(host, *port, greeting),
            }));
        }
        looked
    }
}

impl Expiring {
    /// Whether everything could be looked at.
    fn look(&self) -> bool {
        let looked = self.watched.look();
        for credential in [NATS_CREDENTIALS, NATS_CERTIFICATE, DATABASE_CERTIFICATE] {
            let of = looked.iter().filter(|looked| looked.credential == credential);
            let seen: Vec<Option<i64>> =
                of.filter_map(|looked| looked.expires_at.as_ref().ok().copied()).collect();
            match seen.iter().flatten().min() {
                Some(first) => self.expires_at.with_label_values(&[credential]).set(*first),
                // it was there when what was before had an end
                None if !seen.is_empty() => {
                    let _ = self.expires_at.remove_label_values(&[credential]);
                }
                None => {}
            }
        }
        for Looked { credential, place, expires_at } in &looked {
            match expires_at {
                Ok(_) => {}
                Err(error) if *credential == NATS_CREDENTIALS => {
                    warn!(%error, path = place, "cannot tell when the credentials expire");
                }
                // who does not answer is missed elsewhere
                Err(error) => debug!(%error, server = place, "the certificate could not be looked at"),
            }
        }
        looked.iter().all(|looked| looked.expires_at.is_ok())
    }
}

/// When the last of the authorities in a file ceases to be good, in seconds since 1970; `None` when it has none. (A file may
/// still have an old one beside a new one.)
///
/// # Errors
/// The file cannot be read, or something in it is no certificate.
pub fn authorities_expire_at(path: &Path) -> io::Result<Option<i64>> {
    let mut last = None;
    for certificate in CertificateDer::pem_file_iter(path).map_err(io::Error::other)? {
        let expires_at = probe::expires_at(&certificate.map_err(io::Error::other)?)?;
        last = last.max(Some(expires_at));
    }
    Ok(last)
}

/// When the user JWT of a credentials file ceases to be good; `None`: never.
fn credentials_expire_at(path: &Path) -> io::Result<Option<i64>> {
    let unusable = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let text = fs::read_to_string(path)?;
    let jwt = text.lines().map(str::trim).find(|line| line.matches('.').count() == 2 && !line.contains(' '));
    let claims = jwt.and_then(|jwt| jwt.split('.').nth(1)).ok_or_else(|| unusable("it holds no JWT"))?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).map_err(|_| unusable("its JWT is not base64"))?;
    let claims: serde_json::Value =
        serde_json::from_slice(&claims).map_err(|_| unusable("its JWT is not JSON"))?;
    Ok(claims["exp"].as_i64().filter(|expires_at| *expires_at > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn creds(claims: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let claims = BASE64_URL_SAFE_NO_PAD.encode(claims);
        let text = format!(
            "-----BEGIN NATS USER JWT-----\neyJ0eXAiOiJKV1QifQ.{claims}.c2lnbmF0dXJl\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\nSUAIO3FHUX5PNV2LQIIP7TZ3N4L7TX3W53MQGEIVYFIGA635OZCKEYHFLM\n\
             ------END USER NKEY SEED------\n"
        );
        fs::write(file.path(), text).expect("written");
        file
    }

    #[test]
    fn credentials_say_when_they_expire() {
        let of = |claims| credentials_expire_at(creds(claims).path()).expect("claims");

        assert_eq!(of(r#"{"exp": 1893456000, "sub": "U"}"#), Some(1_893_456_000));
        assert_eq!(of(r#"{"sub": "U"}"#), None);
        assert_eq!(of(r#"{"exp": 0}"#), None);
    }

    #[test]
    fn what_are_no_credentials_is_an_error() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "nothing. of. it").expect("written");

        assert_eq!(credentials_expire_at(file.path()).expect_err("none").to_string(), "it holds no JWT");
        assert_eq!(
            credentials_expire_at(creds("}{").path()).expect_err("none").to_string(),
            "its JWT is not JSON"
        );
        assert!(credentials_expire_at(Path::new("/nowhere.creds")).is_err());
    }

    #[test]
    fn authorities_are_good_as_long_as_the_last_of_them() {
        let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/authority.pem");
        let empty = tempfile::NamedTempFile::new().expect("a file");

        let expires_at = authorities_expire_at(Path::new(authority)).expect("certificates");

        assert!(expires_at.is_some_and(|at| at > 4_000_000_000), "{expires_at:?}");
        assert_eq!(authorities_expire_at(empty.path()).expect("a file"), None);
        assert!(authorities_expire_at(Path::new("/nowhere.pem")).is_err());
    }
}
