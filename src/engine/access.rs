//! Who may ask: `[access] allow`.

use std::net::IpAddr;

use ipnet::IpNet;

/// The networks whose clients are answered. IPv4 addresses mapped into IPv6 count as IPv4.
#[derive(Debug, Clone, Default)]
pub struct AccessList {
    /// First and last address of each network, sorted, not overlapping.
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl AccessList {
    /// A list of these networks.
    pub fn new(networks: &[IpNet]) -> Self {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for network in networks {
            match network {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        Self { v4: merged(v4), v6: merged(v6) }
    }

    /// Whether a client may ask.
    #[inline]
    pub fn allows(&self, client: IpAddr) -> bool {
        match client.to_canonical() {
            IpAddr::V4(v4) => holds(&self.v4, v4.to_bits()),
            IpAddr::V6(v6) => holds(&self.v6, v6.to_bits()),
        }
    }
}

fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, known_last)) if first <= *known_last => *known_last = last.max(*known_last),
            _ => merged.push((first, last)),
        }
    }
    merged.into_boxed_slice()
}

#[inline]
fn holds<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let behind = ranges.partition_point(|&(first, _)| first <= address);
    behind.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|&(_, last)| address <= last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let nets = ["10.0.0.0/8", "10.1.0.0/16", "192.168.1.1/32", "fc00::/7", "::1/128"];
        let list = AccessList::new(&nets.map(|net| net.parse().unwrap()));
        for (client, allowed) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("9.255.255.255", false),
            ("11.0.0.0", false),
            ("192.168.1.1", true),
            ("192.168.1.2", false),
            ("::ffff:10.1.1.1", true),
            ("::ffff:8.8.8.8", false),
            ("fd00::1", true),
            ("2001:db8::1", false),
            ("::1", true),
            ("::2", false),
        ] {
            assert_eq!(list.allows(client.parse().unwrap()), allowed, "{client}");
        }
        assert!(!AccessList::new(&[]).allows("127.0.0.1".parse().unwrap()));
        assert!(
            AccessList::new(&["::/0".parse().unwrap(), "0.0.0.0/0".parse().unwrap()])
                .allows("8.8.8.8".parse().unwrap())
        );
    }
}
