//! The clouds that private endpoints exist in, and the suffixes that differ between them.

use std::fmt;

/// A cloud: an Azure of its own, with its own names for everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cloud {
    /// Azure as most know it.
    Public,
    /// Azure operated by 21Vianet in China.
    China,
    /// Azure US Government.
    UsGov,
}

impl Cloud {
    /// All of them, in the order in which a name that several could own is given away.
    pub const ALL: [Self; 3] = [Self::Public, Self::China, Self::UsGov];

    /// The word for it on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::China => "china",
            Self::UsGov => "usgov",
        }
    }

    /// Under what the API and cert names of a workspace lie.
    pub fn workspace_api(self) -> &'static str {
        match self {
            Self::Public => "api.azureml.ms",
            Self::China => "api.ml.azure.cn",
            Self::UsGov => "api.ml.azure.us",
        }
    }

    /// Under what notebook names lie.
    pub fn notebooks(self) -> &'static str {
        match self {
            Self::Public => "notebooks.azure.net",
            Self::China => "notebooks.chinacloudapi.cn",
            Self::UsGov => "notebooks.usgovcloudapi.net",
        }
    }

    /// Under what the names of managed online endpoints lie. Not where the API lies in the public cloud.
    pub fn inference(self) -> &'static str {
        match self {
            Self::Public => "inference.ml.azure.com",
            Self::China => "inference.ml.azure.cn",
            Self::UsGov => "inference.ml.azure.us",
        }
    }

    /// Under what the names of compute instances lie: the older and the newer suffix are both in use, and the
    /// documentation's pages disagree on which of them an instance gets.
    pub fn compute_instances(self) -> &'static [&'static str] {
        match self {
            Self::Public => &["instances.ml.azure.ms", "instances.azureml.ms"],
            Self::China => &["instances.azureml.cn", "instances.ml.azure.ms"],
            Self::UsGov => &["instances.ml.azure.us", "instances.azureml.us"],
        }
    }

    /// Under what storage accounts lie, behind `{account}.{blob, file, ...}`.
    pub fn storage(self) -> &'static str {
        match self {
            Self::Public => "core.windows.net",
            Self::China => "core.chinacloudapi.cn",
            Self::UsGov => "core.usgovcloudapi.net",
        }
    }

    /// Under what key vaults lie: the suffix that clients ask for, and the one behind it in the private DNS zone,
    /// which some endpoints list instead.
    pub fn key_vault(self) -> (&'static str, &'static str) {
        match self {
            Self::Public => ("vault.azure.net", "vaultcore.azure.net"),
            Self::China => ("vault.azure.cn", "vaultcore.azure.cn"),
            Self::UsGov => ("vault.usgovcloudapi.net", "vaultcore.usgovcloudapi.net"),
        }
    }

    /// Under what container registries lie.
    pub fn registry(self) -> &'static str {
        match self {
            Self::Public => "azurecr.io",
            Self::China => "azurecr.cn",
            Self::UsGov => "azurecr.us",
        }
    }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
