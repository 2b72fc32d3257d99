//! Reused ports, for upstreams behind address translation or asked very often (`ports = "pool"`).
//!
//! All workers draw from the same pool, at random, so that nothing about a client tells which port its question leaves
//! from (CVE-2026-50252 is what a small pool per thread leads to). A socket lives ten seconds, or until one of its
//! questions is not answered or it reports an error. The worker that opened it reads from it.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use crate::forward::AttemptId;

/// Ports of one upstream. The odds of a guess fall with their number; a socket takes about 2 KiB of the kernel's memory.
pub(super) const PORTS: usize = 512;
/// How long a port is used.
const AGE_MAX: Duration = Duration::from_secs(10);
/// Bytes of a line of the processor's cache.
const LINE: usize = 64;
/// Questions that a port is used for: their IDs are remembered, so that a late answer is no guess.
const USES_MAX: usize = 1024;

/// The pools of all upstreams that have one, shared by all workers.
#[derive(Default)]
pub struct Pools(Mutex<HashMap<SocketAddr, Arc<Pool>>>);

impl Pools {
    pub(super) fn of(&self, upstream: SocketAddr) -> Arc<Pool> {
        self.0.lock().entry(upstream).or_default().clone()
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

    /// Names the memory that a query from this place will read.
    pub(super) fn prefetch(&self, place: usize, prefetch: impl Fn(*const u8)) {
        let guard = self.0.get(place % PORTS).map(ArcSwapOption::load);
        if let Some(socket) = guard.as_ref().and_then(|socket| socket.as_ref()) {
            let start: *const u8 = Arc::as_ptr(socket).cast();
            // With the reference counts before it.
            (0..=size_of::<PooledSocket>().div_ceil(LINE))
                .for_each(|line| prefetch(start.wrapping_add(line * LINE).wrapping_sub(16)));
        }
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
    /// Its number with the worker that opened it.
    pub(super) number: usize,
    /// From when on no more questions leave from it.
    closes: Instant,
    is_retired: AtomicBool,
    ids: Mutex<Ids>,
}

/// The message IDs of a socket.
#[derive(Default)]
pub(super) struct Ids {
    /// Of open questions, and in the same order the questions; in place where there are few, as a socket in hundreds has.
    open: SmallVec<[u16; 4]>,
    questions: SmallVec<[OpenQuestion; 1]>,
    /// IDs of questions that are over.
    past: Vec<u16>,
}

/// A question that waits for its answer here.
struct OpenQuestion {
    id: AttemptId,
    deadline: Instant,
    /// An attacker may be guessing at it, which was reported.
    is_marked: bool,
}

/// Whom a datagram is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Recipient {
    /// The question with its ID.
    One(AttemptId),
    /// It has an ID that was never used here: an attacker may be guessing, which concerns all open questions.
    Guess,
    /// It comes too late.
    Unknown,
}

impl PooledSocket {
    pub(super) fn new(socket: UdpSocket, number: usize, now: Instant) -> Self {
        Self { socket, number, closes: now + AGE_MAX, is_retired: AtomicBool::new(false), ids: Mutex::default() }
    }

    fn is_usable(&self, now: Instant) -> bool {
        now < self.closes && !self.is_retired.load(Ordering::Relaxed)
    }

    /// Lets no more questions leave from it.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }

    /// The IDs that are in use.
    pub(super) fn ids(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock()
    }

    /// Notes that so many questions are in use or were; too many retire it.
    pub(super) fn look_at(&self, ids: &Ids) {
        if ids.open.len() + ids.past.len() >= USES_MAX {
            self.retire();
        }
    }

    /// A question is over.
    pub(super) fn close(&self, id: AttemptId) {
        self.ids.lock().close(id);
    }

    /// Takes back all open questions: the socket failed.
    pub(super) fn fail(&self) -> Vec<AttemptId> {
        self.retire();
        let mut ids = self.ids.lock();
        ids.open.clear();
        ids.questions.drain(..).map(|question| question.id).collect()
    }

    /// Ends questions that were not answered in time, which retires the socket; whether it is of use to anybody.
    pub(super) fn sweep(&self, now: Instant) -> bool {
        let mut ids = self.ids.lock();
        if ids.end_old(now) {
            self.retire();
        }
        !ids.open.is_empty() || self.is_usable(now)
    }
}

impl Ids {
    /// Where the next ID is noted whose question is over.
    pub(super) fn past_end(&self) -> *const u8 {
        self.past.as_ptr().wrapping_add(self.past.len()).cast()
    }

    /// Whether there is one open question.
    pub(super) fn are_one(&self) -> bool {
        self.open.len() == 1
    }

    /// Notes a question; whether its ID tells it from all others that are open.
    pub(super) fn open(&mut self, message_id: u16, id: AttemptId, deadline: Instant) -> bool {
        let is_new = !self.open.contains(&message_id);
        if is_new {
            self.open.push(message_id);
            self.questions.push(OpenQuestion { id, deadline, is_marked: false });
        }
        is_new
    }

