//! What an endpoint says about names: the listings of all its sources, and the claims that follow from each of them.
//! An endpoint that lists none is the subject of [`super::unnamed`].

use super::gather::{Unit, endpoint_label, interface_label, is_approved, zone_group_label};
use super::group::Group;
use super::message::{Messages, Place, printable};
use super::records::{Claim, Claims, Data, Origin};
use super::validate::{self, Known};
use super::{Options, unnamed};
use crate::azure::metadata::Listed;
use crate::azure::{HostName, ResourceId, Service, private_names, public_names, with_vault_names};

/// An endpoint that carries traffic, with what its sources list.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// What it leads to, where known.
    pub(super) target: Option<ResourceId>,
    /// The group ids, where known.
    pub(super) groups: Vec<String>,
    /// What is listed, the weightiest source first.
    pub(super) listings: Vec<Listing>,
    /// Addresses that a user fixed: all there is when nothing is listed.
    pub(super) fixed: Vec<Fixed>,
    /// Whether the endpoint itself is among the sources.
    pub(super) is_described: bool,
    /// Whether a name that a source lists could not be used: what is missing then was not left out by the source.
    pub(super) has_refused: bool,
    /// Its object, for messages.
    pub(super) place: Place,
    /// What the object is, for messages.
    pub(super) what: String,
}

/// What one object lists.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) origin: Origin,
    pub(super) source: Place,
    pub(super) what: String,
    pub(super) names: Vec<Known>,
    /// Its position, if it is a row of a list that may hold the rows of several endpoints.
    pub(super) row: Option<RowOf>,
}

/// The position of a row.
#[derive(Debug, Clone)]
pub(super) struct RowOf {
    /// Which list, numbered within the unit.
    pub(super) list: usize,
    /// Which row of it.
    pub(super) position: usize,
    /// What it says of the object that it belongs to.
    pub(super) owner: Option<String>,
}

/// An address that a user fixed for a member of the service.
#[derive(Debug)]
pub(super) struct Fixed {
    pub(super) address: std::net::IpAddr,
    pub(super) group: String,
    pub(super) member: String,
}

/// Reads a unit. Nothing when its connection carries no traffic.
pub(super) fn endpoint(unit: &Unit, options: &Options, messages: &mut Messages) -> Option<Endpoint> {
    let described = unit.endpoints.first();
    if let Some((place, endpoint)) = described
        && !is_approved(endpoint)
    {
        unnamed::warn_not_approved(place, endpoint, messages);
        return None;
    }
    let listed = unit.listed_count();
    let listings = listings(unit, options, messages);
    let has_refused = listings.iter().map(|listing| listing.names.len()).sum::<usize>() < listed;
    let (place, what) = first_object(unit)?;
    let connections = || unit.endpoints.iter().flat_map(|(_, endpoint)| &endpoint.connections);
    let mut groups: Vec<String> = connections().flat_map(|connection| connection.groups.clone()).collect();
    groups
        .extend(unit.interfaces.iter().flat_map(|(_, nic)| nic.addresses.iter().map(|address| address.group.clone())));
    let target = connections().find_map(|connection| ResourceId::parse(&connection.target));
    Some(Endpoint {
        target,
        groups,
        listings,
        fixed: fixed(unit, messages),
        is_described: described.is_some(),
        has_refused,
        place,
        what,
    })
}

fn listings(unit: &Unit, options: &Options, messages: &mut Messages) -> Vec<Listing> {
    let mut listings = Vec::new();
    for (place, nic) in &unit.interfaces {
        let mut names = Vec::new();
        for it in &nic.addresses {
            let Some(address) = validate::address(&it.address, place, messages) else {
                continue;
            };
            if it.names.is_empty() && !it.group.is_empty() && unit.endpoints.is_empty() {
                unnamed::warn_nameless_interface(place, &it.address.path, &it.group, nic.endpoint.as_ref(), messages);
            }
            let found = it.names.iter().filter_map(|name| validate::host_name(name, place, None, options, messages));
            names.extend(found.map(|name| Known { name, addresses: vec![address], ttl: None }).collect::<Vec<_>>());
        }
        listings.push(Listing {
            origin: Origin::Interface,
            source: place.clone(),
            what: interface_label(nic),
            names,
            row: None,
        });
    }
    for (list, rows) in unit.rows.iter().enumerate() {
        for (position, (place, row)) in rows.iter().enumerate() {
            let listed: Vec<Listed> = row
                .names
                .iter()
                .map(|name| Listed { name: name.clone(), addresses: row.addresses.clone(), ttl: row.ttl })
                .collect();
            listings.push(Listing {
                origin: Origin::Interface,
                source: place.clone(),
                what: ROW.to_owned(),
                names: validate::known(&listed, place, options, messages),
                row: Some(RowOf { list, position, owner: row.owner.clone() }),
            });
        }
    }
    for (place, endpoint) in &unit.endpoints {
        let names = validate::known(&endpoint.custom_dns, place, options, messages);
        listings.push(Listing {
            origin: Origin::CustomDns,
            source: place.clone(),
            what: endpoint_label(endpoint),
            names,
            row: None,
        });
    }
    for (place, group) in &unit.zone_groups {
        for zone in &group.empty_zones {
            let text = format!("the zone group has no record in {}", printable(zone));
            let hint = if group.provisioning_state.eq_ignore_ascii_case("updating") {
                "it is being updated: print it again in a minute"
            } else {
                "the zone is not one of this service's, or the group is not set up yet"
            };
            messages.warning(Some(place), text, hint);
        }
        let names = validate::known(&group.records, place, options, messages);
        listings.push(Listing {
            origin: Origin::Zone,
            source: place.clone(),
            what: zone_group_label(group),
            names,
            row: None,
        });
    }
    listings.retain(|listing| !listing.names.is_empty());
    // What an endpoint says of its age holds for all that belongs to it.
    let changed = unit.endpoints.iter().filter_map(|(place, _)| place.changed).max();
    listings.iter_mut().for_each(|listing| listing.source.changed = listing.source.changed.or(changed));
    listings
}

