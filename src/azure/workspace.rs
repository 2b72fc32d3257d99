//! The names of an Azure Machine Learning workspace.
//!
//! ```text
//! {id}.workspace.{region}.api.azureml.ms                          API address
//! {id}.workspace.{region}.cert.api.azureml.ms                     API address
//! ml-{name, cut}-{region}-{id}.{region}.notebooks.azure.net       notebook address
//! *.{region}.inference.ml.azure.com                               inference address, of every workspace of the region
//! *.{id}.inference.{region}.privatelink.api.azureml.ms            inference address, of this workspace alone
//! {instance}.{region}.instances.azureml.ms, {instance}-{port}....     API address
//! ```
//!
//! The first three have privatelink names by the common rule ([`private_names`](super::private_names)); compute
//! instances have none. The region in front of a notebook suffix may be another one than the workspace's: the label
//! carries the workspace's region, the domain that of the notebook service.

use super::{Cloud, HostName};

/// What a name of a workspace says, whether it is the public or the privatelink form of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkspaceName {
    /// The API.
    Api {
        /// The workspace.
        workspace: WorkspaceId,
    },
    /// Certificates: the same address as the API.
    Cert {
        /// The workspace.
        workspace: WorkspaceId,
    },
    /// The notebook server.
    Notebook {
        /// The workspace.
        workspace: WorkspaceId,
        /// The region in front of the suffix: that of the notebook service.
        service_region: String,
    },
    /// Managed online endpoints by their public name, which does not say whose they are.
    RegionInference {
        /// The region.
        region: String,
    },
    /// Managed online endpoints of one workspace: the target of their public names.
    WorkspaceInference {
        /// The workspace.
        workspace: WorkspaceId,
    },
}

/// What all names of a workspace are made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkspaceId {
    /// Where the workspace lives.
    pub cloud: Cloud,
    /// The region's short name, as in `eastus`.
    pub region: String,
    /// The id, a GUID in lower case.
    pub guid: String,
}

impl WorkspaceName {
    /// What a name says of a workspace; nothing when it is no name of one.
    pub fn recognise(name: &HostName) -> Option<Self> {
        Cloud::ALL.into_iter().find_map(|cloud| Self::of_cloud(cloud, name))
    }

    fn of_cloud(cloud: Cloud, name: &HostName) -> Option<Self> {
        if let Some(front) = name.in_front_of(cloud.workspace_api()) {
            return Self::of_api(cloud, front);
        }
        if let Some(front) = name.in_front_of(cloud.notebooks()) {
            return Self::of_notebooks(cloud, front);
        }
        match name.in_front_of(cloud.inference())?.as_slice() {
            [_, region] => Some(Self::RegionInference { region: (*region).to_owned() }),
            _ => None,
        }
    }

    fn of_api(cloud: Cloud, mut front: Vec<&str>) -> Option<Self> {
        let private = front.pop_if(|label| *label == "privatelink").is_some();
        match front.as_slice() {
            [guid, "workspace", region] => Some(Self::Api { workspace: WorkspaceId::new(cloud, region, guid)? }),
            [guid, "workspace", region, "cert"] => {
                Some(Self::Cert { workspace: WorkspaceId::new(cloud, region, guid)? })
            }
            [_, guid, "inference", region] if private => {
                Some(Self::WorkspaceInference { workspace: WorkspaceId::new(cloud, region, guid)? })
            }
            _ => None,
        }
    }

    fn of_notebooks(cloud: Cloud, mut front: Vec<&str>) -> Option<Self> {
        front.pop_if(|label| *label == "privatelink");
        let [label, service_region] = front.as_slice() else {
            return None;
        };
        let (rest, guid) = label.split_at_checked(label.len().checked_sub(GUID_LEN)?)?;
        // Regions have no hyphen in their name; workspaces may.
        let (_, region) = rest.strip_prefix("ml-")?.strip_suffix('-')?.rsplit_once('-')?;
        Some(Self::Notebook {
            workspace: WorkspaceId::new(cloud, region, guid)?,
            service_region: (*service_region).to_owned(),
        })
    }
}

