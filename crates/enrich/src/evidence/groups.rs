//! Which clicks belong together: those of one recipient of a message, of one message and network, of one address, and of
//! one recipient's link.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;

use model::link::LinkKind;
use model::{AddressTreatment, Click, ClickId, LinkId};
use smallvec::SmallVec;

/// Most clicks of one group that are compared; of a larger group the newest.
const GROUP_MAX: usize = 64;

/// The groups of a click.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Keys {
    /// Message and recipient.
    pub recipient: Option<u64>,
    /// Of a message to many: message, address and program stand for the recipient.
    pub reader: Option<u64>,
    /// Message, recipient if one is known, and network.
    pub network: Option<u64>,
    /// The hidden links that were followed from that network.
    pub honeypot: Option<u64>,
    /// Of a recipient's link, message and network: a hidden link that names no recipient is in all of the message.
    pub message_network: Option<u64>,
    /// The hidden links of that message that name no recipient and were followed from that network.
    pub message_honeypot: Option<u64>,
    /// Workspace and address; of IPv6 its /64.
    pub source: Option<u64>,
    /// A recipient's link.
    pub recipient_link: Option<u64>,
}

impl Keys {
    /// The groups that the click is in; in that of honeypots only if it is one's.
    fn each(&self, is_honeypot: bool) -> impl Iterator<Item = u64> {
        let honeypot = self.honeypot.filter(|_| is_honeypot);
        // it stands for its own recipient's links alone
        let message_network = self.message_network.filter(|_| !is_honeypot);
        [
            self.recipient,
            self.reader,
            self.network,
            honeypot,
            message_network,
            self.source,
            self.recipient_link,
        ]
        .into_iter()
        .flatten()
    }
}

/// A click in a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub id: ClickId,
    pub link_id: LinkId,
    /// A hash of what it runs on.
    pub agent: u64,
}

/// The clicks of each group, oldest first.
#[derive(Default)]
pub(super) struct Groups {
    /// A group is its hash, and visitors choose some of what is hashed: this one stands up to that.
    hasher: RandomState,
    members: HashMap<u64, SmallVec<[Member; 2]>, foldhash::quality::RandomState>,
}

impl Groups {
    pub fn hash(&self, value: &impl Hash) -> u64 {
        self.hasher.hash_one(value)
    }

    pub fn keys_of(&self, click: &Click) -> Keys {
        let workspace_id = click.workspace_id;
        let labels = &click.link.labels;
        let message = labels.message_id.as_deref();
        // a link that may be passed on has many visitors, whoever it was made for
        let contact = labels.contact_id.as_deref().filter(|_| click.link.kind != LinkKind::Shareable);
        let ip = click.request.ip.map(|ip| ip.to_canonical());
        let network = ip.and_then(|ip| AddressTreatment::Truncate.apply(ip));
        let agent = click.request.user_agent.as_deref();
        let in_network = |what, contact: Option<&str>| {
            message.zip(network).map(|(message, of)| self.hash(&(what, workspace_id, message, contact, of)))
        };
        let of_message = |what| contact.and_then(|_| in_network(what, None));
        Keys {
            recipient: contact.map(|contact| self.hash(&("recipient", workspace_id, message, contact))),
            reader: message
                .zip(ip)
                .filter(|_| contact.is_none())
                .map(|(message, ip)| self.hash(&("reader", workspace_id, message, source(ip), agent))),
            network: in_network("network", contact),
            honeypot: in_network("honeypot", contact),
            message_network: of_message("network"),
            message_honeypot: of_message("honeypot"),
            source: ip.map(|ip| self.hash(&("source", workspace_id, source(ip)))),
            recipient_link: contact.map(|contact| self.hash(&("link", click.link.id, contact))),
        }
    }

    pub fn add(&mut self, member: Member, keys: &Keys, is_honeypot: bool) {
        for key in keys.each(is_honeypot) {
            let members = self.members.entry(key).or_default();
            members.push(member);
            if members.len() > GROUP_MAX {
                members.remove(0);
            }
        }
    }

    pub fn remove(&mut self, id: ClickId, keys: &Keys, is_honeypot: bool) {
        for key in keys.each(is_honeypot) {
            let Some(members) = self.members.get_mut(&key) else { continue };
            members.retain(|member| member.id != id);
            if members.is_empty() {
                self.members.remove(&key);
            }
        }
    }

    /// The clicks of this group; none without a group.
    pub fn members(&self, key: Option<u64>) -> &[Member] {
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
