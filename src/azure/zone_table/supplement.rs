//! What is in use beside the documentation's rows: from other pages of it, and from names that endpoints list.

use super::{Cloud, PrivateDnsZone};

const fn row(
    cloud: Cloud,
    resource_type: &'static str,
    group: &'static str,
    zone: &'static str,
    public: &'static [&'static str],
) -> PrivateDnsZone {
    PrivateDnsZone { cloud, resource_type, group, zone, public }
}

#[rustfmt::skip]
pub(super) const ROWS: &[PrivateDnsZone] = &[
    // Both spellings of the compute instances' suffix are in use: the pages disagree on which one an instance gets.
    row(Cloud::Public, "Microsoft.MachineLearningServices/workspaces", "amlworkspace", "privatelink.api.azureml.ms", &["instances.azureml.ms"]),
    row(Cloud::China, "Microsoft.MachineLearningServices/workspaces", "amlworkspace", "privatelink.api.ml.azure.cn", &["instances.ml.azure.ms"]),
    row(Cloud::UsGov, "Microsoft.MachineLearningServices/workspaces", "amlworkspace", "privatelink.api.ml.azure.us", &["instances.ml.azure.us"]),
    // Other stages than `prod` are in use.
    row(Cloud::Public, "Microsoft.PowerBI/privateLinkServicesForPowerBI", "tenant", "privatelink.{stage}.powerquery.microsoft.com", &["{stage}.powerquery.microsoft.com"]),
    row(Cloud::Public, "Microsoft.Cache/RedisEnterprise", "redisEnterprise", "privatelink.redisenterprise.cache.azure.net", &["{region}.redisenterprise.cache.azure.net"]),
    row(Cloud::Public, "Microsoft.EventGrid/namespaces", "topicSpace", "privatelink.ts.eventgrid.azure.net", &["ts.eventgrid.azure.net"]),
    row(Cloud::Public, "Microsoft.HealthcareApis/workspaces", "healthcareworkspace", "privatelink.workspace.azurehealthcareapis.com", &["workspace.azurehealthcareapis.com"]),
    row(Cloud::Public, "Microsoft.HealthcareApis/workspaces", "healthcareworkspace", "privatelink.fhir.azurehealthcareapis.com", &["fhir.azurehealthcareapis.com"]),
    // Its one host, instead of the whole of azure.com.
    row(Cloud::Public, "Microsoft.Authorization/resourceManagementPrivateLinks", "ResourceManagement", "privatelink.azure.com", &["management.azure.com"]),
    row(Cloud::UsGov, "Microsoft.Synapse/workspaces", "SqlOnDemand", "privatelink.sql.azuresynapse.usgovcloudapi.net", &["sql.azuresynapse.usgovcloudapi.net"]),
    // What clients ask for; the documentation names another public zone there.
    row(Cloud::UsGov, "Microsoft.Purview/accounts", "account", "privatelink.purview.azure.us", &["purview.azure.us"]),
    row(Cloud::China, "Microsoft.KeyVault/vaults", "vault", "privatelink.vaultcore.azure.cn", &["vault.azure.cn"]),
];

/// Names that endpoints were seen to list and that no row covers, or that no private DNS zone is known for.
pub(super) const LISTED_ONLY: &[(Cloud, &str)] = &[
    (Cloud::Public, "botplinks.botframework.com"),
    (Cloud::Public, "blob.storage.azure.net"),
    (Cloud::Public, "file.storage.azure.net"),
    (Cloud::Public, "queue.storage.azure.net"),
    (Cloud::Public, "table.storage.azure.net"),
    (Cloud::Public, "dfs.storage.azure.net"),
    (Cloud::Public, "web.storage.azure.net"),
    (Cloud::Public, "models.ai.azure.com"),
    (Cloud::China, "azurecr.cn"),
];
