//! Why a request got no answer: in a word that is counted and shown, and in words of its own.

use std::error::Error;

use hyper_util::client::legacy;
use model::delivery::ErrorClass;

use crate::destination::DestinationError;
use crate::proxy::TunnelError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The URL cannot be asked for.
    #[error("the URL cannot be sent to")]
    Uri(#[source] http::Error),
    /// Without a proxy; the URL is left out, which the asker knows.
    #[error(transparent)]
    Direct(reqwest::Error),
    /// Through one.
    #[error(transparent)]
    Proxied(legacy::Error),
}

impl SendError {
    /// What kind of failure it is.
    pub fn class(&self) -> ErrorClass {
        for cause in causes(self) {
            if let Some(tunnel) = cause.downcast_ref::<TunnelError>() {
                return if tunnel.is_the_proxys() { ErrorClass::Proxy } else { ErrorClass::Connect };
            }
            if let Some(destination) = cause.downcast_ref::<DestinationError>() {
                return match destination {
                    DestinationError::Forbidden(_) => ErrorClass::Blocked,
                    DestinationError::Unresolved { .. }
                    | DestinationError::ResolveTimeout { .. }
                    | DestinationError::Crowded { .. } => ErrorClass::Dns,
                };
            }
            // TCP has no early end: whoever hangs up while we connect does so in the handshake
            let ends_early =
                |io: &std::io::Error| self.is_connect() && io.kind() == std::io::ErrorKind::UnexpectedEof;
            if cause.is::<rustls::Error>() || cause.downcast_ref().is_some_and(ends_early) {
                return ErrorClass::Tls;
            }
        }
        match () {
            () if self.is_connect() => ErrorClass::Connect,
            () if self.is_timeout() => ErrorClass::Timeout,
            () => ErrorClass::Protocol,
        }
    }

    /// Whether there was no connection.
    fn is_connect(&self) -> bool {
        match self {
            Self::Uri(_) => false,
            Self::Direct(error) => error.is_connect(),
            Self::Proxied(error) => error.is_connect(),
        }
    }

    /// Whether it took too long.
    fn is_timeout(&self) -> bool {
        matches!(self, Self::Direct(error) if error.is_timeout())
    }
}

/// An error with what caused it, in words.
pub(crate) fn told(error: &(dyn Error + 'static)) -> String {
    let mut texts = causes(error).map(ToString::to_string).collect::<Vec<_>>();
    // wrappers often repeat what they wrap
    texts.dedup();
    texts.join(": ")
}

/// An error and what caused it, outermost first. An `io::Error` hides what it wraps from `source`.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        match wrapped {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}
