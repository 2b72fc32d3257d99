//! Zones: what a name means that has no record.

use crate::wire::Name;

/// How many zones there can be.
pub const ZONES_MAX: usize = u16::MAX as usize;

/// Zones with their numbers in the table, which end below 65,535; those above [`ZONES_MAX`] are left out.
pub(super) fn numbered(zones: &[Zone]) -> impl Iterator<Item = (u16, &Zone)> {
    (0..u16::MAX).zip(zones)
}

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
