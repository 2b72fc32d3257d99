//! Rows: objects that hold names and their address under names of columns that the author of a query chose.
//!
//! Usual names of columns are known. Where they are not used, the values tell: a member whose strings are names of
//! Azure's services holds the names, one whose strings are addresses the addresses. What could be read in two ways is
//! a problem, never a guess.

use std::net::IpAddr;

use super::node::same_key;
use super::{Located, Node, Problem};
use crate::azure::{HostName, ResourceId, cloud_of};

/// One row of a list: names and the addresses that they all have.
#[derive(Debug, Clone)]
pub struct Row {
    /// The names.
    pub names: Vec<Located<String>>,
    /// The addresses, IPv4 or IPv6.
    pub addresses: Vec<Located<String>>,
    /// The time to live in seconds, where stated.
    pub ttl: Option<u32>,
    /// What the row says of the interface or endpoint that it belongs to: rows of equal words belong together.
    pub owner: Option<String>,
    /// Its JSON path, or `line:column`.
    pub path: String,
}

/// Whether an object is a row, or looks like one that lacks its address.
pub(super) fn is_row(node: &Node<'_>) -> bool {
    if !node.is_object() {
        return false;
    }
    let named = !names_by_key(node).is_empty() || node.lifted("privateLinkConnectionProperties").is_some();
    if named && ADDRESS_KEYS.iter().any(|key| node.has(key) || node.lifted(key).is_some()) {
        return true;
    }
    if !map_rows(node).is_empty() {
        return true;
    }
    (named || !names_by_value(node).is_empty()) && !address_members(node).is_empty()
}

/// Whether an object would be a row if its column of names held any.
pub(super) fn is_nameless(node: &Node<'_>) -> bool {
    let mut keys = NAME_KEYS.iter();
    keys.any(|key| node.has(key) && node.texts(key).is_empty())
        && names_by_value(node).is_empty()
        && !address_members(node).is_empty()
}

/// What to say of such an object: the interface of a machine has no list of names at all, that of an endpoint an empty one.
pub(super) fn no_name(node: &Node<'_>) -> Option<Problem> {
    let is_listed = NAME_KEYS.iter().any(|key| node.get(key).is_some_and(|names| names.is_array()));
    is_listed.then(|| Problem {
        path: node.path().to_owned(),
        fatal: false,
        text: "no name leads to this address: the connection is probably not approved".to_owned(),
        hint: "see its state: `az network private-endpoint show --ids ENDPOINT_ID`".to_owned(),
    })
}

/// The rows of an object: mostly one, several where its keys are the names.
pub(super) fn rows(node: &Node<'_>, problems: &mut Vec<Problem>) -> Vec<Row> {
    let map = map_rows(node);
    if !map.is_empty() {
        return map;
    }
    let link = node.lifted("privateLinkConnectionProperties");
    let mut names = match link {
        Some(link) => link.texts("fqdns"),
        None => names_by_key(node),
    };
    if names.is_empty() {
        names = names_by_value(node);
    }
    let names: Vec<_> = names.into_iter().flat_map(split).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let addresses = match addresses(node) {
        Ok(addresses) => addresses,
        Err(Contradicting(members)) => {
            problems.push(Problem {
                path: node.path().to_owned(),
                fatal: true,
                text: format!(
                    "this row has several addresses, and its columns do not say which one the names have: {members}"
                ),
                hint: "call the column of the private address privateIp".to_owned(),
            });
            return Vec::new();
        }
    };
    if addresses.is_empty() {
        problems.push(Problem {
            path: node.path().to_owned(),
            fatal: true,
            text: "the address is missing".to_owned(),
            hint: QUERY_HINT.to_owned(),
        });
        return Vec::new();
    }
    vec![Row { names, addresses, ttl: node.seconds("ttl"), owner: owner(node), path: node.path().to_owned() }]
}

/// A row that is an array, as `--query '[].[fqdn, ip]'` prints it: names of Azure's services and one address among its
/// strings. `None` for anything else.
pub(super) fn of_array(node: &Node<'_>) -> Option<Row> {
    let cells = node.items();
    if cells.iter().any(Node::is_object) {
        return None;
    }
    let texts: Vec<Located<String>> = cells.iter().flat_map(Node::all_texts).flat_map(split).collect();
    let (addresses, others): (Vec<_>, Vec<_>) =
        texts.into_iter().partition(|text| text.value.parse::<IpAddr>().is_ok());
    let names: Vec<Located<String>> = others.into_iter().filter(|text| is_azure_name(&text.value)).collect();
    let is_row = !names.is_empty() && addresses.len() == 1;
    is_row.then(|| Row { names, addresses, ttl: None, owner: None, path: node.path().to_owned() })
}

