//! Three nats-servers that are one broker, as an operator would run it: each has a copy of each stream, and one of them may be
//! away. Between them is a network that can be cut.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use async_nats::jetstream::context::ContextBuilder;
use bus::StreamName;
use embedded::{Nats, NatsOptions, free_port};

use super::{TestNats, settings_for};
use crate::cut::Cut;
use crate::scratch::ScratchDir;
use crate::until::until;

/// Nodes of a cluster.
const NODES: usize = 3;

/// Time for a cluster to choose a leader, of itself or of a stream, on a busy machine.
const LEADER_LIMIT: Duration = Duration::from_secs(120);

/// How long a leader that is there takes to answer. Without one, nobody answers.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);

impl TestNats {
    /// How many nodes [`TestNats::start_cluster`] starts.
    pub const NODES: usize = NODES;

    /// Starts a cluster and makes our streams and consumers, of which each node has a copy.
    ///
    /// # Panics
    /// When nats-server is not installed, or the nodes find no leader.
    pub async fn start_cluster() -> Self {
        let dir = ScratchDir::new("nats");
        let ports: [u16; NODES] = std::array::from_fn(|_| free_port());
        let mut routes = BTreeMap::new();
        for from in 0..NODES {
            for to in (0..NODES).filter(|to| *to != from) {
                let server = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[to]));
                routes.insert((from, to), Cut::start(free_port(), server).await);
            }
        }
        let (mut nodes, unheard) = (Vec::new(), free_port());
        for node in 0..NODES {
            let options = NatsOptions {
                // of this test alone, as its port is
                name: Some(format!("clickwire-{}", ports[node])),
                more: configuration(node, ports, &routes, unheard),
                ..NatsOptions::throwaway(dir.path().join(format!("nats-{}", node + 1)))
            };
            nodes.push(Nats::start(options).await.unwrap_or_else(|error| panic!("{error}")));
        }
        let urls: Vec<String> = nodes.iter().map(Nats::url).collect();
        let settings = bus::Settings { replicas: NODES, ..settings_for(urls.join(",")) };
        let cluster = Self { nodes, routes, settings, dir };
        let bus = cluster.bus("testkit").await;
        // refused until there is a leader, and until it knows all nodes
        until(LEADER_LIMIT, || async { bus.setup().await.ok() }).await;
        cluster.wait_led().await;
        cluster
    }

    /// Where each node is; the same after a restart.
    pub fn node_urls(&self) -> Vec<String> {
        self.nodes.iter().map(Nats::url).collect()
    }

    /// Ends a node as a crash would.
    pub async fn kill_node(&self, node: usize) {
        self.nodes[node].kill().await;
    }

    /// Starts a node again with what it had.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart_node(&mut self, node: usize) {
        self.nodes[node].restart().await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Freezes a node: its connections stay open, nothing is answered.
    pub fn pause_node(&self, node: usize) {
        self.nodes[node].pause();
    }

    /// Lets a node go on.
    pub fn resume_node(&self, node: usize) {
        self.nodes[node].resume();
    }

    /// Cuts a node off from the others; clients reach it all the same.
    pub fn part_node(&self, node: usize) {
        self.routes_of(node).for_each(Cut::cut);
    }

    /// Ends [`TestNats::part_node`].
    pub fn join_node(&self, node: usize) {
        self.routes_of(node).for_each(Cut::heal);
    }

    fn routes_of(&self, node: usize) -> impl Iterator<Item = &Cut> {
        self.routes.iter().filter(move |((from, to), _)| *from == node || *to == node).map(|(_, cut)| cut)
    }

    /// Waits until each stream has a leader, and so takes messages: a cluster that has lost one chooses another first.
    ///
    /// # Panics
    /// When a stream finds none.
    pub async fn wait_led(&self) {
        let jetstream = ContextBuilder::new().timeout(ANSWER_LIMIT).build(self.client().await);
        for stream in StreamName::ALL {
            until(LEADER_LIMIT, || async { jetstream.get_stream(stream.as_str()).await.ok() }).await;
        }
    }
}

/// What makes a server a node. There is no way to another node but through its cut: nodes tell each other and their clients of
/// addresses, so that each has to name one that nobody hears at, or none.
fn configuration(
    node: usize,
    ports: [u16; NODES],
    routes: &BTreeMap<(usize, usize), Cut>,
    unheard: u16,
) -> String {
    let way = |to: usize| match routes.get(&(node, to)) {
        Some(cut) => cut.addr().to_string(),
        // which a node finds out; by the number of routes it knows how many nodes there are to be
        None => format!("127.0.0.1:{}", ports[to]),
    };
    let routes: String = (0..NODES).map(|to| format!("    \"nats://{}\"\n", way(to))).collect();
    format!(
        "cluster {{\n  name: \"clickwire\"\n  listen: \"127.0.0.1:{port}\"\n  \
         advertise: \"127.0.0.1:{unheard}\"\n  no_advertise: true\n  pool_size: -1\n  \
         routes: [\n{routes}  ]\n}}\n",
        port = ports[node],
    )
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_cluster_takes_messages_without_any_one_of_its_nodes() {
        let mut cluster = TestNats::start_cluster().await;

        for node in 0..NODES {
            cluster.kill_node(node).await;
            cluster.wait_led().await;
            cluster.restart_node(node).await;
            cluster.wait_led().await;
        }
    }

    /// With how many others a node is connected.
    async fn connected(cluster: &TestNats, node: usize) -> Option<u64> {
        let url = cluster.nodes[node].monitor_url();
        let mut stream = TcpStream::connect(url.strip_prefix("http://")?).await.ok()?;
        stream.write_all(b"GET /routez HTTP/1.0\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str::<serde_json::Value>(body).ok()?["num_routes"].as_u64()
    }

    #[tokio::test]
    async fn nodes_reach_each_other_through_their_cuts_alone() {
        let cluster = TestNats::start_cluster().await;
        let are_connected = |numbers: [u64; NODES]| {
            let cluster = &cluster;
            until(LEADER_LIMIT, move || async move {
                for (node, number) in numbers.into_iter().enumerate() {
                    if connected(cluster, node).await? != number {
                        return None;
                    }
                }
                Some(())
            })
        };

        are_connected([2, 2, 2]).await;
        cluster.part_node(1);
        are_connected([1, 0, 1]).await;
        cluster.join_node(1);
        are_connected([2, 2, 2]).await;
    }
}
