//! All names of the workspaces that the endpoints lead to.
//!
//! First everything is collected that any source says of a workspace ([`Facts`]): three addresses, found by the names
//! that lead to them and never by their order. Then the names are claimed that no source lists: label ends, compute
//! instances, the exact inference wildcard, a project's names at its hub's addresses.
//!
//! The wildcard that an interface lists for online endpoints is the region's, other workspaces included. It is right
//! only as long as one workspace of the region is at hand.

mod claim;
mod rows;

pub(super) use claim::warn_of_missing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::endpoints::{Endpoint, RowOf};
use super::gather::Gathered;
use super::group::Group;
use super::message::{Messages, Place, printable, shell_word};
use super::{Options, validate};
use crate::azure::metadata::{Workspace, WorkspaceKind};
use crate::azure::workspace::{WorkspaceId, WorkspaceName};
use crate::azure::{Cloud, HostName, ResourceId, cloud_of};
use rows::{RowKind, assign};

/// What is known of a workspace.
#[derive(Debug, Clone, Default)]
struct Facts {
    /// The name, for messages and for labels that must be put together.
    name: Option<String>,
    resource: Option<ResourceId>,
    /// What the sources say of its addresses: all of them, since they may disagree.
    api: Vec<Word>,
    notebook: Vec<Word>,
    inference: Vec<Word>,
    /// Whether a name of its endpoint could not be used.
    has_refused: bool,
    /// Whether a list has an address for its online endpoints that may be another workspace's.
    has_doubt: bool,
    /// Notebook names that some source states, public or privatelink.
    notebook_names: BTreeSet<HostName>,
    /// The regions in front of their suffix.
    service_regions: BTreeSet<String>,
}

/// Addresses, and the object that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    addresses: Vec<IpAddr>,
    source: Place,
    what: String,
}

/// Rows of one list by their position: the workspaces whose names they have, and what they say of their owner.
type ListRows = BTreeMap<usize, (BTreeSet<WorkspaceId>, Option<String>)>;

/// The workspaces of a run.
#[derive(Debug, Default)]
pub(super) struct Workspaces {
    facts: BTreeMap<WorkspaceId, Facts>,
    /// The region wildcard of an endpoint that names no workspace.
    lone_inference: Vec<(HostName, Word)>,
    /// Workspaces that no address is known of.
    unreached: Vec<(Cloud, String)>,
}

impl Workspaces {
    /// Whether the names of this endpoint's workspace were put together.
    pub(super) fn is_served(&self, endpoint: &Endpoint) -> bool {
        self.facts
            .values()
            .any(|facts| facts.resource.is_some() && facts.resource == endpoint.target && !facts.api.is_empty())
    }

    /// Collects what endpoints, record sets and workspaces say.
    pub(super) fn collect(
        endpoints: &[Endpoint],
        records: &[(HostName, IpAddr, Place)],
        gathered: &Gathered,
        options: &Options,
        messages: &mut Messages,
    ) -> Self {
        let mut all = Self::default();
        for endpoint in endpoints {
            all.add_endpoint(endpoint, messages);
        }
        for (name, address, place) in records {
            all.add_name(
                name,
                &Word { addresses: vec![*address], source: place.clone(), what: "a record set".to_owned() },
            );
        }
        // Projects last: they borrow what is known of their hub.
        let (projects, others): (Vec<_>, Vec<_>) =
            gathered.workspaces.iter().partition(|(_, it)| it.kind == WorkspaceKind::Project);
        for (place, workspace) in others.into_iter().chain(projects) {
            all.add_workspace(place, workspace, endpoints, options, messages);
        }
        all
    }

