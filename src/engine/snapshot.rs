//! All that a query may read, in one piece that is swapped whole at a reload.

use super::access::AccessList;
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
    /// How long upstreams' answers may live.
    pub ttl_limits: TtlLimits,
}
