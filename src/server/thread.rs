//! A worker's thread: one runtime, everything that happens on its core.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};

use super::counters::Counters;
use super::faults::Part;
use super::listen::Listener;
use super::shared::Shared;
use super::worker::Worker;
use super::{stream, udp};

/// How many of its own tasks a worker runs before it looks at its sockets again.
const EVENT_INTERVAL: u32 = 13;

/// How often a worker says that it is alive.
const BEAT: Duration = Duration::from_millis(500);
/// How long a worker rests that failed as a whole, before it begins again.
const REST: Duration = Duration::from_millis(200);

/// What a worker's thread is given.
pub(super) struct Start {
    pub(super) number: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Arc<Counters>,
    pub(super) listeners: mpsc::UnboundedReceiver<Listener>,
    pub(super) seeds: [[u8; 32]; 2],
    /// Where it says that it has all that it needs, which later may not be there any more.
    pub(super) started: Sender<io::Result<()>>,
}

/// Runs a worker to its end. Where it fails as a whole, once it had started, it begins again and serves what it served.
pub(super) fn run(mut start: Start) {
    let mut serving = Vec::new();
    let mut started = Some(start.started.clone());
    loop {
        let run = || run_once(&mut start, &mut serving, &mut started);
        let outcome = catch_unwind(AssertUnwindSafe(run));
        let worker = start.number;
        match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                tracing::error!(worker, %error, "worker exited");
                if let Some(started) = started.take() {
                    let _ = started.send(Err(error));
                    return;
                }
            }
            Err(_) => {
                start.shared.faults.note(Part::Worker);
                tracing::error!(worker, "worker panicked; restarting it");
            }
        }
        // The IDs and ports of before must not come again: another seed by one bit is another one altogether.
        for seed in &mut start.seeds {
            let [first, ..] = seed;
            *first = first.wrapping_add(1);
        }
        std::thread::sleep(REST);
    }
}

fn run_once(
    start: &mut Start,
    serving: &mut Vec<Rc<Listener>>,
    started: &mut Option<Sender<io::Result<()>>>,
) -> io::Result<()> {
    let Start { number, shared, counters, listeners, seeds, .. } = start;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(EVENT_INTERVAL).build()?;
    let local = LocalSet::new();
    let worker = Rc::new(Worker::new(*number, shared, counters, *seeds)?);
    runtime.block_on(local.run_until(async {
        let readiness = worker.sockets.borrow().readiness()?;
        if let Some(started) = started.take() {
            let _ = started.send(Ok(()));
        }
        let mut always = JoinSet::new();
        let own = worker.clone();
        always.spawn_local(async move {
            own.shared.faults.keep_running(Part::Upstream, || own.clone().hear(&readiness)).await;
        });
        let own = worker.clone();
        always.spawn_local(async move { own.shared.faults.keep_running(Part::Upstream, || own.clone().sweep()).await });
        let own = worker.clone();
        always.spawn_local(async move { own.shared.faults.keep_running(Part::Timers, || beat(&own)).await });
        // One worker watches the timers of all.
        if *number == 0 {
            let own = worker.clone();
            always
                .spawn_local(async move { own.shared.faults.keep_running(Part::Timers, || watch_timers(&own)).await });
        }
        let mut listening = JoinSet::new();
        serving.iter().for_each(|listener| listen(&worker, listener, &mut listening));
        let mut stopping = shared.stopping.subscribe();
        loop {
            tokio::select! {
                biased;
                Some(new) = listeners.recv() => {
                    let new = Rc::new(new);
                    serving.retain(|listener| !listener.stop.is_stopped());
                    serving.push(new.clone());
                    shared.faults.meet(Part::Worker);
                    listen(&worker, &new, &mut listening);
                }
                Some(_) = listening.join_next() => {}
                _ = stopping.wait_for(|stop| *stop) => break,
            }
        }
        while listening.join_next().await.is_some() {}
        drain(&worker).await;
        always.abort_all();
        Ok(())
    }))
}

fn listen(worker: &Rc<Worker>, listener: &Rc<Listener>, listening: &mut JoinSet<()>) {
    if let Some(datagrams) = &listener.datagram {
        let (worker, stop, datagrams) = (worker.clone(), listener.stop.clone(), datagrams.clone());
        listening.spawn_local(async move {
            worker.shared.faults.keep_running(Part::Listener, || udp::serve(&worker, &datagrams, &stop)).await;
        });
    }
    let (worker, listener) = (worker.clone(), listener.clone());
    listening.spawn_local(async move {
        worker.shared.faults.keep_running(Part::Listener, || stream::serve(&worker, &listener)).await;
    });
}

/// Shows that tasks of this worker have their turn.
async fn beat(worker: &Rc<Worker>) {
    loop {
        worker.counters.beat();
        tokio::time::sleep(BEAT).await;
    }
}

/// Does what is due when it is due.
async fn watch_timers(worker: &Rc<Worker>) {
    loop {
        let next = worker.shared.forwarding().next_timeout(Instant::now());
        worker.shared.arm_timer(next);
        let far = Instant::now() + Duration::from_secs(3600);
        tokio::select! {
            () = tokio::time::sleep_until(next.unwrap_or(far).into()) => {}
            () = worker.shared.timers_changed.notified() => continue,
        }
        let now = Instant::now();
        worker.with_forwarding(now, |forwarding, out| {
            worker.with_machine(Part::Timers, forwarding, now, out, |forwarding, out| {
                forwarding.handle_timeout(now, out)
            });
        });
    }
}

/// Waits until nothing is in flight any more, or what is left is waited for no longer.
async fn drain(worker: &Worker) {
    while !worker.shared.is_over()
        && (worker.shared.forwarding().has_waiters() || !worker.shared.connections.is_empty())
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
