//! Reverse names: every address of the table has its names under in-addr.arpa and ip6.arpa, those of wildcards excepted.

use std::net::IpAddr;

/// How many names of one address a PTR answer lists at most.
pub(super) const REVERSE_NAMES_MAX: usize = 64;

/// Addresses and the entries that have them, in the order of addresses; of one address, in the order of the table. TTL and
/// view are the RRset's at the entry. Wildcards and partial wildcards are no names that a PTR record could give.
#[derive(Default)]
pub(super) struct Reverse {
    v4: Vec<([u8; 4], u32)>,
    v6: Vec<([u8; 16], u32)>,
}

impl Reverse {
    /// None yet, with room for so many IPv4 addresses.
    pub(super) fn with_room(v4: usize) -> Self {
        Self { v4: Vec::with_capacity(v4), v6: Vec::new() }
    }

    pub(super) fn push_v4(&mut self, address: [u8; 4], entry: u32) {
        self.v4.push((address, entry));
    }

    pub(super) fn push_v6(&mut self, address: [u8; 16], entry: u32) {
        self.v6.push((address, entry));
    }

    /// Brings all into order, once everything is there.
    pub(super) fn finish(&mut self) {
        order(&mut self.v4);
        order(&mut self.v6);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// How many addresses there are.
    pub(super) fn addresses(&self) -> usize {
        self.v4.chunk_by(|a, b| a.0 == b.0).count() + self.v6.chunk_by(|a, b| a.0 == b.0).count()
    }

    /// Bytes of memory that they take.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.v4) + size_of_val(&*self.v6)
    }

    /// Where the entries begin that have an address.
    pub(super) fn entries(&self, address: IpAddr) -> impl Iterator<Item = u32> {
        let (v4, v6) = match address {
            IpAddr::V4(address) => (run_of(&self.v4, &address.octets()), &[][..]),
            IpAddr::V6(address) => (&[][..], run_of(&self.v6, &address.octets())),
        };
        v4.iter().map(|&(_, entry)| entry).chain(v6.iter().map(|&(_, entry)| entry))
    }
}

fn order<A: Ord>(list: &mut Vec<(A, u32)>) {
    list.sort_unstable();
    list.dedup();
    list.shrink_to_fit();
}

fn run_of<'l, A: Ord>(list: &'l [(A, u32)], address: &A) -> &'l [(A, u32)] {
    let start = list.partition_point(|(known, _)| known < address);
    let rest = list.get(start..).unwrap_or_default();
    rest.get(..rest.partition_point(|(known, _)| known == address)).unwrap_or_default()
}

/// The address that a name below in-addr.arpa or ip6.arpa stands for, when it is a whole one (RFC 1035 §3.5, RFC 3596).
pub(super) fn address_of_reverse_name(lower_name: &[u8]) -> Option<IpAddr> {
    const IN_ADDR_ARPA: &[u8] = b"\x07in-addr\x04arpa\0";
    const IP6_ARPA: &[u8] = b"\x03ip6\x04arpa\0";
    if let Some(front) = lower_name.strip_suffix(IN_ADDR_ARPA) {
        let mut bytes = [0u8; 4];
        let mut labels = labels_of(front);
        for place in bytes.iter_mut().rev() {
            let label = std::str::from_utf8(labels.next()?).ok()?;
            let plain = label == "0" || !label.starts_with(['0', '+']);
            *place = label.parse().ok().filter(|_| plain)?;
        }
        return labels.next().is_none().then(|| IpAddr::from(bytes));
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
    Some(IpAddr::from(address.to_be_bytes()))
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
