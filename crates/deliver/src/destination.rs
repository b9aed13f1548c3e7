//! Where a request may go: asks [`EgressPolicy`] after DNS, on the look-up that the connection uses, so that a name
//! that changes its mind is caught. Literal addresses never reach a resolver; the sender asks about those.
//! One name is looked up once at a time for a workspace, however many connections wait for it, and a workspace has a part of
//! all look-ups and no more, so that subscribers' slow name servers hold up none but their own workspace.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::Shared;
use model::egress::ForbiddenDestination;
use model::{EgressPolicy, WorkspaceId};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use service::names::AskNames;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout_at;

use crate::timings;

/// A workspace has one in so many of the look-ups that may be under way; at least one.
const WORKSPACES_PART: usize = 8;

tokio::task_local! {
    /// Whose request it is. The client looks names up within the request's task.
    static ASKER: WorkspaceId;
}

/// Makes a request on behalf of a workspace, whose look-ups it makes.
pub async fn on_behalf_of<T>(workspace_id: WorkspaceId, request: impl Future<Output = T>) -> T {
    ASKER.scope(workspace_id, request).await
}

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
    /// Other names of the workspace were being looked up all the time.
    #[error(
        "failed to resolve `{name}`: for {} s as many other names of the workspace were being looked up as may be at a time",
        limit.as_secs_f32()
    )]
    Crowded {
        /// Which name.
        name: String,
        /// How long it waited.
        limit: Duration,
    },
}

type Lookup = Shared<oneshot::Receiver<Result<Arc<[SocketAddr]>, DestinationError>>>;

/// What is being looked up for one workspace.
struct UnderWay {
    lookups: HashMap<String, Lookup>,
    /// Of those that ask: the others wait.
    turns: Arc<Semaphore>,
}

/// The resolver of the shared HTTP client.
#[derive(Clone)]
pub struct GuardedResolver {
    policy: Arc<EgressPolicy>,
    limit: Duration,
    ask: Arc<AskNames>,
    /// How many names it is asked for at a time for one workspace.
    own_max: usize,
    /// By whose they are; bounded by the requests in flight.
    under_way: Arc<Mutex<HashMap<Option<WorkspaceId>, UnderWay>>>,
}

impl GuardedResolver {
    /// Resolves by asking there, waits at most `limit`, and lets through what `policy` allows. Of `lookups_max`, which all
    /// share, a workspace has an eighth.
    pub fn new(ask: Arc<AskNames>, policy: Arc<EgressPolicy>, limit: Duration, lookups_max: usize) -> Self {
        let own_max = (lookups_max / WORKSPACES_PART).max(1);
        Self { policy, limit, ask, own_max, under_way: Arc::default() }
    }

    /// The addresses of a name, if the policy allows all of them.
    pub(crate) async fn addresses(self, name: String) -> Result<Vec<SocketAddr>, DestinationError> {
        let broken_off = |_| {
            let reason = "the look-up was broken off".to_owned();
            Err(DestinationError::Unresolved { name: name.clone(), reason })
        };
        let addresses = self.lookup(&name).await.unwrap_or_else(broken_off)?;
        self.policy.check_name(&name, addresses.iter().map(SocketAddr::ip))?;
        Ok(addresses.to_vec())
    }

    /// Joins the workspace's look-up of this name that is under way, or begins one.
    fn lookup(&self, name: &str) -> Lookup {
        let whose = ASKER.try_with(|workspace_id| *workspace_id).ok();
        let mut under_way = self.under_way.lock().expect("nobody panics with the look-ups in hand");
        let own = under_way.entry(whose).or_insert_with(|| UnderWay {
            lookups: HashMap::new(),
            turns: Arc::new(Semaphore::new(self.own_max)),
        });
        if let Some(lookup) = own.lookups.get(name) {
            return lookup.clone();
        }
        let (answer, lookup) = oneshot::channel();
        let lookup = lookup.shared();
        own.lookups.insert(name.to_owned(), lookup.clone());
        let (this, name, turns) = (self.clone(), name.to_owned(), Arc::clone(&own.turns));
        // a task of its own: the look-up goes on for the others when its first asker gives up
        tokio::spawn(async move {
            let found = this.resolve(&name, &turns).await;
            this.end(whose, &name);
            let _ = answer.send(found);
        });
        lookup
    }

    fn end(&self, whose: Option<WorkspaceId>, name: &str) {
        let mut under_way = self.under_way.lock().expect("nobody panics with the look-ups in hand");
        if let Entry::Occupied(mut own) = under_way.entry(whose) {
            own.get_mut().lookups.remove(name);
            if own.get().lookups.is_empty() {
                own.remove();
            }
        }
    }

