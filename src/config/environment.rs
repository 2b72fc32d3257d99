//! What settings are read against.

use std::net::IpAddr;

/// What the reader needs to know of the world to warn of traps.
pub struct Environment<'f> {
    /// Public zones of Azure services, below which other people's names live too.
    pub public_zones: &'f [&'f str],
    /// Whether an address is one of this machine's.
    pub is_local: &'f dyn Fn(IpAddr) -> bool,
}