impl Unit {
    /// How many names its sources list.
    fn listed_count(&self) -> usize {
        let nics = self.interfaces.iter().flat_map(|(_, nic)| &nic.addresses).map(|address| address.names.len());
        let rows = self.rows.iter().flatten().map(|(_, row)| row.names.len());
        let dns = self.endpoints.iter().map(|(_, endpoint)| endpoint.custom_dns.len());
        let groups = self.zone_groups.iter().map(|(_, group)| group.records.len());
        nics.chain(rows).chain(dns).chain(groups).sum()
    }
}

fn fixed(unit: &Unit, messages: &mut Messages) -> Vec<Fixed> {
    let all =
        unit.endpoints.iter().flat_map(|(place, endpoint)| endpoint.static_addresses.iter().map(move |it| (place, it)));
    let one = |(place, it): (&Place, &crate::azure::metadata::StaticAddress)| {
        let address = validate::address(&it.address, place, messages)?;
        Some(Fixed { address, group: it.group.to_ascii_lowercase(), member: it.member.to_ascii_lowercase() })
    };
    all.filter_map(one).collect()
}

/// Claims what the endpoint lists, and the names that follow from each of them alone.
pub(super) fn claim(endpoint: &Endpoint, claims: &mut Claims) {
    for listing in &endpoint.listings {
        for known in &listing.names {
            // The endpoints of a whole region: claimed with the workspaces, which know whether that is right.
            if matches!(Group::of(&known.name), Group::RegionInference(_)) {
                continue;
            }
            listing.claim(&known.name, known, listing.origin, claims);
            for name in endpoint.names_behind(known) {
                listing.claim(&name, known, Origin::Derived, claims);
            }
        }
    }
}

impl Endpoint {
    /// What follows from a listed name: private names from a public one, and the other way round where the zone group
    /// of a known endpoint is all there is. What a source lists is never derived beside it.
    fn names_behind(&self, known: &Known) -> Vec<HostName> {
        let resource_type = self.target.as_ref().map(ResourceId::resource_type);
        let service = resource_type.as_deref().map(|resource_type| Service { resource_type, groups: &self.groups });
        if known.name.is_privatelink() {
            let only_zones = self.listings.iter().all(|it| it.origin == Origin::Zone);
            let derives = only_zones && self.is_described && !names_are_chosen(resource_type.as_deref());
            return if derives { public_names(&known.name) } else { Vec::new() };
        }
        let mut names = with_vault_names(&known.name);
        names.retain(|name| *name != known.name);
        if !self.zone_group_knows(known) {
            names.extend(private_names(&known.name, service));
        }
        names
    }

    /// Whether the zone group lists private names of all these addresses.
    fn zone_group_knows(&self, known: &Known) -> bool {
        let zones = self.listings.iter().filter(|listing| listing.origin == Origin::Zone);
        let listed: Vec<_> = zones.flat_map(|zone| &zone.names).flat_map(|name| &name.addresses).collect();
        known.addresses.iter().all(|address| listed.contains(&address))
    }
}

impl Listing {
    pub(super) fn claim(&self, name: &HostName, known: &Known, origin: Origin, claims: &mut Claims) {
        let group = Group::of(name);
        claim_addresses(claims, name, &known.addresses, known.ttl, origin, group, &self.source, &self.what);
    }
}

/// Claims addresses for a name: A and AAAA, each what it is.
#[expect(clippy::too_many_arguments, reason = "a claim is flat, and each caller has another half of it")]
pub(super) fn claim_addresses(
    claims: &mut Claims,
    name: &HostName,
    addresses: &[std::net::IpAddr],
    ttl: Option<u32>,
    origin: Origin,
    group: Group,
    source: &Place,
    what: &str,
) {
    for address in addresses {
        claims.add(Claim {
            name: name.clone(),
            record_type: if address.is_ipv4() { "A" } else { "AAAA" },
            data: Data::Address(*address),
            ttl,
            origin,
            group: group.clone(),
            source: source.clone(),
            what: what.to_owned(),
            note: None,
        });
    }
}

fn first_object(unit: &Unit) -> Option<(Place, String)> {
    let endpoint = unit.endpoints.first().map(|(place, it)| (place.clone(), endpoint_label(it)));
    let nic = || unit.interfaces.first().map(|(place, it)| (place.clone(), interface_label(it)));
    let group = || unit.zone_groups.first().map(|(place, it)| (place.clone(), zone_group_label(it)));
    let rows = || unit.rows.first().and_then(|rows| rows.first()).map(|(place, _)| (place.clone(), ROW.to_owned()));
    endpoint.or_else(nic).or_else(group).or_else(rows)
}

/// What a row is, in messages.
const ROW: &str = "a query over a network interface";

/// Whether the public name does not follow from the private one.
fn names_are_chosen(resource_type: Option<&str>) -> bool {
    matches!(resource_type, Some("microsoft.compute/diskaccesses" | "microsoft.elasticsan/elasticsans"))
}
