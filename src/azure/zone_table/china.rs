//! Private DNS zones of Azure operated by 21Vianet in China; [`super`] says what the columns mean.

use super::{Cloud, PrivateDnsZone};

const fn row(
    resource_type: &'static str,
    group: &'static str,
    zone: &'static str,
    public: &'static [&'static str],
) -> PrivateDnsZone {
    PrivateDnsZone { cloud: Cloud::China, resource_type, group, zone, public }
}

#[rustfmt::skip]
pub(super) const ROWS: &[PrivateDnsZone] = &[
    row("Microsoft.MachineLearningServices/workspaces", "amlworkspace", "privatelink.api.ml.azure.cn", &["api.ml.azure.cn", "instances.azureml.cn", "inference.ml.azure.cn"]),
    row("Microsoft.MachineLearningServices/workspaces", "amlworkspace", "privatelink.notebooks.chinacloudapi.cn", &["notebooks.chinacloudapi.cn", "aznbcontent.net"]),
    row("Microsoft.DataFactory/factories", "dataFactory", "privatelink.datafactory.azure.cn", &["datafactory.azure.cn"]),
    row("Microsoft.DataFactory/factories", "portal", "privatelink.adf.azure.cn", &["adf.azure.cn"]),
    row("Microsoft.HDInsight/clusters", "gateway", "privatelink.azurehdinsight.cn", &["azurehdinsight.cn"]),
    row("Microsoft.HDInsight/clusters", "headnode", "privatelink.azurehdinsight.cn", &["azurehdinsight.cn"]),
    row("Microsoft.Kusto/Clusters", "cluster", "privatelink.{regionName}.kusto.windows.cn", &["{regionName}.kusto.windows.cn"]),
    row("Microsoft.Batch/batchAccounts", "batchAccount", "privatelink.batch.chinacloudapi.cn", &["{region}.batch.chinacloudapi.cn"]),
    row("Microsoft.Batch/batchAccounts", "nodeManagement", "privatelink.batch.chinacloudapi.cn", &["{region}.service.batch.chinacloudapi.cn"]),
    row("Microsoft.DesktopVirtualization/workspaces", "global", "privatelink-global.wvd.azure.cn", &["wvd.azure.cn"]),
    row("Microsoft.DesktopVirtualization/workspaces", "feed", "privatelink.wvd.azure.cn", &["wvd.azure.cn"]),
    row("Microsoft.DesktopVirtualization/hostpools", "connection", "privatelink.wvd.azure.cn", &["wvd.azure.cn"]),
    row("Microsoft.Sql/servers", "sqlServer", "privatelink.database.chinacloudapi.cn", &["database.chinacloudapi.cn"]),
    row("Microsoft.DocumentDB/databaseAccounts", "Sql", "privatelink.documents.azure.cn", &["documents.azure.cn"]),
    row("Microsoft.DocumentDB/databaseAccounts", "MongoDB", "privatelink.mongo.cosmos.azure.cn", &["mongo.cosmos.azure.cn"]),
    row("Microsoft.DocumentDB/databaseAccounts", "Cassandra", "privatelink.cassandra.cosmos.azure.cn", &["cassandra.cosmos.azure.cn"]),
    row("Microsoft.DocumentDB/databaseAccounts", "Gremlin", "privatelink.gremlin.cosmos.azure.cn", &["gremlin.cosmos.azure.cn"]),
    row("Microsoft.DocumentDB/databaseAccounts", "Table", "privatelink.table.cosmos.azure.cn", &["table.cosmos.azure.cn"]),
    row("Microsoft.DBforPostgreSQL/servers", "postgresqlServer", "privatelink.postgres.database.chinacloudapi.cn", &["postgres.database.chinacloudapi.cn"]),
    row("Microsoft.DBforPostgreSQL/flexibleServers", "postgresqlServer", "privatelink.postgres.database.chinacloudapi.cn", &["postgres.database.chinacloudapi.cn"]),
    row("Microsoft.DBforMySQL/servers", "mysqlServer", "privatelink.mysql.database.chinacloudapi.cn", &["mysql.database.chinacloudapi.cn"]),
    row("Microsoft.DBforMySQL/flexibleServers", "mysqlServer", "privatelink.mysql.database.chinacloudapi.cn", &["mysql.database.chinacloudapi.cn"]),
    row("Microsoft.DBforMariaDB/servers", "mariadbServer", "privatelink.mariadb.database.chinacloudapi.cn", &["mariadb.database.chinacloudapi.cn"]),
    row("Microsoft.Cache/Redis", "redisCache", "privatelink.redis.cache.chinacloudapi.cn", &["redis.cache.chinacloudapi.cn"]),
    row("Microsoft.ServiceBus/namespaces", "namespace", "privatelink.servicebus.chinacloudapi.cn", &["servicebus.chinacloudapi.cn"]),
    row("Microsoft.EventHub/namespaces", "namespace", "privatelink.servicebus.chinacloudapi.cn", &["servicebus.chinacloudapi.cn"]),
    row("Microsoft.Relay/namespaces", "namespace", "privatelink.servicebus.chinacloudapi.cn", &["servicebus.chinacloudapi.cn"]),
    row("Microsoft.Devices/IotHubs", "iotHub", "privatelink.azure-devices.cn", &["azure-devices.cn"]),
    row("Microsoft.Devices/IotHubs", "iotHub", "privatelink.servicebus.chinacloudapi.cn", &["servicebus.chinacloudapi.cn"]),
    row("Microsoft.Devices/ProvisioningServices", "iotDps", "privatelink.azure-devices-provisioning.cn", &["azure-devices-provisioning.cn"]),
    row("Microsoft.Automation/automationAccounts", "Webhook", "privatelink.azure-automation.cn", &["azure-automation.cn"]),
    row("Microsoft.Automation/automationAccounts", "DSCAndHybridWorker", "privatelink.azure-automation.cn", &["azure-automation.cn"]),
    row("Microsoft.KeyVault/vaults", "vault", "privatelink.vaultcore.azure.cn", &["vaultcore.azure.cn"]),
    row("Microsoft.Storage/storageAccounts", "blob", "privatelink.blob.core.chinacloudapi.cn", &["blob.core.chinacloudapi.cn"]),
    row("Microsoft.Storage/storageAccounts", "blob_secondary", "privatelink.blob.core.chinacloudapi.cn", &["blob.core.chinacloudapi.cn"]),
    row("Microsoft.Storage/storageAccounts", "table", "privatelink.table.core.chinacloudapi.cn", &["table.core.chinacloudapi.cn"]),
    row("Microsoft.Storage/storageAccounts", "table_secondary", "privatelink.table.core.chinacloudapi.cn", &["table.core.chinacloudapi.cn"]),
    row("Microsoft.Storage/storageAccounts", "queue", "privatelink.queue.core.chinacloudapi.cn", &["queue.core.chinacloudapi.cn"]),
    row("Microsoft.Storage/storageAccounts", "queue_secondary", "privatelink.queue.core.chinacloudapi.cn", &["queue.core.chinacloudapi.cn"]),
    row("Microsoft.Storage/storageAccounts", "file", "privatelink.file.core.chinacloudapi.cn", &["file.core.chinacloudapi.cn"]),
    row("Microsoft.Storage/storageAccounts", "file_secondary", "privatelink.file.core.chinacloudapi.cn", &["file.core.chinacloudapi.cn"]),
    row("Microsoft.Storage/storageAccounts", "web", "privatelink.web.core.chinacloudapi.cn", &["web.core.chinacloudapi.cn"]),
    row("Microsoft.Storage/storageAccounts", "web_secondary", "privatelink.web.core.chinacloudapi.cn", &["web.core.chinacloudapi.cn"]),
    row("Microsoft.Storage/storageAccounts", "dfs", "privatelink.dfs.core.chinacloudapi.cn", &["dfs.core.chinacloudapi.cn"]),
    row("Microsoft.Storage/storageAccounts", "dfs_secondary", "privatelink.dfs.core.chinacloudapi.cn", &["dfs.core.chinacloudapi.cn"]),
    row("Microsoft.StorageSync/storageSyncServices", "afs", "privatelink.afs.azure.cn", &["afs.azure.cn"]),
    row("Microsoft.Web/sites", "sites", "privatelink.chinacloudsites.cn", &["chinacloudsites.cn"]),
    row("Microsoft.SignalRService/SignalR", "signalr", "privatelink.signalr.azure.cn", &["service.signalr.azure.cn"]),
];
