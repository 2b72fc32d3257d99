//! The second thread of a worker, with a runtime: connections of clients and to upstreams, QUIC, replies that leave later.
//!
//! A handshake takes as long as a hundred queries. Here it keeps no datagram waiting, as far as there are cores.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinSet, LocalSet};

#[cfg(feature = "quic")]
use super::endpoint::EndpointKind;
use super::faults::Part;
use super::listen::Listener;
#[cfg(feature = "quic")]
use super::quic;
use super::receive::NestedPoll;
use super::stream;
use super::tasks::{Task, Tasks};
use super::worker::Worker;
use crate::upstream::DatagramSockets;

/// How many of its own tasks the thread runs before it looks at its sockets again.
const EVENT_INTERVAL: u32 = 13;
/// How often it says that it is alive.
const BEAT: Duration = Duration::from_millis(500);

/// What the thread serves. Outlives a panic of the thread.
pub(super) struct StreamThread {
    new: mpsc::UnboundedReceiver<Listener>,
    tasks: Arc<Mutex<mpsc::UnboundedReceiver<Task>>>,
    serving: Vec<Arc<Listener>>,
}

impl StreamThread {
    /// One that serves what comes out of `new`, and carries out `tasks` of the event loop.
    pub(super) fn new(new: mpsc::UnboundedReceiver<Listener>, tasks: mpsc::UnboundedReceiver<Task>) -> Self {
        Self { new, tasks: Arc::new(Mutex::new(tasks)), serving: Vec::new() }
    }

    /// Serves until the server ends and nothing is in flight any more, or what is left is waited for no longer. Calls `started` once
    /// it has what it needs.
    ///
    /// # Errors
    /// The system's refusal to give descriptors.
    pub(super) fn run(
        &mut self,
        worker: impl FnOnce(Arc<DatagramSockets>, Tasks) -> Worker,
        started: impl FnOnce(),
    ) -> io::Result<()> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().event_interval(EVENT_INTERVAL).build()?;
        let local = LocalSet::new();
        runtime.block_on(local.run_until(async {
            let nested = Rc::new(NestedPoll::new()?);
            let worker = Rc::new(worker(nested.sockets().clone(), Tasks::Own));
            started();
            let mut always = JoinSet::new();
            let (own, read) = (worker.clone(), nested.clone());
            always.spawn_local(async move {
                own.shared.faults.keep_running(Part::Upstream, || own.clone().receive_nested(&read)).await;
            });
            let own = worker.clone();
            always.spawn_local(async move {
                own.shared.faults.keep_running(Part::Upstream, || nested.sweep()).await;
            });
            let own = worker.clone();
            always.spawn_local(async move { own.shared.faults.keep_running(Part::Timers, || beat(&own)).await });
            let (own, tasks) = (worker.clone(), self.tasks.clone());
            always.spawn_local(async move {
                own.shared.faults.keep_running(Part::Forwarding, || own.clone().take_over(tasks.clone())).await;
            });
            let mut listening = JoinSet::new();
            self.serving.iter().for_each(|listener| listen(&worker, listener, &mut listening));
            let mut stopping = worker.shared.stopping.subscribe();
            loop {
                tokio::select! {
                    biased;
                    Some(new) = self.new.recv() => {
                        let new = Arc::new(new);
                        self.serving.push(new.clone());
                        worker.shared.faults.meet(Part::Worker);
                        listen(&worker, &new, &mut listening);
                    }
                    // What is not listened on any more is closed: its clients are refused instead of left to wait.
                    Some(_) = listening.join_next() => self.serving.retain(|listener| !listener.stop.is_stopped()),
                    _ = stopping.wait_for(|stop| *stop) => break,
                }
            }
            while listening.join_next().await.is_some() {}
            while !worker.is_done() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            always.abort_all();
            Ok(())
        }))
    }
}

fn listen(worker: &Rc<Worker>, listener: &Arc<Listener>, listening: &mut JoinSet<()>) {
    #[cfg(feature = "quic")]
    if let (EndpointKind::Quic, Some(datagrams)) = (listener.kind, &listener.datagram) {
        let (worker, stop, datagrams) = (worker.clone(), listener.stop.clone(), datagrams.clone());
        listening.spawn_local(async move {
            worker.shared.faults.keep_running(Part::Listener, || quic::serve(&worker, &datagrams, &stop)).await;
        });
        return;
    }
    let (worker, listener) = (worker.clone(), listener.clone());
    listening.spawn_local(async move {
        worker.shared.faults.keep_running(Part::Listener, || stream::serve(&worker, &listener)).await;
    });
}

/// Shows that tasks of this thread have their turn.
async fn beat(worker: &Rc<Worker>) {
    loop {
        worker.counters.beat();
        tokio::time::sleep(BEAT).await;
    }
}
