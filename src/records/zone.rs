//! Zones: what a name means that has no record, and the SOA of negative answers.

use crate::wire::Name;

/// A `[[zone]]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// The name at its top.
    pub apex: Name,
    /// What a name in it without a record means.
    pub missing: Missing,
}

/// What a name without a record means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// It is asked upstream.
    #[default]
    Forward,
    /// It does not exist.
    NxDomain,
}

/// Refresh, retry, expire of a synthesised SOA, seconds: the ones that Azure's private zones have.
const SOA_TIMERS: [u32; 3] = [3600, 300, 2_419_200];

/// The data of a synthesised SOA behind its two names: serial, refresh, retry, expire, minimum. `negative_ttl` is how
/// long a negative answer may be kept, seconds (RFC 2308 §4).
pub(super) fn soa_tail(negative_ttl: u32) -> [u8; 20] {
    let mut tail = [0; 20];
    let values = [1, SOA_TIMERS[0], SOA_TIMERS[1], SOA_TIMERS[2], negative_ttl];
    for (place, value) in tail.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        *place = value.to_be_bytes();
    }
    tail
}

/// The first label of the SOA's RNAME: the mailbox of RFC 2142, below the zone.
pub(super) const SOA_MAILBOX: &[u8] = b"\x0ahostmaster";
