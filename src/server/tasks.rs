//! What takes longer than a turn, and needs a runtime: the event loop leaves it to the other thread of its worker.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::waiter::Waiter;
use crate::engine::Answer;
use crate::forward::{Failure, ReleasedWaiter, Transmit, Turn};

/// Something to be done meanwhile.
pub(super) enum Task {
    /// An upstream is to be asked over a connection.
    Ask(Transmit),
    /// Replies that leave later.
    Pace(PacedReplies),
}

/// Replies of one answer that leave later, in their order.
pub(super) struct PacedReplies {
    pub(super) replies: Vec<Paced>,
    pub(super) outcome: Result<Answer, Failure>,
    pub(super) detail: Option<Arc<str>>,
}

/// A reply that leaves later.
pub(super) struct Paced {
    pub(super) turn: Turn,
    pub(super) released: ReleasedWaiter<Box<Waiter>>,
}

/// Where a thread's tasks run.
pub(super) enum Tasks {
    /// In the thread's own runtime.
    Own,
    /// In that of another thread. No more wait than there are questions and queries under way.
    Other(mpsc::UnboundedSender<Task>),
}
