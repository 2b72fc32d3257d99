//! Resources of Terraform (`terraform show -json`, the state file) and of others that use its providers' names (Pulumi's
//! classic provider). State files hold secrets: of each resource only the members named here are read.

use super::network::{self, ip_of};
use super::{Connection, PrivateEndpoint, StaticAddress, ZoneGroup};
use super::{Located, Metadata, Node, Problem, RecordSet, learning};

/// Whether an object is a resource of a state or a plan.
pub(super) fn is_resource(node: &Node<'_>) -> bool {
    let is_kind =
        node.get("type").and_then(|kind| kind.text()).is_some_and(|kind| !kind.contains('/') && kind.contains('_'));
    is_kind
        && (node.get("instances").is_some_and(|it| it.is_array())
            || node.get("values").is_some_and(|it| it.is_object()))
}

/// Reads the values of a resource of this type; nothing for a type that no name follows from.
pub(super) fn read(kind: &str, values: &Node<'_>, problems: &mut Vec<Problem>) -> Option<Vec<Metadata>> {
    match kind {
        "azurerm_private_endpoint" => {
            let group = zone_group(values).map(Metadata::ZoneGroup);
            Some(endpoint(values, problems).into_iter().chain(group).collect())
        }
        "azurerm_private_endpoint_connection" => Some(endpoint(values, problems)),
        "azurerm_private_dns_a_record" => record(values, "A", &["records"]),
        "azurerm_private_dns_aaaa_record" => record(values, "AAAA", &["records"]),
        "azurerm_private_dns_cname_record" => record(values, "CNAME", &["record"]),
        "azurerm_network_interface" => Some(vec![Metadata::Interface(network::interface(values, problems))]),
        "azurerm_machine_learning_workspace" | "azurerm_ai_foundry" | "azurerm_ai_foundry_project" => {
            Some(vec![Metadata::Workspace(learning::workspace(values))])
        }
        _ => None,
    }
}

/// The endpoint that such an object describes.
pub(super) fn endpoint(node: &Node<'_>, problems: &mut Vec<Problem>) -> Vec<Metadata> {
    let connections = node.list("privateServiceConnection");
    let connections = if connections.is_empty() { node.list("privateServiceConnections") } else { connections };
    let fixed = node.list("ipConfiguration");
    let fixed = if fixed.is_empty() { node.list("ipConfigurations") } else { fixed };
    let mut static_addresses: Vec<StaticAddress> = fixed
        .iter()
        .filter_map(|it| {
            Some(StaticAddress {
                address: it.located("privateIPAddress")?,
                group: it.text_of("subresourceName").unwrap_or_default().to_owned(),
                member: it.text_of("memberName").unwrap_or_default().to_owned(),
            })
        })
        .filter(|it| !it.group.is_empty())
        .collect();
    if static_addresses.is_empty() {
        // The address of the interface's first configuration, whichever member of the service it leads to.
        static_addresses.extend(connections.iter().filter_map(|it| {
            let group = it.texts("subresourceNames").into_iter().next()?.value;
            Some(StaticAddress { address: it.located("privateIPAddress")?, group, member: String::new() })
        }));
    }
    let connection = |it: &Node<'_>| Connection {
        target: it
            .text_of("privateConnectionResourceId")
            .or_else(|| it.text_of("privateConnectionResourceAlias"))
            .unwrap_or_default()
            .to_owned(),
        groups: it.texts("subresourceNames").into_iter().map(|group| group.value).collect(),
        status: it.text_of("status").unwrap_or_default().to_owned(),
    };
    vec![Metadata::Endpoint(PrivateEndpoint {
        id: network::id_of(node),
        name: network::name_of(node),
        provisioning_state: String::new(),
        subnet: node.text_of("subnetId").and_then(crate::azure::ResourceId::parse),
        connections: connections.iter().map(connection).collect(),
        custom_dns: network::custom_dns(node, problems),
        static_addresses,
        interface_ids: node.list("networkInterface").iter().filter_map(network::id_of).collect(),
        interfaces: Vec::new(),
        changed: None,
    })]
}

/// The zone group that an endpoint of Terraform has in itself, where it lists records.
pub(super) fn zone_group(node: &Node<'_>) -> Option<ZoneGroup> {
    let configs = node.list("privateDnsZoneConfigs");
    if configs.is_empty() {
        return None;
    }
    let mut group = network::zone_group(node);
    group.endpoint = network::id_of(node);
    Some(group)
}

fn record(node: &Node<'_>, record_type: &'static str, keys: &[&str]) -> Option<Vec<Metadata>> {
    let zone = node.text_of("zoneName").map(str::to_owned);
    let name = node.located("fqdn").or_else(|| {
        let (name, zone) = (node.located("name")?, zone.as_deref()?);
        let owner = if name.value == "@" { zone.to_owned() } else { format!("{}.{zone}", name.value) };
        Some(Located { value: owner, path: name.path })
    })?;
    let mut data: Vec<Located<String>> = keys.iter().flat_map(|key| node.texts(key)).collect();
    if record_type == "CNAME" {
        data.iter_mut().filter(|data| !data.value.ends_with('.')).for_each(|data| data.value.push('.'));
    } else {
        data.retain(|data| ip_of(&data.value).is_some());
    }
    if data.is_empty() {
        return Some(Vec::new());
    }
    Some(vec![Metadata::RecordSet(RecordSet { zone, name, record_type, data, ttl: node.seconds("ttl") })])
}
