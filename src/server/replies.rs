//! Replies to those who waited: datagrams gathered, to be sent together, and the rest at once.

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use super::counters::Outcome;
use super::end::{End, Ends};
use super::waiter::ReplyPath;
use crate::engine::{Client, Reason};
use crate::sys::SendQueue;
use crate::wire::query::OwnedQuery;

/// Datagrams that leave from the same socket, with what each answers.
#[derive(Default)]
pub(super) struct Replies {
    socket: Option<Arc<UdpSocket>>,
    gathered: SendQueue,
    waited: Vec<Waited>,
}

/// A query that waited for an upstream, and what became of it.
pub(super) struct Waited {
    pub(super) query: OwnedQuery,
    pub(super) client: Client,
    /// When it came in.
    pub(super) start: Instant,
    pub(super) outcome: Outcome,
}

impl Waited {
    /// It is over: its reply was sent, or there is none.
    pub(super) fn end(&self, ends: &Ends, reply: &[u8], now: Instant) {
        let Self { query, client, start, outcome } = self;
        let end = End { query, client: *client, outcome: *outcome, reply, has_waited: true };
        ends.note([end], [*start, now]);
    }
}

impl Replies {
    /// Takes a reply on its way; the outcome comes of it, unless it cannot be sent.
    pub(super) fn push(&mut self, ends: &Ends, path: ReplyPath, message: &[u8], mut waited: Waited, now: Instant) {
        let (socket, peer, local) = match path {
            ReplyPath::Datagram { socket, peer, local } => (socket, peer, local),
            path @ (ReplyPath::Stream(_) | ReplyPath::Once(_)) => {
                waited.outcome = path.deliver(message, waited.outcome);
                return waited.end(ends, message, now);
            }
        };
        let is_other = self.socket.as_ref().is_some_and(|open| !Arc::ptr_eq(open, &socket));
        if is_other || self.gathered.is_full() {
            self.send(ends);
        }
        self.gathered.push(message, peer, local);
        self.waited.push(waited);
        self.socket = Some(socket);
    }

    /// Sends what was gathered.
    pub(super) fn send(&mut self, ends: &Ends) {
        let Some(socket) = self.socket.take() else { return };
        let waited = &mut self.waited;
        self.gathered.send(socket.as_fd(), |index| {
            if let Some(waited) = waited.get_mut(index) {
                waited.outcome = Outcome::Not(Reason::Unsent);
            }
        });
        let now = Instant::now();
        for (waited, message) in self.waited.drain(..).zip(self.gathered.sent()) {
            waited.end(ends, message, now);
        }
    }
}
