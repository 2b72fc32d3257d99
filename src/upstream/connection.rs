//! What is in flight on one connection: which answer belongs to which query.
//!
//! Queries of many questions share a connection, so their IDs are drawn here, each unlike all others under way, and
//! the caller's ID is put back into the answer. An answer belongs to a query when its ID and its question do. Nothing
//! else of a message is looked at or changed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::sleep_until;

use super::fault::Fault;
use crate::wire::compression::skip_name;
use crate::wire::header::{HEADER_LEN, RCODE};

/// How long a connection without queries is kept.
pub(super) const IDLE: Duration = Duration::from_secs(10);
/// A connection that owes answers and gave none for so long takes no more queries.
const SILENCE: Duration = Duration::from_millis(900);
/// Queries under way on one connection, those included that no client waits for any more.
const PENDING_MAX: usize = 1024;
/// Queries that no client waits for any more, before a connection is replaced.
const ABANDONED_MAX: usize = 256;

/// A connection, open or being opened.
pub(super) struct Connection {
    /// When it began to be opened.
    pub(super) begun: Instant,
    queue: mpsc::UnboundedSender<Vec<u8>>,
    pending: RefCell<HashMap<u16, Pending>>,
    /// How many of them are waited for.
    live: Cell<usize>,
    last_used: Cell<Instant>,
    /// Since when it owes an answer and gives none.
    unheard_since: Cell<Option<Instant>>,
    has_answered: Cell<bool>,
    is_open: Cell<bool>,
    is_retired: Cell<bool>,
    retired: Notify,
}

struct Pending {
    id: [u8; 2],
    question: Box<[u8]>,
    answer: oneshot::Sender<Result<Vec<u8>, Fault>>,
}

/// A query on a connection, waited for.
pub(super) struct Waiting {
    connection: Rc<Connection>,
    answer: oneshot::Receiver<Result<Vec<u8>, Fault>>,
}

impl Connection {
    /// A connection to be opened, and the messages that are to go over it.
    pub(super) fn new(now: Instant) -> (Rc<Self>, mpsc::UnboundedReceiver<Vec<u8>>) {
        // Bounded by PENDING_MAX: what is queued is pending.
        let (queue, messages) = mpsc::unbounded_channel();
        let connection = Self {
            begun: now,
            queue,
            pending: RefCell::default(),
            live: Cell::new(0),
            last_used: Cell::new(now),
            unheard_since: Cell::new(None),
            has_answered: Cell::new(false),
            is_open: Cell::new(false),
            is_retired: Cell::new(false),
            retired: Notify::new(),
        };
        (Rc::new(connection), messages)
    }

    /// Takes a query; it is sent when the connection is open.
    pub(super) fn submit(self: &Rc<Self>, message: &[u8], rng: &mut StdRng, now: Instant) -> Result<Waiting, Fault> {
        let unsendable = || Fault::nonsense("the query has no question");
        let end = skip_name(message, HEADER_LEN).ok_or_else(unsendable)? + 4;
        let question = message.get(HEADER_LEN..end).ok_or_else(unsendable)?;
        let mut pending = self.pending.borrow_mut();
        if pending.len() >= PENDING_MAX {
            return Err(Fault::new(io::ErrorKind::QuotaExceeded, "crowded", "too many queries are under way"));
        }
        let (answer, receiver) = oneshot::channel();
        let shared = loop {
            let shared = rng.random();
            if let Entry::Vacant(place) = pending.entry(shared) {
                let id = [message[0], message[1]];
                place.insert(Pending { id, question: question.into(), answer });
                break shared;
            }
        };
        let mut sent = message.to_vec();
        sent[..2].copy_from_slice(&shared.to_be_bytes());
        self.queue.send(sent).map_err(|_| Fault::closed())?;
        self.live.set(self.live.get() + 1);
        self.last_used.set(now);
        self.unheard_since.set(self.unheard_since.get().or(Some(now)));
        Ok(Waiting { connection: self.clone(), answer: receiver })
    }

    /// Takes a message that came: it goes to what waits for it, or nowhere.
    pub(super) fn take(&self, mut message: Vec<u8>, now: Instant) {
        let mut pending = self.pending.borrow_mut();
        let id = message.first_chunk().copied().map(u16::from_be_bytes);
        let place = id.map(|id| pending.entry(id));
        if let Some(Entry::Occupied(entry)) = place
            && entry.get().is_answered_by(&message)
        {
            let query = entry.remove();
            message[..2].copy_from_slice(&query.id);
            self.has_answered.set(true);
            // No client waits for it any more: too late.
            let _ = query.answer.send(Ok(message));
        }
        self.unheard_since.set((!pending.is_empty()).then_some(now));
    }

