//! Groups of the output: which records stand together, in which order, under which comment.

use crate::azure::workspace::{WorkspaceId, WorkspaceName};
use crate::azure::{Cloud, HostName, is_privatelink_label, public_zone};

/// A group of records, in the order in which groups are printed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// Names of a workspace.
    Workspace(WorkspaceId, Part),
    /// The endpoints of a region, when nothing says whose.
    RegionInference(String),
    /// A service of a storage account.
    Storage(usize),
    /// Key vaults.
    KeyVault,
    /// Container registries.
    Registry,
    /// Everything else, by what the names lie under.
    Other(String),
}

/// Which of a workspace's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Api,
    Cert,
    Notebooks,
    Inference,
    ComputeInstances,
}

impl Group {
    /// The group that a name belongs to by itself.
    pub(super) fn of(name: &HostName) -> Self {
        match WorkspaceName::recognise(name) {
            Some(WorkspaceName::Api { workspace }) => return Self::Workspace(workspace, Part::Api),
            Some(WorkspaceName::Cert { workspace }) => {
                return Self::Workspace(workspace, Part::Cert);
            }
            Some(WorkspaceName::Notebook { workspace, .. }) => {
                return Self::Workspace(workspace, Part::Notebooks);
            }
            Some(WorkspaceName::WorkspaceInference { workspace }) => {
                return Self::Workspace(workspace, Part::Inference);
            }
            Some(WorkspaceName::RegionInference { region }) => {
                return Self::RegionInference(region);
            }
            None => {}
        }
        Self::of_service(name)
    }

    fn of_service(name: &HostName) -> Self {
        let plain: Vec<&str> = name.labels().filter(|label| !is_privatelink_label(label)).collect();
        let Some(plain) = HostName::from_labels(plain) else {
            return Self::Other(name.to_string());
        };
        for cloud in Cloud::ALL {
            let (asked, core) = cloud.key_vault();
            if plain.in_front_of(asked).is_some() || plain.in_front_of(core).is_some() {
                return Self::KeyVault;
            }
            if plain.in_front_of(cloud.registry()).is_some() {
                return Self::Registry;
            }
            let service = plain.in_front_of(cloud.storage()).and_then(|front| front.last().copied().map(str::to_owned));
            if let Some(at) = service.and_then(|service| STORAGE_SERVICES.iter().position(|known| *known == service)) {
                return Self::Storage(at);
            }
        }
        Self::Other(public_zone(name).unwrap_or_else(|| plain.labels().skip(1).collect::<Vec<_>>().join(".")))
    }

    /// The comment over the group.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Workspace(id, part) => {
                let part = match part {
                    Part::Api => "API",
                    Part::Cert => "cert",
                    Part::Notebooks => "notebooks",
                    Part::Inference => "inference",
                    Part::ComputeInstances => "compute instances",
                };
                format!("Workspace {} in {}: {part}", id.guid, id.region)
            }
            Self::RegionInference(region) => format!("Online endpoints in {region}"),
            Self::Storage(at) => format!("Storage: {}", STORAGE_SERVICES.get(*at).copied().unwrap_or_default()),
            Self::KeyVault => "Key vault".to_owned(),
            Self::Registry => "Container registry".to_owned(),
            Self::Other(parent) => parent.clone(),
        }
    }
}

/// The services of a storage account, in the order in which they are printed.
pub(super) const STORAGE_SERVICES: [&str; 6] = ["blob", "file", "queue", "table", "dfs", "web"];
