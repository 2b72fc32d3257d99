//! How many connections there may be: in all, for each client, and whose goes when all places are taken.
//!
//! A client is counted by its IPv4 address or its IPv6 /64: a host with one address of a /64 has all of them. When all
//! places are taken, the network (/24, /56) with the most connections loses one of its largest holder to a newcomer that
//! has fewer, so that a flood is paid for by those who make it. Places are kept for the load balancer's probe
//! (168.63.129.16, an address that only Azure's platform can send from) and for this machine, so that a flood of
//! connections never makes a healthy server look dead.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// Where Azure's load balancer probes from.
const PROBE: IpAddr = IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16));
/// How long a connection may be silent with nothing in flight.
const IDLE: Duration = Duration::from_secs(10);
/// The same while connections are getting scarce.
const IDLE_CROWDED: Duration = Duration::from_secs(1);

/// So many connections less than there were: memory that is worth giving back.
const ENDED_MANY: usize = 128;

/// What a connection takes at most but for the replies that wait, bytes: the longest message, for as long as it may take
/// to come, and everything else, which is 2 KiB while it is idle and a buffer for replies more while it is not.
const CONNECTION_BYTES: usize = (64 << 10) + (8 << 10);
/// What one of them takes besides its message, bytes: its task, its stream, its head.
const REQUEST_BYTES: usize = 8 << 10;

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In all.
    pub total: usize,
    /// Of these, for the probe and this machine alone.
    pub kept: usize,
    /// Of one IPv4 address or IPv6 /64, other than those.
    pub per_address: usize,
}

/// What all connections together may have at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionRoom {
    /// Bytes of replies that wait to be written.
    pub reply_bytes: usize,
    /// Requests by HTTP that are open.
    pub requests: usize,
}

impl ConnectionRoom {
    /// Where memory is no matter.
    pub const MOST: Self = Self { reply_bytes: 64 << 20, requests: 16_384 };

    /// What `total` connections with this room take at most, bytes: of each its task, a message that comes in, and the buffer
    /// that it has while it writes; and what waits to be written, in buffers that may be twice as large.
    pub fn memory_max(self, total: usize) -> usize {
        total * CONNECTION_BYTES + self.reply_bytes * 2
    }

    /// What open requests take at most, bytes.
    pub fn requests_memory_max(self) -> usize {
        self.requests * REQUEST_BYTES
    }
}

/// The connections of all listeners that share their limits.
#[derive(Debug)]
pub struct Connections {
    counts: Mutex<Counts>,
    waiting_bytes: AtomicUsize,
    waiting_bytes_max: AtomicUsize,
    requests: AtomicUsize,
    requests_max: AtomicUsize,
}

/// A client as it is counted: an IPv4 address, or the first 64 bits of an IPv6 address.
type Holder = IpAddr;
/// The network around it: /24 or /56.
type Network = IpAddr;

#[derive(Debug)]
struct Counts {
    limits: ConnectionLimits,
    total: usize,
    /// The most that there were at the same time, since memory was last given back.
    most: usize,
    next: u64,
    networks: HashMap<Network, Group>,
    by_size: BTreeSet<(usize, Network)>,
    refused: Refused,
}

/// The connections of one network.
#[derive(Debug, Default)]
struct Group {
    total: usize,
    /// Of each holder, the oldest in front, with what tells each that it lost its place.
    holders: HashMap<Holder, BTreeMap<u64, Arc<Notify>>>,
    by_size: BTreeSet<(usize, Holder)>,
}

/// Connections that got no place, or lost it, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// Its client had as many as one may have.
    pub per_address: u64,
    /// All places were taken.
    pub full: u64,
    /// Closed for another client that had fewer.
    pub replaced: u64,
}

/// A place among the connections, given back when dropped.
#[derive(Debug)]
pub struct Place {
    connections: Arc<Connections>,
    holder: Holder,
    network: Network,
    number: u64,
    lost: Arc<Notify>,
}

/// Bytes of a reply that waits to be written, or of a message that is read, given back when dropped.
#[derive(Debug)]
pub(super) struct ReplyBytes {
    connections: Arc<Connections>,
    bytes: usize,
}