    /// Ends one query alone: the other side said of it that there is no answer.
    pub(super) fn fail(&self, id: [u8; 2], fault: Fault, now: Instant) {
        let mut pending = self.pending.borrow_mut();
        if let Some(query) = pending.remove(&u16::from_be_bytes(id)) {
            let _ = query.answer.send(Err(fault));
            self.unheard_since.set((!pending.is_empty()).then_some(now));
        }
    }

    /// The fault of a query that this connection's end took with it: if others were answered here, it is worth another
    /// connection.
    pub(super) fn lost(&self, fault: Fault, now: Instant) -> Fault {
        fault.lost_at(self.has_answered.get().then_some(now))
    }

    /// Ends all its queries, and it.
    pub(super) fn end(&self, fault: Fault, now: Instant) {
        self.retire();
        let fault = self.lost(fault, now);
        for (_, query) in self.pending.borrow_mut().drain() {
            let _ = query.answer.send(Err(fault.clone()));
        }
    }

    /// Takes no more queries; it ends when those on it are done.
    pub(super) fn retire(&self) {
        self.is_retired.set(true);
        self.retired.notify_one();
    }

    /// Whether it may take another query. One that owes answers for too long never may again: the path to the other
    /// side may be gone without a word, which TCP itself notices after minutes only.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        let is_silent = self.unheard_since.get().is_some_and(|since| now.saturating_duration_since(since) >= SILENCE);
        let abandoned = self.pending.borrow().len().saturating_sub(self.live.get());
        if is_silent || abandoned >= ABANDONED_MAX {
            self.retire();
        }
        !self.is_retired.get()
    }

    /// Notes that it is open.
    pub(super) fn opened(&self) {
        self.is_open.set(true);
    }

    /// Whether it was ever open.
    pub(super) fn was_open(&self) -> bool {
        self.is_open.get()
    }

    /// Queries that are waited for.
    pub(super) fn live(&self) -> usize {
        self.live.get()
    }

    /// Waits until there is no use for this connection.
    pub(super) async fn until_idle(&self) {
        loop {
            let is_free = self.live.get() == 0;
            let idle_at = self.last_used.get() + IDLE;
            let now = Instant::now();
            if is_free && (self.is_retired.get() || now >= idle_at) {
                return;
            }
            let look_again = if is_free { idle_at } else { now + IDLE };
            tokio::select! {
                () = sleep_until(look_again.into()) => {}
                () = self.retired.notified() => {}
            }
        }
    }

    fn leave(&self) {
        self.live.set(self.live.get().saturating_sub(1));
        self.last_used.set(Instant::now());
        if self.is_retired.get() {
            self.retired.notify_one();
        }
    }
}

impl Pending {
    /// Whether a message with its ID answers it. Case is forgiven, and a missing question where the upstream could
    /// not even read it.
    fn is_answered_by(&self, message: &[u8]) -> bool {
        let Some((header, rest)) = message.split_first_chunk::<HEADER_LEN>() else {
            return false;
        };
        let is_failure = u16::from(header[3]) & RCODE != 0;
        match u16::from_be_bytes([header[4], header[5]]) {
            0 => is_failure,
            1 => rest.get(..self.question.len()).is_some_and(|question| question.eq_ignore_ascii_case(&self.question)),
            _ => false,
        }
    }
}

