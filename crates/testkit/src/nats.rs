//! A real nats-server for one test, or a cluster of them.

mod cluster;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::jetstream::{self, stream::DiscardPolicy};
use async_nats::{ConnectOptions, ServerAddr};
use bus::permissions::Role;
use bus::{Bus, StreamName};
use embedded::{Nats, NatsOptions};

use crate::cut::Cut;
use crate::scratch::ScratchDir;
use crate::until::until;

/// How long a client may take to connect on a busy machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// How long a broker that is well may take to change a stream.
const CHANGE_LIMIT: Duration = Duration::from_secs(60);

/// What a stream takes before it is full.
const LAST_MESSAGES: u64 = 20;

/// Size of each stream: nats-server takes the sum from the disk's free space beforehand.
const STREAM_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The user of setup and of commands for people.
const OPERATOR: &str = "operator";

/// A nats-server of one test, with our streams; or several that make up one broker.
#[derive(Debug)]
pub struct TestNats {
    /// One, or those of a cluster.
    nodes: Vec<Nats>,
    /// The ways between the nodes of a cluster, from one to another.
    routes: BTreeMap<(usize, usize), Cut>,
    settings: bus::Settings,
    // after the server that writes to it
    dir: ScratchDir,
}

/// A stream that takes nothing, with what it was like before.
#[derive(Debug)]
#[must_use = "the stream stays full without it"]
pub struct FullStream(jetstream::stream::Config);

impl TestNats {
    /// Starts it and makes our streams and consumers.
    ///
    /// # Panics
    /// When nats-server is not installed or refuses the streams.
    pub async fn start() -> Self {
        let nats = Self::start_empty().await;
        nats.bus("testkit").await.setup().await.expect("the streams are made");
        nats
    }

    /// Starts it without streams.
    ///
    /// # Panics
    /// When nats-server is not installed.
    pub async fn start_empty() -> Self {
        Self::start_configured("").await
    }

    /// Starts it with our streams, for one user a service with these permissions (the content of
    /// `deploy/nats/permissions.conf`); what we do ourselves, the user `operator` does.
    ///
    /// # Panics
    /// When nats-server is not installed, does not understand the permissions, or refuses the streams.
    pub async fn start_guarded(permissions: &str) -> Self {
        let user = |role: &Role| {
            let name = role.as_str();
            format!("    {{ user: {name}, password: {name}, permissions: ${} }}\n", name.to_uppercase())
        };
        let users: String = Role::ALL.iter().map(user).collect();
        let users = format!("    {{ user: {OPERATOR}, password: {OPERATOR} }}\n{users}");
        let mut guarded =
            Self::start_configured(&format!("{permissions}\nauthorization {{\n  users: [\n{users}  ]\n}}\n"))
                .await;
        guarded.settings.url = guarded.url_of(OPERATOR);
        guarded.bus("testkit").await.setup().await.expect("the streams are made");
        guarded
    }

    /// Where this user of [`TestNats::start_guarded`] goes.
    pub fn url_of(&self, user: &str) -> String {
        format!("nats://{user}:{user}@127.0.0.1:{}", self.nodes[0].port())
    }