    async fn resolve(&self, name: &str, turns: &Semaphore) -> Result<Arc<[SocketAddr]>, DestinationError> {
        let (limit, name) = (self.limit, name.to_owned());
        let deadline = tokio::time::Instant::now() + limit;
        let Ok(turn) = timeout_at(deadline, turns.acquire()).await else {
            return Err(DestinationError::Crowded { name, limit });
        };
        let _turn = turn.expect("the semaphore is never closed");
        match timeout_at(deadline, (self.ask)(name.clone())).await {
            Ok(Ok(addresses)) if addresses.is_empty() => {
                Err(DestinationError::Unresolved { name, reason: "the name has no addresses".to_owned() })
            }
            Ok(Ok(addresses)) => Ok(addresses.into()),
            Ok(Err(error)) if error.kind() != io::ErrorKind::TimedOut => {
                Err(DestinationError::Unresolved { name, reason: error.to_string() })
            }
            _ => Err(DestinationError::ResolveTimeout { name, limit }),
        }
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
        GuardedResolver::new(names::ask(&[], limit, 1).expect("the machine's"), Arc::default(), limit, 1)
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_after_the_look_up() {
        let resolver = asking_machine(Duration::from_secs(3));

        let error = resolver.clone().addresses("localhost".into()).await.expect_err("loopback");

        assert!(matches!(error, DestinationError::Forbidden(_)), "{error}");
        assert!(error.to_string().contains("deliver.allowed_networks"), "{error}");
        assert!(resolver.under_way.lock().expect("not poisoned").is_empty());
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
        GuardedResolver::new(Arc::new(ask), Arc::default(), Duration::from_secs(3), 1)
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

    /// Knows `hooks.example`, and never answers when it is asked for another name; tells what it is asked for.
    fn partly_silent(lookups_max: usize) -> (GuardedResolver, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (told, known) = (Arc::clone(&asked), SocketAddr::from(([93, 184, 215, 14], 0)));
        let ask = move |name: String| -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
            told.lock().expect("not poisoned").push(name.clone());
            match name.as_str() {
                "hooks.example" => Box::pin(std::future::ready(Ok(vec![known]))),
                _ => Box::pin(std::future::pending()),
            }
        };
        (GuardedResolver::new(Arc::new(ask), Arc::default(), Duration::from_secs(60), lookups_max), asked)
    }

    #[tokio::test]
    async fn a_workspace_whose_names_are_never_answered_holds_up_no_other() {
        const NAMES: usize = 100;
        let (resolver, asked) = partly_silent(4 * WORKSPACES_PART);
        let [one, other] = [(); 2].map(|()| WorkspaceId::generate());
        let ask = |workspace_id, name: String| {
            tokio::spawn(on_behalf_of(workspace_id, resolver.clone().addresses(name)))
        };
        let slow: Vec<_> = (0..NAMES).map(|number| ask(one, format!("{number}.slow.example"))).collect();
        let under_way = || {
            let under_way = resolver.under_way.lock().expect("not poisoned");
            under_way.get(&Some(one)).map_or(0, |own| own.lookups.len())
        };
        while under_way() < NAMES {
            tokio::task::yield_now().await;
        }

        let found = ask(other, "hooks.example".to_owned()).await.expect("it does not panic");

        assert_eq!(found.expect("it is known").len(), 1);
        assert!(slow.iter().all(|asking| !asking.is_finished()));
        let asked = asked.lock().expect("not poisoned");
        assert_eq!(asked.iter().filter(|name| name.ends_with(".slow.example")).count(), 4, "its part");
    }

    #[tokio::test]
    async fn what_a_request_looks_up_is_its_workspaces() {
        service::tls::install_provider();
        let (resolver, _) = partly_silent(WORKSPACES_PART);
        let client = reqwest::Client::builder().dns_resolver(resolver.clone()).no_proxy().build();
        let request = client.expect("a client").get("http://silent.example/").send();
        let workspace_id = WorkspaceId::generate();
        let whose = || resolver.under_way.lock().expect("not poisoned").keys().copied().collect::<Vec<_>>();

        let sent = tokio::spawn(on_behalf_of(workspace_id, request));
        while whose().is_empty() {
            tokio::task::yield_now().await;
        }

        assert_eq!(whose(), [Some(workspace_id)]);
        sent.abort();
    }
}
