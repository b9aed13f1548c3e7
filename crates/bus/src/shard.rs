//! Which clicks stay together on their way: a burst is seen by the one who reads its shard.

use std::net::IpAddr;

use model::{AddressTreatment, Click, ClickId};

use crate::topology::SHARDS;

/// The shard of a click, of [`SHARDS`]: clicks of one message meet in one, else those of one network.
pub(crate) fn of_click(click: &Click) -> u64 {
    match &click.link.labels.message_id {
        Some(message_id) => of_message(message_id),
        None => of_visitor(click.request.ip, click.id),
    }
}

/// The shard of all clicks of a message.
pub(crate) fn of_message(message_id: &str) -> u64 {
    folded(fnv1a(message_id.as_bytes()))
}

/// The shard of a click whose link names no message.
pub(crate) fn of_visitor(ip: Option<IpAddr>, id: ClickId) -> u64 {
    folded(match ip {
        Some(ip) => network_hash(ip),
        None => fnv1a(id.uuid().as_bytes()),
    })
}

fn folded(hash: u64) -> u64 {
    // the low bits of FNV-1a differ least between neighbours
    (hash ^ (hash >> 32)) % SHARDS
}

fn network_hash(ip: IpAddr) -> u64 {
    match AddressTreatment::Truncate.apply(ip) {
        Some(IpAddr::V4(network)) => fnv1a(&network.octets()),
        Some(IpAddr::V6(network)) => fnv1a(&network.octets()),
        None => 0,
    }
}

/// FNV-1a of 64 bits: the same on every machine and in every version, unlike the hasher of `std`.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use testkit::given;

    use super::*;
    use crate::topology::click_subject;

    #[test]
    fn clicks_of_one_message_meet_in_one_shard() {
        let mut click = given::click();
        click.link.labels.message_id = Some("msg_1".into());
        let other = Click { id: model::ClickId::generate(), ..click.clone() };

        assert_eq!(click_subject(&click), click_subject(&other));
    }

    #[test]
    fn clicks_of_one_network_meet_in_one_shard_and_networks_spread() {
        let from = |ip: String| {
            let mut click = given::click();
            click.link.labels.message_id = None;
            click.request.ip = Some(ip.parse().expect("an address"));
            of_click(&click)
        };

        assert_eq!(from("8.8.8.1".into()), from("8.8.8.254".into()));
        assert_eq!(from("2606:4700:1::1".into()), from("2606:4700:1:ffff::9".into()));
        let shards: HashSet<u64> = (0..200).map(|n| from(format!("8.8.{n}.1"))).collect();
        assert_eq!(shards.len(), 16);
    }
}
