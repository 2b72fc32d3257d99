//! Towards upstreams: carries out what `forward` decided. It opens sockets, sends, reads, and understands nothing of what
//! it reads.

#![expect(clippy::disallowed_methods, reason = "the shell owns the clock")]
#![expect(clippy::disallowed_types, reason = "the shell owns sockets")]

mod datagram;
mod probe;
mod stream;

pub use datagram::{FreshSockets, Received};
pub use probe::{Finding, probe};
pub use stream::exchange;