    fn add_endpoint(&mut self, endpoint: &Endpoint, messages: &mut Messages) {
        let mut ids = BTreeSet::new();
        let mut region_words: Vec<(HostName, Word, Option<&RowOf>)> = Vec::new();
        let mut lists: BTreeMap<usize, ListRows> = BTreeMap::new();
        for listing in &endpoint.listings {
            for known in &listing.names {
                let word = Word {
                    addresses: known.addresses.clone(),
                    source: listing.source.clone(),
                    what: listing.what.clone(),
                };
                let id = self.add_name(&known.name, &word);
                if let Some(row) = &listing.row {
                    let rows = lists.entry(row.list).or_default();
                    let (row_ids, _) = rows.entry(row.position).or_insert_with(|| (BTreeSet::new(), row.owner.clone()));
                    row_ids.extend(id.clone());
                }
                match id {
                    Some(id) => _ = ids.insert(id),
                    None if matches!(Group::of(&known.name), Group::RegionInference(_)) => {
                        region_words.push((known.name.clone(), word, listing.row.as_ref()));
                    }
                    None => {}
                }
            }
        }
        for (name, word, _) in region_words.iter().filter(|(.., row)| row.is_none()) {
            let mut owners = ids.iter().filter(|id| id.region_inference().as_ref() == Some(name)).peekable();
            if owners.peek().is_none() {
                self.lone_inference.push((name.clone(), word.clone()));
            }
            for id in owners {
                self.facts.entry(id.clone()).or_default().inference.push(word.clone());
            }
        }
        let regions: BTreeSet<&HostName> = region_words.iter().map(|(name, ..)| name).collect();
        for (list, rows) in &lists {
            for region in &regions {
                let words: Vec<(&Word, usize)> = region_words
                    .iter()
                    .filter(|(name, _, row)| name == *region && row.is_some_and(|row| row.list == *list))
                    .filter_map(|(_, word, row)| Some((word, row.as_ref()?.position)))
                    .collect();
                if !words.is_empty() {
                    self.assign_rows(region, rows, &words, messages);
                }
            }
        }
        for id in ids {
            let facts = self.facts.entry(id).or_default();
            facts.resource = facts.resource.take().or_else(|| endpoint.target.clone());
            facts.has_refused |= endpoint.has_refused;
        }
    }

    /// Gives each region wildcard of a list to the workspace whose rows surround it.
    fn assign_rows(&mut self, region: &HostName, rows: &ListRows, words: &[(&Word, usize)], messages: &mut Messages) {
        let of_region = |id: &&WorkspaceId| id.region_inference().as_ref() == Some(region);
        let kinds: Vec<RowKind<WorkspaceId>> = rows
            .iter()
            .map(|(position, (ids, owner))| RowKind {
                position: *position,
                ids: ids.iter().filter(of_region).cloned().collect(),
                is_wildcard: words.iter().any(|(_, at)| at == position),
                owner: owner.clone(),
            })
            .collect();
        let ids: BTreeSet<WorkspaceId> = kinds.iter().flat_map(|row| row.ids.iter().cloned()).collect();
        let Some((first, _)) = words.first() else { return };
        if ids.is_empty() {
            self.lone_inference.extend(words.iter().map(|(word, _)| (region.clone(), (*word).clone())));
            return;
        }
        // A hub and its projects are behind one interface: one API address is everybody's, and so is the other one.
        let mut api = ids.iter().map(|id| self.facts.get(id).map(|facts| facts.api.iter().map(|word| &word.addresses)));
        let shared = api.next().flatten().and_then(|mut words| words.next()).cloned();
        let is_shared = shared.is_some()
            && ids.iter().all(|id| {
                let facts = self.facts.get(id);
                facts.is_some_and(|facts| {
                    !facts.api.is_empty() && facts.api.iter().all(|word| Some(&word.addresses) == shared.as_ref())
                })
            });
        let is_one = words.iter().all(|(word, _)| word.addresses == first.addresses);
        if is_one && (is_shared || words.len() >= ids.len()) {
            for (id, (word, _)) in ids.iter().zip(words.iter().cycle()) {
                self.facts.entry(id.clone()).or_default().inference.push((*word).clone());
            }
            return;
        }
        match assign(&kinds) {
            Some(owners) => {
                for (id, (word, _)) in owners.into_iter().zip(words) {
                    self.facts.entry(id).or_default().inference.push((*word).clone());
                }
            }
            None => {
                let guids: Vec<&str> = ids.iter().map(|id| id.guid.as_str()).collect();
                let text = format!(
                    "it cannot be told which workspace each address of {region} in this list belongs to: its rows have {} of them for {} workspaces ({})",
                    words.len(),
                    guids.len(),
                    guids.join(", ")
                );
                let hint = "give the interfaces whole (`az network nic list`), or one list for each interface: `az network nic list --query \
                    '[].ipConfigurations[*].{IPAddress: privateIPAddress, FQDNs: privateLinkConnectionProperties.fqdns}'`";
                messages.error(Some(&first.source), text, hint);
                ids.iter().for_each(|id| self.facts.entry(id.clone()).or_default().has_doubt = true);
            }
        }
    }