/// Whether names of Azure's services and addresses are anywhere below: what would be lost with the object.
pub(super) fn holds_names(node: &Node<'_>) -> bool {
    let (mut names, mut addresses) = (false, false);
    look(node, 0, &mut names, &mut addresses);
    names && addresses
}

fn look(node: &Node<'_>, depth: usize, names: &mut bool, addresses: &mut bool) {
    if depth > super::DEPTH_MAX || *names && *addresses {
        return;
    }
    if let Some(text) = node.text() {
        *names |= is_azure_name(text);
        *addresses |= text.parse::<IpAddr>().is_ok();
    }
    node.items().iter().for_each(|item| look(item, depth + 1, names, addresses));
    node.members().iter().for_each(|(_, member)| look(member, depth + 1, names, addresses));
}

/// The rows of an object whose members are `name: address`, `name: [addresses]` or `address: [names]`.
fn map_rows(node: &Node<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (key, member) in node.members() {
        let values = member.all_texts();
        let key_text = || Located { value: key.to_owned(), path: member.path().to_owned() };
        let all_addresses = !values.is_empty() && values.iter().all(|value| value.value.parse::<IpAddr>().is_ok());
        let (names, addresses) = if all_addresses && is_azure_name(key) {
            (vec![key_text()], values)
        } else if key.parse::<IpAddr>().is_ok() && values.iter().any(|value| is_azure_name(&value.value)) {
            (values, vec![key_text()])
        } else {
            continue;
        };
        rows.push(Row { names, addresses, ttl: None, owner: None, path: member.path().to_owned() });
    }
    rows
}

fn names_by_key(node: &Node<'_>) -> Vec<Located<String>> {
    // The first key that has any: a row may have both the name and its parts.
    let mut found = NAME_KEYS.iter().map(|key| node.texts(key)).find(|names| !names.is_empty()).unwrap_or_default();
    found.retain(|name| name.value.parse::<IpAddr>().is_err());
    found
}

fn names_by_value(node: &Node<'_>) -> Vec<Located<String>> {
    let members = values(node);
    let of_azure = members.into_iter().filter(|(_, texts)| {
        texts.iter().any(|text| split(text.clone()).iter().any(|part| is_azure_name(&part.value)))
            && texts.iter().all(|text| split(text.clone()).iter().all(|part| HostName::parse(&part.value).is_ok()))
    });
    of_azure.flat_map(|(_, texts)| texts).collect()
}

/// Columns of a row whose addresses contradict each other, separated by commas.
struct Contradicting(String);

