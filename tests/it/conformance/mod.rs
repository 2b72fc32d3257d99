//! RFCs clause by clause: a module for each, the clause in each function's name.

/// Domain names: implementation and specification.
mod rfc1035;
/// Negative caching.
mod rfc2308;
/// Unknown record types.
mod rfc3597;
/// The role of wildcards.
mod rfc4592;
/// Resilience against forged answers.
mod rfc5452;
/// Special-use names.
mod rfc6761;
/// EDNS(0).
mod rfc6891;
/// DNS over TCP.
mod rfc7766;
/// Minimal answers to ANY.
mod rfc8482;
/// Extended DNS errors.
mod rfc8914;
/// What goes wrong when DNS is parsed.
mod rfc9267;
