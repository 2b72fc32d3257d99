//! Existing lists of forwarded zones: settings of BIND, Unbound and dnsmasq, what PowerShell and az print about
//! conditional forwarders and rulesets, Terraform, and plain lists.

use serde_json::Value;

use crate::azure::HostName;

/// A zone of a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedZone {
    /// The zone, in lower case without its final dot.
    pub zone: String,
    /// Its line, from 1; 0 in JSON.
    pub line: usize,
}

/// Reads a list; `None` when no zone is found in it.
pub fn read_list(text: &str) -> Option<Vec<ListedZone>> {
    let text = text.trim_start_matches('\u{FEFF}');
    let mut zones = match serde_json::from_str::<Value>(text) {
        Ok(value) => {
            let mut found = Vec::new();
            of_json(&value, 0, &mut found);
            found.iter().filter_map(|zone| listed(zone, 0)).collect()
        }
        Err(_) => of_text(text),
    };
    zones.sort_by(|one: &ListedZone, other| one.zone.cmp(&other.zone));
    zones.dedup_by(|one, other| one.zone == other.zone);
    (!zones.is_empty()).then_some(zones)
}

fn listed(text: &str, line: usize) -> Option<ListedZone> {
    let text = text.trim().trim_matches(['"', '\'']).trim_start_matches("*.").trim_start_matches('.');
    let name = HostName::parse(text).ok()?;
    let zone = name.to_string();
    (zone.contains('.') && !zone.ends_with(".arpa")).then_some(ListedZone { zone, line })
}

/// The values that name a forwarded zone. Of zones that PowerShell lists, only those of type Forwarder (4).
fn of_json(value: &Value, depth: usize, found: &mut Vec<String>) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| match item {
            Value::String(text) if depth == 0 => found.push(text.clone()),
            item => of_json(item, depth + 1, found),
        }),
        Value::Object(members) => {
            let get = |name: &str| {
                let same = |key: &str| key.replace('_', "").eq_ignore_ascii_case(name);
                members.iter().find(|(key, _)| same(key)).map(|(_, value)| value)
            };
            let is_forwarder = get("zonetype").is_none_or(|kind| {
                kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("forwarder")) || kind.as_u64() == Some(4)
            });
            if is_forwarder {
                let names = ["zonename", "domainname", "namespace"].iter().filter_map(|key| get(key));
                for name in names {
                    match name {
                        Value::String(text) => found.push(text.clone()),
                        Value::Array(items) => found.extend(items.iter().filter_map(Value::as_str).map(str::to_owned)),
                        _ => {}
                    }
                }
            }
            members.values().for_each(|member| of_json(member, depth + 1, found));
        }
        _ => {}
    }
}

fn of_text(text: &str) -> Vec<ListedZone> {
    let mut zones = Vec::new();
    let mut section = String::new();
    let mut bind: Option<(String, usize, bool)> = None;
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        let code = line.split("//").next().unwrap_or_default();
        let code = if line.trim_start().starts_with('#') { "" } else { code }.trim();
        // BIND: `zone "x" { type forward; ... };`, on one line or several.
        if let Some(rest) = code.strip_prefix("zone ") {
            bind =
                rest.split(['"', ' ', '{']).find(|word| !word.is_empty()).map(|zone| (zone.to_owned(), number, false));
        }
        if let Some((zone, line, is_forward)) = &mut bind {
            let words: Vec<&str> = code.split([' ', ';', '{', '\t']).filter(|word| !word.is_empty()).collect();
            let kind = words.iter().position(|word| *word == "type").and_then(|at| words.get(at + 1));
            *is_forward |= kind.is_some_and(|kind| matches!(*kind, "forward" | "static-stub" | "stub"));
            if *is_forward {
                zones.extend(listed(zone, *line));
                bind = None;
            } else if code.starts_with('}') {
                bind = None;
            }
            continue;
        }
        // Unbound: `name:` below `forward-zone:` or `stub-zone:`.
        if let Some(name) = code.strip_suffix(':') {
            section = name.to_owned();
            continue;
        }
        if let Some(name) = code.strip_prefix("name:") {
            if matches!(section.as_str(), "forward-zone" | "stub-zone") {
                zones.extend(listed(name, number));
            }
            continue;
        }
        // dnsmasq: `server=/x/y/10.0.0.4`.
        if let Some(rest) = code.trim_start_matches("--").strip_prefix("server=/") {
            let names: Vec<&str> = rest.split('/').collect();
            zones.extend(names.iter().rev().skip(1).filter_map(|name| listed(name, number)));
            continue;
        }
        // Terraform: `domain_name = "x."`; Bicep: `domainName: 'x.'`.
        if let Some((key, value)) = code.split_once('=').or_else(|| code.split_once(':'))
            && ["domain_name", "domainName"].contains(&key.trim())
        {
            zones.extend(listed(value, number));
            continue;
        }
        zones.extend(of_command(code, number));
        // CoreDNS: `x:53 {`; plain lists: one name a line.
        let plain = code.strip_suffix('{').unwrap_or(code).trim();
        let plain = plain.strip_suffix(":53").unwrap_or(plain);
        if !plain.is_empty() && !plain.contains([' ', '=', '(']) {
            zones.extend(listed(plain, number));
        }
    }
    zones
}

