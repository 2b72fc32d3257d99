//! Private endpoints, their network interfaces and their zone groups (Microsoft.Network).

use super::{Located, Node, Problem};
use crate::azure::ResourceId;

/// A private endpoint.
#[derive(Debug)]
pub struct PrivateEndpoint {
    /// Its id, where stated.
    pub id: Option<ResourceId>,
    /// Its name, or "".
    pub name: String,
    /// `Succeeded`, `Updating`, ..., or "".
    pub provisioning_state: String,
    /// What it leads to: one in practice.
    pub connections: Vec<Connection>,
    /// `customDnsConfigs`: empty as soon as the endpoint has a zone group.
    pub custom_dns: Vec<Listed>,
    /// Addresses that a user fixed.
    pub static_addresses: Vec<StaticAddress>,
    /// The ids of its interfaces.
    pub interface_ids: Vec<ResourceId>,
    /// Interfaces that the answer holds whole.
    pub interfaces: Vec<Interface>,
}

/// A connection of an endpoint, asked for by hand or not.
#[derive(Debug)]
pub struct Connection {
    /// The id of the resource, or the alias of a private link service, or "".
    pub target: String,
    /// Group ids, as found.
    pub groups: Vec<String>,
    /// `Approved`, `Pending`, `Rejected`, `Disconnected`, or "" when nothing states it.
    pub status: String,
}

/// A name and its addresses, as some object lists them.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The name.
    pub name: Located<String>,
    /// Its addresses, IPv4 or IPv6.
    pub addresses: Vec<Located<String>>,
    /// The time to live in seconds, where stated.
    pub ttl: Option<u32>,
}

/// An address that a user fixed for a member of the service.
#[derive(Debug)]
pub struct StaticAddress {
    /// The address.
    pub address: Located<String>,
    /// The group id.
    pub group: String,
    /// The member, as in `registry_data_eastus`.
    pub member: String,
}

/// The network interface of a private endpoint.
#[derive(Debug)]
pub struct Interface {
    /// Its id, where stated.
    pub id: Option<ResourceId>,
    /// Its name, or "".
    pub name: String,
    /// The endpoint that it belongs to.
    pub endpoint: Option<ResourceId>,
    /// Its addresses that lead to a service.
    pub addresses: Vec<InterfaceAddress>,
}

/// One address of an endpoint's interface.
#[derive(Debug)]
pub struct InterfaceAddress {
    /// The address.
    pub address: Located<String>,
    /// The group id, or "" for a private link service.
    pub group: String,
    /// The names that lead to it.
    pub names: Vec<Located<String>>,
}

/// The private DNS zone group of an endpoint: names in private DNS zones.
#[derive(Debug)]
pub struct ZoneGroup {
    /// The endpoint that it belongs to.
    pub endpoint: Option<ResourceId>,
    /// Its records.
    pub records: Vec<Listed>,
    /// `Succeeded`, `Updating`, ..., or "".
    pub provisioning_state: String,
    /// The zones that have no record in it.
    pub empty_zones: Vec<String>,
}

pub(super) fn endpoint(node: &Node<'_>, problems: &mut Vec<Problem>) -> PrivateEndpoint {
    let mut connections = Vec::new();
    for key in ["privateLinkServiceConnections", "manualPrivateLinkServiceConnections"] {
        for item in node.list(key) {
            refuse_cut(&item, problems);
            connections.push(connection(&item));
        }
    }
    let nics = node.list("networkInterfaces");
    let whole = nics.iter().filter(|nic| nic.lifted("ipConfigurations").is_some());
    let interfaces = whole.map(|nic| interface(nic, problems)).collect();
    PrivateEndpoint {
        id: id_of(node),
        name: name_of(node),
        provisioning_state: node.text_of("provisioningState").unwrap_or_default().to_owned(),
        connections,
        custom_dns: node
            .list("customDnsConfigs")
            .iter()
            .flat_map(|item| listed(item, "fqdn", "ipAddresses", problems))
            .collect(),
        static_addresses: node.list("ipConfigurations").iter().filter_map(static_address).collect(),
        interface_ids: nics.iter().filter_map(id_of).collect(),
        interfaces,
    }
}

fn connection(node: &Node<'_>) -> Connection {
    let state = node.lifted("privateLinkServiceConnectionState");
    Connection {
        target: node.text_of("privateLinkServiceId").unwrap_or_default().to_owned(),
        groups: node.texts("groupIds").into_iter().map(|group| group.value).collect(),
        status: state.and_then(|state| state.text_of("status")).unwrap_or_default().to_owned(),
    }
}

fn static_address(node: &Node<'_>) -> Option<StaticAddress> {
    Some(StaticAddress {
        address: node.located("privateIPAddress")?,
        group: node.text_of("groupId")?.to_owned(),
        member: node.text_of("memberName").unwrap_or_default().to_owned(),
    })
}

