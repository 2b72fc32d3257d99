//! How many stream connections there may be: in all, and per client address.
//!
//! Places are kept for the load balancer's probe (168.63.129.16, an address that only Azure's platform can send from)
//! and for this machine, so that a flood of connections never makes a healthy server look dead.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections in all.
const TOTAL_MAX: usize = 4096;
/// Of these, for the probe and this machine alone.
const KEPT: usize = 32;
/// Connections of one address.
const PER_ADDRESS_MAX: u32 = 64;
/// Above this many, idle connections are closed sooner: three quarters.
const CROWDED: usize = TOTAL_MAX / 4 * 3;
/// Where Azure's load balancer probes from.
const PROBE: IpAddr = IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16));

/// What a connection takes at most but for the replies that wait: the longest message, for as long as it may take to come, and
/// everything else.
const CONNECTION_OCTETS: usize = (64 << 10) + (20 << 10);
/// Octets of replies that wait to be written, in all connections together.
const WAITING_OCTETS_MAX: usize = 64 << 20;

/// The connections of all workers.
#[derive(Debug, Default)]
pub struct Connections {
    counts: Mutex<Counts>,
    waiting_octets: AtomicUsize,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, u32>,
}

/// A place among the connections, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    address: IpAddr,
}

/// Octets of a reply that waits to be written, given back when dropped.
#[derive(Debug)]
pub(super) struct ReplyOctets {
    connections: Arc<Connections>,
    octets: usize,
}

impl Drop for ReplyOctets {
    fn drop(&mut self) {
        self.connections.waiting_octets.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

impl Connections {
    /// What all connections together take at most, octets: of each its task, a message that comes in, the buffers that
    /// it keeps and the places of its queries; and what waits to be written, once where it waits and once where it is put
    /// together.
    pub const MEMORY_MAX: usize = TOTAL_MAX * CONNECTION_OCTETS + WAITING_OCTETS_MAX * 2;

    /// Takes room for a reply that has to wait; nothing when too much waits already.
    pub(super) fn take_octets(self: &Arc<Self>, octets: usize) -> Option<ReplyOctets> {
        let before = self.waiting_octets.fetch_add(octets, Ordering::Relaxed);
        let taken = ReplyOctets { connections: self.clone(), octets };
        (before + octets <= WAITING_OCTETS_MAX).then_some(taken)
    }

    /// Takes a place for a client; nothing when there is none.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let kept = address == PROBE || address.is_loopback();
        let mut counts = self.counts();
        let total_max = if kept { TOTAL_MAX } else { TOTAL_MAX - KEPT };
        if counts.total >= total_max {
            return None;
        }
        let of_address = counts.by_address.entry(address).or_insert(0);
        // This machine's own clients share one address: for them only the total counts.
        if *of_address >= PER_ADDRESS_MAX && !kept {
            return None;
        }
        *of_address += 1;
        counts.total += 1;
        Some(Place { connections: self.clone(), address })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.counts().total
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether places are getting scarce.
    pub(super) fn is_crowded(&self) -> bool {
        self.len() > CROWDED
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.connections.counts();
        counts.total = counts.total.saturating_sub(1);
        if let Some(of_address) = counts.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_finds_a_place_in_a_flood() {
        let connections = Arc::new(Connections::default());
        let mut places = Vec::new();
        for net in 0..=255u8 {
            for host in 0..64u8 {
                places.extend((0..100).map_while(|_| connections.take(IpAddr::from([10, 0, net, host]))));
            }
        }
        assert_eq!(places.len(), TOTAL_MAX - KEPT);
        assert!(connections.take(PROBE).is_some());
        assert!(connections.take(IpAddr::from([127, 0, 0, 1])).is_some());
        assert!(connections.is_crowded());
        drop(places);
        assert!(connections.is_empty());
        let of_one: Vec<_> = (0..100).map_while(|_| connections.take(IpAddr::from([10, 0, 0, 1]))).collect();
        assert_eq!(of_one.len(), PER_ADDRESS_MAX as usize);
    }
}
