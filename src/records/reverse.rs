//! Reverse names: every address of the table has its names under in-addr.arpa and ip6.arpa.

use std::net::IpAddr;

use super::table::Table;
use super::view::ViewId;

/// How many names of one address a PTR answer lists at most.
const REVERSE_NAMES_MAX: usize = 64;

/// An address and a name that has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReverseEntry {
    pub(super) address: u128,
    /// Wildcards and label ends come behind plain names.
    pub(super) is_pattern: bool,
    pub(super) order: u32,
    pub(super) entry: u32,
    pub(super) ttl: u32,
    pub(super) view: ViewId,
}

/// The names of an address that a client sees.
pub struct Pointers<'t> {
    pub(super) table: &'t Table,
    pub(super) run: &'t [ReverseEntry],
    pub(super) client: IpAddr,
    pub(super) plain_only: bool,
}

impl<'t> Pointers<'t> {
    /// TTL in seconds and name (lower case wire form) of each PTR record: plain names, or patterns where there are only
    /// such; at most 64.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &'t [u8])> {
        let shown = |entry: &&ReverseEntry| {
            !(self.plain_only && entry.is_pattern) && self.table.views.fit(entry.view, self.client).is_some()
        };
        let named = |entry: &ReverseEntry| self.table.entry_at(entry.entry).map(|found| (entry.ttl, found.name()));
        self.run.iter().filter(shown).filter_map(named).take(REVERSE_NAMES_MAX)
    }
}

/// The address as one number, IPv4 addresses mapped (RFC 4291 §2.5.5.2).
pub(super) fn address_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address that a name below in-addr.arpa or ip6.arpa stands for, when it is a whole one (RFC 1035 §3.5, RFC 3596).
pub(super) fn address_of_reverse_name(lower_name: &[u8]) -> Option<u128> {
    const IN_ADDR_ARPA: &[u8] = b"\x07in-addr\x04arpa\0";
    const IP6_ARPA: &[u8] = b"\x03ip6\x04arpa\0";
    if let Some(front) = lower_name.strip_suffix(IN_ADDR_ARPA) {
        let mut octets = [0u8; 4];
        let mut labels = labels_of(front);
        for place in octets.iter_mut().rev() {
            let label = std::str::from_utf8(labels.next()?).ok()?;
            let plain = label == "0" || !label.starts_with(['0', '+']);
            *place = label.parse().ok().filter(|_| plain)?;
        }
        return labels.next().is_none().then(|| address_number(IpAddr::from(octets)));
    }
    let front = lower_name.strip_suffix(IP6_ARPA)?;
    if front.len() != 64 {
        return None;
    }
    let mut address = 0u128;
    for (i, &[len, digit]) in front.as_chunks::<2>().0.iter().enumerate() {
        let nibble = (digit as char).to_digit(16).filter(|_| len == 1)?;
        address |= u128::from(nibble) << (4 * i);
    }
    Some(address)
}

/// The labels at the front of a name whose end was cut off.
fn labels_of(front: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = front;
    std::iter::from_fn(move || {
        let (&len, after) = rest.split_first()?;
        let (label, after) = after.split_at_checked(len as usize)?;
        rest = after;
        Some(label)
    })
}
