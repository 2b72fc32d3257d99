//! Zones: what a name means that has no record.

use crate::wire::Name;

/// A `[[zone]]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// The name at its top.
    pub apex: Name,
    /// What a name in it without a record means.
    pub missing: Missing,
}

/// What a name without a record means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// It is asked upstream.
    #[default]
    Forward,
    /// It does not exist.
    NxDomain,
}
