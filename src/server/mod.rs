//! Towards clients: sockets, framing, workers. What an answer is, it asks the engine.
//!
//! One thread per core, each with a current_thread runtime, its own sockets (`SO_REUSEPORT`) and its own counters. A
//! query that came in on a worker leaves from it, unless it waited for an upstream that another worker heard from. The
//! Snapshot, the cache and the forwarding state machine are all that workers share.

#![cfg_attr(not(test), deny(clippy::cast_possible_truncation))]
#![expect(clippy::disallowed_methods, reason = "the shell owns the clock")]
#![expect(clippy::disallowed_types, reason = "the shell owns sockets")]

mod connections;
mod counters;
mod forwarding;
mod hearing;
mod inherit;
mod kind;
mod latency;
mod listen;
mod replies;
mod shared;
mod stream;
mod udp;
mod worker;
mod workers;

pub use connections::Connections;
pub use counters::{Counters, Totals};
pub use inherit::Inherited;
pub use kind::QueryKind;
pub use latency::{BUCKETS_US, Latencies, Path};
pub use listen::BindError;
pub use shared::{Shared, Waiter};
pub use workers::{NewListeners, Threads, Workers, start};
