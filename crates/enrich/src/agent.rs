//! What a User-Agent and its Client Hints tell, remembered: a thousand different ones make most of a day's clicks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use model::click::{Request, USER_AGENT_BYTES_MAX};
use model::device::Device;
use prometheus::{IntCounter, IntCounterVec};
use quick_cache::sync::Cache;

use crate::automation::{Declared, Rules, Shown};
use crate::device::Devices;

/// Longest key that is remembered, in bytes: longer ones are made up, and would fill the memory.
const KEY_BYTES_MAX: usize = 2048;

/// How the names of the hints begin.
const HINT_PREFIX: &str = "sec-ch-ua";

/// Reads User-Agents.
pub struct Agents {
    devices: ArcSwap<Devices>,
    cache: Cache<String, Remembered>,
    /// Counts the exchanges of what agents are read by: what was read by older data is read again.
    generation: AtomicU64,
    remembered_total: IntCounter,
    read_total: IntCounter,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The device, as if a person held it.
    pub device: Device,
    /// What it shows of person or machine.
    pub shown: Shown,
}

#[derive(Clone)]
struct Remembered {
    generation: u64,
    agent: Arc<Agent>,
}

impl Agents {
    /// Remembers up to `entries_max`, the least asked for go first. `lookups_total` counts by `result`.
    pub fn new(devices: Devices, entries_max: usize, lookups_total: &IntCounterVec) -> Self {
        let total = |result| lookups_total.with_label_values(&[result]);
        Self {
            devices: ArcSwap::from_pointee(devices),
            cache: Cache::new(entries_max),
            generation: AtomicU64::new(0),
            remembered_total: total("remembered"),
            read_total: total("read"),
        }
    }

    /// What a request's User-Agent and hints tell.
    pub fn read(&self, request: &Request, rules: &Rules) -> Arc<Agent> {
        let key = key(request);
        // before the data is loaded: what is read by newer data than it says is read once more, never the reverse
        let generation = self.generation.load(Ordering::Acquire);
        if let Some(remembered) = self.cache.get(&key).filter(|found| found.generation == generation) {
            self.remembered_total.inc();
            return remembered.agent;
        }
        self.read_total.inc();
        let agent = request.user_agent.as_deref().map(cut);
        let described = self.devices.load().describe(agent.unwrap_or_default(), request);
        let shown = rules.of_agent(agent, request, &described);
        let agent = Arc::new(Agent { device: described.device, shown });
        if key.len() <= KEY_BYTES_MAX {
            self.cache.insert(key, Remembered { generation, agent: Arc::clone(&agent) });
        }
        agent
    }

    /// Reads by other devices from now on.
    pub fn use_devices(&self, devices: Devices) {
        self.devices.store(Arc::new(devices));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Reads by other lists of `rules` from now on.
    pub fn use_declared(&self, declared: Declared, rules: &Rules) {
        rules.use_declared(declared);
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// All that [`Devices`] and [`Rules::of_agent`] look at.
fn key(request: &Request) -> String {
    let mut key = request.user_agent.as_deref().map(cut).unwrap_or_default().to_owned();
    for (name, value) in &request.headers {
        if name.starts_with(HINT_PREFIX) || name == "x-requested-with" {
            key.extend(["\n", name, ":", value]);
        }
    }
    key
}

/// Our redirect keeps no more, but others may publish clicks too.
fn cut(agent: &str) -> &str {
    let mut end = agent.len().min(USER_AGENT_BYTES_MAX);
    while !agent.is_char_boundary(end) {
        end -= 1;
    }
    &agent[..end]
}