    /// A question is over.
    pub(super) fn close(&mut self, id: AttemptId) {
        if let Some(at) = self.questions.iter().position(|open| open.id == id) {
            self.past.push(self.open.swap_remove(at));
            self.questions.swap_remove(at);
        }
    }

    /// Whom a datagram is for.
    pub(super) fn recipient(&self, datagram: &[u8]) -> Recipient {
        let Some(&message_id) = datagram.first_chunk::<2>() else { return Recipient::Unknown };
        let message_id = u16::from_be_bytes(message_id);
        let open = self.open.iter().position(|open| *open == message_id).and_then(|at| self.questions.get(at));
        match open {
            Some(question) => Recipient::One(question.id),
            None if self.past.contains(&message_id) => Recipient::Unknown,
            None => Recipient::Guess,
        }
    }

    /// The open questions that are not known to be guessed at, which they are from now on.
    pub(super) fn take_unmarked(&mut self) -> impl Iterator<Item = AttemptId> {
        let mark = |question: &mut OpenQuestion| !std::mem::replace(&mut question.is_marked, true);
        self.questions.iter_mut().filter_map(move |question| mark(question).then_some(question.id))
    }

    /// Ends questions that were not answered in time; whether there were any.
    fn end_old(&mut self, now: Instant) -> bool {
        let before = self.open.len();
        let mut deadlines = self.questions.iter().map(|question| question.deadline > now);
        self.open.retain(|_| deadlines.next().unwrap_or(false));
        self.questions.retain(|question| question.deadline > now);
        self.open.len() < before
    }
}

/// How often another place is drawn where an ID is in use already.
pub(super) const DRAWS: usize = 8;

/// What is said when no place could be found.
pub(super) fn no_place() -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, "every port drawn has a question of this ID")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::test_try;

    fn socket(now: Instant) -> PooledSocket {
        PooledSocket::new(UdpSocket::bind("127.0.0.1:0").unwrap(), 0, now)
    }

    #[test]
    fn a_datagram_is_for_the_question_with_its_id() {
        let now = Instant::now();
        let (socket, later) = (socket(now), now + Duration::from_secs(4));
        let open = |message_id, slot| socket.ids().open(message_id, test_try(slot), later);
        let recipient = |datagram: &[u8]| socket.ids().recipient(datagram);
        assert!(open(0x0102, 1) && open(0x0304, 2));
        assert!(!open(0x0102, 3), "two open questions of one socket never have the same ID");
        assert_eq!(recipient(&[1, 2, 0x80]), Recipient::One(test_try(1)));
        assert_eq!(recipient(&[9, 9, 0x80]), Recipient::Guess);
        socket.close(test_try(1));
        assert_eq!(recipient(&[1, 2, 0x80]), Recipient::Unknown, "late, and no guess");
        assert_eq!(recipient(&[3, 4, 0x80]), Recipient::One(test_try(2)));
        assert_eq!(recipient(&[1]), Recipient::Unknown);
        assert_eq!(socket.fail(), [test_try(2)]);
        assert!(!socket.is_usable(now));
    }

    #[test]
    fn a_guess_marks_each_open_question_once() {
        let now = Instant::now();
        let (socket, later) = (socket(now), now + Duration::from_secs(4));
        let open = |message_id, slot| assert!(socket.ids().open(message_id, test_try(slot), later));
        open(1, 1);
        open(2, 2);
        assert_eq!(socket.ids().take_unmarked().collect::<Vec<_>>(), [test_try(1), test_try(2)]);
        assert_eq!(socket.ids().take_unmarked().count(), 0, "a flood costs no more than its first datagram");
        open(3, 3);
        socket.close(test_try(1));
        assert_eq!(socket.ids().take_unmarked().collect::<Vec<_>>(), [test_try(3)]);
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
        silent.ids().open(1, test_try(1), now + Duration::from_secs(4));
        silent.ids().open(2, test_try(2), now + Duration::from_secs(8));
        assert!(silent.sweep(now + Duration::from_secs(3)));
        assert!(silent.sweep(now + Duration::from_secs(5)) && !silent.is_usable(now), "a question was not answered");
        assert_eq!(silent.ids().recipient(&[0, 2]), Recipient::One(test_try(2)), "the other may still be");

        let old = socket(now);
        old.ids().open(1, test_try(1), now + Duration::from_secs(12));
        assert!(old.sweep(now + Duration::from_secs(11)), "its last question may still be answered");
        old.close(test_try(1));
        assert!(!old.sweep(now + Duration::from_secs(11)));

        let busy = socket(now);
        for id in 0..USES_MAX as u16 {
            assert!(busy.is_usable(now));
            assert!(busy.ids().open(id, test_try(u32::from(id)), now));
            busy.look_at(&busy.ids());
            busy.close(test_try(u32::from(id)));
        }
        assert!(!busy.is_usable(now));
    }
}
