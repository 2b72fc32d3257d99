//! What is legal in a record and most likely not meant: a warning each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::name::{is_privatelink, parent};
use crate::wire::{Name, Rtype};

/// What the first line of a file says that `pldns generate` wrote, this version or another.
const GENERATED: &str = "by `pldns generate`";

/// Something to say of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remark {
    /// The name has one label.
    LoneLabel,
    /// The alias leads to its own name.
    OwnAlias,
    /// A private endpoint's name has a public address.
    PublicAddress(IpAddr),
}

impl Remark {
    /// Whether it is about the data, else about the name.
    pub(super) fn is_of_data(self) -> bool {
        self != Self::LoneLabel
    }

    pub(super) fn message(self, name: &Name) -> String {
        match self {
            Self::LoneLabel => format!("{name} is one label alone: clients ask for whole names"),
            Self::OwnAlias => format!("{name} is an alias of itself: it never has an answer"),
            Self::PublicAddress(address) => {
                format!("{name} has the public address {address}: a private endpoint has one of its virtual network")
            }
        }
    }

    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::LoneLabel => "write the whole name, as in \"host.privatelink.blob.core.windows.net\"",
            Self::OwnAlias => "name the target that has the address, or leave the record out",
            Self::PublicAddress(_) => {
                "is it the service's own address? a network that uses public addresses itself may have it"
            }
        }
    }
}

/// Whether a file says in its first line that `pldns generate` wrote it.
pub(super) fn is_generated(text: &str) -> bool {
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches('\u{feff}').starts_with('#') && line.contains(GENERATED)
}

/// What there is to say of a record: `name` and `data` are wire forms.
pub(super) fn remarks<'d>(
    name: &[u8],
    rtype: Rtype,
    mut data: impl Iterator<Item = &'d [u8]> + Clone,
    is_generated: bool,
) -> impl Iterator<Item = Remark> {
    let is_lone = parent(name).is_some_and(|above| above == [0]);
    let is_own_alias = rtype == Rtype::CNAME && data.clone().any(|target| target.eq_ignore_ascii_case(name));
    let public = data.find_map(|data| public_address(rtype, data)).filter(|_| is_generated || is_privatelink(name));
    let remarks = [
        is_lone.then_some(Remark::LoneLabel),
        is_own_alias.then_some(Remark::OwnAlias),
        public.map(Remark::PublicAddress),
    ];
    remarks.into_iter().flatten()
}

/// The address of an A or AAAA record, where it is a public one.
fn public_address(rtype: Rtype, data: &[u8]) -> Option<IpAddr> {
    let address = match rtype {
        Rtype::A => IpAddr::from(<[u8; 4]>::try_from(data).ok()?),
        Rtype::AAAA => IpAddr::from(<[u8; 16]>::try_from(data).ok()?),
        _ => return None,
    };
    is_public(address).then_some(address)
}

/// Whether an address is none of a network's own: not private, shared (RFC 6598), local, for documentation or benchmarks,
/// or multicast (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || a == 100 && b & 0xc0 == 64
        || a == 198 && b & 0xfe == 18
        || a >= 224;
    !is_special
}

/// Global unicast is 2000::/3; 2001:db8::/32 is for documentation.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    a & 0xe000 == 0x2000 && (a, b) != (0x2001, 0x0db8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_told_from_a_networks_own() {
        for (address, expected) in [
            ("20.60.1.1", true),
            ("10.1.0.5", false),
            ("172.31.255.255", false),
            ("172.32.0.0", true),
            ("192.168.0.1", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("169.254.1.1", false),
            ("192.0.2.1", false),
            ("198.19.0.1", false),
            ("224.0.0.1", false),
            ("2603:1030::1", true),
            ("fd00::1", false),
            ("fe80::1", false),
            ("2001:db8::1", false),
            ("::ffff:10.0.0.1", false),
            ("::ffff:20.60.1.1", true),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn generated_files_say_so_in_their_first_line() {
        assert!(is_generated("# 25 records, written by `pldns generate`. Do not edit\n"));
        assert!(is_generated("# 27 records, generated by `pldns generate`. Changes are lost when it runs again.\n"));
        assert!(!is_generated("# mine\n# written by `pldns generate`\n"));
        assert!(!is_generated("x = \"written by `pldns generate`\""));
    }
}