impl Drop for ReplyBytes {
    fn drop(&mut self) {
        self.connections.waiting_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl ReplyBytes {
    /// No room taken yet.
    pub(super) fn none(connections: &Arc<Connections>) -> Self {
        Self { connections: connections.clone(), bytes: 0 }
    }

    /// Takes room for so many bytes more; where there is none, nothing is taken.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let before = self.connections.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        let has_room = self.connections.has_room_for(before + bytes);
        if !has_room {
            self.shrink(bytes);
        }
        has_room
    }

    /// Gives room for so many bytes back.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.connections.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.bytes -= bytes;
    }

    /// Gives all room back.
    pub(super) fn shrink_to_none(&mut self) {
        self.shrink(self.bytes);
    }
}

/// A place among the open requests, given back when dropped.
pub(super) struct RequestPlace(Arc<Connections>);

impl Drop for RequestPlace {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connections {
    /// None yet.
    pub fn new(limits: ConnectionLimits) -> Self {
        Self {
            counts: Mutex::new(Counts {
                limits,
                total: 0,
                most: 0,
                next: 0,
                networks: HashMap::new(),
                by_size: BTreeSet::new(),
                refused: Refused::default(),
            }),
            waiting_bytes: AtomicUsize::new(0),
            waiting_bytes_max: AtomicUsize::new(ConnectionRoom::MOST.reply_bytes),
            requests: AtomicUsize::new(0),
            requests_max: AtomicUsize::new(ConnectionRoom::MOST.requests),
        }
    }

    /// Has other room from now on; what is there stays.
    pub fn set_room(&self, room: ConnectionRoom) {
        self.waiting_bytes_max.store(room.reply_bytes, Ordering::Relaxed);
        self.requests_max.store(room.requests, Ordering::Relaxed);
    }

    fn has_room_for(&self, waiting_bytes: usize) -> bool {
        waiting_bytes <= self.waiting_bytes_max.load(Ordering::Relaxed)
    }

    /// Has other limits from now on; connections that are open stay.
    pub fn set_limits(&self, limits: ConnectionLimits) {
        self.counts().limits = limits;
    }

    /// Takes a place for a request by HTTP; nothing when there are too many.
    pub(super) fn take_request(self: &Arc<Self>) -> Option<RequestPlace> {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        let place = RequestPlace(self.clone());
        (before < self.requests_max.load(Ordering::Relaxed)).then_some(place)
    }

    /// Takes room for a reply that has to wait; nothing when too much waits already.
    pub(super) fn take_bytes(self: &Arc<Self>, bytes: usize) -> Option<ReplyBytes> {
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let taken = ReplyBytes { connections: self.clone(), bytes };
        self.has_room_for(before + bytes).then_some(taken)
    }

    /// Takes a place for a client, that of the largest holder where all are taken; `None` where none is to be had.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let is_kept = address == PROBE || address.is_loopback();
        let (holder, network) = (prefix(address, 32, 64), prefix(address, 24, 56));
        let mut counts = self.counts();
        let ConnectionLimits { total, kept, per_address } = counts.limits;
        let group = counts.networks.get(&network);
        let of_network = group.map_or(0, |group| group.total);
        let of_holder = group.and_then(|group| group.holders.get(&holder)).map_or(0, BTreeMap::len);
        // This machine's own clients share one address: for them only the total counts.
        if of_holder >= per_address && !is_kept {
            counts.refused.per_address += 1;
            return None;
        }
        let places = if is_kept { total } else { total.saturating_sub(kept) };
        if counts.total >= places && !counts.close_one_of_the_largest(holder, of_holder, network, of_network) {
            counts.refused.full += 1;
            return None;
        }
        let lost = Arc::new(Notify::new());
        let number = counts.add(holder, network, lost.clone());
        Some(Place { connections: self.clone(), holder, network, number, lost })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.counts().total
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether half of them ended and these were many, since this was last said.
    pub fn have_many_ended(&self) -> bool {
        let mut counts = self.counts();
        let ended = counts.most.saturating_sub(counts.total);
        let are_many = ended >= ENDED_MANY && ended >= counts.total;
        if are_many {
            counts.most = counts.total;
        }
        are_many
    }

