//! What a configuration can use at most, octets.

use crate::config::Settings;
use crate::forward::OUTSTANDING_MAX;
use crate::server::Connections;

/// What the program takes before it has anything to keep.
const PROGRAM: u64 = 16 << 20;
/// What a worker takes: its batches, with the longest replies of each, and its stack.
const WORKER: u64 = 12 << 20;
/// What an outstanding question takes: itself, its tries with a socket each, and who waits for it, one client a question.
const QUESTION: u64 = 4 << 10;
/// Lines of the log that wait, of a usual length.
const LOG: u64 = 4096 * 512;

/// The parts of the bound by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryBound(pub Vec<(&'static str, u64)>);

impl MemoryBound {
    /// The bound of `settings` with a table of `table` octets and as many workers. While a reload is under way there are
    /// two tables, and the texts of the new one.
    pub fn of(settings: &Settings, table: usize, workers: usize) -> Self {
        Self(vec![
            ("program", PROGRAM),
            ("workers", workers as u64 * WORKER),
            ("table", table as u64 * 4),
            ("cache", settings.cache.max_size),
            ("connections", Connections::MEMORY_MAX as u64),
            ("forwarding", OUTSTANDING_MAX as u64 * QUESTION),
            ("log", LOG),
        ])
    }

    /// All parts together.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, octets)| octets).sum()
    }
}
