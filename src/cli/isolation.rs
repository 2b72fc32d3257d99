//! The isolation report: which parts of a workspace are reached by private endpoint, as this server answers for them.
//!
//! The parts are those of the documentation's levels of network isolation: the workspace, its associated resources,
//! training compute, and inference.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Serialize;

use crate::azure::workspace::{WorkspaceId, WorkspaceName};
use crate::azure::{Cloud, HostName};
use crate::client::{ask_udp, query};
use crate::explain::{is_private, wrapped};
use crate::records::Table;
use crate::verify::Observed;
use crate::wire::{Name, Rtype};

/// Names of one part that are asked for.
const NAMES_MAX: usize = 20;
/// How long each answer is waited for.
const WAITS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(3)];
/// Columns of the report.
const WIDTH: usize = 80;

/// One workspace with its parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Isolation {
    /// Its id.
    workspace: String,
    region: String,
    cloud: &'static str,
    parts: Vec<Part>,
}

/// One part of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Part {
    part: &'static str,
    /// `private endpoint`, `service endpoint or public`, or `unknown`.
    state: &'static str,
    /// The names that say so.
    names: Vec<String>,
    /// What to do to have it in the network; `None` where it is.
    todo: Option<String>,
}

/// A part, and what its names look like.
type Kind = (&'static str, fn(&HostName, &WorkspaceId) -> bool, &'static str);

const KINDS: [Kind; 10] = [
    (
        "workspace",
        |name, id| match WorkspaceName::recognise(name) {
            Some(WorkspaceName::Api { workspace } | WorkspaceName::Cert { workspace }) => workspace == *id,
            Some(WorkspaceName::Notebook { workspace, .. }) => workspace.guid == id.guid,
            _ => false,
        },
        "Create a private endpoint of the workspace (amlworkspace) and add its records with `pldns generate`.",
    ),
    (
        "storage: blob",
        |name, id| is_storage(name, id, "blob"),
        "Create a private endpoint of the account's blob service.",
    ),
    (
        "storage: file",
        |name, id| is_storage(name, id, "file"),
        "Create a private endpoint of the account's file service.",
    ),
    (
        "storage: queue",
        |name, id| is_storage(name, id, "queue"),
        "Needed for parallel runs: a private endpoint of queue.",
    ),
    (
        "storage: table",
        |name, id| is_storage(name, id, "table"),
        "Needed for parallel runs: a private endpoint of table.",
    ),
    (
        "storage: dfs",
        |name, id| is_storage(name, id, "dfs"),
        "Needed for Data Lake Storage: a private endpoint of dfs.",
    ),
    (
        "key vault",
        |name, id| {
            let (asked, core) = id.cloud.key_vault();
            is_under(name, asked) || is_under(name, core)
        },
        "Create a private endpoint of the workspace's key vault.",
    ),
    (
        "container registry",
        |name, id| is_under(name, id.cloud.registry()),
        "Create a private endpoint of the registry (tier Premium), with its data endpoint.",
    ),
    (
        "training compute",
        |name, id| id.cloud.compute_instances().iter().any(|suffix| is_under(name, suffix)),
        "Put compute into the network (managed or own), and add instances with `pldns generate --compute-instance`.",
    ),
    (
        "inference",
        |name, id| match WorkspaceName::recognise(name) {
            Some(WorkspaceName::WorkspaceInference { workspace }) => workspace == *id,
            Some(WorkspaceName::RegionInference { region }) => region == id.region,
            _ => is_under(name, "azmk8s.io"),
        },
        "Disable public access of the online endpoints; attach private clusters for Kubernetes endpoints.",
    ),
];

fn is_under(name: &HostName, suffix: &str) -> bool {
    let plain = HostName::from_labels(name.labels().filter(|label| !label.starts_with("privatelink")));
    plain.is_some_and(|plain| plain.in_front_of(suffix).is_some_and(|front| !front.is_empty()))
}

fn is_storage(name: &HostName, id: &WorkspaceId, service: &str) -> bool {
    is_under(name, &format!("{service}.{}", id.cloud.storage()))
}

/// Asks the server for the names of each workspace in the records.
pub(super) async fn isolation(table: &Table, server: SocketAddr, client: IpAddr) -> Vec<Isolation> {
    let mut names = BTreeMap::new();
    for (owner, set) in table.iter() {
        let is_address = matches!(set.rtype, Rtype::A | Rtype::AAAA | Rtype::CNAME);
        let owner = Name::from_wire(owner).filter(|_| is_address && table.views().fit(set.view, client).is_some());
        if let Some(host) = owner.and_then(|owner| HostName::parse(&owner.to_string()).ok()) {
            names.insert(host.to_string(), host);
        }
    }
    let mut workspaces: Vec<WorkspaceId> = names.values().filter_map(workspace_of).collect();
    workspaces.sort();
    workspaces.dedup();
    let several = workspaces.len() > 1;
    let mut reports = Vec::new();
    for id in &workspaces {
        let mut parts = Vec::new();
        for (number, (part, is_of, todo)) in KINDS.into_iter().enumerate() {
            let hosts = names.values().filter(|name| is_of(name, id)).take(NAMES_MAX);
            let mut shown = Vec::new();
            let (mut private, mut public) = (false, false);
            for host in hosts {
                for address in addresses(server, host).await {
                    if is_private(address) { private = true } else { public = true }
                }
                shown.push(host.to_string());
            }
            let is_shared = several && (1..=8).contains(&number);
            let (state, todo) = match (private, public) {
                (_, true) => ("service endpoint or public", Some(todo.to_owned())),
                (true, false) if is_shared => (
                    "private endpoint",
                    Some("Check that this workspace uses one of these: records do not say which uses what.".to_owned()),
                ),
                (true, false) => ("private endpoint", None),
                (false, false) => ("unknown", Some(format!("No record here. {todo}"))),
            };
            parts.push(Part { part, state, names: shown, todo });
        }
        reports.push(Isolation {
            workspace: id.guid.clone(),
            region: id.region.clone(),
            cloud: Cloud::word(id.cloud),
            parts,
        });
    }
    reports
}

fn workspace_of(name: &HostName) -> Option<WorkspaceId> {
    match WorkspaceName::recognise(name)? {
        WorkspaceName::Api { workspace }
        | WorkspaceName::Cert { workspace }
        | WorkspaceName::WorkspaceInference { workspace } => Some(workspace),
        WorkspaceName::Notebook { .. } | WorkspaceName::RegionInference { .. } => None,
    }
}

/// The addresses that the server gives for a name; a wildcard's by an example.
async fn addresses(server: SocketAddr, host: &HostName) -> Vec<IpAddr> {
    let Ok(name) = Name::parse(&host.to_string().replace('*', "pldns-verify")) else { return Vec::new() };
    let mut found = Vec::new();
    for rtype in [Rtype::A, Rtype::AAAA] {
        let answer = ask_udp(server, &query(&name, rtype), &WAITS).await;
        let observed = answer.ok().and_then(|message| Observed::read(&message, rtype));
        found
            .extend(observed.iter().flat_map(|observed| &observed.data).filter_map(|data| data.parse::<IpAddr>().ok()));
    }
    found
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "workspace {} ({}, {})", self.workspace, self.region, self.cloud)?;
        for part in &self.parts {
            writeln!(f, "  {:<20}{}", part.part, part.state)?;
            for line in part.todo.iter().flat_map(|todo| wrapped(todo, WIDTH - 22)) {
                writeln!(f, "{:22}{line}", "")?;
            }
        }
        Ok(())
    }
}
