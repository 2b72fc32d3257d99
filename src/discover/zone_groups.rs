//! Zone groups of private endpoints: the private DNS zones that Azure itself writes an endpoint's records into.
//!
//! They are a list below each endpoint, a request for each, so only a few endpoints are asked in a round, after its
//! records serve: new endpoints first, then those that were asked longest ago. What was read is kept in memory alone.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::arm::{Arm, ArmError, Failure};
use super::drift::{Drift, DriftKind};
use super::estate::Endpoint;
use super::state::State;
use crate::azure::{Cloud, HostName, ResourceId, Service, matches_suffix, zones_of_service};

/// Endpoints that are asked in one round.
const ASKED_MAX: usize = 20;
/// No further one is asked after this time: rounds keep their interval where Azure is slow.
const TIME_MAX: Duration = Duration::from_secs(10);

/// A zone of a zone group.
#[derive(Debug, Clone, PartialEq, Eq)]
struct GroupZone {
    group: String,
    /// Its name, in lower case.
    zone: String,
}

/// What is known of an endpoint's zone groups.
#[derive(Debug, Default)]
struct Known {
    /// The number of the round in which it was asked last.
    asked: u64,
    subscription: String,
    zones: Vec<GroupZone>,
}

/// The zone groups of all endpoints, as far as they were read.
#[derive(Debug, Default)]
pub(super) struct ZoneGroups {
    round: u64,
    /// By the endpoint's id.
    known: HashMap<String, Known>,
}

impl ZoneGroups {
    /// Asks for some endpoints' groups and tells `state` which zones are the wrong ones. Nothing that fails here is a
    /// failure of the round: without the right to read groups, nothing is said of them.
    pub(super) fn read(&mut self, arm: &mut Arm<'_>, state: &mut State, cloud: Cloud) {
        self.round += 1;
        let ids: HashSet<&str> = state.approved().map(|endpoint| endpoint.id.as_str()).collect();
        self.known.retain(|id, _| ids.contains(id.as_str()));
        let (start, mut asked, mut refused) = (Instant::now(), 0, BTreeSet::new());
        for endpoint in self.in_order(state.listed()) {
            if asked == ASKED_MAX || start.elapsed() > TIME_MAX {
                break;
            }
            if refused.contains(&endpoint.subscription) {
                continue;
            }
            asked += 1;
            let zones = match arm.zone_groups(&endpoint.id) {
                Ok(groups) => Some(zones_of(&groups)),
                Err(ArmError { failure: Failure::NotFound, .. }) => Some(Vec::new()),
                Err(ArmError { failure: Failure::Forbidden, .. }) => {
                    refused.insert(endpoint.subscription.clone());
                    continue;
                }
                Err(_) => None,
            };
            let is_answered = zones.is_some();
            let known = self.known.entry(endpoint.id.clone()).or_default();
            (known.asked, known.subscription) = (self.round, endpoint.subscription.clone());
            known.zones = zones.unwrap_or_else(|| std::mem::take(&mut known.zones));
            if !is_answered {
                // Throttled, or a fault: the next round goes on with another endpoint.
                break;
            }
        }
        self.known.retain(|_, known| !refused.contains(&known.subscription));
        let found = state.approved().filter_map(|it| Some((it, self.known.get(&it.id)?)));
        let found = found.flat_map(|(endpoint, known)| wrong(endpoint, &known.zones, cloud)).collect();
        state.note_zone_groups(found);
    }

    /// Those that were never asked, then those that were asked longest ago.
    fn in_order<'e>(&self, listed: impl Iterator<Item = &'e Endpoint>) -> Vec<&'e Endpoint> {
        let mut order: Vec<&Endpoint> = listed.collect();
        order.sort_by_key(|endpoint| self.known.get(&endpoint.id).map_or(0, |known| known.asked));
        order
    }
}

/// Group and zone of every configuration.
fn zones_of(groups: &[Value]) -> Vec<GroupZone> {
    let configurations = |group: &Value| {
        let name = group["name"].as_str().unwrap_or_default().to_owned();
        let all = group["properties"]["privateDnsZoneConfigs"].as_array().cloned().unwrap_or_default();
        all.into_iter().map(move |it| (name.clone(), it))
    };
    let zone = |(group, it): (String, Value)| {
        let id = ResourceId::parse(it["properties"]["privateDnsZoneId"].as_str()?)?;
        Some(GroupZone { group, zone: id.name().to_ascii_lowercase() })
    };
    groups.iter().flat_map(configurations).filter_map(zone).collect()
}

/// Zones that none of the endpoint's names belongs into.
fn wrong(endpoint: &Endpoint, zones: &[GroupZone], cloud: Cloud) -> Vec<Drift> {
    let needed = needed(endpoint, cloud);
    if needed.is_empty() {
        return Vec::new();
    }
    let is_right = |zone: &str| {
        let holds_one = || zone.split('.').any(|label| label.starts_with("privatelink")) && holds(endpoint, zone);
        needed.iter().any(|needed| matches_suffix(zone, needed)) || holds_one()
    };
    let names = || endpoint.records.iter().map(|record| record.name.clone());
    let drift = |it: &GroupZone| {
        let list = needed.iter().map(|zone| format!("\"{zone}\"")).collect::<Vec<_>>().join(", ");
        let reason = format!(
            "the DNS zone group \"{}\" writes into the zone \"{}\"; names of this service and group belong into {list}",
            it.group, it.zone
        );
        Drift { names: names().collect(), ..Drift::new(DriftKind::ZoneGroup, &endpoint.id, &reason) }
    };
    zones.iter().filter(|it| !is_right(&it.zone)).map(drift).collect()
}

