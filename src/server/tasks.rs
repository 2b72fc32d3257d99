//! What takes longer than a turn, and needs a runtime: the event loop leaves it to the other thread of its worker.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::forwarding::PacedReplies;
use super::worker::Worker;
use crate::forward::Transmit;

/// Something to be done meanwhile.
pub(super) enum Task {
    /// An upstream is to be asked over a connection.
    Ask(Transmit),
    /// Replies that leave later.
    Pace(PacedReplies),
}

/// Where a thread's tasks run.
pub(super) enum Tasks {
    /// In the thread's own runtime.
    Own,
    /// In that of another thread. No more wait than there are questions and queries under way.
    Other(mpsc::UnboundedSender<Task>),
}

impl Worker {
    /// Sees to it that a task runs.
    pub(super) fn begin(self: &Rc<Self>, task: Task) {
        match &self.tasks {
            Tasks::Own => _ = tokio::task::spawn_local(self.clone().carry(task)),
            // The other thread ends when nothing is in flight any more. Who waits for the task then is counted as left.
            Tasks::Other(other) => _ = other.send(task),
        }
    }

    async fn carry(self: Rc<Self>, task: Task) {
        match task {
            Task::Ask(transmit) => self.ask_by_stream(transmit).await,
            Task::Pace(replies) => self.reply_later(replies).await,
        }
    }

    /// Runs what the event loop leaves to this thread.
    pub(super) async fn take_over(self: Rc<Self>, tasks: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Task>>>) {
        let mut tasks = tasks.lock().await;
        while let Some(task) = tasks.recv().await {
            self.begin(task);
        }
    }
}