impl WorkspaceId {
    /// Puts an id together; nothing when the GUID or the region cannot be one.
    pub fn new(cloud: Cloud, region: &str, guid: &str) -> Option<Self> {
        let region_ok = !region.is_empty() && region.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (region_ok && is_guid(guid)).then(|| Self {
            cloud,
            region: region.to_ascii_lowercase(),
            guid: guid.to_ascii_lowercase(),
        })
    }

    /// The public API name.
    pub fn api(&self) -> Option<HostName> {
        HostName::under([self.guid.as_str(), "workspace", &self.region], self.cloud.workspace_api())
    }

    /// The public cert name.
    pub fn cert(&self) -> Option<HostName> {
        HostName::under([self.guid.as_str(), "workspace", &self.region, "cert"], self.cloud.workspace_api())
    }

    /// The label end that only this workspace's notebook label has, under the notebook suffix of a region.
    ///
    /// How the workspace's name is cut does not matter to it.
    pub fn notebook_label_end(&self, service_region: &str) -> Option<HostName> {
        let label = format!("*-{}-{}", self.region, self.guid);
        HostName::under([label.as_str(), service_region], self.cloud.notebooks())
    }

    /// The notebook labels that a workspace of this name may have, likeliest first: one to four.
    ///
    /// The name is cut so that the label fits in 63 bytes. Whether a hyphen at the cut is dropped, and whether the
    /// sovereign clouds cut at 62, is not settled by any published name; the GUID makes a wrong candidate harmless.
    pub fn notebook_candidates(&self, workspace: &str, service_region: &str) -> Vec<HostName> {
        let budget = LABEL_MAX.saturating_sub("ml-".len() + 1 + self.region.len() + 1 + GUID_LEN);
        let cut = |at: usize| workspace.get(..at.min(workspace.len())).unwrap_or(workspace);
        let mut names: Vec<HostName> = Vec::new();
        for kept in [cut(budget), cut(budget.saturating_sub(1))] {
            for kept in [kept, kept.trim_end_matches('-')] {
                let label = format!("ml-{kept}-{}-{}", self.region, self.guid);
                let name = HostName::under([label.as_str(), service_region], self.cloud.notebooks());
                names.extend(name.filter(|name| !kept.is_empty() && !names.contains(name)));
            }
        }
        names
    }

    /// The regions whose notebook service may serve this workspace when nothing says which: its own first.
    pub fn notebook_regions(&self) -> Vec<&str> {
        // All published workspaces of westus3 have their notebooks in westus2.
        if self.region == "westus3" { vec!["westus3", "westus2"] } else { vec![&self.region] }
    }

    /// `*.{region}.inference...`: every endpoint of the region, of other workspaces too.
    pub fn region_inference(&self) -> Option<HostName> {
        HostName::under(["*", &self.region], self.cloud.inference())
    }

    /// `*.{id}.inference.{region}.privatelink...`: the endpoints of this workspace alone.
    pub fn workspace_inference(&self) -> Option<HostName> {
        HostName::under(["*", &self.guid, "inference", &self.region, "privatelink"], self.cloud.workspace_api())
    }

    /// All names that a compute instance may have, under every suffix of the cloud: its own, `-22` for SSH, and one for
    /// each port of an application (`-8787`). The ports are the user's choice, so a partial wildcard stands for them.
    pub fn compute_instance(&self, instance: &str) -> Vec<HostName> {
        let labels = [instance.to_owned(), format!("{instance}-22"), format!("{instance}-*")];
        let suffixes = self.cloud.compute_instances().iter();
        suffixes
            .flat_map(|suffix| {
                labels.iter().filter_map(move |label| HostName::under([label.as_str(), &self.region], suffix))
            })
            .collect()
    }

    /// Whether a host may be one of a compute instance of this workspace's region: `{instance}[-{port}].{region}` below a
    /// suffix of the cloud, or below the one of old that recorded answers still have.
    pub fn is_compute_host(&self, instance: &str, host: &HostName) -> bool {
        let suffixes = self.cloud.compute_instances().iter().copied().chain(["azureml.net"]);
        let fits = |suffix: &str| match host.in_front_of(suffix).as_deref() {
            Some([label, region]) => {
                let rest = label.strip_prefix(&instance.to_ascii_lowercase());
                *region == self.region && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            }
            _ => false,
        };
        suffixes.into_iter().any(fits)
    }
}

