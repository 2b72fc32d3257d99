//! Towards upstreams: carries out what `forward` decided. It opens sockets, sends, reads, and understands of what it
//! reads no more than which query it answers.
//!
//! Queries by UDP leave from a socket of their own each, or from one of a pool ([`DatagramSockets`]). All others share a few connections per
//! upstream ([`Streams`]), over TCP, TLS or HTTPS.

#![cfg_attr(not(test), deny(clippy::cast_possible_truncation))]
#![expect(clippy::disallowed_methods, reason = "the shell owns the clock")]
#![expect(clippy::disallowed_types, reason = "the shell owns sockets")]

mod connection;
mod datagram;
mod fault;
mod framed;
mod fresh;
mod https;
mod opened;
mod pool;
mod probe;
mod stream;
mod trust;

pub use datagram::{DatagramSockets, Reader, Received, Sender, Source, Spares, token_beside};
pub use fault::trouble_of;
pub use pool::Pools;
pub use probe::{ProbeResult, probe};
pub use stream::Streams;
pub use trust::{Authorities, AuthoritiesError, Trust};
