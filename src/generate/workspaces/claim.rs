//! From what is known of workspaces to claims: the names that no source lists.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Facts, Word, Workspaces};
use crate::azure::metadata::Compute;
use crate::azure::workspace::WorkspaceId;
use crate::azure::{HostName, ResourceId, private_names, public_names};
use crate::generate::endpoints::claim_addresses;
use crate::generate::gather::Gathered;
use crate::generate::group::{Group, Part};
use crate::generate::message::{Messages, printable};
use crate::generate::records::{Claims, Origin};
use crate::generate::{Options, validate};

impl Workspaces {
    /// Claims every name of every workspace that its sources do not list.
    pub(in crate::generate) fn claim(&self, options: &Options, claims: &mut Claims, messages: &mut Messages) {
        for (id, facts) in &self.facts {
            for word in &facts.api {
                word.claim(id.api().into_iter().chain(id.cert()), None, claims);
            }
            claim_notebooks(id, facts, claims, messages);
            for word in &facts.inference {
                word.claim(id.workspace_inference(), None, claims);
            }
        }
        if !options.no_regional_wildcard {
            self.claim_regions(claims, messages);
        }
        for instance in &options.compute_instances {
            self.claim_instance(instance, claims, messages);
        }
    }

    /// The region's wildcard, where it is one workspace's alone.
    fn claim_regions(&self, claims: &mut Claims, messages: &mut Messages) {
        let mut regions: BTreeMap<HostName, Vec<(Option<&WorkspaceId>, &Word)>> = BTreeMap::new();
        for (id, facts) in &self.facts {
            for word in &facts.inference {
                if let Some(name) = id.region_inference() {
                    regions.entry(name).or_default().push((Some(id), word));
                }
            }
        }
        for (name, word) in &self.lone_inference {
            regions.entry(name.clone()).or_default().push((None, word));
        }
        for (name, words) in regions {
            let addresses: BTreeSet<&[IpAddr]> = words.iter().map(|(_, word)| word.addresses.as_slice()).collect();
            let ids: BTreeSet<&WorkspaceId> = words.iter().filter_map(|(id, _)| *id).collect();
            // Sources that disagree on one workspace are another matter: the claims show it.
            let others = if ids.len() > 1 || words.iter().any(|(id, _)| id.is_none()) { addresses.len() } else { 1 };
            if others + self.strangers(&name) > 1 {
                let text = format!(
                    "{name} was left out: the input has several workspaces of this region, and it would send the endpoints of one to another"
                );
                let hint = "each workspace's own wildcard below privatelink serves its endpoints: their public names are aliases of it";
                messages.warning(words.first().map(|(_, word)| &word.source), text, hint);
                continue;
            }
            for (id, word) in words {
                let group = id.map(|id| Group::Workspace(id.clone(), Part::Inference));
                word.claim_noted([name.clone()], group, Some(REGION_NOTE), claims);
            }
        }
    }

    /// Workspaces of a region whose endpoints' address is not known.
    fn strangers(&self, region: &HostName) -> usize {
        let silent = self
            .facts
            .iter()
            .filter(|(id, facts)| facts.inference.is_empty() && id.region_inference().as_ref() == Some(region));
        let unreached = self.unreached.iter().filter(|(cloud, location)| {
            HostName::under(["*", location.as_str()], cloud.inference()).as_ref() == Some(region)
        });
        silent.count() + unreached.count()
    }

    fn claim_instance(&self, instance: &str, claims: &mut Claims, messages: &mut Messages) {
        let (workspace, name) = match instance.rsplit_once('/') {
            Some((workspace, name)) => (Some(workspace), name),
            None => (None, instance),
        };
        let is_meant = |id: &WorkspaceId, facts: &Facts| {
            workspace.is_none_or(|text| {
                text.eq_ignore_ascii_case(&id.guid)
                    || facts.name.as_deref().is_some_and(|name| text.eq_ignore_ascii_case(name))
            })
        };
        let found: Vec<_> =
            self.facts.iter().filter(|(id, facts)| !facts.api.is_empty() && is_meant(id, facts)).collect();
        let instance = printable(instance);
        match found.as_slice() {
            [(id, facts)] => {
                for word in &facts.api {
                    let group = Group::Workspace((*id).clone(), Part::ComputeInstances);
                    word.claim(id.compute_instance(name), Some(group), claims);
                }
            }
            [] => {
                let known: Vec<String> = self
                    .facts
                    .iter()
                    .filter(|(_, facts)| !facts.api.is_empty())
                    .map(|(id, facts)| facts.name.as_deref().map_or_else(|| id.guid.clone(), printable))
                    .collect();
                if known.is_empty() {
                    messages.error(
                        None,
                        format!("no workspace for the compute instance {instance}: the input has no API address of it"),
                        "give the network interface of the workspace's private endpoint: `az network nic show --ids INTERFACE_ID`",
                    );
                } else {
                    messages.error(
                        None,
                        format!("no workspace for the compute instance {instance}: the input has {}", known.join(", ")),
                        "say which by its id; to go by its name, give `az ml workspace show` too",
                    );
                }
            }
            [(id, _), ..] => messages.error(
                None,
                format!(
                    "the input has {} workspaces: the compute instance {instance} may belong to any of them",
                    found.len()
                ),
                format!("say which, by id or name: --compute-instance {}/{}", id.guid, printable(name)),
            ),
        }
    }