/// The addresses of a row.
fn addresses(node: &Node<'_>) -> Result<Vec<Located<String>>, Contradicting> {
    for key in ADDRESS_KEYS {
        let found: Vec<_> = node.texts(key).into_iter().flat_map(split).collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let mut members = address_members(node);
    let private: Vec<_> =
        members.iter().filter(|(key, _)| key.to_ascii_lowercase().contains("private")).cloned().collect();
    if !private.is_empty() {
        members = private;
    } else if members.len() > 1 {
        members.retain(|(key, _)| !key.to_ascii_lowercase().contains("public"));
    }
    let family = |texts: &[Located<String>]| texts.iter().all(|text| text.value.contains(':'));
    match members.as_slice() {
        [] => Ok(Vec::new()),
        [(_, texts)] => Ok(texts.clone()),
        [(_, one), (_, other)] if family(one) != family(other) => Ok([one.clone(), other.clone()].concat()),
        [(_, first), rest @ ..] => {
            let same =
                |texts: &[Located<String>]| texts.iter().map(|it| &it.value).eq(first.iter().map(|it| &it.value));
            if rest.iter().all(|(_, texts)| same(texts)) {
                return Ok(first.clone());
            }
            Err(Contradicting(members.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(", ")))
        }
    }
}

/// Members that hold addresses and nothing else.
fn address_members(node: &Node<'_>) -> Vec<(String, Vec<Located<String>>)> {
    values(node)
        .into_iter()
        .map(|(key, texts)| (key, texts.into_iter().flat_map(split).collect::<Vec<_>>()))
        .filter(|(_, texts)| texts.iter().all(|text| text.value.parse::<IpAddr>().is_ok()))
        .collect()
}

/// Members that hold strings, with their strings.
fn values(node: &Node<'_>) -> Vec<(String, Vec<Located<String>>)> {
    let members = node.members().into_iter().map(|(key, member)| (key.to_owned(), member.all_texts()));
    members.filter(|(_, texts)| !texts.is_empty()).collect()
}

/// A string that lists several things, taken apart: `10.0.0.4, 10.0.0.5`.
fn split(text: Located<String>) -> Vec<Located<String>> {
    if !text.value.contains([',', ';', ' ', '\n']) {
        return vec![text];
    }
    let parts: Vec<&str> = text.value.split([',', ';', ' ', '\n', '\r']).filter(|part| !part.is_empty()).collect();
    let plain = |part: &&str| part.parse::<IpAddr>().is_ok() || HostName::parse(part).is_ok() && part.contains('.');
    if parts.len() < 2 || !parts.iter().all(plain) {
        return vec![text];
    }
    parts.into_iter().map(|part| Located { value: part.to_owned(), path: text.path.clone() }).collect()
}

fn is_azure_name(text: &str) -> bool {
    HostName::parse(text).is_ok_and(|name| cloud_of(&name).is_some())
}

/// What a row says of the object that it was printed from: an id, else a name of an endpoint or interface.
fn owner(node: &Node<'_>) -> Option<String> {
    let id = node.members().into_iter().find_map(|(_, member)| ResourceId::parse(member.text()?).map(|id| id.key()));
    let named = || {
        node.members().into_iter().find_map(|(key, member)| {
            let is_owner = OWNER_KEYS.iter().any(|known| same_key(known, key));
            is_owner.then(|| member.text().map(str::to_ascii_lowercase)).flatten()
        })
    };
    id.or_else(named)
}

/// What columns of names are called.
const NAME_KEYS: [&str; 9] =
    ["fqdns", "fqdn", "hostName", "hostNames", "dnsName", "dnsNames", "domainName", "domainNames", "host"];
/// What columns of addresses are called.
const ADDRESS_KEYS: [&str; 9] = [
    "ipAddress",
    "ipAddresses",
    "privateIPAddress",
    "privateIPAddresses",
    "privateIp",
    "privateIps",
    "ip",
    "ips",
    "address",
];
/// What columns are called that say whose a row is.
const OWNER_KEYS: [&str; 12] = [
    "nic",
    "nicName",
    "interface",
    "networkInterface",
    "pe",
    "peName",
    "endpoint",
    "endpointName",
    "privateEndpoint",
    "workspace",
    "workspaceName",
    "resource",
];
const QUERY_HINT: &str = "query with privateIPAddress, as the command line spells it now: `az network nic show --ids ... --query \
    'ipConfigurations[*].{IPAddress: privateIPAddress, FQDNs: privateLinkConnectionProperties.fqdns}'`";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The names and the addresses of a row.
    type Parts = (Vec<String>, Vec<String>);

    fn read(value: serde_json::Value) -> Result<Vec<Parts>, String> {
        let node = Node::root(&value);
        if !is_row(&node) {
            return Err("no row".to_owned());
        }
        let mut problems = Vec::new();
        let rows = rows(&node, &mut problems);
        if let Some(problem) = problems.first() {
            return Err(problem.text.clone());
        }
        let texts = |list: &[Located<String>]| list.iter().map(|it| it.value.clone()).collect();
        Ok(rows.iter().map(|row| (texts(&row.names), texts(&row.addresses))).collect())
    }

    #[test]
    fn columns_of_any_name_are_read() {
        let expected = Ok(vec![(vec!["a.blob.core.windows.net".to_owned()], vec!["10.0.0.4".to_owned()])]);
        for row in [
            json!({"FQDNs": ["a.blob.core.windows.net"], "IPAddress": "10.0.0.4"}),
            json!({"fqdn": "a.blob.core.windows.net", "ip_addresses": ["10.0.0.4"]}),
            json!({"peName": "pe", "fqdn": "a.blob.core.windows.net", "privateIp": "10.0.0.4"}),
            json!({"where": "a.blob.core.windows.net", "to": "10.0.0.4", "n": 5}),
            json!({"name": "a.blob.core.windows.net", "publicIp": "20.0.0.4", "theirPrivateOne": "10.0.0.4"}),
            json!({"a.blob.core.windows.net": "10.0.0.4"}),
            json!({"10.0.0.4": ["a.blob.core.windows.net"]}),
            json!({"properties": {"privateIPAddress": "10.0.0.4", "privateLinkConnectionProperties": {"fqdns": ["a.blob.core.windows.net"]}}}),
        ] {
            assert_eq!(read(row.clone()), expected, "{row}");
        }
        let both = read(json!({"FQDN": "a.b, c.d", "IP address": "10.0.0.4; 10.0.0.5"})).unwrap();
        assert_eq!((both[0].0.len(), both[0].1.len()), (2, 2));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_a_problem() {
        for row in [
            json!({"name": "a.blob.core.windows.net", "one": "10.0.0.4", "two": "10.0.0.5"}),
            json!({"fqdn": "a.blob.core.windows.net", "ip": null}),
        ] {
            assert!(read(row.clone()).unwrap_err().contains("address"), "{row}");
        }
        for other in
            [json!({"name": "vm1", "ip": "10.0.0.4"}), json!({"name": "www.example.com", "x": "10.0.0.4"}), json!([])]
        {
            assert_eq!(read(other.clone()), Err("no row".to_owned()), "{other}");
        }
    }
}