    /// Notes what a name says, if it is one of a workspace. Disagreements are found where the claims are merged.
    fn add_name(&mut self, name: &HostName, word: &Word) -> Option<WorkspaceId> {
        let (id, slot): (WorkspaceId, fn(&mut Facts) -> &mut Vec<Word>) = match WorkspaceName::recognise(name)? {
            WorkspaceName::Api { workspace } | WorkspaceName::Cert { workspace } => (workspace, |facts| &mut facts.api),
            WorkspaceName::WorkspaceInference { workspace } => (workspace, |facts| &mut facts.inference),
            WorkspaceName::Notebook { workspace, service_region } => {
                let facts = self.facts.entry(workspace.clone()).or_default();
                facts.notebook_names.insert(name.clone());
                facts.service_regions.insert(service_region);
                (workspace, |facts| &mut facts.notebook)
            }
            WorkspaceName::RegionInference { .. } => return None,
        };
        let facts = self.facts.entry(id.clone()).or_default();
        let words = slot(facts);
        if !words.contains(word) {
            words.push(word.clone());
        }
        Some(id)
    }

    fn add_workspace(
        &mut self,
        place: &Place,
        workspace: &Workspace,
        endpoints: &[Endpoint],
        options: &Options,
        messages: &mut Messages,
    ) {
        let notebook =
            workspace.notebook.as_ref().and_then(|name| validate::host_name(name, place, None, options, messages));
        let id = self.identify(workspace, notebook.as_ref(), options);
        if let Some(id) = id.as_ref().filter(|id| !self.facts.contains_key(id))
            && let Some(facts) = self.of_hub(workspace).or_else(|| fixed_facts(workspace, endpoints, messages))
        {
            self.facts.insert(id.clone(), facts);
        }
        let Some((id, facts)) = id.and_then(|id| self.facts.get_mut(&id).map(|facts| (id, facts))) else {
            self.unreached.push((cloud_of_workspace(workspace, options), workspace.location.clone()));
            warn_unreached(place, workspace, messages);
            return;
        };
        facts.name = Some(workspace.name.clone());
        // The endpoint's target may be the hub of this one.
        facts.resource = workspace.id.clone().or_else(|| facts.resource.take());
        if let Some(WorkspaceName::Notebook { service_region, workspace }) =
            notebook.as_ref().and_then(WorkspaceName::recognise)
            && workspace == id
        {
            facts.service_regions.insert(service_region);
            facts.notebook_names.extend(notebook);
        }
    }

