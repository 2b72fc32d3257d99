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
    /// The subnet that its addresses are in.
    pub subnet: Option<ResourceId>,
    /// When it was last changed or created by its own word, milliseconds since 1970.
    pub changed: Option<i64>,
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
        if let Some(cut) = node.lifted(key).filter(|cut| cut.text().is_some()) {
            refuse_cut(&cut, problems);
        }
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
        custom_dns: custom_dns(node, problems),
        static_addresses: node.list("ipConfigurations").iter().filter_map(static_address).collect(),
        interface_ids: nics.iter().filter_map(id_of).collect(),
        interfaces,
        subnet: node.lifted("subnet").and_then(|subnet| id_of(&subnet)),
        changed: changed(node),
    }
}

/// The names that an endpoint lists itself.
pub(super) fn custom_dns(node: &Node<'_>, problems: &mut Vec<Problem>) -> Vec<Listed> {
    let list = node.list("customDnsConfigs");
    if list.is_empty()
        && let Some(cut) = node.lifted("customDnsConfigs").filter(|cut| cut.text().is_some())
    {
        refuse_cut(&cut, problems);
    }
    list.iter().flat_map(|item| listed(item, "fqdn", "ipAddresses", problems)).collect()
}

/// When an object says that it was last changed, or created.
pub(super) fn changed(node: &Node<'_>) -> Option<i64> {
    let of = |node: &Node<'_>, keys: &[&str]| keys.iter().find_map(|key| milliseconds(node.get(key)?.text()?));
    let of_system = node.get("systemData").and_then(|data| of(&data, &["lastModifiedAt", "createdAt"]));
    of_system.or_else(|| of(node, &["changedTime", "lastModifiedTime", "createdTime"]))
}

/// An instant as ARM writes it (`2026-03-01T10:20:30.5Z`), milliseconds since 1970.
fn milliseconds(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', ' '])?;
    let numbers =
        |text: &str, by: char| text.split(by).map(|part| part.parse::<i64>().ok()).collect::<Option<Vec<_>>>();
    let [year, month, day] = numbers(date, '-')?[..] else { return None };
    let time = time.split(['Z', '+']).next()?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':')?[..] else { return None };
    if !(1970..3000).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
        || hour < 0
        || minute < 0
        || second < 0
    {
        return None;
    }
    // Days since 1970 by the rule of the Gregorian calendar, the year beginning in March.
    let shifted = if month > 2 { year } else { year - 1 };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + of_year - 719_468;
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + thousandths.parse::<i64>().ok()?)
}
fn connection(node: &Node<'_>) -> Connection {
    // Ansible calls it by its last words.
    let state = node.lifted("privateLinkServiceConnectionState").or_else(|| node.lifted("connectionState"));
    Connection {
        target: node.text_of("privateLinkServiceId").unwrap_or_default().to_owned(),
        groups: node.texts("groupIds").into_iter().map(|group| group.value).collect(),
        status: state.and_then(|state| state.text_of("status")).unwrap_or_default().to_owned(),
    }
}

/// The connections that a resource lists of its private endpoints: the endpoint and the connection's state.
pub(super) fn endpoint_states(node: &Node<'_>) -> Vec<(ResourceId, String)> {
    let of = |connection: &Node<'_>| {
        let endpoint = id_of(&connection.lifted("privateEndpoint")?)?;
        let state = connection
            .lifted("privateLinkServiceConnectionState")
            .or_else(|| connection.lifted("privateLinkServiceConnectionStateText"))?;
        Some((endpoint, state.text_of("status")?.to_owned()))
    };
    node.list("privateEndpointConnections").iter().filter_map(of).collect()
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
    if let Some(cut) = node.lifted("ipConfigurations").filter(|cut| cut.text().is_some()) {
        refuse_cut(&cut, problems);
    }
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
        let zone = config.text_of("privateDnsZoneId").and_then(|id| id.rsplit('/').next()).unwrap_or_default();
        if sets.is_empty() {
            empty_zones.push(zone.to_owned());
        }
        // Sets of other types than addresses do not occur here; what is no address is refused later.
        let name = |set: &Node<'_>| set.located("fqdn").or_else(|| name_in_zone(set, zone));
        records.extend(sets.iter().filter_map(|set| {
            Some(Listed { name: name(set)?, addresses: set.texts("ipAddresses"), ttl: set.seconds("ttl") })
        }));
    }
    ZoneGroup {
        endpoint: id_of(node).and_then(|id| id.parent()),
        records,
        provisioning_state: node.text_of("provisioningState").unwrap_or_default().to_owned(),
        empty_zones,
    }
}

/// The name of a record set that states it relative to its zone alone.
fn name_in_zone(set: &Node<'_>, zone: &str) -> Option<Located<String>> {
    let name = set.located("recordSetName").or_else(|| set.located("name")).filter(|_| !zone.is_empty())?;
    let value = if name.value == "@" { zone.to_owned() } else { format!("{}.{zone}", name.value) };
    Some(Located { value, ..name })
}

fn listed(node: &Node<'_>, name: &str, addresses: &str, problems: &mut Vec<Problem>) -> Option<Listed> {
    refuse_cut(node, problems);
    Some(Listed { name: node.located(name)?, addresses: node.texts(addresses), ttl: None })
}

pub(super) fn id_of(node: &Node<'_>) -> Option<ResourceId> {
    node.get("id").or_else(|| node.get("resourceId")).and_then(|id| ResourceId::parse(id.text()?))
}

pub(super) fn name_of(node: &Node<'_>) -> String {
    let name = node.get("name").or_else(|| node.get("resourceName"));
    name.and_then(|name| name.text()).unwrap_or_default().to_owned()
}

/// PowerShell's `ConvertTo-Json` turns what lies deeper than its `-Depth` into a string.
fn refuse_cut(node: &Node<'_>, problems: &mut Vec<Problem>) {
    if node.value().is_string() {
        problems.push(no_address(node, "an object was shortened to a string here", DEPTH_HINT));
    }
}

fn no_address(node: &Node<'_>, text: &str, hint: &str) -> Problem {
    Problem { path: node.path().to_owned(), fatal: true, text: text.to_owned(), hint: hint.to_owned() }
}

/// A string as an address.
pub(super) fn ip_of(text: &str) -> Option<std::net::IpAddr> {
    text.trim().parse().ok()
}

/// What to do about objects that PowerShell shortened.
pub const DEPTH_HINT: &str =
    "PowerShell prints two levels unless told otherwise: print it again with `ConvertTo-Json -Depth 10`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_of_resource_manager() {
        assert_eq!(milliseconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(milliseconds("2026-03-01T10:20:30.5Z"), Some(1_772_360_430_500));
        assert_eq!(milliseconds("2024-02-29T23:59:59.1234567+00:00"), Some(1_709_251_199_123));
        for wrong in ["", "2026-03-01", "2026-13-01T00:00:00Z", "x-y-zT1:2:3", "2026-03-01T1:2", "9999-01-01T00:00:00Z"]
        {
            assert_eq!(milliseconds(wrong), None, "{wrong}");
        }
    }
}
