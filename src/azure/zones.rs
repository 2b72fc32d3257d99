//! From a public name to the name in the private DNS zone, and back.
//!
//! A service's public DNS answers a public name with a CNAME into its private DNS zone as soon as it has a private
//! endpoint. For nearly all services that target is the public name with one more label, `privatelink`, in the place
//! where the zone has it; key vaults change their suffix as well. The longest public suffix that a name lies under
//! decides. Workspace inference names follow another rule: see [`workspace`](super::workspace).
//!
//! What an endpoint lists beats what is derived here, always.

use super::private_zone::{ELASTIC_SAN, PORTAL_LABEL, PrivateDnsZone, Service};
use super::suffix::{Found, PORTALS, Score, Suffix};
use super::{Cloud, HostName, is_privatelink_label, zone_table};

/// The rows of the documentation's table, in its order.
pub fn zones() -> impl Iterator<Item = &'static PrivateDnsZone> {
    zone_table::rows()
}

/// The rows of the documentation and those that are in use beside them.
pub fn known_zones() -> impl Iterator<Item = &'static PrivateDnsZone> {
    zone_table::matched_rows()
}

/// The private DNS zones that an endpoint of this service and these groups needs, as the table writes them; none for a
/// service that it does not have.
pub fn zones_of_service(service: Service<'_>, cloud: Cloud) -> impl Iterator<Item = &'static str> + use<'_> {
    zone_table::matched_rows().filter(move |row| row.cloud == cloud && row.serves(Some(service))).map(|row| row.zone)
}

/// Whether a zone is what a zone of the table stands for, label by label, its placeholders filled in.
pub fn matches_suffix(zone: &str, suffix: &str) -> bool {
    let labels = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (zone, suffix) = (labels(zone), labels(suffix));
    zone.len() == suffix.len() && zone.iter().zip(&suffix).all(|(label, want)| Suffix::fits(label, want))
}

/// The cloud whose services own this name, public or privatelink; nothing for a name that no service of Azure has.
///
/// Where several clouds share a suffix, the first of [`Cloud::ALL`].
pub fn cloud_of(name: &HostName) -> Option<Cloud> {
    let scores = Cloud::ALL.into_iter().filter_map(|cloud| Some((closest(name, cloud)?, cloud)));
    // `max_by_key` gives the last of equals; the first cloud shall have it.
    scores.max_by_key(|(score, cloud)| (*score, std::cmp::Reverse(*cloud))).map(|(_, cloud)| cloud)
}

/// Whether a service of this cloud may have this name.
pub fn belongs_to(name: &HostName, cloud: Cloud) -> bool {
    closest(name, cloud).is_some()
}

fn closest(name: &HostName, cloud: Cloud) -> Option<Score> {
    let rows = zone_table::matched_rows().filter(|row| row.cloud == cloud);
    let suffixes = rows.flat_map(|row| row.matched().chain([row.zone]));
    let listed = zone_table::listed_only().filter(|(owner, _)| *owner == cloud).map(|(_, suffix)| suffix);
    suffixes.chain(listed).filter_map(|suffix| Some(Suffix::new(suffix).find(name)?.score)).max()
}

/// The closest public zone that a name lies in, its placeholders filled in: what a server on premises has to forward so
/// that clients get this name. `None` for a name that no service of Azure has.
pub fn public_zone(name: &HostName) -> Option<String> {
    let suffixes = zone_table::matched_rows().flat_map(PrivateDnsZone::matched);
    let suffixes = suffixes.chain(zone_table::listed_only().map(|(_, suffix)| suffix));
    let found = suffixes.filter_map(|suffix| Suffix::new(suffix).find(name));
    let best = found.max_by_key(|found| found.score)?;
    Some(best.matched.join("."))
}

