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
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use probe::Greeting;

/// How often it is looked, and how soon again when somebody did not answer.
const LOOK_EVERY: Duration = Duration::from_secs(600);
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Of the metric's name, what follows the service's.
const METRIC: &str = "credential_expiry_timestamp_seconds";

/// What the metric's label `credential` says.
const NATS_CREDENTIALS: &str = "nats_credentials";
const NATS_CERTIFICATE: &str = "nats_certificate";
const DATABASE_CERTIFICATE: &str = "database_certificate";

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
        let options = Opts::new(format!("clickwire_{service}_{METRIC}"), help);
        let expires_at = IntGaugeVec::new(options, &["credential"])?;
        registry.register(Box::new(expires_at.clone()))?;
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

impl Expiring {
    /// Whether everything could be looked at.
    fn look(&self) -> bool {
        let credentials = self.watched.nats_creds.as_deref().is_none_or(|path| self.look_into(path));
        let nats = self.look_at(NATS_CERTIFICATE, &self.watched.nats_servers, Greeting::Nats);
        let database = self.look_at(DATABASE_CERTIFICATE, &self.watched.database_servers, Greeting::Postgres);
        credentials && nats && database
    }

    fn look_into(&self, path: &Path) -> bool {
        match credentials_expire_at(path) {
            Ok(expires_at) => {
                self.tell(NATS_CREDENTIALS, expires_at);
                true
            }
            Err(error) => {
                warn!(%error, path = %path.display(), "cannot tell when the credentials expire");
                false
            }
        }
    }

    /// Of all servers that answer, the first to expire. Who does not answer is missed elsewhere.
    fn look_at(&self, credential: &str, servers: &[(String, u16)], greeting: Greeting) -> bool {
        let mut seen = Vec::new();
        for (host, port) in servers {
            match probe::certificate_expires_at(host, *port, greeting) {
                Ok(expires_at) => seen.push(expires_at),
                Err(error) => debug!(%error, host, port, "the certificate could not be looked at"),
            }
        }
        let all = seen.len() == servers.len();
        if let Some(first) = seen.into_iter().flatten().min() {
            self.tell(credential, Some(first));
        }
        all
    }

    fn tell(&self, credential: &str, expires_at: Option<i64>) {
        match expires_at {
            Some(expires_at) => self.expires_at.with_label_values(&[credential]).set(expires_at),
            // it was there when the credentials of before had an end
            None => {
                let _ = self.expires_at.remove_label_values(&[credential]);
            }
        }
    }
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
}
