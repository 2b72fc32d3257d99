//! What the process is about: ready or not, and how its last reload went.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use parking_lot::{Mutex, MutexGuard};

/// Why settings and records are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadCause {
    /// Their content changed.
    Files,
    /// SIGHUP.
    Signal,
    /// `POST /reload`.
    Request,
    /// Discovery has other records.
    Discovery,
}

impl ReloadCause {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Signal => "signal",
            Self::Request => "request",
            Self::Discovery => "discovery",
        }
    }
}

/// How a reload went.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ReloadReport {
    /// Whether what was read serves now.
    pub accepted: bool,
    /// The generation that serves.
    pub generation: u64,
    /// Records that serve.
    pub records: usize,
    /// Records that came with it; 0 where it was rejected.
    pub added: usize,
    /// Records that went with it; 0 where it was rejected.
    pub removed: usize,
    /// What is wrong or risky in what was read, each with its place: the first [`PROBLEMS_MAX`].
    pub problems: Vec<String>,
    /// How many there are.
    pub problem_count: usize,
}

/// Problems that are shown: the log has all of them.
pub const PROBLEMS_MAX: usize = 100;

/// Shared by the task that changes it and the pages that show it.
#[derive(Debug)]
pub struct Status {
    /// When the process started.
    pub started: Instant,
    /// Wall-clock time of the same.
    pub started_at: SystemTime,
    is_ready: AtomicBool,
    is_stopping: AtomicBool,
    is_stuck: AtomicBool,
    reloads: Mutex<Reloads>,
    /// Bytes that this configuration can use at most.
    memory_bound: AtomicU64,
}

/// Reloads so far.
#[derive(Debug, Clone)]
pub(super) struct Reloads {
    pub(super) last: ReloadReport,
    pub(super) accepted: u64,
    pub(super) rejected: u64,
    pub(super) accepted_at: Instant,
    pub(super) accepted_time: SystemTime,
}

impl Status {
    /// Not ready yet; `first` is how the first load went, `memory_bound` what it can use at most, bytes.
    pub fn new(first: ReloadReport, memory_bound: u64) -> Self {
        let (now, time) = (Instant::now(), SystemTime::now());
        Self {
            started: now,
            started_at: time,
            is_ready: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            is_stuck: AtomicBool::new(false),
            reloads: Mutex::new(Reloads {
                last: first,
                accepted: 0,
                rejected: 0,
                accepted_at: now,
                accepted_time: time,
            }),
            memory_bound: AtomicU64::new(memory_bound),
        }
    }

    /// Listeners are up and the table is loaded.
    pub fn set_ready(&self) {
        self.is_ready.store(true, Ordering::Release);
    }

    /// The end was ordered: not ready from now on.
    pub fn set_stopping(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// Whether queries should come here.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire) && !self.is_stopping()
    }

    /// A worker makes no progress, or all do again.
    pub fn set_stuck(&self, is_stuck: bool) {
        self.is_stuck.store(is_stuck, Ordering::Release);
    }

    /// Whether a worker makes no progress.
    pub fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Acquire)
    }

    /// Whether the end was ordered.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// How far it is, in one word.
    pub(super) fn word(&self) -> &'static str {
        match (self.is_ready(), self.is_stopping()) {
            (true, _) => "ready",
            (false, true) => "stopping",
            (false, false) => "starting",
        }
    }

    /// The most memory that this configuration can use, bytes.
    pub fn memory_bound(&self) -> u64 {
        self.memory_bound.load(Ordering::Relaxed)
    }

    /// Notes what another configuration can use at most.
    pub fn set_memory_bound(&self, bytes: u64) {
        self.memory_bound.store(bytes, Ordering::Relaxed);
    }

    /// Notes how a reload went.
    pub fn note_reload(&self, report: ReloadReport) {
        let mut reloads = self.lock();
        if report.accepted {
            reloads.accepted += 1;
            reloads.accepted_at = Instant::now();
            reloads.accepted_time = SystemTime::now();
        } else {
            reloads.rejected += 1;
        }
        reloads.last = report;
    }

    pub(super) fn reloads(&self) -> Reloads {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Reloads> {
        self.reloads.lock()
    }
}
