//! Reused ports, for upstreams behind address translation or asked very often (`ports = "pool"`).
//!
//! All workers draw from the same pool, at random, so that nothing about a client tells which port its question leaves
//! from (CVE-2026-50252 is what a small pool per thread leads to). A socket lives ten seconds, or until one of its
//! questions is not answered or it reports an error. The worker that opened it reads from it.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::forward::TryId;

/// Ports of one upstream. The odds of a guess fall with their number; a socket takes about 2 KiB of the kernel's memory.
pub(super) const PORTS: usize = 512;
/// How long a port is used.
const AGE_MAX: Duration = Duration::from_secs(10);
/// Questions that a port is used for: their IDs are remembered, so that a late answer is no guess.
const USES_MAX: usize = 1024;

/// The pools of all upstreams that have one, shared by all workers.
#[derive(Default)]
pub struct Pools(Mutex<HashMap<SocketAddr, Arc<Pool>>>);

impl Pools {
    pub(super) fn of(&self, upstream: SocketAddr) -> Arc<Pool> {
        lock(&self.0).entry(upstream).or_default().clone()
    }
}

/// The ports towards one upstream.
pub(super) struct Pool(Box<[ArcSwapOption<PooledSocket>]>);

impl Default for Pool {
    fn default() -> Self {
        Self((0..PORTS).map(|_| ArcSwapOption::empty()).collect())
    }
}

impl Pool {
    /// The socket at this place, if it may still be used.
    pub(super) fn at(&self, place: usize, now: Instant) -> Option<Arc<PooledSocket>> {
        self.0.get(place % PORTS)?.load_full().filter(|socket| socket.is_usable(now))
    }

    /// Puts a new socket into a place.
    pub(super) fn put(&self, place: usize, socket: Arc<PooledSocket>) {
        if let Some(place) = self.0.get(place % PORTS) {
            place.store(Some(socket));
        }
    }
}

/// A connected socket that many questions share.
pub(super) struct PooledSocket {
    pub(super) socket: UdpSocket,
    opened: Instant,
    is_retired: AtomicBool,
    ids: Mutex<Ids>,
}

/// The message IDs of a socket.
#[derive(Default)]
struct Ids {
    open: Vec<Open>,
    /// IDs of questions that are over.
    past: Vec<u16>,
}

#[derive(Clone, Copy)]
struct Open {
    message_id: u16,
    id: TryId,
    deadline: Instant,
}

/// Whom a datagram is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Recipients {
    /// The question with its ID.
    One(TryId),
    /// It has an ID that was never used here: somebody may be guessing, which concerns all open questions.
    Guessed(Vec<TryId>),
    /// It comes too late.
    Nobody,
}

impl PooledSocket {
    pub(super) fn new(socket: UdpSocket, now: Instant) -> Self {
        Self { socket, opened: now, is_retired: AtomicBool::new(false), ids: Mutex::default() }
    }

