//! The server as its users meet it: the built binary, real sockets, a fake Azure DNS behind it.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests own sockets, files and a clock, and end where something is not as it must be"
)]

mod common;