    /// Claims the names of the compute instances that the input lists: those that every instance has, and those of its
    /// applications.
    pub(in crate::generate) fn claim_computes(
        &self,
        gathered: &Gathered,
        claims: &mut Claims,
        messages: &mut Messages,
    ) {
        for (place, compute) in &gathered.computes {
            let name = &compute.name.value;
            let Some((id, facts)) = self.owner_of(compute) else {
                let text = match &compute.workspace {
                    Some(id) => {
                        format!("the input has no API address of its workspace {}", printable(id.name()))
                    }
                    None => "it does not say which workspace it belongs to".to_owned(),
                };
                let text = format!("compute instance {} was left out: {text}", printable(name));
                messages.warning(
                    Some(place),
                    text,
                    "give the network interface of the workspace's private endpoint (`az network nic show --ids INTERFACE_ID`) and, where there are several, `az ml workspace show`",
                );
                continue;
            };
            let mut names = id.compute_instance(name);
            if names.is_empty() {
                let text = format!("\"{}\" is not a valid name of a compute instance", printable(name));
                messages.error(Some(&place.at(&compute.name.path)), text, "take it out of the input");
                continue;
            }
            for host in &compute.hosts {
                match HostName::parse(&host.value) {
                    Ok(host) if id.is_compute_host(name, &host) => {
                        names.extend(Some(host).filter(|it| !names.contains(it)))
                    }
                    _ => {
                        let text = format!(
                            "{} is not a host name of compute instance {}",
                            printable(&host.value),
                            printable(name)
                        );
                        messages.warning(Some(&place.at(&host.path)), text, "it was left out");
                    }
                }
            }
            for word in &facts.api {
                let group = Group::Workspace(id.clone(), Part::ComputeInstances);
                word.claim(names.clone(), Some(group), claims);
            }
        }
    }

    /// The workspace of a compute instance: by its id, by the name in its notebook label, else the only one there is.
    fn owner_of(&self, compute: &Compute) -> Option<(&WorkspaceId, &Facts)> {
        let reached = || self.facts.iter().filter(|(_, facts)| !facts.api.is_empty());
        let by_id = reached().find(|(_, facts)| facts.resource.is_some() && facts.resource == compute.workspace);
        if by_id.is_some() {
            return by_id;
        }
        let is_in_region = |id: &WorkspaceId| compute.location.is_empty() || id.region == compute.location;
        let Some(workspace) = compute.workspace.as_ref().map(ResourceId::name) else {
            // It does not say whose it is: the only workspace that there is, and no other.
            let mut all = reached();
            let found = all.next().filter(|(id, _)| is_in_region(id))?;
            return all.next().is_none().then_some(found);
        };
        let is_named = |id: &WorkspaceId, facts: &Facts| {
            let by_name = facts.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(workspace));
            by_name || has_label_of(id, facts, workspace)
        };
        let mut named = reached().filter(|(id, facts)| is_named(id, facts));
        if let Some(found) = named.next() {
            return named.next().is_none().then_some(found);
        }
        // Its name is not known: the only workspace of the region whose name is not known either.
        let mut open =
            reached().filter(|(id, facts)| facts.name.is_none() && facts.notebook_names.is_empty() && is_in_region(id));
        let found = open.next()?;
        open.next().is_none().then_some(found)
    }

    /// Claims the public names of online endpoints that the input lists.
    pub(in crate::generate) fn claim_online_endpoints(
        &self,
        gathered: &Gathered,
        options: &Options,
        claims: &mut Claims,
        messages: &mut Messages,
    ) {
        for (place, endpoint) in &gathered.online_endpoints {
            let Some(host) = &endpoint.host else { continue };
            let Some(name) = validate::host_name(host, place, None, options, messages) else {
                continue;
            };
            let owner =
                self.facts.iter().find(|(_, facts)| facts.resource.is_some() && facts.resource == endpoint.workspace);
            match owner.filter(|(_, facts)| !facts.inference.is_empty()) {
                Some((id, facts)) => {
                    for word in &facts.inference {
                        word.claim([name.clone()], Some(Group::Workspace(id.clone(), Part::Inference)), claims);
                    }
                }
                None => {
                    let workspace = endpoint.workspace.as_ref().map(|id| printable(id.name())).unwrap_or_default();
                    let text =
                        format!("{name} was left out: the input has no inference address of its workspace {workspace}");
                    messages.warning(
                        Some(place),
                        text,
                        "give the network interface of the workspace's private endpoint and the workspace itself",
                    );
                }
            }
        }
    }
}

