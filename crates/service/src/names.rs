//! Who is asked for the addresses of a name: the machine's own resolver, or the name servers of `deliver.dns_servers`.
//!
//! The machine's resolver works on a thread that cannot be called back, so its look-ups end when it gives up. Named
//! servers are asked without a thread: over UDP, over TCP when an answer was cut short, and all of it within the limit.
//! Nothing is kept: a look-up is made for a new connection only, and a kept answer would be one that was judged before.
//!
//! `deliver` asks for what it connects to, `api` for what is saved: both the same servers, or a name that one of them knows
//! is unknown to the other.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

/// Asks for the addresses of one name.
pub type AskNames = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// With more, a look-up would be over before the last was asked.
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
    if servers.is_empty() {
        return Ok(Arc::new(|name| Box::pin(ask_machine(name))));
    }
    let config = ResolverConfig::from_name_servers(servers.iter().map(name_server).collect());
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.timeout = limit / ASKED_MAX;
    options.attempts = ASKED_MAX as usize - 1;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = 0;
    options.positive_max_ttl = Some(Duration::ZERO);
    options.negative_max_ttl = Some(Duration::ZERO);
    options.use_hosts_file = ResolveHosts::Never;
    // two questions a name
    options.max_active_requests = names_max.saturating_mul(2);
    let resolver = builder.build().map_err(ResolverError)?;
    Ok(Arc::new(move |name| Box::pin(ask_servers(resolver.clone(), name, limit))))
}

fn name_server(addr: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = addr.port();
        connection
    });
    NameServerConfig::new(addr.ip(), true, connections.into())
}

async fn ask_machine(name: String) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.collect())
}

/// Of a long chain of aliases each is a question, so the whole has the limit once more.
async fn ask_servers(resolver: TokioResolver, name: String, limit: Duration) -> io::Result<Vec<SocketAddr>> {
    // absolute, so that no domain of ours is put behind it
    let name = if name.ends_with('.') { name } else { name + "." };
    let found = tokio::time::timeout(limit, resolver.lookup_ip(name)).await?.map_err(io::Error::other)?;
    Ok(found.iter().map(|address| SocketAddr::new(address, 0)).collect())
}
