//! A certificate that is shown to a receiver which wants to know its clients by one (mutual TLS).

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use serde::{Deserialize, Serialize};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::AuthError;

/// Most certificates of a chain, and of authorities.
const CERTIFICATES_MAX: usize = 10;

/// The fields, for what is wrong with them.
const CERTIFICATE: &str = "certificate_pem";
const PRIVATE_KEY: &str = "private_key_pem";
const AUTHORITIES: &str = "ca_pem";

/// Certificate and key, as their owner has them: PEM. `Debug` shows nothing of them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// The certificate, and those between it and its authority.
    pub certificate_pem: String,
    /// What belongs to it.
    pub private_key_pem: String,
    /// Who may have signed the receiver's own certificate, in place of the authorities of the machine.
    #[serde(default)]
    pub ca_pem: Option<String>,
}

/// The same, ready to be shown.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    /// Certificate and key.
    pub key: Arc<CertifiedKey>,
    /// Whom the receiver's certificate is checked with; `None`: the authorities of the machine.
    pub authorities: Option<RootCertStore>,
    /// From when on no receiver accepts it.
    pub expires_at: DateTime<Utc>,
}

impl ClientCertificate {
    /// Reads it all, and sees that it belongs together.
    ///
    /// # Errors
    /// [`AuthError`] names the field.
    pub fn identity(&self) -> Result<ClientIdentity, AuthError> {
        let chain = certificates(&self.certificate_pem, CERTIFICATE)?;
        let expires_at = chain.first().and_then(expires_at).ok_or(AuthError {
            field: CERTIFICATE,
            rule: "must hold a certificate that can be read, the client's own before those that signed it",
        })?;
        let key = PrivateKeyDer::from_pem_slice(self.private_key_pem.as_bytes()).map_err(|_| AuthError {
            field: PRIVATE_KEY,
            rule: "must hold one private key as PEM, without a passphrase",
        })?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(refusal)?;
        let authorities = self.ca_pem.as_deref().map(authorities).transpose()?;
        Ok(ClientIdentity { key: Arc::new(key), authorities, expires_at })
    }

    /// The same as [`ClientCertificate::identity`], at a moment at which the certificate must be good.
    ///
    /// # Errors
    /// [`AuthError`] names the field.
    pub fn check(&self, now: DateTime<Utc>) -> Result<(), AuthError> {
        if self.identity()?.expires_at <= now {
            return Err(AuthError { field: CERTIFICATE, rule: "must not have expired" });
        }
        Ok(())
    }

    /// From when on no receiver accepts it, if it can be read.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        certificates(&self.certificate_pem, CERTIFICATE).ok()?.first().and_then(expires_at)
    }
}

fn certificates(pem: &str, field: &'static str) -> Result<Vec<CertificateDer<'static>>, AuthError> {
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).take(CERTIFICATES_MAX + 1).collect();
    match read {
        Ok(read) if (1..=CERTIFICATES_MAX).contains(&read.len()) => Ok(read),
        _ => Err(AuthError { field, rule: "must hold 1 to 10 certificates as PEM" }),
    }
}

fn authorities(pem: &str) -> Result<RootCertStore, AuthError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem, AUTHORITIES)? {
        store
            .add(certificate)
            .map_err(|_| AuthError { field: AUTHORITIES, rule: "must hold certificates that can be read" })?;
    }
    Ok(store)
}

fn expires_at(certificate: &CertificateDer<'static>) -> Option<DateTime<Utc>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let not_after = certificate.tbs_certificate.validity.not_after.to_unix_duration();
    DateTime::from_timestamp(i64::try_from(not_after.as_secs()).ok()?, 0)
}

fn refusal(error: Error) -> AuthError {
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            AuthError { field: PRIVATE_KEY, rule: "must belong to the first certificate" }
        }
        Error::InvalidCertificate(_) => {
            AuthError { field: CERTIFICATE, rule: "must be a certificate of version 3" }
        }
        _ => AuthError {
            field: PRIVATE_KEY,
            rule: "must be a key of RSA (2048 bits or more), ECDSA (P-256, P-384) or Ed25519",
        },
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(…)")
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    const CLIENT: &str = include_str!("../../../testkit/data/client.pem");
    const CLIENT_KEY: &str = include_str!("../../../testkit/data/client-key.pem");
    const AUTHORITY: &str = include_str!("../../../testkit/data/authority.pem");
    const OTHER_KEY: &str = include_str!("../../../testkit/data/other-key.pem");

    fn given(certificate: &str, key: &str, authorities: Option<&str>) -> ClientCertificate {
        ClientCertificate {
            certificate_pem: certificate.to_owned(),
            private_key_pem: key.to_owned(),
            ca_pem: authorities.map(str::to_owned),
        }
    }

    #[test]
    fn a_certificate_with_its_key_is_read_and_says_when_it_expires() {
        let chain = format!("{CLIENT}{AUTHORITY}");
        let certificate = given(&chain, CLIENT_KEY, Some(AUTHORITY));

        let identity = certificate.identity().expect("they belong together");

        let end = Utc.with_ymd_and_hms(2120, 1, 1, 0, 0, 0).unwrap();
        assert_eq!((identity.expires_at, certificate.expires_at()), (end, Some(end)));
        assert_eq!((identity.key.cert.len(), identity.authorities.map(|store| store.len())), (2, Some(1)));
        assert_eq!(certificate.check(end - chrono::TimeDelta::seconds(1)), Ok(()));
        assert_eq!(certificate.check(end).map_err(|error| error.field), Err(CERTIFICATE));
    }

    #[test]
    fn what_does_not_belong_together_is_refused_with_its_field() {
        let many = CLIENT.repeat(CERTIFICATES_MAX + 1);
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (certificate, field) in [
            (given("", CLIENT_KEY, None), CERTIFICATE),
            (given("no PEM", CLIENT_KEY, None), CERTIFICATE),
            (given(&many, CLIENT_KEY, None), CERTIFICATE),
            (given(broken, CLIENT_KEY, None), CERTIFICATE),
            (given(CLIENT, "", None), PRIVATE_KEY),
            (given(CLIENT, CLIENT, None), PRIVATE_KEY),
            (given(CLIENT, OTHER_KEY, None), PRIVATE_KEY),
            (given(CLIENT, CLIENT_KEY, Some("")), AUTHORITIES),
            (given(CLIENT, CLIENT_KEY, Some(broken)), AUTHORITIES),
        ] {
            assert_eq!(certificate.identity().map_err(|error| error.field).err(), Some(field));
        }
    }
}