/// The names that a public name has in private DNS zones: mostly one, none where no rule is known.
pub fn private_names(name: &HostName, service: Option<Service<'_>>) -> Vec<HostName> {
    if name.is_privatelink() || is_cluster_public_name(name) {
        return Vec::new();
    }
    if let Some(private) =
        of_partition(name).filter(|_| service.is_none_or(|it| it.resource_type.eq_ignore_ascii_case(STORAGE)))
    {
        return vec![private];
    }
    let mut found: Vec<(Score, &PrivateDnsZone, &str, Found<'_>)> = Vec::new();
    for row in zone_table::matched_rows() {
        for suffix in row.matched() {
            if let Some(hit) = Suffix::new(suffix).find(name) {
                found.push((hit.score, row, suffix, hit));
            }
        }
    }
    let Some(best) = found.iter().map(|(score, ..)| *score).max() else {
        return Vec::new();
    };
    found.retain(|(score, ..)| *score == best);
    if found.iter().any(|(_, row, ..)| row.serves(service)) {
        found.retain(|(_, row, ..)| row.serves(service));
    } else {
        found.retain(|(_, row, ..)| row.resource_type != ELASTIC_SAN);
    }
    let mut names: Vec<HostName> =
        found.iter().filter_map(|(_, row, suffix, hit)| row.private_name(suffix, hit)).collect();
    names.sort();
    names.dedup();
    names
}

/// The public names behind a name in a private DNS zone: what clients ask for. Empty where it cannot be told.
pub fn public_names(name: &HostName) -> Vec<HostName> {
    if !name.is_privatelink() || name.in_front_of("azmk8s.io").is_some() {
        return Vec::new();
    }
    for apex in PORTALS {
        if name.in_front_of(apex).as_deref() == Some(&[PORTAL_LABEL, "privatelink"]) {
            return HostName::parse(apex).into_iter().collect();
        }
    }
    let plain = HostName::from_labels(name.labels().filter(|label| !is_privatelink_label(label)));
    plain.map(|plain| with_vault_names(&plain)).unwrap_or_default()
}

/// A public name and, for a key vault, its other spelling: older endpoints list the one that clients never ask for.
pub fn with_vault_names(name: &HostName) -> Vec<HostName> {
    for cloud in Cloud::ALL {
        let (asked, core) = cloud.key_vault();
        for suffix in [asked, core] {
            if let Some([vault]) = name.in_front_of(suffix).as_deref() {
                return [asked, core].iter().filter_map(|suffix| HostName::under([*vault], suffix)).collect();
            }
        }
    }
    vec![name.clone()]
}

/// The public name of a private Kubernetes cluster has another hash than the private one: nothing follows from it.
fn is_cluster_public_name(name: &HostName) -> bool {
    matches!(name.in_front_of("azmk8s.io").as_deref(), Some([.., "hcp", _region]))
}

const STORAGE: &str = "Microsoft.Storage/storageAccounts";
/// The private name of a storage account in a partition, as in `acct.z20.blob.storage.azure.net`. Imports and exports of
/// disks have such names as well, and nothing is known of a private one.
fn of_partition(name: &HostName) -> Option<HostName> {
    let front = name.in_front_of("storage.azure.net")?;
    let [account, partition, service] = front.as_slice() else {
        return None;
    };
    let number = partition.strip_prefix('z')?;
    let is_partition = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_service = ["blob", "file", "queue", "table", "dfs", "web"].contains(service);
    if !is_partition || !is_service || account.starts_with("md-") {
        return None;
    }
    HostName::under([*account, *partition, "privatelink", *service], "storage.azure.net")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    fn private(text: &str) -> Vec<String> {
        private_names(&name(text), None).iter().map(HostName::to_string).collect()
    }

    #[test]
    fn the_private_name_of_a_public_one() {
        for (public, expected) in [
            ("acct.blob.core.windows.net", "acct.privatelink.blob.core.windows.net"),
            ("acct-secondary.dfs.core.windows.net", "acct-secondary.privatelink.dfs.core.windows.net"),
            ("kv.vault.azure.net", "kv.privatelink.vaultcore.azure.net"),
            ("kv.vaultcore.azure.net", "kv.privatelink.vaultcore.azure.net"),
            ("kv.vault.azure.cn", "kv.privatelink.vaultcore.azure.cn"),
            ("kv.vault.usgovcloudapi.net", "kv.privatelink.vaultcore.usgovcloudapi.net"),
            ("acr.azurecr.io", "acr.privatelink.azurecr.io"),
            ("acr.eastus.data.azurecr.io", "acr.eastus.data.privatelink.azurecr.io"),
            ("acr.usgovvirginia.data.azurecr.us", "acr.usgovvirginia.data.privatelink.azurecr.us"),
            ("app.scm.azurewebsites.net", "app.scm.privatelink.azurewebsites.net"),
            ("acct.eastus.batch.azure.com", "acct.eastus.privatelink.batch.azure.com"),
            ("id.eastus.service.batch.azure.com", "id.eastus.service.privatelink.batch.azure.com"),
            ("c.westeurope.kusto.windows.net", "c.privatelink.westeurope.kusto.windows.net"),
            ("*.env.eastus.azurecontainerapps.io", "*.env.privatelink.eastus.azurecontainerapps.io"),
            ("mi.abc123.database.windows.net", "mi.privatelink.abc123.database.windows.net"),
            ("srv.database.windows.net", "srv.privatelink.database.windows.net"),
            ("red-sea.2.azurestaticapps.net", "red-sea.privatelink.2.azurestaticapps.net"),
            ("red-sea.eastus2.azurestaticapps.net", "red-sea.eastus2.privatelink.azurestaticapps.net"),
            ("red-sea.azurestaticapps.net", "red-sea.privatelink.azurestaticapps.net"),
            ("c.eastus.redisenterprise.cache.azure.net", "c.eastus.privatelink.redisenterprise.cache.azure.net"),
            ("id.agentsvc.azure-automation.net", "id.privatelink.agentsvc.azure-automation.net"),
            ("ws.eastus.prometheus.monitor.azure.com", "ws.privatelink.eastus.prometheus.monitor.azure.com"),
            ("x-pbi.tip2.powerquery.microsoft.com", "x-pbi.privatelink.tip2.powerquery.microsoft.com"),
            ("hub.servicebus.usgovcloudapi.net", "hub.privatelink.servicebus.usgovcloudapi.net"),
            ("management.azure.com", "management.privatelink.azure.com"),
            ("adf.azure.com", "portal.privatelink.adf.azure.com"),
            ("adf.azure.us", "portal.privatelink.adf.azure.us"),
            ("adf.azure.cn", "portal.privatelink.adf.azure.cn"),
            ("acct.z20.blob.storage.azure.net", "acct.z20.privatelink.blob.storage.azure.net"),
            (
                "syn-ondemand.sql.azuresynapse.usgovcloudapi.net",
                "syn-ondemand.privatelink.sql.azuresynapse.usgovcloudapi.net",
            ),
            ("edge.management.azure.com", "edge.management.privatelink.azure.com"),
            ("id.workspace.eastus.cert.api.azureml.ms", "id.workspace.eastus.cert.privatelink.api.azureml.ms"),
            ("ml-w-eastus-id.eastus.notebooks.azure.net", "ml-w-eastus-id.eastus.privatelink.notebooks.azure.net"),
        ] {
            assert_eq!(private(public), [expected], "{public}");
        }
    }

    #[test]
    fn nothing_is_derived_where_no_rule_is_known() {
        for public in [
            "acct.privatelink.blob.core.windows.net",
            "ci.eastus.instances.azureml.ms",
            "ep.eastus.inference.ml.azure.com",
            "md-impexp-x.z8.blob.storage.azure.net",
            "dns-hash.hcp.eastus.azmk8s.io",
            "bot.botplinks.botframework.com",
            "login.microsoftonline.com",
            "x.aznbcontent.net",
        ] {
            assert_eq!(private(public), <[&str; 0]>::default(), "{public}");
        }
    }

    #[test]
    fn the_service_decides_between_zones_of_one_suffix() {
        let groups = ["GLOBAL".to_owned()];
        let service = Some(Service { resource_type: "microsoft.desktopvirtualization/workspaces", groups: &groups });
        assert_eq!(
            private_names(&name("rdweb.wvd.microsoft.com"), service),
            [name("rdweb.privatelink-global.wvd.microsoft.com")]
        );
        let groups = ["my-volumes".to_owned()];
        let service = Some(Service { resource_type: "Microsoft.ElasticSan/elasticSans", groups: &groups });
        assert_eq!(
            private_names(&name("san.z1.blob.storage.azure.net"), service),
            [name("san.z1.privatelink.blob.core.windows.net")]
        );
    }

    #[test]
    fn and_back() {
        for (private, expected) in [
            ("acct.privatelink.blob.core.windows.net", vec!["acct.blob.core.windows.net"]),
            ("kv.privatelink.vaultcore.azure.net", vec!["kv.vault.azure.net", "kv.vaultcore.azure.net"]),
            ("acr.eastus.data.privatelink.azurecr.io", vec!["acr.eastus.data.azurecr.io"]),
            ("acct.blob.core.windows.net", vec![]),
            ("portal.privatelink.adf.azure.com", vec!["adf.azure.com"]),
            ("acct.z20.privatelink.blob.storage.azure.net", vec!["acct.z20.blob.storage.azure.net"]),
            ("x.guid.privatelink.eastus.azmk8s.io", vec![]),
        ] {
            let names: Vec<_> = public_names(&name(private)).iter().map(HostName::to_string).collect();
            assert_eq!(names, expected, "{private}");
        }
    }

    #[test]
    fn every_row_derives_or_is_known_not_to() {
        // Every zone can be recognised, and a name under it belongs to the row's cloud.
        for row in zones() {
            if row.zone == "privatelink.azure.com" {
                continue;
            }
            let filled: String = row.zone.replace("{partitionId}", "2");
            let filled = filled.split('.').map(|label| if label.starts_with('{') { "abc" } else { label });
            let owner = HostName::from_labels(["host"].into_iter().chain(filled)).unwrap();
            assert_eq!(cloud_of(&owner), Some(row.cloud), "{owner}");
        }
        assert_eq!(zones().count(), 253);
    }

    #[test]
    fn the_public_zone_of_a_name_is_the_closest_one() {
        let zone =
            |text: &str| HostName::from_labels(text.split('.')).and_then(|name| public_zone(&name)).unwrap_or_default();
        for (name, expected) in [
            ("acct.blob.core.windows.net", "blob.core.windows.net"),
            ("acct.privatelink.blob.core.windows.net", "blob.core.windows.net"),
            ("acr.eastus.data.azurecr.io", "eastus.data.azurecr.io"),
            ("*-eastus-x.eastus.notebooks.azure.net", "notebooks.azure.net"),
            ("*.eastus.inference.ml.azure.com", "inference.ml.azure.com"),
            ("ci-anna-*.eastus.instances.azureml.ms", "instances.azureml.ms"),
            ("x.guid.privatelink.eastus.azmk8s.io", "eastus.azmk8s.io"),
            ("adf.azure.com", "adf.azure.com"),
            ("management.azure.com", "management.azure.com"),
            ("www.example.com", ""),
            ("portal.azure.com", ""),
        ] {
            assert_eq!(zone(name), expected, "{name}");
        }
    }

    #[test]
    fn foreign_names_belong_to_no_cloud() {
        for text in [
            "login.microsoftonline.com",
            "example.com",
            "azure.com",
            "portal.azure.com",
            "blob.core.windows.net",
            "*.blob.core.windows.net",
            "*.management.azure.com",
            "*.privatelink.blob.core.windows.net",
            "xblob.core.windows.net",
            "graph.microsoft.com",
        ] {
            assert_eq!(cloud_of(&name(text)), None, "{text}");
        }
    }
}
