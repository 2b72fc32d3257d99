//! Messages that come alone, from connections: each a batch of one.

use std::rc::Rc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::counters::Outcome;
use super::end::End;
use super::forwarding::Origin;
use super::waiter::{OncePath, OnceReply, ReplyPath, Uncounted};
use super::worker::Worker;
use crate::engine::{Action, Ask, Client, GROUP};
use crate::sys::prefetch;
use crate::wire::NameBuf;

impl Worker {
    /// Takes a message that came alone, and sees to it that its reply goes its path. `reply` is room to write in.
    pub(super) fn take(self: &Rc<Self>, message: &[u8], client: Client, path: ReplyPath, reply: &mut Vec<u8>) {
        self.counters.received(client.transport, 1);
        self.counters.kind(message);
        let uncounted = Uncounted::new(&self.counters);
        let now = Instant::now();
        let snapshot = self.shared.snapshot.load();
        let mut name_bufs = [const { NameBuf::new() }; GROUP];
        // Over connections nothing depends on the port.
        let mut asks = [Ask::new(message, client, u16::MAX, reply)];
        let batch = self.batch(&snapshot, now, asks.len());
        self.shared.engine.answer_batch(batch, &mut asks, &mut name_bufs, &self.shared.faults, prefetch);
        let [Ask { action, reply, .. }] = asks;
        let (answered, outcome) = match action {
            Action::Forward(forward) => {
                let origin = Origin { query: message, client, path, uncounted };
                return self.forward([(forward, origin)], now);
            }
            Action::AnsweredAndRefresh(source, question) => {
                self.refresh(question, now);
                (true, Outcome::Answered(source))
            }
            Action::Answered(source) => (true, Outcome::Answered(source)),
            Action::Refused(reason) => (true, Outcome::Not(reason)),
            Action::Dropped(reason) => (false, Outcome::Not(reason)),
        };
        let outcome = if answered { path.deliver(reply, outcome) } else { outcome };
        uncounted.counted();
        self.ends.note([End { query: message, client, outcome, reply, has_waited: false }], [now, Instant::now()]);
    }

    /// Answers one message, for transports that carry one at a time; nothing where it gets no reply.
    pub(super) async fn exchange(self: &Rc<Self>, message: &[u8], client: Client) -> Option<OnceReply> {
        let (reply, answered) = oneshot::channel();
        let path = ReplyPath::Once(OncePath { reply, connections: self.shared.connections.clone() });
        self.take(message, client, path, &mut Vec::new());
        answered.await.ok()
    }
}
