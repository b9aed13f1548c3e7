//! Where a request may go: asks [`AddressPolicy`] after DNS, on the look-up that the connection uses.
//!
//! A name is refused if *any* of its addresses is forbidden: whoever mixes public and private answers wants
//! us to pick the private one. Literal addresses never reach a resolver, so they are asked about apart.
//! One name is looked up once at a time however many connections wait for it, so that a subscriber's slow
//! name server occupies one thread and no more.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::Shared;
use model::address::ForbiddenAddress;
use model::{AddressPolicy, EndpointUrl};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::oneshot;
use url::Host;

/// Why there is no address to connect to.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DestinationError {
    /// The policy forbids the address.
    #[error(transparent)]
    Forbidden(#[from] ForbiddenAddress),
    /// Only encrypted connections are allowed.
    #[error("the URL is not `https://`, and `deliver.https_only` is set")]
    NotEncrypted,
    /// The name has no address.
    #[error("failed to resolve `{name}`: {reason}")]
    Unresolved {
        /// Which name.
        name: String,
        /// What the resolver said.
        reason: String,
    },
    /// The name server did not answer in time.
    #[error("failed to resolve `{name}` within {} s", limit.as_secs_f32())]
    ResolveTimeout {
        /// Which name.
        name: String,
        /// How long it was waited for.
        limit: Duration,
    },
}

/// Checks what can be checked before a connection is made: the scheme and a literal address.
///
/// # Errors
/// [`DestinationError`] says which rule forbids it.
pub fn check_url(
    url: &EndpointUrl,
    policy: &AddressPolicy,
    https_only: bool,
) -> Result<(), DestinationError> {
    if https_only && !url.is_https() {
        return Err(DestinationError::NotEncrypted);
    }
    match url.host() {
        Host::Ipv4(address) => Ok(policy.check(IpAddr::V4(address))?),
        Host::Ipv6(address) => Ok(policy.check(IpAddr::V6(address))?),
        Host::Domain(_) => Ok(()),
    }
}

type Lookup = Shared<oneshot::Receiver<Result<Arc<[SocketAddr]>, String>>>;

/// The resolver of the shared HTTP client.
#[derive(Clone)]
pub struct GuardedResolver {
    policy: Arc<AddressPolicy>,
    limit: Duration,
    /// Look-ups that are under way; bounded by the requests in flight.
    lookups: Arc<Mutex<HashMap<String, Lookup>>>,
}

impl GuardedResolver {
    /// Resolves with the machine's resolver, waits at most `limit`, and lets through what `policy` allows.
    pub fn new(policy: Arc<AddressPolicy>, limit: Duration) -> Self {
        Self { policy, limit, lookups: Arc::default() }
    }

    async fn addresses(self, name: String) -> Result<Vec<SocketAddr>, DestinationError> {
        let lookup = self.lookup(&name);
        let answer = match tokio::time::timeout(self.limit, lookup).await {
            Ok(answer) => answer,
            Err(_) => return Err(DestinationError::ResolveTimeout { name, limit: self.limit }),
        };
        let addresses = answer
            .unwrap_or_else(|_| Err("the look-up was broken off".to_owned()))
            .map_err(|reason| DestinationError::Unresolved { name, reason })?;
        for address in addresses.iter() {
            self.policy.check(address.ip())?;
        }
        Ok(addresses.to_vec())
    }

    /// Joins the look-up of this name that is under way, or begins one.
    fn lookup(&self, name: &str) -> Lookup {
        let mut lookups = self.lookups.lock().expect("nobody panics with the look-ups in hand");
        if let Some(lookup) = lookups.get(name) {
            return lookup.clone();
        }
        let (answer, lookup) = oneshot::channel();
        let lookup = lookup.shared();
        lookups.insert(name.to_owned(), lookup.clone());
        let (this, name) = (self.clone(), name.to_owned());
        // a task of its own: the look-up ends when the resolver answers, not when its first asker gives up
        tokio::spawn(async move {
            let found = resolve(&name).await.map_err(|error| error.to_string());
            this.lookups.lock().expect("nobody panics with the look-ups in hand").remove(&name);
            let _ = answer.send(found);
        });
        lookup
    }
}

async fn resolve(name: &str) -> io::Result<Arc<[SocketAddr]>> {
    let addresses: Arc<[SocketAddr]> = tokio::net::lookup_host((name, 0)).await?.collect();
    if addresses.is_empty() {
        return Err(io::Error::other("the name has no addresses"));
    }
    Ok(addresses)
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let this = self.clone();
        Box::pin(async move {
            let addresses = this.addresses(name).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, policy: &AddressPolicy) -> Result<(), DestinationError> {
        check_url(&url.parse().expect(url), policy, false)
    }

    #[test]
    fn every_notation_of_an_address_inside_is_refused() {
        for host in [
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "127.1",
            "0177.0.0.1",
            "[::1]",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:7f00:1::]",
            "[fd00:ec2::254]",
            "100.64.0.1",
            "168.63.129.16",
            "127。0。0。1",
            "①②⑦.0.0.1",
        ] {
            let result = check(&format!("http://{host}:8080/hook"), &AddressPolicy::default());
            assert!(matches!(result, Err(DestinationError::Forbidden(_))), "{host}");
        }
    }

    #[test]
    fn an_operator_can_allow_private_receivers() {
        let policy = AddressPolicy::allowing(vec!["127.0.0.0/8".parse().expect("a network")]);

        assert!(check("http://0x7f.1/", &policy).is_ok());
        assert!(check("http://[::ffff:127.0.0.1]/", &policy).is_ok());
        assert!(check("http://[::1]/", &policy).is_err());
    }

    #[test]
    fn plain_http_is_refused_where_only_https_is_allowed() {
        let url = "http://8.8.8.8/".parse().expect("a URL");

        let result = check_url(&url, &AddressPolicy::default(), true);

        assert!(matches!(result, Err(DestinationError::NotEncrypted)));
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_after_the_look_up() {
        let resolver = GuardedResolver::new(Arc::default(), Duration::from_secs(3));

        let error = resolver.clone().addresses("localhost".into()).await.expect_err("loopback");

        assert!(matches!(error, DestinationError::Forbidden(_)), "{error}");
        assert!(resolver.lookups.lock().expect("not poisoned").is_empty());
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_told_apart() {
        let resolver = GuardedResolver::new(Arc::default(), Duration::from_secs(30));

        let error = resolver.addresses("nowhere.invalid".into()).await.expect_err("reserved by RFC 2606");

        assert!(matches!(error, DestinationError::Unresolved { .. }), "{error}");
    }
}
