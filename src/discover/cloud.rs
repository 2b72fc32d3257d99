//! Where each cloud's services are.

use crate::azure::Cloud;
use crate::config::DiscoverCloud;

/// Addresses of a cloud's services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Services {
    /// Base URL of Azure Resource Manager, no slash at its end.
    pub(super) resource_manager: &'static str,
    /// The audience of its tokens.
    pub(super) audience: &'static str,
    /// Base URL of Microsoft Entra ID, no slash at its end.
    pub(super) authority: &'static str,
    /// The cloud for the names of its resources.
    pub(super) cloud: Cloud,
}

pub(super) fn services(cloud: DiscoverCloud) -> Services {
    match cloud {
        DiscoverCloud::Public => Services {
            resource_manager: "https://management.azure.com",
            audience: "https://management.azure.com/",
            authority: "https://login.microsoftonline.com",
            cloud: Cloud::Public,
        },
        DiscoverCloud::China => Services {
            resource_manager: "https://management.chinacloudapi.cn",
            audience: "https://management.chinacloudapi.cn/",
            authority: "https://login.chinacloudapi.cn",
            cloud: Cloud::China,
        },
        DiscoverCloud::UsGov => Services {
            resource_manager: "https://management.usgovcloudapi.net",
            audience: "https://management.usgovcloudapi.net/",
            authority: "https://login.microsoftonline.us",
            cloud: Cloud::UsGov,
        },
    }
}