/// Whether a text is a GUID: 8-4-4-4-12 hexadecimal digits.
pub fn is_guid(text: &str) -> bool {
    let groups = [8, 4, 4, 4, 12];
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == groups.len()
        && parts
            .iter()
            .zip(groups)
            .all(|(part, len)| part.len() == len && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Characters of a GUID.
const GUID_LEN: usize = 36;
/// The largest size of a label, bytes (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "fb7e20a0-8891-458b-b969-55ddb3382f51";

    fn recognised(text: &str) -> Option<WorkspaceName> {
        WorkspaceName::recognise(&HostName::parse(text).unwrap())
    }

    fn id(cloud: Cloud, region: &str) -> WorkspaceId {
        WorkspaceId::new(cloud, region, GUID).unwrap()
    }

    #[test]
    fn public_and_privatelink_names_say_the_same() {
        let workspace = id(Cloud::Public, "eastus");
        for text in ["G.workspace.eastus.api.azureml.ms", "G.workspace.eastus.privatelink.api.azureml.ms"] {
            assert_eq!(
                recognised(&text.replace('G', GUID)),
                Some(WorkspaceName::Api { workspace: workspace.clone() }),
                "{text}"
            );
        }
        let workspace = id(Cloud::China, "chinaeast2");
        for text in [
            "ml-a-b-chinaeast2-G.chinaeast2.notebooks.chinacloudapi.cn",
            "ml-a-b-chinaeast2-G.chinaeast2.privatelink.notebooks.chinacloudapi.cn",
        ] {
            let expected =
                WorkspaceName::Notebook { workspace: workspace.clone(), service_region: "chinaeast2".into() };
            assert_eq!(recognised(&text.replace('G', GUID)), Some(expected), "{text}");
        }
        let workspace = id(Cloud::UsGov, "usgovvirginia");
        let text = format!("*.{GUID}.inference.usgovvirginia.privatelink.api.ml.azure.us");
        assert_eq!(recognised(&text), Some(WorkspaceName::WorkspaceInference { workspace }));
        assert_eq!(
            recognised("*.usgovvirginia.inference.ml.azure.us"),
            Some(WorkspaceName::RegionInference { region: "usgovvirginia".into() })
        );
    }

    #[test]
    fn names_of_the_service_itself_are_no_workspace() {
        for text in [
            "eastus.api.azureml.ms",
            "x.workspace.eastus.api.azureml.ms",
            "a.tundra.eastus.api.azureml.ms",
            "x.notebooks.azure.net",
            "*.inference.ml.azure.com",
        ] {
            assert_eq!(recognised(text), None, "{text}");
        }
    }

    #[test]
    fn labels_are_cut_as_published_ones_are() {
        for (name, region, label) in [
            ("myworkspace", "eastus", "ml-myworkspace-eastus-"),
            ("mlw-mlops-stg-weu-01", "westeurope", "ml-mlw-mlops-st-westeurope-"),
            ("cctestml438669734316", "southcentralus", "ml-cctestml-southcentralus-"),
            ("sampleworkspaces", "westus3", "ml-sampleworkspace-westus3-"),
        ] {
            let names = id(Cloud::Public, region).notebook_candidates(name, region);
            assert_eq!(names[0].labels().next(), Some(format!("{label}{GUID}").as_str()), "{name}");
        }
    }

    #[test]
    fn notebooks_of_westus3_may_be_in_westus2() {
        assert_eq!(id(Cloud::Public, "westus3").notebook_regions(), ["westus3", "westus2"]);
        assert_eq!(id(Cloud::Public, "eastus").notebook_regions(), ["eastus"]);
    }

    #[test]
    fn doubtful_cuts_give_every_reading() {
        let names = id(Cloud::Public, "swedencentral").notebook_candidates("fabrikam-ml", "swedencentral");
        let kept: Vec<_> =
            names.iter().map(|name| name.to_string().split("-swedencentral").next().unwrap().to_owned()).collect();
        assert_eq!(kept, ["ml-fabrikam-", "ml-fabrikam"]);
        // A name that is no plain text gives none.
        assert!(id(Cloud::Public, "eastus").notebook_candidates("a\nb", "eastus").is_empty());
        assert!(
            id(Cloud::Public, "eastus")
                .notebook_candidates("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", "eastus")
                .is_empty()
        );
    }
}
