//! Workspaces and what hangs on them (Microsoft.MachineLearningServices, Microsoft.CognitiveServices).

use super::{Located, Node};
use crate::azure::ResourceId;

/// A workspace, as ARM or `az ml workspace show` prints it.
#[derive(Debug)]
pub struct Workspace {
    /// Its id.
    pub id: Option<ResourceId>,
    /// Its name, or "": not the display name, which may be anything.
    pub name: String,
    /// The region's short name, or "".
    pub location: String,
    /// The GUID of its names: ARM states it, the command line only as part of the discovery URL.
    pub guid: Option<String>,
    /// The host of the discovery URL: with the GUID when the workspace has private link, else the region's.
    pub discovery_host: Option<String>,
    /// The exact notebook name, where stated.
    pub notebook: Option<Located<String>>,
    /// What kind it is.
    pub kind: WorkspaceKind,
    /// The hub of a project.
    pub hub: Option<ResourceId>,
    /// Its private endpoints.
    pub endpoints: Vec<ResourceId>,
    /// Storage account, key vault and container registry: their endpoints should exist too.
    pub resources: Vec<ResourceId>,
}

/// Kinds of workspaces, as far as names go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkspaceKind {
    /// A workspace with endpoints of its own, a hub among them.
    Own,
    /// A project, reached through its hub's endpoints.
    Project,
}

/// An online endpoint of a workspace.
#[derive(Debug)]
pub struct OnlineEndpoint {
    /// The workspace.
    pub workspace: Option<ResourceId>,
    /// The host of its scoring URI, where it is a managed one.
    pub host: Option<Located<String>>,
}

/// A compute instance of a workspace.
#[derive(Debug)]
pub struct Compute {
    /// Its name: the beginning of the host names of its applications.
    pub name: Located<String>,
    /// The workspace.
    pub workspace: Option<ResourceId>,
    /// The hosts of its applications, as far as they are listed.
    pub hosts: Vec<Located<String>>,
    /// The region's short name, or "".
    pub location: String,
}

/// An account of the AI services.
#[derive(Debug)]
pub struct Account {
    /// Its id.
    pub id: Option<ResourceId>,
    /// The label of its names, where it has one.
    pub subdomain: Option<String>,
    /// Whether it is of the kind that has three names.
    pub has_three_names: bool,
}

pub(super) fn workspace(node: &Node<'_>) -> Workspace {
    let either = |rest: &str, cli: &str| node.text_of(rest).or_else(|| node.text_of(cli));
    let kind = node.text_of("kind").or_else(|| node.text_of("_kind")).unwrap_or_default();
    let notebook = node.lifted("notebookInfo").and_then(|info| info.located("fqdn"));
    let connections = node.list("privateEndpointConnections");
    // The names of Resource Manager and the command line, and those of Terraform.
    let resources = [
        ("storageAccount", "storageAccountId"),
        ("keyVault", "keyVaultId"),
        ("containerRegistry", "containerRegistryId"),
    ];
    Workspace {
        id: node.get("id").and_then(|id| ResourceId::parse(id.text()?)),
        name: node.get("name").and_then(|name| name.text()).unwrap_or_default().to_owned(),
        location: node.text_of("location").unwrap_or_default().to_ascii_lowercase(),
        guid: node.text_of("workspaceId").map(str::to_owned),
        discovery_host: either("discoveryUrl", "discovery_url").and_then(host_of_url),
        notebook,
        kind: if kind.eq_ignore_ascii_case("project") { WorkspaceKind::Project } else { WorkspaceKind::Own },
        hub: either("hubResourceId", "hub_id").or_else(|| node.text_of("aiServicesHubId")).and_then(ResourceId::parse),
        endpoints: connections
            .iter()
            .filter_map(|it| ResourceId::parse(it.lifted("privateEndpoint")?.text_of("id")?))
            .collect(),
        resources: resources.iter().filter_map(|(rest, cli)| ResourceId::parse(either(rest, cli)?)).collect(),
    }
}

pub(super) fn online_endpoint(node: &Node<'_>) -> OnlineEndpoint {
    let managed = node.text_of("kind").is_none_or(|kind| kind.eq_ignore_ascii_case("managed"));
    let uri = node.located("scoringUri").filter(|_| managed);
    OnlineEndpoint {
        workspace: node.get("id").and_then(|id| ResourceId::parse(id.text()?)).and_then(|id| id.parent()),
        host: uri.and_then(|uri| Some(Located { value: host_of_url(&uri.value)?, path: uri.path })),
    }
}

/// Reads a compute resource: outer `None` for what is not one, inner `None` for one without names, such as a cluster.
pub(super) fn compute(node: &Node<'_>, kind: &str) -> Option<Option<Compute>> {
    let of_arm = kind == "microsoft.machinelearningservices/workspaces/computes";
    let compute_type = node.text_of("computeType");
    let is_instance = match compute_type {
        Some(compute_type) if of_arm || node.has("properties") => compute_type.eq_ignore_ascii_case("computeinstance"),
        _ if kind == "computeinstance" => true,
        _ if of_arm || matches!(kind, "amlcompute" | "kubernetes" | "virtualmachine" | "synapsespark") => false,
        _ => return None,
    };
    let name = node.get("name").and_then(|name| name.to_located());
    let Some(name) = name.filter(|_| is_instance) else {
        return Some(None);
    };
    let inner = node.get("properties").and_then(|outer| outer.get("properties"));
    let applications = inner.map(|inner| inner.list("applications")).unwrap_or_default();
    let services = node.list("services");
    let uris = applications.iter().chain(&services).filter_map(|it| it.located("endpointUri"));
    let hosts = uris.filter_map(|uri| Some(Located { value: host_of_url(&uri.value)?, path: uri.path })).collect();
    let id = node.get("id").and_then(|id| ResourceId::parse(id.text()?));
    let location = node.text_of("location").unwrap_or_default().to_ascii_lowercase();
    Some(Some(Compute { name, workspace: id.and_then(|id| id.parent()), hosts, location }))
}

pub(super) fn account(node: &Node<'_>) -> Account {
    Account {
        id: node.get("id").and_then(|id| ResourceId::parse(id.text()?)),
        subdomain: node.text_of("customSubDomainName").map(str::to_owned),
        has_three_names: node.text_of("kind").is_some_and(|kind| kind.eq_ignore_ascii_case("aiservices")),
    }
}

/// The host of a URL: what stands behind `://` up to a slash, a colon or a question mark.
fn host_of_url(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split(['/', ':', '?', '#']).next()?;
    (!host.is_empty() && !host.contains('@')).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_url() {
        for (url, host) in [
            ("https://a.b/discovery", Some("a.b")),
            ("https://a.b:443?x", Some("a.b")),
            ("https://", None),
            ("a.b", None),
            ("https://user@a.b/", None),
        ] {
            assert_eq!(host_of_url(url).as_deref(), host, "{url}");
        }
    }
}
