//! Where a request may go: asks [`EgressPolicy`] after DNS, on the look-up that the connection uses, so that a name
//! that changes its mind is caught. Literal addresses never reach a resolver; the sender asks about those.
//! One name is looked up once at a time however many connections wait for it, so that a subscriber's slow
//! name server occupies one thread, or one question, and no more.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::Shared;
use model::EgressPolicy;
use model::egress::ForbiddenDestination;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use service::names::AskNames;
use tokio::sync::oneshot;

use crate::timings;

/// Why there is no address to connect to.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DestinationError {
    /// The policy forbids it.
    #[error(transparent)]
    Forbidden(#[from] ForbiddenDestination),
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

type Lookup = Shared<oneshot::Receiver<Result<Arc<[SocketAddr]>, String>>>;

/// The resolver of the shared HTTP client.
#[derive(Clone)]
pub struct GuardedResolver {
    policy: Arc<EgressPolicy>,
    limit: Duration,
    ask: Arc<AskNames>,
    /// Look-ups that are under way; bounded by the requests in flight.
    lookups: Arc<Mutex<HashMap<String, Lookup>>>,
}

impl GuardedResolver {
    /// Resolves by asking there, waits at most `limit`, and lets through what `policy` allows.
    pub fn new(ask: Arc<AskNames>, policy: Arc<EgressPolicy>, limit: Duration) -> Self {
        Self { policy, limit, ask, lookups: Arc::default() }
    }

    /// The addresses of a name, if the policy allows all of them.
    pub(crate) async fn addresses(self, name: String) -> Result<Vec<SocketAddr>, DestinationError> {
        let lookup = self.lookup(&name);
        let answer = match tokio::time::timeout(self.limit, lookup).await {
            Ok(answer) => answer,
            Err(_) => return Err(DestinationError::ResolveTimeout { name, limit: self.limit }),
        };
        let addresses = answer
            .unwrap_or_else(|_| Err("the look-up was broken off".to_owned()))
            .map_err(|reason| DestinationError::Unresolved { name: name.clone(), reason })?;
        self.policy.check_name(&name, addresses.iter().map(SocketAddr::ip))?;
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
            let found = this.resolve(&name).await.map_err(|error| error.to_string());
            this.lookups.lock().expect("nobody panics with the look-ups in hand").remove(&name);
            let _ = answer.send(found);
        });
        lookup
    }

    async fn resolve(&self, name: &str) -> io::Result<Arc<[SocketAddr]>> {
        let addresses = (self.ask)(name.to_owned()).await?;
        if addresses.is_empty() {
            return Err(io::Error::other("the name has no addresses"));
        }
        Ok(addresses.into())
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let this = self.clone();
        Box::pin(async move {
            let began = Instant::now();
            let addresses = this.addresses(name).await?;
            timings::looked_up(began.elapsed());
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;

    use service::names;

    use super::*;

    fn asking_machine(limit: Duration) -> GuardedResolver {
        GuardedResolver::new(names::ask(&[], limit, 1).expect("the machine's"), Arc::default(), limit)
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_after_the_look_up() {
        let resolver = asking_machine(Duration::from_secs(3));

        let error = resolver.clone().addresses("localhost".into()).await.expect_err("loopback");

        assert!(matches!(error, DestinationError::Forbidden(_)), "{error}");
        assert!(error.to_string().contains("deliver.allowed_networks"), "{error}");
        assert!(resolver.lookups.lock().expect("not poisoned").is_empty());
    }

    /// Answers each look-up with the next of these; the last one for ever.
    fn answering(answers: &'static [&'static [&'static str]]) -> GuardedResolver {
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let ask = move |_| -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
            let number = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let answer = answers[number.min(answers.len() - 1)];
            let addresses = answer.iter().map(|address| SocketAddr::new(address.parse().expect(address), 0));
            Box::pin(std::future::ready(Ok(addresses.collect())))
        };
        GuardedResolver::new(Arc::new(ask), Arc::default(), Duration::from_secs(3))
    }

    #[tokio::test]
    async fn a_name_with_any_forbidden_answer_is_refused() {
        for answers in [
            &[&["93.184.215.14", "10.0.0.1"] as &[&str]] as &[&[&str]],
            &[&["10.0.0.1", "93.184.215.14"]],
            &[&["2606:4700::1111", "93.184.215.14", "::ffff:169.254.169.254"]],
            &[&["64:ff9b::a9fe:a9fe"]],
        ] {
            let resolver = answering(answers);
            let error = resolver.addresses("hooks.example".into()).await.expect_err("mixed");
            assert!(matches!(error, DestinationError::Forbidden(_)), "{answers:?}: {error}");
        }
    }

    #[tokio::test]
    async fn a_name_that_flips_is_judged_by_the_answer_that_is_connected_to() {
        let resolver = answering(&[&["93.184.215.14"], &["127.0.0.1"], &["93.184.215.14"]]);
        let ask = || resolver.clone().addresses("hooks.example".into());

        assert_eq!(ask().await.expect("public"), ["93.184.215.14:0".parse().expect("an address")]);
        assert!(matches!(ask().await, Err(DestinationError::Forbidden(_))));
        assert!(ask().await.is_ok(), "a verdict is not kept");
    }

    #[tokio::test]
    async fn a_name_without_addresses_is_not_resolved() {
        let error = answering(&[&[]]).addresses("hooks.example".into()).await.expect_err("empty");

        assert!(matches!(error, DestinationError::Unresolved { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_told_apart() {
        let resolver = asking_machine(Duration::from_secs(30));

        let error = resolver.addresses("nowhere.invalid".into()).await.expect_err("reserved by RFC 2606");

        assert!(matches!(error, DestinationError::Unresolved { .. }), "{error}");
    }
}