    /// How many got no place, or lost it.
    pub fn refused(&self) -> Refused {
        self.counts().refused
    }

    /// How long a connection may be silent now, with nothing in flight.
    pub(super) fn idle_time(&self) -> Duration {
        if self.is_crowded() { IDLE_CROWDED } else { IDLE }
    }

    /// Whether places are getting scarce, three quarters of them being taken: then idle connections are closed sooner.
    fn is_crowded(&self) -> bool {
        let counts = self.counts();
        counts.total > counts.limits.total / 4 * 3
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock()
    }
}

impl Counts {
    fn add(&mut self, holder: Holder, network: Network, lost: Arc<Notify>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.total += 1;
        self.most = self.most.max(self.total);
        let group = self.networks.entry(network).or_default();
        self.by_size.remove(&(group.total, network));
        group.total += 1;
        self.by_size.insert((group.total, network));
        let held = group.holders.entry(holder).or_default();
        group.by_size.remove(&(held.len(), holder));
        held.insert(number, lost);
        group.by_size.insert((held.len(), holder));
        number
    }

    /// Takes a place back; nothing where it was lost before.
    fn remove(&mut self, holder: Holder, network: Network, number: u64) -> Option<Arc<Notify>> {
        let group = self.networks.get_mut(&network)?;
        let held = group.holders.get_mut(&holder)?;
        let before = held.len();
        let lost = held.remove(&number)?;
        group.by_size.remove(&(before, holder));
        if held.is_empty() {
            group.holders.remove(&holder);
        } else {
            group.by_size.insert((before - 1, holder));
        }
        self.by_size.remove(&(group.total, network));
        group.total -= 1;
        self.total -= 1;
        if group.total == 0 {
            self.networks.remove(&network);
        } else {
            self.by_size.insert((group.total, network));
        }
        Some(lost)
    }

    /// Closes the oldest connection of the largest holder in the largest network, where that has more than the newcomer's
    /// would have then; says whether it did.
    fn close_one_of_the_largest(
        &mut self,
        holder: Holder,
        of_holder: usize,
        network: Network,
        of_network: usize,
    ) -> bool {
        let largest = self.by_size.last().filter(|(size, largest)| *largest != network && *size >= of_network + 2);
        // In its own network it is held against the holder with the most.
        let from = largest.map_or(network, |(_, largest)| *largest);
        let Some(group) = self.networks.get(&from) else { return false };
        let Some(&(size, victim)) = group.by_size.last() else { return false };
        if from == network && (victim == holder || size < of_holder + 2) {
            return false;
        }
        let oldest = group.holders.get(&victim).and_then(|held| held.keys().next().copied());
        let closed = oldest.and_then(|number| self.remove(victim, from, number));
        let Some(lost) = closed else { return false };
        self.refused.replaced += 1;
        lost.notify_one();
        true
    }
}

/// The first bits of an address, as an address.
fn prefix(address: IpAddr, v4_bits: u32, v6_bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - v4_bits).unwrap_or(0)).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(128 - v6_bits).unwrap_or(0)).into()),
    }
}

