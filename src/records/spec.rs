//! One record as a file states it, and the values that it is made of.

use std::time::Duration;

use ipnet::IpNet;

use crate::wire::{Name, Rtype};

/// The largest TTL, seconds (RFC 2181 §8).
const TTL_MAX: u64 = i32::MAX as u64;

/// One `[[record]]`, read and checked by itself.
#[derive(Debug, Clone)]
pub(super) struct RecordSpec {
    /// The owner name; a wildcard or a partial wildcard where its first label says so.
    pub(super) name: Name,
    /// The type.
    pub(super) rtype: Rtype,
    /// The data of each record, wire form, names uncompressed. At least one.
    pub(super) data: Vec<Vec<u8>>,
    /// The TTL, seconds, where one is stated.
    pub(super) ttl: Option<u32>,
    /// The clients that see it; empty for everybody.
    pub(super) clients: Vec<IpNet>,
    /// Where it stands in its file, bytes.
    pub(super) at: u32,
}

/// A TTL in seconds; nothing when it is not whole or too large.
pub fn ttl_seconds(ttl: Duration) -> Option<u32> {
    (ttl.subsec_nanos() == 0 && ttl.as_secs() <= TTL_MAX).then_some(ttl.as_secs() as u32)
}

/// Reads a network prefix or a single address; nothing for what is neither, or has bits set beyond its prefix.
pub(super) fn parse_prefix(text: &str) -> Option<IpNet> {
    any_prefix(text).filter(|prefix| prefix.trunc() == *prefix)
}

/// Reads a network prefix or a single address; its bits beyond the prefix are as they are written.
pub(super) fn any_prefix(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}