/// The zones that the service needs for these groups. A region is filled in where the endpoint lists a name that has it.
fn needed(endpoint: &Endpoint, cloud: Cloud) -> BTreeSet<String> {
    let Some(id) = ResourceId::parse(&endpoint.service) else { return BTreeSet::new() };
    let service = Service { resource_type: &id.resource_type(), groups: &endpoint.groups };
    let mut needed = BTreeSet::new();
    for zone in zones_of_service(service, cloud) {
        let filled: BTreeSet<String> = match zone.contains('{') {
            true => ancestors(endpoint).filter(|it| matches_suffix(it, zone)).collect(),
            false => BTreeSet::new(),
        };
        if filled.is_empty() {
            needed.insert(zone.to_owned());
        }
        needed.extend(filled);
    }
    needed
}

/// What the endpoint's private names lie in.
fn ancestors(endpoint: &Endpoint) -> impl Iterator<Item = String> {
    let names = endpoint.records.iter().filter_map(|record| HostName::parse(&record.name).ok());
    names.flat_map(|name| {
        let up = std::iter::successors(name.parent(), HostName::parent);
        up.map(|it| it.to_string()).collect::<Vec<_>>()
    })
}

fn holds(endpoint: &Endpoint, zone: &str) -> bool {
    let is_below = |name: &str| name.strip_suffix(zone).is_some_and(|front| front.ends_with('.'));
    endpoint.records.iter().any(|record| is_below(&record.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::estate::{Connection, EndpointRecord};

    const RG: &str = "/subscriptions/s/resourcegroups/rg/providers";

    fn endpoint(service: &str, group: &str, names: &[&str]) -> Endpoint {
        let record = |name: &&str| EndpointRecord {
            name: (*name).to_owned(),
            record_type: "A".to_owned(),
            data: vec!["10.0.0.4".to_owned()],
        };
        Endpoint {
            id: "/pe".to_owned(),
            subscription: "s".to_owned(),
            network: String::new(),
            region: "westeurope".to_owned(),
            service: format!("{RG}/{service}"),
            groups: vec![group.to_owned()],
            connection: Connection::Approved,
            expected: Vec::new(),
            records: names.iter().map(record).collect(),
        }
    }

    fn wrong_zones(endpoint: &Endpoint, zones: &[&str]) -> Vec<String> {
        let zones: Vec<GroupZone> =
            zones.iter().map(|zone| GroupZone { group: "default".to_owned(), zone: (*zone).to_owned() }).collect();
        wrong(endpoint, &zones, Cloud::Public).into_iter().map(|drift| drift.reason).collect()
    }

    #[test]
    fn a_zone_of_another_service_or_group_is_the_wrong_one() {
        let account =
            endpoint("microsoft.storage/storageaccounts/acct", "blob", &["acct.privatelink.blob.core.windows.net"]);
        assert_eq!(wrong_zones(&account, &["privatelink.blob.core.windows.net"]), [""; 0]);
        for zone in ["privatelink.file.core.windows.net", "blob.core.windows.net", "example.internal", ""] {
            let reasons = wrong_zones(&account, &["privatelink.blob.core.windows.net", zone]);
            assert_eq!(reasons.len(), 1, "{zone}");
            assert!(reasons[0].contains(&format!("the zone \"{zone}\"; ")), "{reasons:?}");
            assert!(reasons[0].ends_with("belong into \"privatelink.blob.core.windows.net\""), "{reasons:?}");
        }
    }

    #[test]
    fn a_region_is_that_of_the_names_where_there_are_any() {
        let cluster = "microsoft.containerservice/managedclusters/c";
        let named = endpoint(cluster, "management", &["c.guid.privatelink.westeurope.azmk8s.io"]);
        let unnamed = endpoint(cluster, "management", &[]);
        let (own, other) = ("privatelink.westeurope.azmk8s.io", "privatelink.northeurope.azmk8s.io");
        assert_eq!(wrong_zones(&named, &[own]), [""; 0]);
        assert_eq!(wrong_zones(&named, &[other]).len(), 1);
        assert_eq!(wrong_zones(&unnamed, &[own, other]), [""; 0], "it cannot be told");
        assert_eq!(wrong_zones(&unnamed, &["privatelink.azurecr.io"]).len(), 1);
    }

    #[test]
    fn where_no_zone_is_known_for_the_service_none_is_wrong() {
        let zones = ["privatelink.blob.core.windows.net"];
        assert_eq!(wrong_zones(&endpoint("microsoft.unknown/things/x", "thing", &[]), &zones), [""; 0]);
        let link =
            Endpoint { service: "x.guid.westeurope.azure.privatelinkservice".to_owned(), ..endpoint("", "", &[]) };
        assert_eq!(wrong_zones(&link, &zones), [""; 0]);
        let partition = endpoint(
            "microsoft.storage/storageaccounts/acct",
            "blob",
            &["acct.z20.privatelink.blob.storage.azure.net"],
        );
        assert_eq!(wrong_zones(&partition, &["privatelink.blob.storage.azure.net"]), [""; 0], "it holds the name");
    }

    #[test]
    fn new_endpoints_are_asked_first_then_those_asked_longest_ago() {
        let of = |id: &str| Endpoint { id: id.to_owned(), ..endpoint("", "", &[]) };
        let listed = ["/a", "/b", "/c"].map(of);
        let known = |asked| Known { asked, ..Known::default() };
        let groups = ZoneGroups { round: 9, known: [("/a".to_owned(), known(9)), ("/b".to_owned(), known(3))].into() };
        let order: Vec<_> = groups.in_order(listed.iter()).iter().map(|endpoint| endpoint.id.as_str()).collect();
        assert_eq!(order, ["/c", "/b", "/a"]);
    }
}