/// Warns of storage accounts, vaults and registries of a workspace that no record leads to.
pub(in crate::generate) fn warn_of_missing(gathered: &Gathered, claims: &Claims, messages: &mut Messages) {
    let labels: BTreeSet<&str> = claims.names().filter_map(|name| name.labels().next()).collect();
    for (place, workspace) in &gathered.workspaces {
        let missing = workspace.resources.iter().filter(|id| !labels.contains(id.name().to_ascii_lowercase().as_str()));
        let missing: Vec<String> = missing.map(|id| printable(id.name())).collect();
        if !labels.is_empty() && !missing.is_empty() {
            let text = format!(
                "workspace {} uses {}, and the input has no endpoint of it: its names stay public",
                printable(&workspace.name),
                missing.join(", ")
            );
            messages.warning(
                Some(place),
                text,
                "give the network interfaces of their private endpoints too, if they have any",
            );
        }
    }
}

impl Word {
    /// Claims names at these addresses, each with its privatelink name.
    fn claim(&self, names: impl IntoIterator<Item = HostName>, group: Option<Group>, claims: &mut Claims) {
        self.claim_noted(names, group, None, claims);
    }

    fn claim_noted(
        &self,
        names: impl IntoIterator<Item = HostName>,
        group: Option<Group>,
        note: Option<&'static str>,
        claims: &mut Claims,
    ) {
        for name in names {
            for name in private_names(&name, None).into_iter().chain([name]) {
                let group = group.clone().unwrap_or_else(|| Group::of(&name));
                claim_addresses(claims, &name, &self.addresses, None, Origin::Derived, group, &self.source, &self.what);
                if let Some(note) = note {
                    claims.note(&name, note);
                }
            }
        }
    }
}

/// Whether a source states a notebook name of this workspace that begins with such a name.
pub(super) fn has_label_of(id: &WorkspaceId, facts: &Facts, workspace: &str) -> bool {
    let regions = facts.service_regions.iter();
    let mut names = regions.flat_map(|region| id.notebook_candidates(workspace, region));
    names.any(|name| {
        let stated = &facts.notebook_names;
        stated.contains(&name) || private_names(&name, None).iter().any(|name| stated.contains(name))
    })
}

fn claim_notebooks(id: &WorkspaceId, facts: &Facts, claims: &mut Claims, messages: &mut Messages) {
    let Some(first) = facts.notebook.first() else {
        if facts.has_refused {
            // It may have been the name that could not be used.
            return;
        }
        let source = facts.api.first().map(|word| &word.source);
        let text = format!("notebook names of workspace {} were left out: no source lists one", id.guid);
        messages.warning(
            source,
            text,
            "give the network interface of its private endpoint: `az network nic show --ids INTERFACE_ID`",
        );
        return;
    };
    let group = Some(Group::Workspace(id.clone(), Part::Notebooks));
    let mut names: Vec<HostName> =
        facts.notebook_names.iter().flat_map(|name| public_names(name).into_iter().chain([name.clone()])).collect();
    let regions: Vec<&str> = if facts.service_regions.is_empty() {
        id.notebook_regions()
    } else {
        facts.service_regions.iter().map(String::as_str).collect()
    };
    if names.is_empty() {
        let workspace = facts.name.as_deref().unwrap_or_default();
        names = regions.iter().flat_map(|region| id.notebook_candidates(workspace, region)).collect();
        let text = format!(
            "no source states the notebook name of workspace {}: it was derived, in every reading of how its label is truncated",
            id.guid
        );
        messages.warning(Some(&first.source), text, "the partial wildcard serves it in any case, unless its notebooks are another region's; `az resource show --ids WORKSPACE_ID` states it as notebookInfo.fqdn");
    }
    names.extend(regions.iter().filter_map(|region| id.notebook_label_end(region)));
    for word in &facts.notebook {
        word.claim(names.clone(), group.clone(), claims);
    }
}

/// What the reader of a region's wildcard should know.
const REGION_NOTE: &str = "All online endpoints of the region, those of other workspaces too: leave it out with --no-regional-wildcard \
    when clients use any of them.";
