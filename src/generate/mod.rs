//! Metadata in, records out: the work of `pldns generate`.
//!
//! ```text
//! bytes ─ input ─> documents ─ gather ─> endpoints, interfaces, zone groups, workspaces, joined
//!       ─ units ─> what each endpoint lists ─┐
//!       ─ fixed, workspaces, accounts ───────┴─> claims ─ records ─> records in groups ─ output ─> text
//! ```
//!
//! Every name and address is a claim of some source; the same name with other addresses from another source is an
//! error, unless the user says how to resolve it ([`Prefer`]). The interface's word weighs more than `customDnsConfigs`,
//! that more than the zone group's, and what is derived here least. With an error nothing comes out; with
//! [`Options::lenient`], what concerns one name or object is a warning, and the rest comes out.
//!
//! Nothing here opens a file, looks at a clock or knows of the server: the same inputs give the same bytes.
//!
//! A new input form is a shape in [`azure::metadata`](crate::azure::metadata); a new output format is a file in
//! `output`.

mod accounts;
mod csv;
mod endpoints;
pub mod forwarders;
mod gather;
mod group;
mod input;
mod message;
mod output;
mod records;
mod static_ips;
mod text;
mod unnamed;
mod validate;
mod workspaces;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

pub use input::{Input, decode};
pub use message::{Messages, Place, printable};
pub use output::{Format, LeftOut, Printed, print};
pub use records::{Data, Record, RecordGroup, Records};

use crate::azure::{Cloud, HostName, public_names, zones};
use crate::rdata;
use crate::wire::Rtype;
use endpoints::Endpoint;
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
    /// Suffixes outside Azure's zones whose names are allowed, in lower case.
    pub allow: Vec<String>,
    /// Whether a name or an object that cannot be used is a warning: the rest comes out.
    pub lenient: bool,
    /// What to do when sources disagree.
    pub prefer: Prefer,
    /// Whether `*.REGION.inference...` is left out, which holds other workspaces' endpoints too.
    pub no_regional_wildcard: bool,
    /// The networks whose clients alone see the records; empty for everybody.
    pub clients: Vec<IpNet>,
}

/// What to do when two sources have different data for a name and type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prefer {
    /// It is an error.
    #[default]
    Fail,
    /// The source that is newer: by what the objects say of themselves, else by when their files were written.
    Newest,
    /// The source that comes first in the order of the inputs.
    First,
    /// The data of all sources together.
    All,
}

impl Prefer {
    /// The word for it on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Newest => "newest",
            Self::First => "first",
            Self::All => "all",
        }
    }
}

/// Derives records from metadata. `None` when a message is an error; never records without a name in them.
pub fn generate(inputs: &[Input], options: &Options) -> (Option<Records>, Messages) {
    let mut messages = Messages::new(options.lenient);
    let documents: Vec<_> = inputs.iter().flat_map(|input| input::documents(input, &mut messages)).collect();
    let gathered = gather::gather(documents, &mut messages);
    let claims = claims(&gathered, options, &mut messages);
    let groups = claims.into_groups(options, &mut messages);
    if groups.is_empty() && !messages.has_error() {
        report_nothing(&gathered, &mut messages);
    } else if messages.lenient_would_help() && !groups.is_empty() {
        let count: usize = groups.iter().map(|group| group.records.len()).sum();
        messages.fatal(
            None,
            format!("no records come out because of the errors above; {count} are not concerned by them"),
            "--lenient writes those, and turns the errors into warnings",
        );
    }
    if messages.has_error() {
        return (None, messages);
    }
    let header = header(&gathered, options, &groups);
    (Some(Records { header, groups, zones: options.allow.clone() }), messages)
}