pub(super) fn interface(node: &Node<'_>, problems: &mut Vec<Problem>) -> Interface {
    let endpoint = node.lifted("privateEndpoint").as_ref().and_then(id_of);
    let addresses = node.list("ipConfigurations");
    for item in &addresses {
        refuse_cut(item, problems);
    }
    Interface {
        id: id_of(node),
        name: name_of(node),
        endpoint,
        addresses: addresses.iter().filter_map(|item| interface_address(item, problems)).collect(),
    }
}

fn interface_address(node: &Node<'_>, problems: &mut Vec<Problem>) -> Option<InterfaceAddress> {
    let link = node.lifted("privateLinkConnectionProperties")?;
    refuse_cut(&link, problems);
    let group = link.text_of("groupId").unwrap_or_default().to_owned();
    let names = link.texts("fqdns");
    let Some(address) = node.located("privateIPAddress") else {
        if !names.is_empty() {
            problems.push(no_address(
                node,
                "names are listed here without an address",
                "query the interface again, whole: `az network nic show --ids ...`",
            ));
        }
        return None;
    };
    Some(InterfaceAddress { address, group, names })
}

pub(super) fn zone_group(node: &Node<'_>) -> ZoneGroup {
    let mut records = Vec::new();
    let mut empty_zones = Vec::new();
    for config in node.list("privateDnsZoneConfigs") {
        let sets = config.list("recordSets");
        if sets.is_empty() {
            let zone = config.text_of("privateDnsZoneId").and_then(|id| id.rsplit('/').next()).unwrap_or_default();
            empty_zones.push(zone.to_owned());
        }
        // Sets of other types than addresses do not occur here; what is no address is refused later.
        records.extend(sets.iter().filter_map(|set| {
            Some(Listed { name: set.located("fqdn")?, addresses: set.texts("ipAddresses"), ttl: set.seconds("ttl") })
        }));
    }
    ZoneGroup {
        endpoint: id_of(node).and_then(|id| id.parent()),
        records,
        provisioning_state: node.text_of("provisioningState").unwrap_or_default().to_owned(),
        empty_zones,
    }
}

/// Whether an object has the two columns that a query over an interface gives.
pub(super) fn is_row(node: &Node<'_>) -> bool {
    let names = NAME_KEYS.iter().any(|key| node.has(key)) || node.get("privateLinkConnectionProperties").is_some();
    names && ADDRESS_KEYS.iter().any(|key| node.has(key))
}

/// One row: the names and the address, which is absent when the query asked for a key that the command lacks.
pub(super) fn row(node: &Node<'_>, problems: &mut Vec<Problem>) -> Vec<Listed> {
    let link = node.get("privateLinkConnectionProperties");
    let names: Vec<Located<String>> = match link {
        Some(link) => link.texts("fqdns"),
        None => NAME_KEYS.iter().flat_map(|key| node.texts(key)).collect(),
    };
    let addresses: Vec<Located<String>> = ADDRESS_KEYS.iter().flat_map(|key| node.texts(key)).collect();
    if addresses.is_empty() && !names.is_empty() {
        problems.push(no_address(node, "the address is missing", QUERY_HINT));
        return Vec::new();
    }
    names.into_iter().map(|name| Listed { name, addresses: addresses.clone(), ttl: node.seconds("ttl") }).collect()
}

fn listed(node: &Node<'_>, name: &str, addresses: &str, problems: &mut Vec<Problem>) -> Option<Listed> {
    refuse_cut(node, problems);
    Some(Listed { name: node.located(name)?, addresses: node.texts(addresses), ttl: None })
}

fn id_of(node: &Node<'_>) -> Option<ResourceId> {
    node.get("id").or_else(|| node.get("resourceId")).and_then(|id| ResourceId::parse(id.text()?))
}

fn name_of(node: &Node<'_>) -> String {
    let name = node.get("name").or_else(|| node.get("resourceName"));
    name.and_then(|name| name.text()).unwrap_or_default().to_owned()
}

/// PowerShell's `ConvertTo-Json` turns what lies deeper than its `-Depth` into text.
fn refuse_cut(node: &Node<'_>, problems: &mut Vec<Problem>) {
    if node.value().is_string() {
        let hint = "PowerShell cuts at two levels: print it again with `ConvertTo-Json -Depth 10`";
        problems.push(no_address(node, "an object was cut to a text here", hint));
    }
}

fn no_address(node: &Node<'_>, text: &str, hint: &str) -> Problem {
    Problem { path: node.path().to_owned(), fatal: true, text: text.to_owned(), hint: hint.to_owned() }
}

const NAME_KEYS: [&str; 2] = ["fqdns", "fqdn"];
const ADDRESS_KEYS: [&str; 5] = ["ipAddress", "ipAddresses", "privateIPAddress", "ip", "address"];
const QUERY_HINT: &str = "query with privateIPAddress, as the command line spells it now: `az network nic show --ids ... --query \
    'ipConfigurations[*].{IPAddress: privateIPAddress, FQDNs: privateLinkConnectionProperties.fqdns}'`";
