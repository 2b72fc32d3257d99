//! What waits for an upstream, and the ways back to clients.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::connections::{Connections, ReplyBytes};
use super::counters::{Counters, Outcome};
use super::outgoing::ReplyPlace;
use crate::engine::{Chain, Client, Reason, StaleAnswer};
use crate::sys::LocalAddress;
use crate::wire::query::OwnedQuery;

/// A client that waits for an upstream's answer.
pub struct Waiter {
    /// Its query, as far as the reply needs it.
    pub(super) query: OwnedQuery,
    pub(super) client: Client,
    pub(super) chain: Option<Box<Chain>>,
    pub(super) stale: Option<Box<StaleAnswer>>,
    pub(super) deadline: Instant,
    pub(super) path: ReplyPath,
    pub(super) uncounted: Uncounted,
}

/// A query that came in and was not counted as answered, refused or dropped yet. Where it is lost so, by a panic, it
/// counts as dropped by a fault.
pub(super) struct Uncounted(Option<Arc<Counters>>);

impl Uncounted {
    pub(super) fn new(counters: &Arc<Counters>) -> Self {
        Self(Some(counters.clone()))
    }

    /// It is counted, or about to be.
    pub(super) fn counted(mut self) {
        self.0 = None;
    }

    /// The server ends while it waits.
    pub(super) fn left(mut self) {
        if let Some(counters) = self.0.take() {
            counters.left();
        }
    }
}

impl Drop for Uncounted {
    fn drop(&mut self) {
        if let Some(counters) = &self.0 {
            counters.lost();
        }
    }
}

/// The way back to a client.
pub(super) enum ReplyPath {
    /// A datagram from the socket that the query came to.
    Datagram { socket: Arc<UdpSocket>, peer: SocketAddr, local: Option<LocalAddress> },
    /// The connection that the query came by.
    Stream(ReplyPlace),
    /// The task that asked for one message alone.
    Once(OncePath),
}

/// The way back of one message.
pub(super) struct OncePath {
    pub(super) reply: oneshot::Sender<OnceReply>,
    pub(super) connections: Arc<Connections>,
}

/// The reply to one message, with the room that it takes until it is written.
pub(super) struct OnceReply {
    pub(super) message: Vec<u8>,
    /// Of all connections together there are only so many waiting.
    pub(super) _bytes: ReplyBytes,
}

impl AsRef<[u8]> for OnceReply {
    fn as_ref(&self) -> &[u8] {
        &self.message
    }
}

impl ReplyPath {
    /// Sends a reply into a connection; `outcome` comes of it, unless it cannot be sent. Datagrams are sent in batches, elsewhere.
    pub(super) fn deliver(self, message: &[u8], outcome: Outcome) -> Outcome {
        let sent = match self {
            Self::Datagram { .. } => true,
            Self::Stream(place) => place.deliver(message),
            Self::Once(OncePath { reply, connections }) => connections
                .take_bytes(message.len())
                .is_some_and(|bytes| reply.send(OnceReply { message: message.to_vec(), _bytes: bytes }).is_ok()),
        };
        if sent { outcome } else { Outcome::Not(Reason::Unsent) }
    }
}