    /// Which workspace an object describes: by its exact names, by its id, by the endpoint that leads to it, or by a
    /// notebook label that has its name.
    fn identify(&self, workspace: &Workspace, notebook: Option<&HostName>, options: &Options) -> Option<WorkspaceId> {
        let discovery = workspace.discovery_host.as_deref().and_then(|host| HostName::parse(host).ok());
        for name in notebook.into_iter().chain(&discovery) {
            if let Some(WorkspaceName::Notebook { workspace: id, .. } | WorkspaceName::Api { workspace: id }) =
                WorkspaceName::recognise(name)
            {
                return Some(id);
            }
        }
        if let Some(guid) = &workspace.guid {
            return WorkspaceId::new(cloud_of_workspace(workspace, options), &workspace.location, guid);
        }
        let by_target = |facts: &Facts| facts.resource.is_some() && facts.resource == workspace.id;
        let mut found =
            self.facts.iter().filter(|(id, facts)| by_target(facts) || claim::has_label_of(id, facts, &workspace.name));
        let (id, _) = found.next()?;
        found.next().is_none().then(|| id.clone())
    }

    /// A project's names lead to its hub's addresses.
    fn of_hub(&self, project: &Workspace) -> Option<Facts> {
        let hub = project.hub.as_ref().filter(|_| project.kind == WorkspaceKind::Project)?;
        let facts = self.facts.values().find(|facts| facts.resource.as_ref() == Some(hub))?;
        Some(Facts { notebook_names: BTreeSet::new(), resource: project.id.clone(), ..facts.clone() })
    }
}

/// A workspace whose endpoint lists no name, but has fixed addresses: by member where the member says what it is, else
/// by the order in which the documentation has them.
fn fixed_facts(workspace: &Workspace, endpoints: &[Endpoint], messages: &mut Messages) -> Option<Facts> {
    let endpoint =
        endpoints.iter().find(|it| it.listings.is_empty() && it.target.is_some() && it.target == workspace.id)?;
    let fixed: Vec<_> = endpoint.fixed.iter().filter(|fixed| fixed.group == "amlworkspace").collect();
    let by_member = |part: &str| fixed.iter().find(|fixed| fixed.member.contains(part));
    let at = |part: &str, index: usize| {
        let fixed = by_member(part)
            .or_else(|| if fixed.iter().any(|it| it.member.contains("notebook")) { None } else { fixed.get(index) })?;
        Some(Word { addresses: vec![fixed.address], source: endpoint.place.clone(), what: endpoint.what.clone() })
    };
    let facts = Facts {
        resource: workspace.id.clone(),
        api: at("default", 0).into_iter().collect(),
        notebook: at("notebook", 1).into_iter().collect(),
        inference: at("inference", 2).into_iter().collect(),
        ..Facts::default()
    };
    facts.api.first()?;
    let text = format!(
        "{} lists no name: those of workspace {} were derived from its fixed addresses, in their order",
        endpoint.what,
        printable(&workspace.name)
    );
    messages.warning(
        Some(&endpoint.place),
        text,
        "give its network interface to be sure: `az network nic show --ids INTERFACE_ID`",
    );
    Some(facts)
}

fn cloud_of_workspace(workspace: &Workspace, options: &Options) -> Cloud {
    let host = workspace.discovery_host.as_deref().and_then(|host| HostName::parse(host).ok());
    options.cloud.or_else(|| cloud_of(&host?)).unwrap_or(Cloud::Public)
}

fn warn_unreached(place: &Place, workspace: &Workspace, messages: &mut Messages) {
    let text =
        format!("the input has no address of workspace {}: a workspace states none itself", printable(&workspace.name));
    let hint = match workspace.endpoints.first() {
        Some(endpoint) => {
            let endpoint = shell_word(Some(endpoint.as_str()), "ENDPOINT_ID");
            format!("give the interface of its endpoint: `az network nic show --ids $(az network private-endpoint show --ids {endpoint} --query 'networkInterfaces[0].id' -o tsv)`")
        }
        None => "give the network interface of its private endpoint: `az network nic show --ids INTERFACE_ID`; `az network private-endpoint list` shows the ids".to_owned(),
    };
    messages.warning(Some(place), text, hint);
}
