//! How much may wait: the most that there ever is, and what the memory of the process leaves of it.

/// Questions and queries that may wait at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardBounds {
    /// Questions outstanding or waiting, of all rules.
    pub questions: usize,
    /// Queries that wait, of all clients and for all questions.
    pub waiting: usize,
}

impl ForwardBounds {
    /// Where memory is no matter.
    pub const MOST: Self = Self { questions: 49_152, waiting: 131_072 };

    /// From how many waiting queries on all places are scarce.
    pub(super) fn scarce(self) -> usize {
        self.waiting / 2
    }

    /// Entries of the timers: beyond, those that are out of date go.
    pub(super) fn timers(self) -> usize {
        self.questions * 4
    }

    /// Entries of a line, or of the questions that no client waits for: beyond, those of questions that are done go.
    pub(super) fn tickets(self) -> usize {
        self.questions * 2
    }
}

impl Default for ForwardBounds {
    fn default() -> Self {
        Self::MOST
    }
}
