//! Who is asked for the addresses of a name: the `machine`, or the name servers of `deliver.dns_servers`. For the
//! texts of a name it is the name servers that the machine is set up with, or those.
//!
//! Name servers are asked without a thread: over UDP, over TCP when an answer was cut short, and all of it within the limit,
//! so that one that keeps silent holds up nothing but its own names. The first is asked alone, and the next only when it fails
//! or keeps silent: names of the house may be unknown to the others. Nothing is kept: a look-up is made for a new connection
//! only, and a kept answer would be one that was judged before.
//!
//! `deliver` asks for what it connects to, `api` for what is saved: both the same servers, or a name that one of them knows
//! is unknown to the other.

mod machine;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use machine::Machine;

/// Asks for the addresses of one name.
pub type AskNames = Ask<SocketAddr>;

/// Asks for the TXT records of one name; none, when it has none or is not there.
pub type AskTexts = Ask<String>;

type Ask<T> = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<T>>> + Send + Sync;

/// With more, a look-up would be all but over before the last was asked.
const SERVERS_MAX: usize = 8;

/// How often a name server is asked within the limit; each time it has an equal part of it.
const ASKED_MAX: u32 = 2;

/// Names cannot be looked up with the name servers of the settings.
#[derive(Debug, thiserror::Error)]
#[error("deliver.dns_servers: failed to set up the resolver")]
pub struct ResolverError(#[source] NetError);

/// Refuses what `deliver.dns_servers` cannot be.
///
/// # Errors
/// The rule that is broken, as it stands behind the name of the setting.
pub fn check_servers(servers: &[SocketAddr]) -> Result<(), &'static str> {
    if servers.len() > SERVERS_MAX {
        return Err("must name at most 8 servers");
    }
    if servers.iter().any(|server| server.port() == 0) {
        return Err("must not name port 0");
    }
    Ok(())
}

/// Asks the machine, when `servers` is empty, and else these: at most `names_max` names at a time, each within `limit`.
///
/// # Errors
/// When the resolver cannot be put together.
pub fn ask(
    servers: &[SocketAddr],
    limit: Duration,
    names_max: usize,
) -> Result<Arc<AskNames>, ResolverError> {
    let ask: Arc<AskNames> = if servers.is_empty() {
        let machine = Arc::new(Machine::new(limit, names_max));
        Arc::new(move |name| Box::pin(Arc::clone(&machine).ask(name)))
    } else {
        let servers = resolvers(config(servers), &ResolverOpts::default(), limit, names_max)?;
        Arc::new(move |name| Box::pin(ask_servers(Arc::clone(&servers), name, limit)))
    };
    Ok(in_turn(ask, limit, names_max))
}

/// Asks the name servers of the machine, when `servers` is empty, and else these, for TXT records: at most `names_max` names at
/// a time, each within `limit`. What the machine is set up with is read again for each name.
///
/// # Errors
/// When the resolver cannot be put together.
pub fn ask_texts(
    servers: &[SocketAddr],
    limit: Duration,
    names_max: usize,
) -> Result<Arc<AskTexts>, ResolverError> {
    let ask: Arc<AskTexts> = if servers.is_empty() {
        Arc::new(move |name| Box::pin(ask_machine_for_texts(name, limit, names_max)))
    } else {
        let servers = resolvers(config(servers), &ResolverOpts::default(), limit, names_max)?;
        Arc::new(move |name| Box::pin(ask_for_texts(Arc::clone(&servers), name, limit)))
    };
    Ok(in_turn(ask, limit, names_max))
}

/// Asks for at most `names_max` names at a time. The others wait, and each has `limit` for its turn and its answer: of a long
/// chain of aliases each is a question, and so is each search domain.
fn in_turn<T: Send + 'static>(ask: Arc<Ask<T>>, limit: Duration, names_max: usize) -> Arc<Ask<T>> {
    let turns = Arc::new(Semaphore::new(names_max));
    Arc::new(move |name| {
        let (turns, asking) = (Arc::clone(&turns), ask(name));
        Box::pin(async move {
            let answer = async {
                let _turn = turns.acquire().await.expect("the semaphore is never closed");
                asking.await
            };
            timeout(limit, answer).await?
        })
    })
}

/// Name servers in the order in which they are asked.
type Servers = Arc<[TokioResolver]>;

fn config(servers: &[SocketAddr]) -> ResolverConfig {
    ResolverConfig::from_name_servers(servers.iter().map(name_server).collect())
}

