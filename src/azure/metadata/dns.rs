//! Record sets of private DNS zones (Microsoft.Network/privateDnsZones).

use super::network::ip_of;
use super::{Located, Node, Problem};
use crate::azure::ResourceId;

/// A record set of a private DNS zone.
#[derive(Debug)]
pub struct RecordSet {
    /// The zone, where the set's id says it.
    pub zone: Option<String>,
    /// The owner name, absolute.
    pub name: Located<String>,
    /// The type, in capitals.
    pub record_type: &'static str,
    /// The data of each record, in presentation form, names with their final dot; never empty.
    pub data: Vec<Located<String>>,
    /// The time to live in seconds, where stated.
    pub ttl: Option<u32>,
}

/// The type of a record set in lower case: by the object's own type, by PowerShell's `RecordType`, or by the member that
/// its records are in. `None` for what is not a record set.
pub(super) fn type_of(node: &Node<'_>, kind: &str) -> Option<String> {
    if let Some(record_type) = kind.strip_prefix("microsoft.network/privatednszones/") {
        return Some(record_type.to_owned());
    }
    let is_set =
        node.has("fqdn") || node.has("zoneName") || node.text_of("id").is_some_and(|id| id.contains("rivateDnsZones/"));
    if !is_set || kind.contains('/') {
        return None;
    }
    let own = MEMBERS.iter().find(|(_, key, _)| node.lifted(key).is_some());
    if let Some((record_type, ..)) = own {
        return Some((*record_type).to_owned());
    }
    let first = node.has("recordType").then(|| node.list("records").into_iter().next())??;
    // PowerShell shortens a record to its address.
    if let Some(address) = first.text().and_then(ip_of) {
        return Some(if address.is_ipv4() { "a" } else { "aaaa" }.to_owned());
    }
    let by_data = MEMBERS.iter().find(|(.., data)| first.has(data));
    by_data.map(|(record_type, ..)| (*record_type).to_owned())
}

/// Types in lower case, the member that Resource Manager has their records in, and one that every such record has.
const MEMBERS: [(&str, &str, &str); 7] = [
    ("a", "aRecords", "ipv4Address"),
    ("aaaa", "aaaaRecords", "ipv6Address"),
    ("cname", "cnameRecord", "cname"),
    ("mx", "mxRecords", "exchange"),
    ("ptr", "ptrRecords", "ptrdname"),
    ("srv", "srvRecords", "target"),
    ("txt", "txtRecords", "value"),
];

/// The owner name and zone of a set: as stated, else put together from its id, zone or name in a template.
fn owner(node: &Node<'_>) -> (Option<Located<String>>, Option<String>) {
    let id = node.get("id").and_then(|id| ResourceId::parse(id.text()?));
    let own = node.get("name").and_then(|name| name.to_located());
    // `zone/name` in a template; a name within a zone has no slash.
    let is_open = |name: &Located<String>| name.value.starts_with('[');
    let in_template = own.as_ref().filter(|name| !is_open(name)).and_then(|name| name.value.split_once('/'));
    let zone = id
        .as_ref()
        .and_then(ResourceId::parent)
        .map(|zone| zone.name().to_owned())
        .or_else(|| node.text_of("zoneName").map(str::to_owned))
        .or_else(|| in_template.map(|(zone, _)| zone.to_owned()));
    let stated = node.located("fqdn");
    let derived = || {
        let name = own.as_ref()?;
        if is_open(name) {
            // An expression that could not be resolved: shown as it is.
            return Some(name.clone());
        }
        let relative = in_template.map_or(name.value.as_str(), |(_, relative)| relative);
        let zone = zone.as_deref()?;
        let owner = if relative == "@" { zone.to_owned() } else { format!("{relative}.{zone}") };
        Some(Located { value: owner, path: name.path.clone() })
    };
    (stated.or_else(derived), zone)
}

/// Reads a set of this type; `None` for one that has no record, for the SOA, and for what is not a record set.
pub(super) fn record_set(node: &Node<'_>, record_type: &str, problems: &mut Vec<Problem>) -> Option<RecordSet> {
    let (record_type, data) = data(node, record_type)?;
    if data.is_empty() {
        return None;
    }
    let (name, zone) = owner(node);
    let Some(name) = name else {
        problems.push(Problem {
            path: node.path().to_owned(),
            fatal: true,
            text: "this record set states neither its fqdn nor its zone".to_owned(),
            hint: "list the sets again without a query: `az network private-dns record-set list -g GROUP -z ZONE`"
                .to_owned(),
        });
        return None;
    };
    Some(RecordSet { zone, name, record_type, data, ttl: node.seconds("ttl") })
}

