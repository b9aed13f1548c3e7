//! Which clicks belong together: those of one recipient of a message, of one message and network, of one address, and of
//! one recipient's link.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;

use model::{AddressTreatment, Click, ClickId};
use smallvec::SmallVec;

/// Most clicks of one group that are compared; of a larger group the newest.
const GROUP_MAX: usize = 64;

/// The groups of a click.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Keys {
    /// Message and recipient; of a message to many the network stands for the recipient.
    pub recipient: Option<u64>,
    /// Message and network.
    pub message_network: Option<u64>,
    /// Workspace and address; of IPv6 its /64.
    pub source: Option<u64>,
    /// A recipient's link.
    pub recipient_link: Option<u64>,
}

impl Keys {
    fn each(&self) -> impl Iterator<Item = u64> {
        [self.recipient, self.message_network, self.source, self.recipient_link].into_iter().flatten()
    }
}

/// The clicks of each group, oldest first.
#[derive(Default)]
pub(super) struct Groups {
    hasher: RandomState,
    members: HashMap<u64, SmallVec<[ClickId; 2]>>,
}

impl Groups {
    pub fn hash(&self, value: &impl Hash) -> u64 {
        self.hasher.hash_one(value)
    }

    pub fn keys_of(&self, click: &Click) -> Keys {
        let workspace_id = click.workspace_id;
        let labels = &click.link.labels;
        let (message, contact) = (labels.message_id.as_deref(), labels.contact_id.as_deref());
        let ip = click.request.ip.map(|ip| ip.to_canonical());
        let network = ip.and_then(|ip| AddressTreatment::Truncate.apply(ip));
        let recipient = match (message, contact) {
            (_, Some(contact)) => Some(self.hash(&("recipient", workspace_id, message, contact))),
            (Some(message), None) => {
                network.map(|network| self.hash(&("message to many", workspace_id, message, network)))
            }
            (None, None) => None,
        };
        let message_network = message.zip(network);
        Keys {
            recipient,
            message_network: message_network
                .map(|(message, network)| self.hash(&("network", workspace_id, message, network))),
            source: ip.map(|ip| self.hash(&("source", workspace_id, source(ip)))),
            recipient_link: contact.map(|contact| self.hash(&("link", click.link.id, contact))),
        }
    }

    pub fn add(&mut self, id: ClickId, keys: &Keys) {
        for key in keys.each() {
            let members = self.members.entry(key).or_default();
            members.push(id);
            if members.len() > GROUP_MAX {
                members.remove(0);
            }
        }
    }

    pub fn remove(&mut self, id: ClickId, keys: &Keys) {
        for key in keys.each() {
            let Some(members) = self.members.get_mut(&key) else { continue };
            members.retain(|member| *member != id);
            if members.is_empty() {
                self.members.remove(&key);
            }
        }
    }

    /// The clicks of this group; none without a group.
    pub fn members(&self, key: Option<u64>) -> &[ClickId] {
        key.and_then(|key| self.members.get(&key)).map_or(&[], |members| members.as_slice())
    }
}

/// Who has a /64 has all of its addresses.
fn source(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits() >> 64 << 64,
    }
}
