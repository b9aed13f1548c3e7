//! Whether the connection to PostgreSQL is encrypted, and whom it then trusts.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::Host;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::pool::ConnectError;

/// PostgreSQL's, where the URL names none.
const DEFAULT_PORT: u16 = 5432;

/// Modes of `sslmode` that ask for TLS.
const ENCRYPTED: [&str; 3] = ["require", "verify-ca", "verify-full"];

/// What stands between us and the server.
#[derive(Clone)]
pub(crate) enum Encryption {
    /// Nothing: a private network, or the same machine.
    None,
    /// TLS; certificate and host name are checked.
    Verified(MakeRustlsConnect),
}

/// Takes `sslmode` out of the URL (the client does not know `verify-full`) and prepares what it asks for.
pub(crate) fn of_url(url: &str, ca: Option<&Path>) -> Result<(String, Encryption), ConnectError> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mode, others): (Vec<&str>, Vec<&str>) =
        query.split('&').filter(|pair| !pair.is_empty()).partition(|pair| pair.starts_with("sslmode="));
    let mode = mode.last().and_then(|pair| pair.strip_prefix("sslmode=")).unwrap_or("disable");
    let (mode, encryption) = match mode {
        "disable" | "prefer" | "allow" => ("disable", Encryption::None),
        mode if ENCRYPTED.contains(&mode) => {
            ("require", Encryption::Verified(MakeRustlsConnect::new(client_config(ca)?)))
        }
        other => return Err(ConnectError::SslMode(other.to_owned())),
    };
    let mut url = format!("{base}?sslmode={mode}");
    for pair in others {
        url.push('&');
        url.push_str(pair);
    }
    Ok((url, encryption))
}

/// Host and port of each server that a URL asks to be spoken to over TLS.
pub(crate) fn encrypted_servers(url: &str) -> Vec<(String, u16)> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mode = query.split('&').rev().find_map(|pair| pair.strip_prefix("sslmode="));
    let config = base.parse::<tokio_postgres::Config>().ok();
    let Some(config) = config.filter(|_| mode.is_some_and(|mode| ENCRYPTED.contains(&mode))) else {
        return Vec::new();
    };
    // one port for each host, or one for all
    let ports = config.get_ports();
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(DEFAULT_PORT);
    let hosts = config.get_hosts().iter().enumerate();
    hosts
        .filter_map(|(index, host)| match host {
            Host::Tcp(host) => Some((host.clone(), port(index))),
            Host::Unix(_) => None,
        })
        .collect()
}

fn client_config(ca: Option<&Path>) -> Result<ClientConfig, ConnectError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let refused = |source| ConnectError::Ca { path: path.to_path_buf(), source };
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(|found| found.collect::<Result<Vec<_>, _>>())
                .map_err(|error| refused(io::Error::other(error)))?;
            roots.add_parsable_certificates(certificates);
            if roots.is_empty() {
                return Err(refused(io::Error::other("no certificate in it")));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(ConnectError::NoTrust);
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encryption_is_what_the_url_asks_for() {
        let (url, encryption) = of_url("postgres://u@h/d?application_name=x", None).expect("a plain URL");
        assert_eq!(url, "postgres://u@h/d?sslmode=disable&application_name=x");
        assert!(matches!(encryption, Encryption::None));

        let error = of_url("postgres://u@h/d?sslmode=maybe", None).err().expect("no such mode");
        assert_eq!(
            error.to_string(),
            "database.url: sslmode must be disable, require or verify-full, not `maybe`"
        );
    }

    #[test]
    fn servers_that_are_spoken_to_over_tls_are_named() {
        let two = [("a".to_owned(), 5432), ("b".to_owned(), 5433)];

        assert_eq!(encrypted_servers("postgres://u:p@a:5432,b:5433/d?sslmode=require"), two);
        assert_eq!(encrypted_servers("postgres://u@a/d?application_name=x&sslmode=verify-full"), two[..1]);
        assert!(encrypted_servers("postgres://u@a/d").is_empty());
        assert!(encrypted_servers("postgres://u@a/d?sslmode=disable").is_empty());
    }

    #[test]
    fn a_file_that_holds_no_certificate_is_named() {
        let ca = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));

        let error = of_url("postgres://u@h/d?sslmode=verify-full", Some(ca)).err().expect("no certificate");

        assert!(
            error.to_string().starts_with("database.tls_ca: failed to read certificates from /"),
            "{error}"
        );
    }
}
