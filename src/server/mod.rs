//! Towards clients: sockets, framing, workers. What an answer is, it asks the engine.
//!
//! One worker per core, each with sockets of its own (`SO_REUSEPORT`) and several threads: receivers, which sleep in sockets of clients, an
//! event loop for what upstreams send, and one with a current_thread runtime for connections, each with its own counters. A query that
//! came in on a thread leaves from it, unless it waited for an upstream that another one heard from. The Snapshot, the cache and the
//! forwarding state machine are all that workers share.

#![cfg_attr(not(test), deny(clippy::cast_possible_truncation))]
#![expect(clippy::disallowed_methods, reason = "the shell owns the clock")]
#![expect(clippy::disallowed_types, reason = "the shell owns sockets")]

mod accept;
mod alarm;
mod certificate;
mod clients;
mod connections;
mod counters;
mod datagram_orders;
mod end;
mod endpoint;
mod event_loop;
mod faults;
mod forwarding;
mod https;
mod inherit;
mod latency;
mod listen;
mod message;
mod message_stream;
mod outgoing;
mod qtype_label;
#[cfg(feature = "quic")]
mod quic;
mod receive;
mod receiver;
mod replies;
mod shared;
mod stream;
mod stream_thread;
mod tasks;
#[cfg(test)]
mod tests;
mod tickets;
mod timer_watch;
mod tls;
mod udp;
mod waiter;
mod worker;
mod workers;

pub use accept::accept;
pub use certificate::{Certificate, CertificateError, Certificates};
pub use clients::{CLIENTS_BYTES, Clients};
pub use connections::{ConnectionLimits, ConnectionRoom, Connections, Place, Refused};
pub use counters::{Counters, Totals};
pub use endpoint::{Endpoint, EndpointKind, QUIC_BYTES};
pub use faults::{Faults, Part};
pub use inherit::Inherited;
pub use latency::{BUCKETS_US, Latencies, Path};
pub use listen::{BindError, bind_alone};
pub use qtype_label::QtypeLabel;
pub use shared::{IN_FLIGHT_MAX, Shared};
pub use tickets::{TicketKeys, TicketKeysError, Tickets};
pub use tls::TLS_BYTES;
pub use waiter::Waiter;
pub use workers::{NewListeners, THREADS, Threads, Workers, start, thread_name};
