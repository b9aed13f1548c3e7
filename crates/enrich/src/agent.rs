//! What a User-Agent and its Client Hints tell, remembered: a thousand different ones make most of a day's clicks.

use std::sync::Arc;

use model::click::{Request, USER_AGENT_BYTES_MAX};
use model::device::Device;
use quick_cache::sync::Cache;

use crate::automation::{Rules, Signal};
use crate::device::Devices;

/// Longest key that is remembered, in bytes: longer ones are made up, and would fill the memory.
const KEY_BYTES_MAX: usize = 2048;

/// How the names of the hints begin.
const HINT_PREFIX: &str = "sec-ch-ua";

/// Reads User-Agents.
pub struct Agents {
    devices: Devices,
    cache: Cache<String, Arc<Agent>>,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The device, as if a person held it.
    pub device: Device,
    /// What speaks for a machine.
    pub signals: Vec<Signal>,
}

impl Agents {
    /// Remembers up to `entries_max`, the least asked for go first.
    pub fn new(devices: Devices, entries_max: usize) -> Self {
        Self { devices, cache: Cache::new(entries_max) }
    }

    /// What a request's User-Agent and hints tell.
    pub fn read(&self, request: &Request, rules: &Rules) -> Arc<Agent> {
        let key = key(request);
        if let Some(agent) = self.cache.get(&key) {
            return agent;
        }
        let agent = request.user_agent.as_deref().map(cut);
        let described = self.devices.describe(agent.unwrap_or_default(), request);
        let signals = rules.of_agent(agent, &described);
        let agent = Arc::new(Agent { device: described.device, signals });
        if key.len() <= KEY_BYTES_MAX {
            self.cache.insert(key, Arc::clone(&agent));
        }
        agent
    }
}

/// All that [`Devices`] and [`Rules`] look at.
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
