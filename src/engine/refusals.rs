//! How many refusals and format errors leave over UDP for one network: the address of a sender can be forged, and then a
//! reply, however short, hits another network.

use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::Reason;

/// Refusals a second to the clients of one network (/24, /56) that may not ask.
const STRANGERS_MAX: u32 = 20;
/// Errors a second to low ports of one network, where services listen: some answer an error with an error, without end
/// (CVE-2024-2169).
const LOW_PORTS_MAX: u32 = 1;
/// Ports of services.
const LOW_PORTS_END: u16 = 1024;
/// Counters: networks that meet in one share it. 1 MiB, taken with the first refusal.
const COUNTERS: usize = (1 << 20) / size_of::<AtomicU64>();

/// Counts refusals by network and second. All workers share one; what two of them count at the same instant may count as
/// one.
#[derive(Default)]
pub(super) struct RefusalRate {
    table: OnceLock<Table>,
    /// Keyed at random: no client can tell which networks meet in one counter.
    hasher: foldhash::fast::RandomState,
}

struct Table {
    start: Instant,
    /// The second in the upper half, the count in the lower one.
    counters: Box<[AtomicU64]>,
}

impl RefusalRate {
    /// Whether a refusal or format error over UDP may leave for `peer` at `now`; counts it.
    pub(super) fn allows(&self, reason: Reason, peer: SocketAddr, now: Instant) -> bool {
        let (kind, most) = match reason {
            Reason::Access => (0_u8, STRANGERS_MAX),
            Reason::Malformed | Reason::Opcode | Reason::EdnsVersion if peer.port() < LOW_PORTS_END => {
                (1, LOW_PORTS_MAX)
            }
            _ => return true,
        };
        let table = self.table.get_or_init(|| Table {
            start: now,
            counters: std::iter::repeat_with(AtomicU64::default).take(COUNTERS).collect(),
        });
        let second = now.saturating_duration_since(table.start).as_secs();
        let hash = self.hasher.hash_one((network(peer.ip()), kind));
        let place = usize::try_from(hash % COUNTERS as u64).unwrap_or_default();
        let Some(counter) = table.counters.get(place) else { return true };
        let known = counter.load(Ordering::Relaxed);
        let count = if known >> 32 == second { known & u64::from(u32::MAX) } else { 0 };
        if count >= most.into() {
            return false;
        }
        counter.store(second << 32 | (count + 1), Ordering::Relaxed);
        true
    }
}

/// The network of an address: /24 or /56.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_bits() >> 8),
        // No IPv6 network has these bits: the first 72 of it are 0.
        IpAddr::V6(v6) => v6.to_bits() >> 72 | 1 << 127,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a start for the simulated clock")]
    fn start() -> Instant {
        Instant::now()
    }

    /// How many of `tries` are allowed.
    fn allowed(rate: &RefusalRate, reason: Reason, peer: &str, now: Instant, tries: u32) -> usize {
        let peer = peer.parse().unwrap();
        (0..tries).filter(|_| rate.allows(reason, peer, now)).count()
    }

    #[test]
    fn strangers_of_one_network_get_twenty_refusals_a_second() {
        let (rate, now) = (RefusalRate::default(), start());
        assert_eq!(allowed(&rate, Reason::Access, "192.0.2.1:5000", now, 15), 15);
        assert_eq!(allowed(&rate, Reason::Access, "192.0.2.200:53", now, 100), 5, "the same /24");
        assert_eq!(allowed(&rate, Reason::Access, "[::ffff:192.0.2.9]:53", now, 100), 0, "IPv4 in IPv6 as well");
        assert_eq!(allowed(&rate, Reason::Access, "192.0.3.1:5000", now, 100), 20, "another /24");
        assert_eq!(allowed(&rate, Reason::Access, "[2001:db8:0:1::1]:53", now, 100), 20);
        assert_eq!(allowed(&rate, Reason::Access, "[2001:db8:0:ff::1]:53", now, 100), 0, "the same /56");
        assert_eq!(allowed(&rate, Reason::Access, "[2001:db8:0:100::1]:53", now, 100), 20, "another /56");
        let next = now + Duration::from_secs(1);
        assert_eq!(allowed(&rate, Reason::Access, "192.0.2.1:5000", next, 100), 20);
    }

    #[test]
    fn low_ports_get_one_error_a_second_and_others_as_many_as_they_cause() {
        let (rate, now) = (RefusalRate::default(), start());
        for reason in [Reason::Malformed, Reason::Opcode, Reason::EdnsVersion] {
            assert_eq!(allowed(&rate, reason, "10.0.0.1:1024", now, 1000), 1000);
        }
        assert_eq!(allowed(&rate, Reason::Malformed, "10.0.0.1:53", now, 100), 1);
        assert_eq!(allowed(&rate, Reason::Opcode, "10.0.0.1:19", now, 100), 0);
        assert_eq!(allowed(&rate, Reason::NoRecursion, "10.0.0.1:53", now, 1000), 1000, "an answer to a good query");
        assert_eq!(allowed(&rate, Reason::Malformed, "10.0.0.1:53", now + Duration::from_secs(9), 100), 1);
    }
}
