//! Replies on their way into one connection: whichever worker has one appends it, and the connection's task writes them.

use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;

use super::connections::{Connections, ReplyBytes};

/// What waits to be written to one connection, and how many of its queries have no reply yet.
///
/// One allocation for each connection, and none for each reply: replies are appended, each with its length in front, as they are
/// sent.
pub(super) struct Outgoing(Mutex<State>);

struct State {
    /// Replies as they are sent.
    bytes: Vec<u8>,
    /// How many these are.
    replies: u32,
    /// Queries that are being answered.
    pending: u32,
    /// Of all connections together there are only so many bytes waiting: here with those that are being written.
    room: ReplyBytes,
    /// Something came or ended since the task last looked.
    is_changed: bool,
    /// The task looks before it sleeps.
    is_awake: bool,
    /// The connection is gone.
    is_closed: bool,
    /// The task, where it sleeps.
    waker: Option<Waker>,
}

/// Replies that are being written.
#[derive(Default)]
pub(super) struct Written {
    /// Replies as they are sent.
    pub(super) bytes: Vec<u8>,
    /// How many these are.
    pub(super) replies: u32,
}

impl Outgoing {
    /// Nothing yet.
    pub(super) fn new(connections: &Arc<Connections>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            bytes: Vec::new(),
            replies: 0,
            pending: 0,
            room: ReplyBytes::none(connections),
            is_changed: false,
            is_awake: false,
            is_closed: false,
            waker: None,
        })))
    }

    /// Takes a place for the reply to one more query.
    pub(super) fn place(self: &Arc<Self>) -> ReplyPlace {
        self.0.lock().pending += 1;
        ReplyPlace(self.clone())
    }

    /// Has an empty buffer for replies that come, unless there is one.
    pub(super) fn lend(&self, buffer: &mut Vec<u8>) {
        let mut state = self.0.lock();
        if state.bytes.capacity() == 0 {
            std::mem::swap(&mut state.bytes, buffer);
        }
    }

    /// Gives what waits, where nothing is being written any more: `written` is empty then. Returns how many queries have no reply that
    /// is written or being written.
    pub(super) fn take(&self, written: &mut Written) -> u32 {
        let mut state = self.0.lock();
        (state.is_changed, state.is_awake) = (false, true);
        if written.replies == 0 && state.replies > 0 {
            std::mem::swap(&mut state.bytes, &mut written.bytes);
            written.replies = std::mem::take(&mut state.replies);
        }
        state.pending + state.replies
    }

    /// What was given is written, so many bytes.
    pub(super) fn written(&self, bytes: usize) {
        self.0.lock().room.shrink(bytes);
    }

    /// Whether the task may sleep: it is woken then when something comes. Otherwise something came.
    pub(super) fn sleep(&self, waker: &Waker) -> bool {
        let mut state = self.0.lock();
        if state.is_changed {
            return false;
        }
        state.is_awake = false;
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        true
    }

    /// The connection is gone: nothing is taken any more.
    pub(super) fn close(&self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        state.bytes = Vec::new();
        state.room.shrink_to_none();
        state.waker = None;
    }
}

/// The place of a query for its reply, given back when dropped.
pub(super) struct ReplyPlace(Arc<Outgoing>);

impl ReplyPlace {
    /// Appends the reply; whether there was room for it.
    pub(super) fn deliver(self, message: &[u8]) -> bool {
        // Longer than the length in front can say, it would be read as another message.
        let Ok(len) = u16::try_from(message.len()) else { return false };
        let mut state = self.0.0.lock();
        let has_room = !state.is_closed && state.room.grow(message.len() + size_of_val(&len));
        if has_room {
            state.bytes.extend_from_slice(&len.to_be_bytes());
            state.bytes.extend_from_slice(message);
            state.replies += 1;
        }
        has_room
    }
}

impl Drop for ReplyPlace {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.pending -= 1;
        let is_asleep = !state.is_awake && !state.is_changed;
        state.is_changed = true;
        let waker = if is_asleep { state.waker.clone() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::connections::{ConnectionLimits, ConnectionRoom};
    use super::*;

    fn connections() -> Arc<Connections> {
        let connections = Connections::new(ConnectionLimits { total: 1, kept: 0, per_address: 1 });
        connections.set_room(ConnectionRoom { reply_bytes: 10, requests: 0 });
        Arc::new(connections)
    }

    #[test]
    fn replies_are_given_as_they_came_and_count_until_they_are_written() {
        let connections = connections();
        let outgoing = Outgoing::new(&connections);
        let [first, second, third] = [0; 3].map(|_| outgoing.place());
        assert!(first.deliver(b"abc") && second.deliver(b"de"));
        let mut written = Written::default();
        assert_eq!(outgoing.take(&mut written), 1, "one has no reply yet");
        assert_eq!((&written.bytes[..], written.replies), (&b"\0\x03abc\0\x02de"[..], 2));
        assert!(!third.deliver(b""), "11 bytes of 10");
        assert_eq!(outgoing.take(&mut written), 0);
        outgoing.written(written.bytes.len());
        assert!(outgoing.place().deliver(b"12345678"));
        assert!(!outgoing.place().deliver(b""));
        outgoing.close();
        assert!(!outgoing.place().deliver(b"1"), "it is not written any more");
        assert!(connections.take_bytes(10).is_some(), "all room is given back");
    }

    #[test]
    fn a_task_that_sleeps_is_woken_by_a_reply_and_by_a_query_without_one() {
        let outgoing = Outgoing::new(&connections());
        let waker = Waker::noop();
        let mut written = Written::default();
        outgoing.take(&mut written);
        let place = outgoing.place();
        assert!(outgoing.sleep(waker));
        drop(place);
        assert!(!outgoing.sleep(waker), "it looks before it sleeps");
        assert_eq!(outgoing.take(&mut written), 0);
        assert!(outgoing.sleep(waker));
        outgoing.place().deliver(b"a");
        assert!(!outgoing.sleep(waker));
    }

    #[test]
    fn a_reply_longer_than_its_length_can_say_is_not_sent() {
        let connections = connections();
        connections.set_room(ConnectionRoom::MOST);
        let outgoing = Outgoing::new(&connections);
        assert!(!outgoing.place().deliver(&[0; 65_536]));
        assert!(outgoing.place().deliver(&[0; 65_535]));
    }
}
