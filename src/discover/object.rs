//! Networks and workspaces as Azure Resource Manager lists them.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A virtual network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Network {
    /// Its address space.
    pub(super) prefixes: Vec<IpNet>,
    /// Ids of the networks with a connected peering, in lower case.
    pub(super) peers: Vec<String>,
    /// Its region.
    pub(super) region: String,
}

/// A workspace.
#[derive(Debug)]
pub(super) struct Workspace {
    /// Its resource id, as found: the beginning of the paths of its lists.
    pub(super) path: String,
    /// The same in lower case.
    pub(super) id: String,
    /// Its region.
    pub(super) region: String,
    /// The GUID of its names, where it is stated.
    pub(super) guid: Option<String>,
    /// The id of the hub of a project, in lower case.
    pub(super) hub: Option<String>,
    /// Ids of its storage account, key vault and registry, in lower case.
    pub(super) needed: Vec<String>,
    /// What `generate` reads.
    pub(super) text: String,
}

impl Workspace {
    pub(super) fn new(object: &Value, text: String) -> Option<Self> {
        let properties = &object["properties"];
        let (path, id) = (id_of(object)?.to_owned(), id_of(object)?.to_ascii_lowercase());
        let keys = ["storageAccount", "keyVault", "containerRegistry"];
        Some(Self {
            path,
            region: object["location"].as_str().unwrap_or_default().to_owned(),
            guid: properties["workspaceId"].as_str().map(str::to_owned),
            hub: lower(&properties["hubResourceId"]).filter(|hub| *hub != id),
            needed: keys.iter().filter_map(|key| lower(&properties[key])).filter(|id| !id.is_empty()).collect(),
            id,
            text,
        })
    }
}

/// A network by its id in lower case.
pub(super) fn network(object: &Value) -> Option<(String, Network)> {
    let properties = &object["properties"];
    let prefixes = properties["addressSpace"]["addressPrefixes"].as_array().into_iter().flatten();
    let peerings = properties["virtualNetworkPeerings"].as_array().into_iter().flatten();
    let is_connected =
        |peering: &&Value| lower(&peering["properties"]["peeringState"]).is_some_and(|state| state == "connected");
    let network = Network {
        prefixes: prefixes.filter_map(|prefix| prefix.as_str()?.parse().ok()).collect(),
        peers: peerings
            .filter(is_connected)
            .filter_map(|it| lower(&it["properties"]["remoteVirtualNetwork"]["id"]))
            .collect(),
        region: lower(&object["location"]).unwrap_or_default(),
    };
    Some((id_of(object)?.to_ascii_lowercase(), network))
}

/// The id of an object.
pub(super) fn id_of(object: &Value) -> Option<&str> {
    object["id"].as_str().filter(|id| id.starts_with('/'))
}

pub(super) fn lower(value: &Value) -> Option<String> {
    value.as_str().map(str::to_ascii_lowercase)
}
