//! Reverse zones written as prefixes: `10.1.0.0/16` for `1.10.in-addr.arpa`.

use ipnet::IpNet;

use crate::wire::Name;

/// The zones that hold the reverse names of `prefix` and no others, in order: one where the prefix ends between two labels
/// (RFC 1035 §3.5: eight bits each; RFC 3596 §2.5: four bits each), up to 128 where it does not.
pub(super) fn zones_of(prefix: IpNet) -> Vec<Name> {
    let bits_a_label = if prefix.addr().is_ipv4() { 8 } else { 4 };
    let len = prefix.prefix_len().next_multiple_of(bits_a_label);
    match prefix {
        IpNet::V4(prefix) => {
            let subnets = prefix.subnets(len).into_iter().flatten();
            subnets
                .filter_map(|subnet| zone(&subnet.network().octets().map(u32::from), 10, len / 8, "in-addr.arpa"))
                .collect()
        }
        IpNet::V6(prefix) => {
            let subnets = prefix.subnets(len).into_iter().flatten();
            let nibbles = |address: std::net::Ipv6Addr| -> Vec<u32> {
                address.octets().iter().flat_map(|byte| [u32::from(byte >> 4), u32::from(byte & 15)]).collect()
            };
            subnets.filter_map(|subnet| zone(&nibbles(subnet.network()), 16, len / 4, "ip6.arpa")).collect()
        }
    }
}

/// The zone of the first `count` of `parts`, each a label in base `base`.
fn zone(parts: &[u32], base: u32, count: u8, top: &str) -> Option<Name> {
    let shown = |part: &u32| if base == 16 { format!("{part:x}.") } else { format!("{part}.") };
    let labels: String = parts.get(..count.into())?.iter().rev().map(shown).collect();
    Name::parse(&format!("{labels}{top}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(prefix: &str) -> Vec<String> {
        zones_of(prefix.parse().unwrap()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_prefix_is_the_zones_of_its_addresses() {
        assert_eq!(zones("10.1.0.0/16"), ["1.10.in-addr.arpa"]);
        assert_eq!(zones("10.0.0.0/8"), ["10.in-addr.arpa"]);
        assert_eq!(zones("10.1.2.3/32"), ["3.2.1.10.in-addr.arpa"]);
        assert_eq!(zones("0.0.0.0/0"), ["in-addr.arpa"]);
        assert_eq!(zones("192.168.4.0/23"), ["4.168.192.in-addr.arpa", "5.168.192.in-addr.arpa"]);
        let private = zones("172.16.0.0/12");
        assert_eq!((private.len(), &*private[0], &*private[15]), (16, "16.172.in-addr.arpa", "31.172.in-addr.arpa"));
        assert_eq!(zones("10.0.0.0/25").len(), 128);
        assert_eq!(zones("fd00::/8"), ["d.f.ip6.arpa"]);
        assert_eq!(zones("2001:db8::/32"), ["8.b.d.0.1.0.0.2.ip6.arpa"]);
        let unique = zones("fc00::/7");
        assert_eq!(unique, ["c.f.ip6.arpa", "d.f.ip6.arpa"]);
        assert_eq!(zones("::/0"), ["ip6.arpa"]);
    }
}