fn claims(gathered: &Gathered, options: &Options, messages: &mut Messages) -> Claims {
    let mut claims = Claims::default();
    let mut endpoints = Vec::new();
    let mut silent = Vec::new();
    for (key, unit) in &gathered.units {
        // The endpoint itself knows best; where it is not among the inputs, the resource behind it does.
        if let Some((place, status)) = gathered.not_approved.get(key).filter(|_| unit.endpoints.is_empty()) {
            unnamed::warn_not_approved_by_resource(place, key, status, messages);
            continue;
        }
        let Some(endpoint) = endpoints::endpoint(unit, options, messages) else {
            continue;
        };
        endpoints::claim(&endpoint, &mut claims);
        if endpoint.listings.is_empty() {
            silent.push((unit, endpoints.len()));
        }
        endpoints.push(endpoint);
    }
    let addresses = claim_record_sets(gathered, options, &mut claims, messages);
    let workspaces = Workspaces::collect(&endpoints, &addresses, gathered, options, messages);
    workspaces.claim(options, &mut claims, messages);
    workspaces.claim_online_endpoints(gathered, options, &mut claims, messages);
    workspaces.claim_computes(gathered, &mut claims, messages);
    let mut zone_records = ZoneRecords::new();
    for (name, address, place) in &addresses {
        zone_records.entry(name).or_default().push((*address, place));
    }
    for (unit, at) in silent {
        let endpoint = &endpoints[at];
        let is_served = claim_zone_records(endpoint, &zone_records, &mut claims)
            || static_ips::claim(endpoint, options, &mut claims, messages)
            || workspaces.is_served(endpoint);
        if !is_served {
            unnamed::report(unit, messages);
        }
    }
    accounts::claim(gathered, &endpoints, &mut claims, messages);
    workspaces::warn_of_missing(gathered, &claims, messages);
    claims
}

/// Addresses that record sets have, by their name.
type ZoneRecords<'g> = BTreeMap<&'g HostName, Vec<(IpAddr, &'g Place)>>;

/// Claims the public names of an endpoint that lists none itself, where a private zone has its records: of such a zone
/// the records of this resource are as good as a zone group. Whether it has any.
fn claim_zone_records(endpoint: &Endpoint, records: &ZoneRecords<'_>, claims: &mut Claims) -> bool {
    let Some(target) = endpoint.target.as_ref().filter(|_| !records.is_empty()) else {
        return false;
    };
    let (kind, resource) = (target.resource_type(), target.name());
    let mut found = false;
    for row in zones().filter(|row| row.resource_type.eq_ignore_ascii_case(&kind)) {
        if !endpoint.groups.iter().any(|group| group.eq_ignore_ascii_case(row.group)) {
            continue;
        }
        let Some(name) = HostName::under([resource], row.zone) else { continue };
        for (address, place) in records.get(&name).into_iter().flatten() {
            found = true;
            for public in public_names(&name) {
                let group = Group::of(&public);
                let what = "a record set";
                endpoints::claim_addresses(claims, &public, &[*address], None, Origin::Derived, group, place, what);
            }
        }
    }
    found
}

/// Claims record sets as they are; returns the addresses among them, for the workspaces and endpoints whose names they have.
fn claim_record_sets(
    gathered: &Gathered,
    options: &Options,
    claims: &mut Claims,
    messages: &mut Messages,
) -> Vec<(HostName, IpAddr, Place)> {
    let mut addresses = Vec::new();
    for (place, set) in &gathered.record_sets {
        let Some(name) = validate::host_name(&set.name, place, set.zone.as_deref(), options, messages) else {
            continue;
        };
        for data in &set.data {
            let data = if matches!(set.record_type, "A" | "AAAA") {
                let Some(address) = validate::address(data, place, messages) else {
                    continue;
                };
                addresses.push((name.clone(), address, place.clone()));
                Data::Address(address)
            } else if is_presentation(set.record_type, &data.value) {
                Data::Presentation(data.value.clone())
            } else {
                let text = format!("\"{}\" is not valid data of a {} record", printable(&data.value), set.record_type);
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
                note: None,
            });
        }
    }
    addresses
}

/// Whether data is the presentation form of its type.
fn is_presentation(record_type: &str, data: &str) -> bool {
    Rtype::parse(record_type).is_some_and(|rtype| rdata::parse(rtype, data).is_ok())
}

/// Never an empty file: reports what was found instead of names and addresses.
fn report_nothing(gathered: &Gathered, messages: &mut Messages) {
    if !messages.is_empty() {
        messages.fatal(None, "no record can be derived from the input: see the messages above", "");
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
        $(az network private-endpoint show -g GROUP -n ENDPOINT --query 'networkInterfaces[0].id' -o tsv)`, \
        or those of all: `az network nic list`";
    messages.fatal(None, text, hint);
}

/// What the records were derived from: nothing in it that differs between two runs over the same input.
fn header(gathered: &Gathered, options: &Options, groups: &[RecordGroup]) -> Vec<String> {
    let count: usize = groups.iter().map(|group| group.records.len()).sum();
    let mut lines = vec![
        format!("{count} records, generated by `pldns generate`. Changes are lost when it runs again."),
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
    if !options.clients.is_empty() {
        let clients: Vec<String> = options.clients.iter().map(ToString::to_string).collect();
        lines.push(format!("For clients in {} alone", clients.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests;
