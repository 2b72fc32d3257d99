//! Which clients were seen lately: the time of each one's last query, in a fixed table.
//!
//! A client has two places, by a keyed hash of its address, and each query writes the time into both. Others may write into
//! one of them, hardly ever into both: a client that asks is never reported as one that does not, and one that never asked is
//! taken for another at about the square of the table's load (one in a hundred with 1,600 clients).

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Places; a power of two.
const PLACES: usize = 1 << 14;
/// Bytes of a worker's table.
pub const CLIENTS_BYTES: usize = PLACES * size_of::<AtomicU16>();
/// The clock's step. Its 65,534 steps are 227 days, after which all that is seen counts as seen then.
const STEP: Duration = Duration::from_secs(300);

/// The clients that one worker saw. The worker writes, the control thread moves the clock and reads.
#[derive(Debug)]
pub struct Clients {
    places: Box<[AtomicU16]>,
    hasher: foldhash::fast::RandomState,
    /// Steps since the start, from 1.
    clock: AtomicU16,
}

impl Default for Clients {
    fn default() -> Self {
        let places = (0..PLACES).map(|_| AtomicU16::new(0)).collect();
        Self { places, hasher: foldhash::fast::RandomState::default(), clock: AtomicU16::new(1) }
    }
}

impl Clients {
    /// Notes a query of a client.
    #[inline]
    pub(super) fn note(&self, client: IpAddr) {
        let now = self.clock.load(Ordering::Relaxed);
        for place in self.places_of(client) {
            place.store(now, Ordering::Relaxed);
        }
    }

    /// Minutes since the client's last query, to the clock's step; `None` where there was none.
    pub fn age(&self, client: IpAddr) -> Option<u64> {
        let now = self.clock.load(Ordering::Relaxed);
        let mut oldest = now;
        for place in self.places_of(client) {
            oldest = oldest.min(place.load(Ordering::Relaxed));
        }
        (oldest > 0).then(|| u64::from(now - oldest) * STEP.as_secs() / 60)
    }

    /// Moves the clock to so long after the start.
    pub fn set_time(&self, since_start: Duration) {
        let steps = since_start.as_secs() / STEP.as_secs() + 1;
        self.clock.store(u16::try_from(steps).unwrap_or(u16::MAX), Ordering::Relaxed);
    }

    #[inline]
    fn places_of(&self, client: IpAddr) -> impl Iterator<Item = &AtomicU16> {
        let address = match client {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let [a, b, .., y, z] = self.hasher.hash_one(address).to_be_bytes();
        let at = |bytes: [u8; 2]| self.places.get(usize::from(u16::from_be_bytes(bytes)) % PLACES);
        [at([a, b]), at([y, z])].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_asked_is_always_known_and_others_hardly_ever() {
        let clients = Clients::default();
        let address = |number: u32| IpAddr::from((0x0a00_0000 + number).to_be_bytes());
        (0..800).for_each(|number| clients.note(address(number)));
        clients.note("fd00::7".parse().unwrap());
        clients.set_time(STEP * 12);
        assert!((0..800).all(|number| clients.age(address(number)) == Some(60)));
        assert_eq!(clients.age("fd00::7".parse().unwrap()), Some(60));
        clients.note(address(3));
        assert_eq!(clients.age(address(3)), Some(0));
        // Some 0.9 % are expected.
        let taken = (10_000..20_000).filter(|&number| clients.age(address(number)).is_some()).count();
        assert!(taken < 400, "{taken} of 10,000");
        clients.set_time(Duration::from_secs(u64::MAX / 2));
        clients.note(address(5));
        assert_eq!(clients.age(address(5)), Some(0), "the clock stands, and nothing overflows");
    }
}
