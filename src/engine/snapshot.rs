//! All that a query may read, in one piece that is swapped whole at a reload.

use std::time::Duration;

use super::access::AccessList;
use super::guard::PublicGuard;
use crate::cache::TtlLimits;
use crate::forward::Rules;
use crate::records::Table;

/// Records, rules, access list and limits of one state of the settings. Immutable.
pub struct Snapshot {
    /// Counts up with every reload of this process.
    pub generation: u64,
    /// Who may ask.
    pub access: AccessList,
    /// The records table.
    pub table: Table,
    /// Whom the rest is asked of.
    pub rules: Rules,
    /// Data of the SVCB records that name this server's encrypted listeners (RFC 9461), for [`BuiltIn::Designated`].
    ///
    /// [`BuiltIn::Designated`]: crate::forward::BuiltIn::Designated
    pub designated: Box<[Box<[u8]>]>,
    /// How long upstreams' answers may live.
    pub ttl_limits: TtlLimits,
    /// How long expired ones may be served.
    pub stale_limits: StaleLimits,
    /// What public addresses are checked against.
    pub guard: PublicGuard,
}

/// How long an expired answer may be served (RFC 8767).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaleLimits {
    /// At most; zero turns it off.
    pub max: Duration,
    /// The most for names in privatelink zones while their upstream answers others: an endpoint that is recreated has
    /// a new address.
    pub max_private: Duration,
}