    fn is_usable(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.opened) < AGE_MAX && !self.is_retired.load(Ordering::Relaxed)
    }

    /// Lets no more questions leave from it.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }

    /// Notes a question; whether its ID tells it from all others of this socket.
    pub(super) fn open(&self, message_id: u16, id: TryId, deadline: Instant) -> bool {
        let mut ids = lock(&self.ids);
        if ids.past.contains(&message_id) || ids.open.iter().any(|open| open.message_id == message_id) {
            return false;
        }
        ids.open.push(Open { message_id, id, deadline });
        if ids.open.len() + ids.past.len() >= USES_MAX {
            self.retire();
        }
        true
    }

    /// A question is over.
    pub(super) fn close(&self, id: TryId) {
        let mut ids = lock(&self.ids);
        if let Some(at) = ids.open.iter().position(|open| open.id == id) {
            let open = ids.open.swap_remove(at);
            ids.past.push(open.message_id);
        }
    }

    /// Takes back all open questions: the socket failed.
    pub(super) fn fail(&self) -> Vec<TryId> {
        self.retire();
        lock(&self.ids).open.drain(..).map(|open| open.id).collect()
    }

    /// Whom a datagram is for.
    pub(super) fn recipients(&self, datagram: &[u8]) -> Recipients {
        let Some(&message_id) = datagram.first_chunk::<2>() else { return Recipients::Nobody };
        let message_id = u16::from_be_bytes(message_id);
        let ids = lock(&self.ids);
        match ids.open.iter().find(|open| open.message_id == message_id) {
            Some(open) => Recipients::One(open.id),
            None if ids.past.contains(&message_id) => Recipients::Nobody,
            None => Recipients::Guessed(ids.open.iter().map(|open| open.id).collect()),
        }
    }

    /// Ends questions that were not answered in time, which retires the socket; whether it is of use to anybody.
    pub(super) fn sweep(&self, now: Instant) -> bool {
        let mut ids = lock(&self.ids);
        let before = ids.open.len();
        ids.open.retain(|open| open.deadline > now);
        if ids.open.len() < before {
            self.retire();
        }
        !ids.open.is_empty() || self.is_usable(now)
    }
}

/// A random place of a pool, and how often another is drawn where an ID is in use already.
pub(super) const DRAWS: usize = 8;

/// What is said when no place could be found.
pub(super) fn no_place() -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, "every port drawn has a question of this ID")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::test_try;

    fn socket(now: Instant) -> PooledSocket {
        PooledSocket::new(UdpSocket::bind("127.0.0.1:0").unwrap(), now)
    }

    #[test]
    fn a_datagram_is_for_the_question_with_its_id() {
        let now = Instant::now();
        let (socket, later) = (socket(now), now + Duration::from_secs(4));
        assert!(socket.open(0x0102, test_try(1), later));
        assert!(socket.open(0x0304, test_try(2), later));
        assert!(!socket.open(0x0102, test_try(3), later), "two questions of one socket never have the same ID");
        assert_eq!(socket.recipients(&[1, 2, 0x80]), Recipients::One(test_try(1)));
        assert_eq!(socket.recipients(&[9, 9, 0x80]), Recipients::Guessed(vec![test_try(1), test_try(2)]));
        socket.close(test_try(1));
        assert_eq!(socket.recipients(&[1, 2, 0x80]), Recipients::Nobody, "late, and no guess");
        assert!(!socket.open(0x0102, test_try(4), later), "nor is an ID used twice");
        assert_eq!(socket.recipients(&[1]), Recipients::Nobody);
        assert_eq!(socket.fail(), [test_try(2)]);
        assert!(!socket.is_usable(now));
    }

    #[test]
    fn age_silence_and_use_retire_a_socket() {
        let now = Instant::now();
        let pool = Pool::default();
        pool.put(PORTS + 3, Arc::new(socket(now)));
        assert!(pool.at(3, now + AGE_MAX - Duration::from_millis(1)).is_some());
        assert!(pool.at(3, now + AGE_MAX).is_none());
        assert!(pool.at(4, now).is_none());

        let silent = socket(now);
        silent.open(1, test_try(1), now + Duration::from_secs(4));
        assert!(silent.sweep(now + Duration::from_secs(3)));
        assert!(!silent.sweep(now + Duration::from_secs(5)), "a question was not answered");

        let old = socket(now);
        old.open(1, test_try(1), now + Duration::from_secs(12));
        assert!(old.sweep(now + Duration::from_secs(11)), "its last question may still be answered");
        old.close(test_try(1));
        assert!(!old.sweep(now + Duration::from_secs(11)));

        let busy = socket(now);
        for id in 0..USES_MAX as u16 {
            assert!(busy.is_usable(now));
            assert!(busy.open(id, test_try(u32::from(id)), now));
            busy.close(test_try(u32::from(id)));
        }
        assert!(!busy.is_usable(now));
    }
}
