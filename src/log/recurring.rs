//! What may go wrong often is said once in a while, with how often it went wrong in between.

#![expect(clippy::disallowed_methods, reason = "an interval is measured by the clock")]

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long one cause is silent after it was said.
const INTERVAL: Duration = Duration::from_secs(60);

/// One cause of warnings. Make it a `static`.
#[derive(Debug)]
pub struct Recurring(Mutex<State>);

#[derive(Debug)]
struct State {
    said: Option<Instant>,
    unsaid: u64,
}

impl Recurring {
    /// A cause that was not seen yet.
    pub const fn new() -> Self {
        Self(Mutex::new(State { said: None, unsaid: 0 }))
    }

    /// Counts an occurrence. When it is to be said, gives how many were not since the last that was.
    pub fn due(&self) -> Option<u64> {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        if state.said.is_some_and(|said| now.saturating_duration_since(said) < INTERVAL) {
            state.unsaid += 1;
            return None;
        }
        state.said = Some(now);
        Some(std::mem::take(&mut state.unsaid))
    }
}

impl Default for Recurring {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once_an_interval() {
        static CAUSE: Recurring = Recurring::new();
        let start = Instant::now();
        assert_eq!(CAUSE.due_at(start), Some(0));
        for n in 1..60 {
            assert_eq!(CAUSE.due_at(start + Duration::from_secs(n)), None);
        }
        assert_eq!(CAUSE.due_at(start + INTERVAL), Some(59));
        assert_eq!(CAUSE.due_at(start + INTERVAL * 2), Some(0));
    }
}
