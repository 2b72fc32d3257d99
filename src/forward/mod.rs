//! Deciding what is asked upstream, of whom, and when: a state machine told the time.
//!
//! ```text
//!            ask                          heard: an answer that matches
//! question ──────> waiting for its turn ──> outstanding ──────────────> settled, with all who waited
//!            │         (budget)               │   ▲                         ▲
//!            └──────────────────────────────> │   │ again after a while,    │ patience over,
//!               joins the one outstanding     └───┘ elsewhere or by TCP     │ nothing heard
//!                                               └───────────────────────────┘
//! ```
//!
//! [`Forwarding`] takes questions with whoever waits for them, and gives [`Transmit`]s to carry out and [`Settled`]
//! questions to answer. It opens no socket and reads no clock: `upstream` does what it says and tells it what came
//! back. Identical questions are asked once. Every try has a new ID, and the shell gives it a new port; what does not
//! match never ends the wait (RFC 5452).

#![deny(clippy::indexing_slicing)]

mod budget;
mod health;
mod machine;
mod outstanding;
mod queue;
mod rule;

pub use budget::Limits;
pub use machine::{Ask, Failure, ForwardCounts, Forwarding, Heard, Outbox, Settled, Transmit, TryId, Via};
pub use rule::{Disposition, ForwardRule, Here, Protocol, Rules, Target, UpstreamSets};
