//! Deciding what is asked upstream, of whom, and when: a state machine told the time.
//!
//! ```text
//!            ask                          heard: an answer that matches
//! question ──────> waiting for its turn ──> outstanding ──────────────> settled, with all who waited
//!            │         (budget)               │   ▲                         ▲
//!            └──────────────────────────────> │   │ again after a while,    │ timeout over,
//!               joins the one outstanding     └───┘ elsewhere or by TCP     │ nothing heard
//!                                               └───────────────────────────┘
//! ```
//!
//! [`Forwarding`] takes questions with what waits for them, and gives [`Transmit`]s to carry out and [`Resolved`]
//! questions to answer. It opens no socket and reads no clock: `upstream` does what it says and tells it what came
//! back. Identical questions are asked once. Every try has a new ID, and the shell gives it a port that cannot be foreseen; what does not
//! match never ends the wait (RFC 5452).
//!
//! A budget is per upstream address. What exceeds it waits in line, clients taking turns; questions for zones that are
//! slow may not take every place. A client with a stale answer at hand does not wait in line: it is served, and the
//! question asked for the cache's sake when there is a turn to spare.

#![deny(clippy::indexing_slicing)]

mod answers;
mod attempts;
mod bounds;
mod budget;
mod capabilities;
mod clients;
mod health;
mod letters;
mod loops;
mod machine;
mod memory;
mod orphans;
mod outstanding;
mod question;
mod questions;
mod queue;
mod rule;
#[cfg(test)]
mod tests;
mod timers;
mod token;
mod upstream;
mod upstreams;

pub use bounds::ForwardBounds;
pub use budget::{Limits, Ports};
pub use clients::CLIENT_TIMEOUT;
pub use machine::Forwarding;
pub use memory::REMEMBERED_BYTES_MAX;
#[cfg(test)]
pub(crate) use question::test_try;
pub use question::{
    Answered, Arrival, AttemptId, AttemptState, ClientQuery, DETAIL_MAX, Delivery, Failure, ForwardCounts, News,
    Outbox, Question, ReleasedWaiter, Resolved, Stale, Transmit, Trouble, TroubleKind, Turn, UpstreamState, Via,
};
pub use rule::{AZURE_DNS, BuiltIn, Disposition, ForwardRule, Protocol, Rules, Target, UpstreamSets};
pub use token::LoopGuard;
