//! Defects of the server itself: a panic costs what met it, is counted and told, and what has to go on goes on.
//!
//! Every call into the rooms below is guarded where one query can be told from the next ([`Faults::guarded`]), every task is held
//! until its end ([`Faults::supervised`]), and tasks that must not end begin again ([`Faults::keep_running`]).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use crate::engine::StepGuard;

/// How long a task rests that ended by a panic, before it begins again: one that panics at once must not take the CPU.
const REST: Duration = Duration::from_millis(100);
/// The same for a thread that others wait for.
const SHORT_REST: Duration = Duration::from_millis(10);

/// Where a panic was caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The engine, with the query of a client.
    Query,
    /// What an upstream said, in the state machine or in the engine.
    Answer,
    /// What is asked upstream.
    Forwarding,
    /// A listener.
    Listener,
    /// A connection of a client.
    Connection,
    /// The sockets towards upstreams.
    Upstream,
    /// The timers.
    Timers,
    /// A worker as a whole.
    Worker,
    /// Reloads.
    Control,
}

impl Part {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 9] = [
        Self::Query,
        Self::Answer,
        Self::Forwarding,
        Self::Listener,
        Self::Connection,
        Self::Upstream,
        Self::Timers,
        Self::Worker,
        Self::Control,
    ];

    /// The word for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Answer => "answer",
            Self::Forwarding => "forwarding",
            Self::Listener => "listener",
            Self::Connection => "connection",
            Self::Upstream => "upstream",
            Self::Timers => "timers",
            Self::Worker => "worker",
            Self::Control => "control",
        }
    }
}

/// Panics that were caught, by part; written by any thread.
#[derive(Debug, Default)]
pub struct Faults {
    counts: [AtomicU64; Part::ALL.len()],
    #[cfg(test)]
    injected: parking_lot::Mutex<Vec<(Part, u32)>>,
}

impl StepGuard for Faults {
    #[inline]
    fn step<R>(&self, step: impl FnOnce() -> R, lost: impl FnOnce() -> R) -> R {
        self.guarded(Part::Query, step, lost)
    }
}

impl Faults {
    /// Counts a panic, and says so. Its message and place were logged as it happened.
    pub(super) fn note(&self, part: Part) {
        if let Some(count) = self.counts.get(part as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many there were, by part.
    pub fn by_part(&self) -> impl Iterator<Item = (Part, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        Part::ALL.into_iter().zip(counts)
    }

    /// Calls what may panic; `instead` stands in for its result then.
    #[inline]
    pub fn guarded<R>(&self, part: Part, call: impl FnOnce() -> R, instead: impl FnOnce() -> R) -> R {
        let call = || {
            self.meet(part);
            call()
        };
        catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
            self.note(part);
            instead()
        })
    }

    /// What a thread does after a panic of a part that it goes on with: says so, and waits a little; gives `instead`.
    #[cold]
    pub(super) fn rest<R>(&self, part: Part, instead: R) -> R {
        tracing::error!(part = part.name(), "worker panicked; continuing");
        std::thread::sleep(SHORT_REST);
        instead
    }

    /// Runs a task; nothing where it ended by a panic, which is counted.
    pub async fn supervised<T>(&self, part: Part, task: impl Future<Output = T>) -> Option<T> {
        let mut task = pin!(task);
        std::future::poll_fn(|context| {
            let polled = catch_unwind(AssertUnwindSafe(|| {
                self.meet(part);
                task.as_mut().poll(context)
            }));
            polled.map_or_else(
                |_| {
                    self.note(part);
                    Poll::Ready(None)
                },
                |polled| polled.map(Some),
            )
        })
        .await
    }

    /// Runs a task that must not end before the worker does: after a panic it begins again.
    pub(super) async fn keep_running<F: Future<Output = ()>>(&self, part: Part, task: impl Fn() -> F) {
        while self.supervised(part, task()).await.is_none() {
            tracing::error!(part = part.name(), "task panicked; restarting it");
            tokio::time::sleep(REST).await;
        }
    }

    /// Where tests have a panic happen.
    #[inline(always)]
    pub(super) fn meet(&self, _part: Part) {
        #[cfg(test)]
        {
            let mut injected = self.injected.lock();
            let due = injected.iter().position(|(part, after)| *part == _part && *after == 0);
            if let Some(due) = due {
                injected.swap_remove(due);
                drop(injected);
                panic!("a defect, on purpose: {}", _part.name());
            }
            injected.iter_mut().filter(|(part, _)| *part == _part).for_each(|(_, after)| *after -= 1);
        }
    }

    /// Has the next passage of a part panic, after it was passed as often.
    #[cfg(test)]
    pub(super) fn inject(&self, part: Part, after: u32) {
        self.injected.lock().push((part, after));
    }

    /// Whether all injected panics happened.
    #[cfg(test)]
    pub(super) fn all_happened(&self) -> bool {
        self.injected.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_costs_one_call_and_is_counted() {
        let faults = Faults::default();
        assert_eq!(faults.guarded(Part::Query, || -> u8 { panic!("a defect, on purpose") }, || 1), 1);
        assert_eq!(faults.guarded(Part::Query, || 2, || 1), 2);
        faults.inject(Part::Answer, 1);
        let calls = [0; 3].map(|_| faults.guarded(Part::Answer, || "well", || "caught"));
        assert_eq!(calls, ["well", "caught", "well"]);
        let counted: Vec<_> = faults.by_part().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(Part::Query, 1), (Part::Answer, 1)]);
        for (place, part) in Part::ALL.into_iter().enumerate() {
            assert_eq!(part as usize, place, "{}", part.name());
        }
    }

    #[test]
    fn a_task_that_panics_ends_and_is_counted() {
        let faults = Faults::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ends = runtime.block_on(async {
            let panics = faults.supervised(Part::Timers, async { panic!("a defect, on purpose") }).await;
            (panics, faults.supervised(Part::Timers, async { 7 }).await)
        });
        assert_eq!(ends, (None::<()>, Some(7)));
        assert_eq!(faults.by_part().map(|(_, count)| count).sum::<u64>(), 1);
    }
}
