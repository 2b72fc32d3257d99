//! What the lists of Azure Resource Manager say: endpoints with the names that they list, and networks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem::size_of;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::arm::{Lists, WorkspaceLists};
use super::expected::expected_names;
use super::object::{Network, Workspace, id_of, lower};
use crate::azure::Cloud;
use crate::generate::{Input, Options, generate};

/// The state of a private endpoint's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Connection {
    Approved,
    Pending,
    Rejected,
    Disconnected,
}

/// A private endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Its resource id, in lower case.
    pub(super) id: String,
    /// Its subscription's id.
    pub(super) subscription: String,
    /// The id of its virtual network, in lower case.
    pub(super) network: String,
    /// Its region.
    pub(super) region: String,
    /// The id of the resource behind it, in lower case.
    pub(super) service: String,
    /// The group ids of its connection, in lower case; none for what comes out of the state file.
    pub(super) groups: Vec<String>,
    pub(super) connection: Connection,
    /// The names that it will have; none once it is approved.
    pub(super) expected: Vec<String>,
    /// Address records; none unless it is approved.
    pub(super) records: Vec<EndpointRecord>,
}

impl Endpoint {
    /// What it takes, bytes.
    pub(super) fn bytes(&self) -> u64 {
        let records = self.records.iter().map(|record| {
            let data: usize = record.data.iter().map(|data| data.len() + size_of::<String>()).sum();
            record.name.len() + data + size_of::<EndpointRecord>()
        });
        let names = self.expected.iter().chain(&self.groups).map(|name| name.len() + size_of::<String>());
        let own = self.id.len() + self.network.len() + self.service.len() + self.region.len() + self.subscription.len();
        (size_of::<Self>() + own + names.sum::<usize>() + records.sum::<usize>()) as u64
    }
}

/// An address record that an endpoint lists, or that follows from what it lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct EndpointRecord {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) record_type: String,
    pub(super) data: Vec<String>,
}

/// Workspaces and what they depend on, by lower-case ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dependencies(pub(super) BTreeMap<String, Vec<String>>);

/// Everything of one subscription, read.
#[derive(Debug, Default)]
pub(super) struct Estate {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) networks: BTreeMap<String, Network>,
    pub(super) dependencies: Dependencies,
    /// Empty private DNS zones: name and the networks that they are linked to.
    pub(super) empty_zones: Vec<(String, Vec<String>)>,
    /// What `generate` says of names that it does not serve, each with the endpoint's id.
    pub(super) remarks: Vec<String>,
}

impl Estate {
    /// What its endpoints take, bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.endpoints.iter().map(Endpoint::bytes).sum()
    }
}

/// Puts the lists of a subscription together. Workspaces may be in another subscription than their endpoints.
pub(super) fn estate(subscription: &str, lists: Lists, workspaces: &Workspaces<'_>, cloud: Cloud) -> Estate {
    let own = workspaces.of_subscription(subscription);
    let mut estate = Estate {
        networks: lists.networks,
        dependencies: Dependencies(own.iter().map(|it| (it.id.clone(), it.needed.clone())).collect()),
        empty_zones: lists.empty_zones,
        ..Estate::default()
    };
    // Each text goes once its records are there.
    for text in lists.endpoints {
        let object: Value = serde_json::from_str(&text).unwrap_or_default();
        let Some(mut endpoint) = endpoint(subscription, &object) else { continue };
        if endpoint.connection == Connection::Approved {
            let sources = (text.as_str(), &object);
            let (records, mut remarks) = records(sources, &endpoint, &lists.interfaces, workspaces, cloud);
            endpoint.records = records;
            estate.remarks.append(&mut remarks);
        } else {
            let service = (endpoint.service.as_str(), &endpoint.groups[..]);
            endpoint.expected = expected_names(service, &endpoint.region, &workspaces.all, cloud);
        }
        estate.endpoints.push(endpoint);
    }
    estate
}

/// Workspaces with their computes by the resource that an endpoint leads to: themselves, or the hub of a project. By key,
/// so that thousands of endpoints beside hundreds of workspaces take no time.
pub(super) struct Workspaces<'a> {
    lists: &'a BTreeMap<String, WorkspaceLists>,
    all: Vec<&'a Workspace>,
    behind: HashMap<&'a str, Vec<(&'a Workspace, &'a [String])>>,
}

