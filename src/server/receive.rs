//! What upstreams say: read from this worker's sockets, told to the state machine, replied to all whom it concerns.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;

use super::faults::Part;
use super::forwarding::take;
use super::worker::Worker;
use crate::forward::Heard;
use crate::upstream::Received;

/// How often sockets are looked for whose queries were settled elsewhere, or not in time.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// What is taken from upstreams under one lock of the state machine, which others wait for.
const TAKEN_AT_ONCE: usize = 32;

impl Worker {
    /// Reads what upstreams send to this worker's sockets, whose `readiness` it is.
    pub(super) async fn receive(self: Rc<Self>, readiness: &AsyncFd<OwnedFd>) {
        let mut received = Vec::new();
        while let Ok(mut guard) = readiness.readable().await {
            if let Err(error) = self.sockets.borrow_mut().receive(&mut received) {
                tracing::error!(%error, "cannot read upstream sockets");
            }
            self.take_received(&mut received);
            // Only now is it known which of them are listened to on.
            let may_have_more = self.sockets.borrow().may_have_more();
            if !may_have_more {
                guard.clear_ready();
            }
            drop(guard);
            if may_have_more {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Closes sockets whose queries were settled elsewhere, or not in time.
    pub(super) async fn sweep(self: Rc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            self.sockets.borrow_mut().sweep(Instant::now());
        }
    }

    /// Tells the state machine what came, replies to all whom that concerns, and closes what is done with.
    fn take_received(self: &Rc<Self>, received: &mut Vec<Received>) {
        let now = Instant::now();
        let mut sources = Vec::with_capacity(received.len().min(TAKEN_AT_ONCE));
        while !received.is_empty() {
            let some = received.drain(..received.len().min(TAKEN_AT_ONCE));
            let ignored = self.sockets.borrow_mut().take_ignored();
            self.with_forwarding(now, |forwarding, out| {
                forwarding.count_ignored(ignored);
                for received in some {
                    let source = received.source();
                    // After a panic its socket is closed.
                    let heard = self
                        .with_machine(Part::Answer, forwarding, now, out, |forwarding, out| {
                            take(forwarding, now, received.id, received.outcome, out)
                        })
                        .unwrap_or(Heard::Done);
                    sources.push((source, heard));
                }
            });
            let mut sockets = self.sockets.borrow_mut();
            for (source, heard) in sources.drain(..) {
                match heard {
                    Heard::Done => sockets.close(source),
                    Heard::Listen => sockets.listen_on(source),
                }
            }
        }
    }
}