fn data(node: &Node<'_>, record_type: &str) -> Option<(&'static str, Vec<Located<String>>)> {
    Some(match record_type {
        "a" => ("A", each(node, "aRecords", |record| address(record, "ipv4Address"))),
        "aaaa" => ("AAAA", each(node, "aaaaRecords", |record| address(record, "ipv6Address"))),
        "cname" => {
            let set = node.lifted("cnameRecord").or_else(|| node.list("records").into_iter().next());
            let target = set.and_then(|record| record.located("cname"));
            (
                "CNAME",
                target
                    .into_iter()
                    .map(|target| Located { value: absolute(&target.value), path: target.path })
                    .collect(),
            )
        }
        "mx" => (
            "MX",
            each(node, "mxRecords", |record| {
                Some(format!("{} {}", record.number("preference")?, absolute(record.text_of("exchange")?)))
            }),
        ),
        "ptr" => ("PTR", each(node, "ptrRecords", |record| record.text_of("ptrdname").map(absolute))),
        "srv" => (
            "SRV",
            each(node, "srvRecords", |record| {
                let number = |key| record.number(key);
                Some(format!(
                    "{} {} {} {}",
                    number("priority")?,
                    number("weight")?,
                    number("port")?,
                    absolute(record.text_of("target")?)
                ))
            }),
        ),
        "txt" => (
            "TXT",
            each(node, "txtRecords", |record| {
                let value = record.lifted("value")?;
                let parts = if value.is_array() { value.items() } else { vec![value] };
                // An empty string is one too.
                let strings: Option<Vec<String>> = parts.iter().map(|part| part.value().as_str().map(quoted)).collect();
                strings.filter(|strings| !strings.is_empty()).map(|strings| strings.join(" "))
            }),
        ),
        _ => return None,
    })
}

fn address(record: &Node<'_>, key: &str) -> Option<String> {
    record.text_of(key).or_else(|| record.text()).map(str::to_owned)
}

fn each(node: &Node<'_>, key: &str, one: impl Fn(&Node<'_>) -> Option<String>) -> Vec<Located<String>> {
    let records = node.list(key);
    let records = if records.is_empty() { node.list("records") } else { records };
    records.iter().filter_map(|record| Some(Located { value: one(record)?, path: record.path().to_owned() })).collect()
}

fn absolute(name: &str) -> String {
    if name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

fn quoted(text: &str) -> String {
    quoted_bytes(text.as_bytes())
}

/// A character string in presentation form (RFC 1035 §5.1).
pub(super) fn quoted_bytes(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend(['\\', *byte as char]),
            b' '..=b'~' => out.push(*byte as char),
            _ => out.push_str(&format!("\\{byte:03}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn data_is_in_presentation_form() {
        let set = |record_type: &str, properties: serde_json::Value| {
            let value = json!({"properties": properties});
            data(&Node::root(&value), record_type).unwrap().1.into_iter().map(|it| it.value).collect::<Vec<_>>()
        };
        assert_eq!(set("cname", json!({"cnameRecord": {"cname": "a.b"}})), ["a.b."]);
        assert_eq!(set("mx", json!({"mxRecords": [{"preference": 1, "exchange": "ex.chan.ge"}]})), ["1 ex.chan.ge."]);
        assert_eq!(
            set("srv", json!({"srvRecords": [{"priority": 1, "weight": 5, "port": 120, "target": "targ.et"}]})),
            ["1 5 120 targ.et."]
        );
        assert_eq!(set("txt", json!({"txtRecords": [{"value": ["a \"b\"\n", "c"]}]})), [r#""a \"b\"\010" "c""#]);
        assert_eq!(set("txt", json!({"txtRecords": [{"value": [""]}, {"value": []}]})), [r#""""#]);
        assert_eq!(set("a", json!({"aRecords": []})), <[&str; 0]>::default());
    }
}
