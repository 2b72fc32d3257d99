//! Metadata in, records out: the work of `pldns generate`.
//!
//! ```text
//! bytes ─ input ─> documents ─ gather ─> endpoints, interfaces, zone groups, workspaces, joined
//!       ─ units ─> what each endpoint lists ─┐
//!       ─ fixed, workspaces, accounts ───────┴─> claims ─ records ─> records in groups ─ output ─> text
//! ```
//!
//! Every name and address is a claim of some source; the same name with other addresses from another source is an
//! error. The interface's word weighs more than `customDnsConfigs`, that more than the zone group's, and what is put
//! together here least. Either all of it comes out or, with an error, nothing.
//!
//! Nothing here opens a file, looks at a clock or knows of the server: the same inputs give the same bytes.
//!
//! A new input form is a shape in [`azure::metadata`](crate::azure::metadata); a new output format is a file in
//! `output`.

mod accounts;
mod check;
mod fixed;
mod gather;
mod group;
mod input;
mod message;
mod output;
mod records;
mod silent;
mod units;
mod workspaces;

use std::net::IpAddr;

pub use input::Input;
pub use message::{Message, Messages, Place, Severity, printable};
pub use output::{Format, print};
pub use records::{Data, Record, RecordGroup, Records};

use crate::azure::{Cloud, HostName};
use crate::wire::Name;
use gather::Gathered;
use group::Group;
use records::{Claim, Claims, Origin};
use workspaces::Workspaces;

/// What the user asked for beside the inputs.
#[derive(Debug, Default)]
pub struct Options {
    /// The cloud that every name must belong to, and that names are put together for; found by the names' suffixes
    /// when absent.
    pub cloud: Option<Cloud>,
    /// Compute instances that get records: `NAME`, or `WORKSPACE/NAME` by the workspace's id or name.
    pub compute_instances: Vec<String>,
    /// Suffixes outside Azure's zones whose names are let in, in lower case.
    pub allow: Vec<String>,
}

/// Derives records from metadata. Nothing when a message is an error, and never no records at all.
pub fn generate(inputs: &[Input], options: &Options) -> (Option<Records>, Messages) {
    let mut messages = Messages::default();
    let documents: Vec<_> = inputs.iter().flat_map(|input| input::documents(input, &mut messages)).collect();
    let gathered = gather::gather(&documents, &mut messages);
    let claims = claims(&gathered, options, &mut messages);
    let groups = claims.into_groups(&mut messages);
    if groups.is_empty() && !messages.has_error() {
        report_nothing(&gathered, &mut messages);
    }
    if messages.has_error() {
        return (None, messages);
    }
    let header = header(&gathered, options, &groups);
    (Some(Records { header, groups }), messages)
}

fn claims(gathered: &Gathered, options: &Options, messages: &mut Messages) -> Claims {
    let mut claims = Claims::default();
    let mut endpoints = Vec::new();
    let mut silent = Vec::new();
    for unit in gathered.units.values() {
        let Some(endpoint) = units::endpoint(unit, options, messages) else {
            continue;
        };
        units::claim(&endpoint, &mut claims);
        if endpoint.listings.is_empty() {
            silent.push((unit, endpoints.len()));
        }
        endpoints.push(endpoint);
    }
    let addresses = claim_record_sets(gathered, options, &mut claims, messages);
    let workspaces = Workspaces::collect(&endpoints, &addresses, gathered, options, messages);
    workspaces.claim(options, &mut claims, messages);
    workspaces.claim_online_endpoints(gathered, options, &mut claims, messages);
    for (unit, at) in silent {
        let endpoint = &endpoints[at];
        let is_served = fixed::claim(endpoint, options, &mut claims, messages) || workspaces.is_served(endpoint);
        if !is_served {
            silent::report(unit, messages);
        }
    }
    accounts::claim(gathered, &endpoints, &mut claims, messages);
    workspaces::warn_of_missing(gathered, &claims, messages);
    claims
}

/// Claims record sets as they stand; gives the addresses among them, for the workspaces they may tell of.
fn claim_record_sets(
    gathered: &Gathered,
    options: &Options,
    claims: &mut Claims,
    messages: &mut Messages,
) -> Vec<(HostName, IpAddr, Place)> {
    let mut addresses = Vec::new();
    for (place, set) in &gathered.record_sets {
        let Some(name) = check::host_name(&set.name, place, set.zone.as_deref(), options, messages) else {
            continue;
        };
        for data in &set.data {
            let data = if matches!(set.record_type, "A" | "AAAA") {
                let Some(address) = check::address(data, place, messages) else {
                    continue;
                };
                addresses.push((name.clone(), address, place.clone()));
                Data::Address(address)
            } else if is_presentation(set.record_type, &data.value) {
                Data::Presentation(data.value.clone())
            } else {
                let text = format!("\"{}\" is no data of a {} record", printable(&data.value), set.record_type);
                messages.error(Some(&place.at(&data.path)), text, "take the record set out of the input");
                continue;
            };
            claims.add(Claim {
                name: name.clone(),
                record_type: match &data {
                    Data::Address(IpAddr::V4(_)) => "A",
                    Data::Address(IpAddr::V6(_)) => "AAAA",
                    Data::Presentation(_) => set.record_type,
                },
                data,
                ttl: set.ttl,
                origin: Origin::Zone,
                group: Group::of(&name),
                source: place.clone(),
                what: "a record set".to_owned(),
            });
        }
    }
    addresses
}

/// Whether the name at the end of the data is one. Text was quoted when it was read.
fn is_presentation(record_type: &str, data: &str) -> bool {
    let name = data.rsplit(' ').next().unwrap_or_default();
    record_type == "TXT" || Name::parse(name).is_ok()
}

/// Never an empty file: says what was found instead of names and addresses.
fn report_nothing(gathered: &Gathered, messages: &mut Messages) {
    if messages.iter().next().is_some() {
        messages.error(None, "no record can be derived from the input: see above", "");
        return;
    }
    let kinds = gathered.others.iter().filter(|kind| !kind.is_empty()).map(|kind| printable(kind));
    let found: Vec<String> = gathered.source_lines().into_iter().chain(kinds).collect();
    let text = if found.is_empty() {
        "no record can be derived from the input: nothing in it was recognised".to_owned()
    } else {
        let found = found.join(", ");
        format!("no record can be derived from the input, which has no names and addresses: {found}")
    };
    let hint = "give the network interface of a private endpoint: `az network nic show --ids \
        $(az network private-endpoint show -g GROUP -n ENDPOINT --query 'networkInterfaces[0].id' -o tsv)`";
    messages.error(None, text, hint);
}

/// What the records were derived from: nothing in it that differs between two runs over the same input.
fn header(gathered: &Gathered, options: &Options, groups: &[RecordGroup]) -> Vec<String> {
    let count: usize = groups.iter().map(|group| group.records.len()).sum();
    let mut lines = vec![
        format!("{count} records, written by `pldns generate`. Do not edit: generate them again."),
        String::new(),
        "Derived from".to_owned(),
    ];
    lines.extend(gathered.source_lines().iter().map(|source| format!("  {source}")));
    if !options.compute_instances.is_empty() {
        let mut instances: Vec<String> = options.compute_instances.iter().map(|instance| printable(instance)).collect();
        instances.sort();
        instances.dedup();
        lines.push(format!("  --compute-instance {}", instances.join(" --compute-instance ")));
    }
    lines
}

#[cfg(test)]
mod tests;