/// A resolver for each name server. One for all would ask two at a time, and be done when either refuses.
fn resolvers(
    config: ResolverConfig,
    options: &ResolverOpts,
    limit: Duration,
    names_max: usize,
) -> Result<Servers, ResolverError> {
    let (domain, search, servers) = config.into_parts();
    let for_one = |server| {
        let config = ResolverConfig::from_parts(domain.clone(), search.clone(), vec![server]);
        resolver(config, options.clone(), limit, names_max)
    };
    servers.into_iter().map(for_one).collect()
}

fn resolver(
    config: ResolverConfig,
    mut options: ResolverOpts,
    limit: Duration,
    names_max: usize,
) -> Result<TokioResolver, ResolverError> {
    options.timeout = limit / ASKED_MAX;
    options.attempts = ASKED_MAX as usize - 1;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = 0;
    options.positive_max_ttl = Some(Duration::ZERO);
    options.negative_max_ttl = Some(Duration::ZERO);
    options.use_hosts_file = ResolveHosts::Never;
    // two questions a name
    options.max_active_requests = names_max.saturating_mul(2);
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.with_options(options).build().map_err(ResolverError)
}

fn name_server(addr: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = addr.port();
        connection
    });
    NameServerConfig::new(addr.ip(), true, connections.into())
}

async fn ask_machine_for_texts(name: String, limit: Duration, names_max: usize) -> io::Result<Vec<String>> {
    let servers = machine::servers(limit, names_max).map_err(io::Error::other)?;
    ask_for_texts(servers, name, limit).await
}

async fn ask_for_texts(servers: Servers, name: String, limit: Duration) -> io::Result<Vec<String>> {
    let name = absolute(name)?;
    match in_order(&servers, limit, move |server| texts(server, name.clone())).await {
        Ok(texts) => Ok(texts),
        Err(error) if is_nothing(&error) => Ok(Vec::new()),
        Err(error) => Err(io::Error::other(error)),
    }
}

async fn texts(server: TokioResolver, name: Name) -> Result<Vec<String>, NetError> {
    let found = server.txt_lookup(name).await?;
    let texts = found.answers().iter().filter_map(|record| match &record.data {
        // a long one comes in pieces
        RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
        _ => None,
    });
    Ok(texts.collect())
}

/// Asks the first server, and the next as well when one fails, or when none has answered for its part of the limit. The first
/// answer is taken, be it that there is nothing.
async fn in_order<T, F>(
    servers: &[TokioResolver],
    limit: Duration,
    ask: impl Fn(TokioResolver) -> F,
) -> Result<T, NetError>
where
    F: Future<Output = Result<T, NetError>>,
{
    // so that the last has two
    let part = limit / (servers.len() as u32 + 1);
    let mut failure = NetError::NoConnections;
    let mut left = servers.iter();
    let mut asked = FuturesUnordered::new();
    loop {
        if let Some(server) = left.next() {
            asked.push(ask(server.clone()));
        }
        match timeout(part, asked.next()).await {
            Ok(Some(Err(error))) if !is_nothing(&error) => failure = error,
            Ok(Some(answer)) => return answer,
            Ok(None) => return Err(failure),
            // its answer is taken when it comes after all
            Err(_) => {}
        }
    }
}

/// Whether the answer is that there is nothing, and not that something went wrong.
fn is_nothing(error: &NetError) -> bool {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(nothing)) => {
            matches!(nothing.response_code, ResponseCode::NXDomain | ResponseCode::NoError)
        }
        _ => false,
    }
}

/// So that no domain of ours is put behind it.
fn absolute(mut name: String) -> io::Result<Name> {
    if !name.ends_with('.') {
        name.push('.');
    }
    Name::from_utf8(name).map_err(io::Error::other)
}

async fn ask_servers(servers: Servers, name: String, limit: Duration) -> io::Result<Vec<SocketAddr>> {
    let name = absolute(name)?;
    in_order(&servers, limit, move |server| addresses(server, name.clone())).await.map_err(io::Error::other)
}

async fn addresses(server: TokioResolver, name: Name) -> Result<Vec<SocketAddr>, NetError> {
    Ok(without_port(server.lookup_ip(name).await?.iter()))
}

fn without_port(addresses: impl Iterator<Item = IpAddr>) -> Vec<SocketAddr> {
    addresses.map(|address| SocketAddr::new(address, 0)).collect()
}