impl Waiting {
    /// Its answer, with its own ID.
    pub(super) async fn answer(mut self) -> Result<Vec<u8>, Fault> {
        (&mut self.answer).await.unwrap_or_else(|_| Err(Fault::closed()))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.connection.leave();
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn query(id: u16, name: &[u8]) -> Vec<u8> {
        let mut bytes = id.to_be_bytes().to_vec();
        bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        bytes.push(name.len() as u8);
        bytes.extend(name);
        bytes.extend([0, 0, 1, 0, 1]);
        bytes
    }

    fn answer(query: &[u8]) -> Vec<u8> {
        let mut bytes = query.to_vec();
        bytes[2] |= 0x80;
        bytes
    }

    fn waiting(waiting: &mut Waiting) -> Option<Result<Vec<u8>, Fault>> {
        waiting.answer.try_recv().ok()
    }

    #[test]
    fn ids_are_unique_on_the_way_out_and_restored_on_the_way_back() {
        let now = Instant::now();
        let mut rng = StdRng::from_seed([7; 32]);
        let (connection, mut messages) = Connection::new(now);
        let mut all: Vec<Waiting> =
            (0..PENDING_MAX).map(|_| connection.submit(&query(0x1234, b"a"), &mut rng, now).unwrap()).collect();
        assert!(connection.submit(&query(1, b"a"), &mut rng, now).is_err(), "full");
        let mut ids = std::collections::HashSet::new();
        while let Ok(message) = messages.try_recv() {
            assert!(ids.insert([message[0], message[1]]));
            assert_eq!(message[2..], query(0, b"a")[2..]);
            connection.take(answer(&message), now);
        }
        assert_eq!(ids.len(), PENDING_MAX);
        assert!(!ids.iter().all(|id| *id == [0x12, 0x34]));
        for one in &mut all {
            assert_eq!(waiting(one).unwrap().unwrap(), answer(&query(0x1234, b"a")));
        }
        assert_eq!(connection.live(), PENDING_MAX);
        drop(all);
        assert_eq!(connection.live(), 0);
    }

    #[test]
    fn an_answer_to_another_question_is_ignored() {
        let now = Instant::now();
        let mut rng = StdRng::from_seed([7; 32]);
        let (connection, mut messages) = Connection::new(now);
        let mut one = connection.submit(&query(1, b"abc"), &mut rng, now).unwrap();
        let sent = messages.try_recv().unwrap();
        let id = u16::from_be_bytes([sent[0], sent[1]]);
        let mut no_question = sent[..HEADER_LEN].to_vec();
        no_question[5] = 0;
        for wrong in [
            answer(&query(id, b"abd")),
            answer(&query(id ^ 1, b"abc")),
            answer(&query(id, b"ab")),
            answer(&no_question),
            sent[..HEADER_LEN].to_vec(),
            vec![sent[0], sent[1]],
            vec![sent[0]],
            Vec::new(),
        ] {
            connection.take(wrong, now);
            assert!(waiting(&mut one).is_none());
        }
        connection.take(answer(&query(id, b"aBc")), now);
        assert_eq!(waiting(&mut one).unwrap().unwrap(), answer(&query(1, b"aBc")));
        let mut other = connection.submit(&query(2, b"abc"), &mut rng, now).unwrap();
        let sent = messages.try_recv().unwrap();
        let mut unread = answer(&sent[..HEADER_LEN]);
        (unread[3], unread[5]) = (1, 0);
        connection.take(unread, now);
        assert!(waiting(&mut other).unwrap().is_ok(), "FORMERR without the question");
    }

    #[test]
    fn a_connection_that_owes_answers_takes_no_more_queries() {
        let now = Instant::now();
        let mut rng = StdRng::from_seed([7; 32]);
        let (connection, mut messages) = Connection::new(now);
        assert!(connection.is_usable(now + IDLE), "it owes nothing");
        let _one = connection.submit(&query(1, b"a"), &mut rng, now).unwrap();
        let _two = connection.submit(&query(1, b"a"), &mut rng, now).unwrap();
        let first = messages.try_recv().unwrap();
        let soon = now + SILENCE - Duration::from_millis(1);
        assert!(connection.is_usable(soon));
        connection.take(answer(&first), soon);
        assert!(connection.is_usable(now + SILENCE), "it was heard since");
        assert!(!connection.is_usable(soon + SILENCE));
        assert!(!connection.is_usable(now), "for good");
    }

    #[test]
    fn what_is_lost_is_worth_another_connection_only_where_others_were_answered() {
        let now = Instant::now();
        let mut rng = StdRng::from_seed([7; 32]);
        for has_answered in [false, true] {
            let (connection, mut messages) = Connection::new(now);
            let _first = connection.submit(&query(1, b"a"), &mut rng, now).unwrap();
            let mut second = connection.submit(&query(2, b"b"), &mut rng, now).unwrap();
            if has_answered {
                connection.take(answer(&messages.try_recv().unwrap()), now);
            }
            connection.end(Fault::closed(), now);
            let fault = waiting(&mut second).unwrap().unwrap_err();
            assert_eq!(fault.lost, has_answered.then_some(now));
            assert!(!connection.is_usable(now));
        }
    }
}
