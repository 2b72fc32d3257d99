//! The private DNS zones of every service, cloud by cloud: one row a resource type, group id and zone.
//!
//! The documentation's table ("Azure private endpoint private DNS zone values", 2026-05-07), with these differences:
//!
//! - Cloud HSM clusters, two more zones of health data services and both spellings of the compute
//!   instances' suffix stand in other pages and are added.
//! - `vault.azure.cn`, `purview.azure.us` and `ts.eventgrid.azure.net` are what clients ask for; the table has only
//!   another public suffix there.
//! - Resource Manager's public suffix is its one host, not the whole of `azure.com`.
//! - Power Query's zone has `{stage}` where the table has `prod`: other stages are in use.
//!
//! `{region}`, `{regionName}`, `{regionCode}`, `{dnsPrefix}`, `{stage}` and `{subzone}` stand for one label,
//! `{partitionId}` for one label of digits.

mod china;
mod public;
mod usgov;

use super::{Cloud, PrivateDnsZone};

pub(super) fn rows() -> impl Iterator<Item = &'static PrivateDnsZone> {
    public::ROWS.iter().chain(china::ROWS).chain(usgov::ROWS)
}