impl<'a> Workspaces<'a> {
    /// Of all subscriptions.
    pub(super) fn of(lists: &'a BTreeMap<String, WorkspaceLists>) -> Self {
        let mut behind: HashMap<&str, Vec<_>> = HashMap::new();
        for lists in lists.values() {
            for workspace in &lists.workspaces {
                let entry = (workspace, lists.computes.get(&workspace.id).map_or(&[][..], Vec::as_slice));
                let keys = workspace.hub.iter().chain([&workspace.id]);
                keys.for_each(|key| behind.entry(key).or_default().push(entry));
            }
        }
        Self { lists, all: lists.values().flat_map(|lists| &lists.workspaces).collect(), behind }
    }

    fn of_subscription(&self, id: &str) -> &'a [Workspace] {
        self.lists.get(id).map_or(&[][..], |lists| &lists.workspaces)
    }

    fn behind(&self, service: &str) -> impl Iterator<Item = &(&'a Workspace, &'a [String])> {
        self.behind.get(service).into_iter().flatten()
    }
}

/// The properties of an endpoint's connection.
fn connection_of(object: &Value) -> Option<&Value> {
    let connections = ["privateLinkServiceConnections", "manualPrivateLinkServiceConnections"];
    let mut all = connections.iter().filter_map(|key| object["properties"][key].as_array()).flatten();
    all.next().map(|connection| &connection["properties"])
}

/// The group ids of an endpoint's connection.
fn groups(object: &Value) -> Vec<String> {
    let groups = connection_of(object).and_then(|connection| connection["groupIds"].as_array());
    groups.into_iter().flatten().filter_map(lower).collect()
}

fn endpoint(subscription: &str, object: &Value) -> Option<Endpoint> {
    let properties = &object["properties"];
    let connection = connection_of(object)?;
    let status = lower(&connection["privateLinkServiceConnectionState"]["status"]).unwrap_or_default();
    let subnet = lower(&properties["subnet"]["id"]).unwrap_or_default();
    Some(Endpoint {
        id: id_of(object)?.to_ascii_lowercase(),
        subscription: subscription.to_owned(),
        network: subnet.split("/subnets/").next().unwrap_or_default().to_owned(),
        region: lower(&object["location"]).unwrap_or_default(),
        service: lower(&connection["privateLinkServiceId"]).unwrap_or_default(),
        groups: groups(object),
        connection: match status.as_str() {
            "approved" => Connection::Approved,
            "pending" => Connection::Pending,
            "rejected" => Connection::Rejected,
            _ => Connection::Disconnected,
        },
        expected: Vec::new(),
        records: Vec::new(),
    })
}

/// What `generate` makes of an endpoint with its interfaces, the workspace behind it, projects of that hub, and their
/// computes: the same rules as for files.
fn records(
    (text, object): (&str, &Value),
    endpoint: &Endpoint,
    interfaces: &HashMap<String, String>,
    workspaces: &Workspaces<'_>,
    cloud: Cloud,
) -> (Vec<EndpointRecord>, Vec<String>) {
    let mut objects = vec![text];
    let nics = object["properties"]["networkInterfaces"].as_array().into_iter().flatten();
    objects.extend(nics.filter_map(|nic| interfaces.get(&lower(&nic["id"])?)).map(String::as_str));
    for (workspace, computes) in workspaces.behind(&endpoint.service) {
        objects.push(&workspace.text);
        objects.extend(computes.iter().map(String::as_str));
    }
    let bytes = format!("[{}]", objects.join(",")).into_bytes();
    let input = Input { name: endpoint.id.clone(), bytes, written: None };
    let options = Options { cloud: Some(cloud), lenient: true, ..Options::default() };
    let (records, messages) = generate(&[input], &options);
    let mut found = Vec::new();
    for record in records.into_iter().flat_map(|records| records.groups).flat_map(|group| group.records) {
        if matches!(record.record_type, "A" | "AAAA") {
            found.push(EndpointRecord {
                name: record.name.to_string().trim_end_matches('.').to_owned(),
                record_type: record.record_type.to_owned(),
                data: record.data.iter().map(ToString::to_string).collect(),
            });
        }
    }
    found.sort();
    (found, messages.shown().iter().map(ToString::to_string).collect())
}

/// Wildcards that endpoints of several services list: `*.REGION.inference.ml.azure.com` holds the online endpoints of all
/// of them, so none may have it.
pub(super) fn contested_wildcards<'e>(endpoints: impl Iterator<Item = &'e Endpoint>) -> BTreeSet<String> {
    let mut services: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for endpoint in endpoints {
        for record in endpoint.records.iter().filter(|record| record.name.starts_with("*.")) {
            services.entry(&record.name).or_default().insert(&endpoint.service);
        }
    }
    services.into_iter().filter(|(_, services)| services.len() > 1).map(|(name, _)| name.to_owned()).collect()
}