    /// A client of somebody else's, who may do everything.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn client(&self) -> async_nats::Client {
        // who needs no password is not asked for one
        let options = ConnectOptions::with_user_and_password(OPERATOR.to_owned(), OPERATOR.to_owned());
        let servers: Result<Vec<ServerAddr>, _> = self.url().split(',').map(str::parse).collect();
        options.connect(servers.expect("the URLs are ours")).await.expect("the server runs")
    }

    /// Starts it without streams, with these lines of nats-server's configuration.
    ///
    /// # Panics
    /// When nats-server is not installed, or does not understand them.
    pub async fn start_configured(more: &str) -> Self {
        let dir = ScratchDir::new("nats");
        let options =
            NatsOptions { more: more.to_owned(), ..NatsOptions::throwaway(dir.path().join("nats")) };
        let nats = Nats::start(options).await;
        let nats = nats.unwrap_or_else(|error| panic!("{error}"));
        let settings = settings_for(nats.url());
        Self { nodes: vec![nats], routes: BTreeMap::new(), settings, dir }
    }

    /// Its URL, of a cluster those of all nodes, separated by commas; the same after a restart.
    pub fn url(&self) -> &str {
        &self.settings.url
    }

    /// Settings that lead to it.
    pub fn settings(&self) -> bus::Settings {
        self.settings.clone()
    }

    /// A connection under this name.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn bus(&self, name: &'static str) -> Bus {
        let bus = Bus::connect(&self.settings, name).await.expect("the URL is ours");
        bus.wait_connected(CONNECT_LIMIT).await.expect("the server runs");
        bus
    }

    /// Subject and payload of each message of a stream, oldest first.
    ///
    /// # Panics
    /// When there is no such stream.
    pub async fn messages(&self, stream: &str) -> Vec<(String, Vec<u8>)> {
        let client = self.client().await;
        let stream = jetstream::new(client).get_stream(stream).await.expect("the stream is there");
        let state = &stream.cached_info().state;
        let mut messages = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            // those between may have been removed
            if let Ok(message) = stream.get_raw_message(sequence).await {
                messages.push((message.subject.to_string(), message.payload.to_vec()));
            }
        }
        messages
    }

    /// Lets a stream take so many messages more than it has; then it is full.
    ///
    /// # Panics
    /// When there is no such stream.
    pub async fn leave_room(&self, stream: &str, messages: u64) {
        let client = self.client().await;
        let jetstream = jetstream::new(client);
        let stream = jetstream.get_stream(stream).await.expect("the stream is there");
        let info = stream.cached_info();
        let most = i64::try_from(info.state.messages + messages).expect("a test's stream");
        let config = jetstream::stream::Config { max_messages: most, ..info.config.clone() };
        jetstream.update_stream(config).await.expect("the stream is changed");
    }

    /// Lets a stream take hardly anything more, as if the broker had no room left, until [`TestNats::make_room`].
    ///
    /// # Panics
    /// When there is no such stream.
    pub async fn fill(&self, stream: StreamName) -> FullStream {
        let jetstream = jetstream::new(self.client().await);
        let found = || async { jetstream.get_stream(stream.as_str()).await.ok() };
        // once: a change that is tried again may have been made the first time
        let before = until(CHANGE_LIMIT, found).await.cached_info().config.clone();
        until(CHANGE_LIMIT, async || {
            let messages = found().await?.cached_info().state.messages;
            let config = jetstream::stream::Config {
                // what comes before it is changed pushes nothing out
                max_messages: i64::try_from(messages + LAST_MESSAGES).ok()?,
                // a stream that lets go of its oldest messages is never full
                discard: DiscardPolicy::New,
                ..before.clone()
            };
            jetstream.update_stream(&config).await.ok()
        })
        .await;
        FullStream(before)
    }

    /// Lets a stream take messages again.
    ///
    /// # Panics
    /// When it cannot be changed.
    pub async fn make_room(&self, full: FullStream) {
        let jetstream = jetstream::new(self.client().await);
        until(CHANGE_LIMIT, async || jetstream.update_stream(&full.0).await.ok()).await;
    }

    /// Starts it again with its streams, after stopping it if it runs.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        for node in &mut self.nodes {
            node.restart().await.unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// Ends it in order.
    pub async fn stop(&self) {
        for node in &self.nodes {
            node.stop().await;
        }
    }

    /// Ends it as a crash would; [`TestNats::restart`] brings it back.
    pub async fn kill(&self) {
        for node in &self.nodes {
            node.kill().await;
        }
    }

    /// A copy of what it has on disk. It must not be running.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn copy_data(&self) -> ScratchDir {
        let copy = ScratchDir::new("nats-copy");
        copy_dir(&self.data_dir(), copy.path()).expect("the test process can read and write its files");
        copy
    }

    /// Puts a copy in the place of what it has on disk, as a loss of power would. It must not be running.
    ///
    /// # Panics
    /// When it cannot be replaced.
    pub fn replace_data(&self, copy: &ScratchDir) {
        let replaced =
            fs::remove_dir_all(self.data_dir()).and_then(|()| copy_dir(copy.path(), &self.data_dir()));
        replaced.expect("the test process can read and write its files");
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("nats").join("store")
    }

    /// Freezes it: connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.nodes.iter().for_each(Nats::pause);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.nodes.iter().for_each(Nats::resume);
    }
}

/// The defaults, with streams that find room.
fn settings_for(url: String) -> bus::Settings {
    bus::Settings {
        url,
        clicks_max_bytes: STREAM_BYTES_MAX,
        enriched_max_bytes: STREAM_BYTES_MAX,
        events_max_bytes: STREAM_BYTES_MAX,
        quarantine_max_bytes: STREAM_BYTES_MAX,
        ..crate::defaults(bus::DEFAULTS, "nats")
    }
}

fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