/// Names in commands: `Add-DnsServerConditionalForwarderZone -Name x`, `Add-DnsClientNrptRule -Namespace .x`, `az
/// dns-resolver forwarding-rule create --domain-name x.`.
fn of_command(code: &str, line: usize) -> Vec<ListedZone> {
    let words: Vec<&str> = code.split_whitespace().collect();
    let is_forwarder =
        code.contains("ConditionalForwarderZone") || code.contains("NrptRule") || code.contains("forwarding-rule");
    let after = |flags: &[&str]| {
        let at = words.iter().position(|word| flags.iter().any(|flag| word.eq_ignore_ascii_case(flag)))?;
        words.get(at + 1).copied()
    };
    let name =
        if code.contains("forwarding-rule") { after(&["--domain-name"]) } else { after(&["-Name", "-Namespace"]) };
    name.filter(|_| is_forwarder).and_then(|name| listed(name, line)).into_iter().collect()
}

/// Levels of nesting that are followed.
const DEPTH_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(text: &str) -> Vec<String> {
        read_list(text).unwrap_or_default().into_iter().map(|it| format!("{}:{}", it.line, it.zone)).collect()
    }

    #[test]
    fn lists_of_every_server_are_read() {
        let bind = "zone \"corp.example\" { type primary; file \"x\"; };\nzone \"Blob.core.windows.net\" IN {\n    type forward;\n    forwarders { 10.0.0.4; };\n};\nzone \"vault.azure.net\" { type forward; forward only; forwarders { 10.0.0.4; }; }; // x\n";
        assert_eq!(zones(bind), ["2:blob.core.windows.net", "6:vault.azure.net"]);
        let unbound = "server:\n    name: no\n# forward-zone:\nforward-zone:\n    name: \"blob.core.windows.net.\"\n    forward-addr: 10.0.0.4\n";
        assert_eq!(zones(unbound), ["5:blob.core.windows.net"]);
        assert_eq!(
            zones("server=/a.example/b.example/10.0.0.4#5353\nserver=8.8.8.8\n"),
            ["1:a.example", "1:b.example"]
        );
        let powershell = r#"[{"ZoneName": "blob.core.windows.net", "ZoneType": "Forwarder", "MasterServers": ["10.0.0.4"]}, {"ZoneName": "corp.example", "ZoneType": "Primary"}, {"ZoneName": "x.example", "ZoneType": 4}]"#;
        assert_eq!(zones(powershell), ["0:blob.core.windows.net", "0:x.example"]);
        let terraform = r#"{"values": {"root_module": {"resources": [{"type": "azurerm_private_dns_resolver_forwarding_rule", "values": {"domain_name": "blob.core.windows.net.", "target_dns_servers": [{"ip_address": "10.0.0.4"}]}}]}}}"#;
        assert_eq!(zones(terraform), ["0:blob.core.windows.net"]);
        assert_eq!(
            zones(
                "resource \"azurerm_private_dns_resolver_forwarding_rule\" \"x\" {\n  domain_name = \"blob.core.windows.net.\"\n}\n"
            ),
            ["2:blob.core.windows.net"]
        );
        assert_eq!(
            zones(
                "Add-DnsServerConditionalForwarderZone -Name \"a.example\" -MasterServers 10.0.0.4\nAdd-DnsClientNrptRule -Namespace '.b.example' -NameServers 10.0.0.4\n"
            ),
            ["1:a.example", "2:b.example"]
        );
        assert_eq!(
            zones("blob.core.windows.net\n# x.example\n\nvault.azure.net.\n"),
            ["1:blob.core.windows.net", "4:vault.azure.net"]
        );
        assert!(read_list("nothing here").is_none() && read_list("").is_none() && read_list("[]").is_none());
    }
}