impl Place {
    /// Returns when the place was given to another client: the connection is to be closed.
    pub async fn lost(&self) {
        self.lost.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.counts().remove(self.holder, self.network, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ConnectionLimits = ConnectionLimits { total: 4096, kept: 32, per_address: 64 };

    fn connections() -> Arc<Connections> {
        Arc::new(Connections::new(LIMITS))
    }

    /// As many as there are to be had of these clients, that a client is not refused.
    fn flood(connections: &Arc<Connections>, clients: impl IntoIterator<Item = IpAddr>) -> Vec<Place> {
        clients.into_iter().flat_map(|client| (0..100).map_while(move |_| connections.take(client))).collect()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_lost(place: &Place) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(place.lost()).as_mut().poll(&mut context).is_ready()
    }

    #[test]
    fn the_probe_finds_a_place_in_a_flood() {
        let connections = connections();
        let all = (0..=255).flat_map(|net| (0..64).map(move |host| IpAddr::from([10, 0, net, host])));
        let places = flood(&connections, all);
        assert_eq!(connections.len(), LIMITS.total - LIMITS.kept);
        assert!(connections.take(PROBE).is_some());
        assert!(connections.take(IpAddr::from([127, 0, 0, 1])).is_some());
        assert!(connections.is_crowded());
        drop(places);
        assert!(connections.is_empty());
        let state = connections.counts();
        assert!(state.networks.is_empty() && state.by_size.is_empty());
        drop(state);
        assert_eq!(flood(&connections, [address("10.0.0.1")]).len(), LIMITS.per_address);
    }

    #[test]
    fn one_ipv6_network_of_64_bits_is_one_client() {
        let connections = connections();
        let hosts = (0..200u128).map(|host| IpAddr::from((0xfd00_u128 << 112 | host).to_be_bytes()));
        assert_eq!(flood(&connections, hosts).len(), LIMITS.per_address);
        assert!(connections.take(address("fd00:0:0:1::1")).is_some(), "its neighbour is another one");
        assert_eq!(connections.refused().per_address, 200);
    }

    #[test]
    fn whoever_floods_pays_for_the_place_of_a_newcomer() {
        let connections = connections();
        let honest = connections.take(address("10.1.0.1")).unwrap();
        let flooders: Vec<_> = (0..66).map(|host| IpAddr::from([10, 9, 1, host])).collect();
        let _places = flood(&connections, flooders.clone());
        assert_eq!(connections.len(), LIMITS.total - LIMITS.kept);
        // Until then they took places from one another.
        let replaced = connections.refused().replaced;
        let newcomers: Vec<_> = (0..40).map(|host| connections.take(IpAddr::from([10, 2, 0, host]))).collect();
        assert!(newcomers.iter().all(Option::is_some));
        assert_eq!(connections.len(), LIMITS.total - LIMITS.kept);
        assert_eq!(connections.refused().replaced, replaced + 40);
        assert!(!is_lost(&honest) && newcomers.iter().flatten().all(|place| !is_lost(place)));
        assert!(connections.take(flooders[0]).is_none(), "a flooder takes nothing from anybody");
    }

    #[test]
    fn a_client_among_flooders_of_its_own_network_gets_a_place() {
        let connections = connections();
        let _places = flood(&connections, (1..80).map(|host| IpAddr::from([10, 9, 1, host])));
        let newcomer = connections.take(address("10.9.1.200")).unwrap();
        assert!(!is_lost(&newcomer));
    }

    #[test]
    fn thousands_of_addresses_of_one_network_are_one_holder_when_places_are_scarce() {
        let connections = connections();
        let hosts = (0..=255).flat_map(|net| (0..=255).map(move |host| IpAddr::from([10, 9, net, host])));
        let _places: Vec<_> = hosts.filter_map(|host| connections.take(host)).collect();
        assert_eq!(connections.len(), LIMITS.total - LIMITS.kept);
        let replaced = connections.refused().replaced;
        let newcomer = connections.take(address("10.1.0.1")).unwrap();
        assert!(!is_lost(&newcomer));
        assert_eq!(connections.refused().replaced, replaced + 1);
    }

    #[test]
    fn many_that_ended_are_said_once() {
        let connections = connections();
        let mut places = flood(&connections, (0..4).map(|host| IpAddr::from([10, 9, host, 1])));
        assert_eq!(places.len(), 256);
        assert!(!connections.have_many_ended());
        places.truncate(129);
        assert!(!connections.have_many_ended(), "less than half");
        places.truncate(128);
        assert!(connections.have_many_ended() && !connections.have_many_ended());
        places.truncate(1);
        assert!(!connections.have_many_ended(), "less than many");
        places.clear();
        assert!(connections.have_many_ended() && !connections.have_many_ended());
    }

    #[test]
    fn prefixes_of_addresses() {
        assert_eq!(prefix(address("10.1.2.3"), 32, 64), address("10.1.2.3"));
        assert_eq!(prefix(address("10.1.2.3"), 24, 56), address("10.1.2.0"));
        assert_eq!(prefix(address("2001:db8:1:2fff::1"), 24, 56), address("2001:db8:1:2f00::"));
        assert_eq!(prefix(address("2001:db8:1:2fff::1"), 32, 64), address("2001:db8:1:2fff::"));
    }
}
