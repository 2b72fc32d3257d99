//! Replies to those who waited: datagrams gathered, to be sent together, and the rest at once.

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::counters::{Counters, Outcome};
use super::waiter::ReplyPath;
use crate::engine::Reason;
use crate::sys::Gathered;

/// Datagrams that leave from the same socket, with what is to be counted of each.
#[derive(Default)]
pub(super) struct Replies {
    socket: Option<Arc<UdpSocket>>,
    gathered: Gathered,
    outcomes: Vec<Outcome>,
}

impl Replies {
    /// Takes a reply on its way; `outcome` comes of it, unless it cannot be sent.
    pub(super) fn push(&mut self, path: ReplyPath, message: &[u8], outcome: Outcome, counters: &Counters) {
        let (socket, peer, local) = match path {
            ReplyPath::Datagram { socket, peer, local } => (socket, peer, local),
            ReplyPath::Stream(path) => return counters.count(path.deliver(message, outcome)),
            ReplyPath::Once(path) => return counters.count(path.deliver(message, outcome)),
        };
        let is_other = self.socket.as_ref().is_some_and(|open| !Arc::ptr_eq(open, &socket));
        if is_other || self.gathered.is_full() {
            self.send(counters);
        }
        self.gathered.push(message, peer, local);
        self.outcomes.push(outcome);
        self.socket = Some(socket);
    }

    /// Sends what was gathered.
    pub(super) fn send(&mut self, counters: &Counters) {
        let Some(socket) = self.socket.take() else { return };
        let outcomes = &mut self.outcomes;
        self.gathered.send(socket.as_fd(), |index| {
            if let Some(outcome) = outcomes.get_mut(index) {
                *outcome = Outcome::Not(Reason::Unsent);
            }
        });
        self.outcomes.drain(..).for_each(|outcome| counters.count(outcome));
    }
}
