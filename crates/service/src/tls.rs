//! The one TLS provider of the process.

/// Makes ring the provider of everything that speaks TLS here. May be called any number of times.
pub fn install_provider() {
    // an error only says that a provider is installed already
    let _ = rustls::crypto::ring::default_provider().install_default();
}
