//! The private DNS zones of every service, cloud by cloud: one row for each resource type, group id and zone.
//!
//! The rows are those of the documentation's table ([`DOCUMENT`], [`DATE`]), with Cloud HSM clusters from a page of their
//! own; `supplement` has what is in use beside them. A test holds the rows against a copy of the table.
//!
//! `{region}`, `{regionName}`, `{regionCode}`, `{dnsPrefix}`, `{subzone}`, `{cachename}`, `{workspaceName}` and, in the
//! supplement, `{stage}` stand for one label or a part of one, `{partitionId}` for one label of digits.

mod china;
mod public;
mod supplement;
mod usgov;

use super::{Cloud, PrivateDnsZone};

/// The document that the rows are from.
pub const DOCUMENT: &str = "Azure private endpoint private DNS zone values (learn.microsoft.com)";
/// When the document was last updated as it was read here; one change of 2026-07-08 is in it.
pub const DATE: &str = "2026-05-07";

/// The rows of the documentation.
pub(super) fn rows() -> impl Iterator<Item = &'static PrivateDnsZone> {
    public::ROWS.iter().chain(usgov::ROWS).chain(china::ROWS)
}

/// Rows that names are matched against: the documentation's, as far as they name one service, and the supplement.
pub(super) fn matched_rows() -> impl Iterator<Item = &'static PrivateDnsZone> {
    rows().chain(supplement::ROWS)
}

/// Names of Azure that no row covers, or that no private DNS zone is documented for.
pub(super) fn listed_only() -> impl Iterator<Item = (Cloud, &'static str)> {
    supplement::LISTED_ONLY.iter().copied()
}
