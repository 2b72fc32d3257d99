//! Existing lists of forwarded zones: settings of BIND, Unbound and dnsmasq, what PowerShell and az print about
//! conditional forwarders and rulesets, Terraform, and plain lists.

use serde_json::Value;

use super::is_of_azure;
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
            // A rule of a ruleset may be switched off.
            let is_disabled = get("forwardingrulestate")
                .and_then(Value::as_str)
                .is_some_and(|state| state.eq_ignore_ascii_case("disabled"))
                || get("enabled").and_then(Value::as_bool) == Some(false);
            if is_forwarder && !is_disabled {
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
    let text = without_comments(text);
    let mut zones = of_bind(&text);
    zones.extend(of_unbound(&text));
    let mut is_computed = false;
    for (at, line) in text.lines().enumerate() {
        let (code, number) = (line.trim(), at + 1);
        // dnsmasq: `server=/x/y/10.0.0.4`; with no server, or `#`, the names are not forwarded to one of their own.
        if let Some(rest) = code.trim_start_matches("--").strip_prefix("server=/") {
            let (names, server) = rest.rsplit_once('/').unwrap_or_default();
            if !matches!(server.trim(), "" | "#") {
                zones.extend(names.split('/').filter_map(|name| listed(name, number)));
            }
            continue;
        }
        // Terraform: `domain_name = "x."`; Bicep: `domainName: 'x.'`.
        if let Some((key, value)) = code.split_once('=').or_else(|| code.split_once(':'))
            && ["domain_name", "domainName"].contains(&key.trim())
        {
            match value.trim().starts_with(['"', '\'']) && !value.contains('$') {
                true => zones.extend(listed(value, number)),
                false => is_computed = true,
            }
            continue;
        }
        zones.extend(of_command(code, number));
        zones.extend(of_columns(code, number));
    }
    if is_computed {
        // `domain_name = each.value`: the names stand elsewhere in the file.
        for (at, line) in text.lines().enumerate() {
            let quoted = line.split(['"', '\'']).skip(1).step_by(2);
            zones.extend(quoted.filter_map(|name| listed(name, at + 1)).filter(|it| is_of_azure(&it.zone)));
        }
    }
    zones
}

/// The text with comments blanked: `/* */`, `//`, `#`, each where a word may begin and outside of quotes. Lines keep their
/// numbers.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut quote, mut before, mut rest) = (None, '\n', text);
    while let Some(c) = rest.chars().next() {
        let may_begin = quote.is_none() && (before.is_whitespace() || matches!(before, ';' | '{' | '}'));
        let length = if may_begin && rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if may_begin && (c == '#' || rest.starts_with("//")) {
            rest.find('\n').unwrap_or(rest.len())
        } else {
            0
        };
        let (skipped, behind) = rest.split_at(length);
        if !skipped.is_empty() {
            out.extend(skipped.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            (rest, before) = (behind, ' ');
            continue;
        }
        match quote {
            Some(open) if c == open || c == '\n' => quote = None,
            None if may_begin && matches!(c, '"' | '\'') => quote = Some(c),
            _ => {}
        }
        out.push(c);
        before = c;
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    out
}

/// Words and the signs `{`, `}`, `;`, each with its line. Quotes are taken off.
fn tokens(text: &str) -> Vec<(&str, usize)> {
    let mut tokens = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(c) = rest.chars().next() {
            let end = match c {
                '{' | '}' | ';' => 1,
                '"' | '\'' => {
                    let inner = rest.get(1..).unwrap_or_default();
                    inner.find(c).map_or(rest.len(), |end| end + 2)
                }
                _ => rest.find([' ', '\t', '{', '}', ';']).unwrap_or(rest.len()),
            };
            let (token, behind) = rest.split_at(end);
            tokens.push((token.trim_matches(['"', '\'']), at + 1));
            rest = behind.trim_start();
        }
    }
    tokens
}

/// BIND: `zone "x" { type forward; ... };`.
fn of_bind(text: &str) -> Vec<ListedZone> {
    let tokens = tokens(text);
    let mut zones = Vec::new();
    for (at, (word, line)) in tokens.iter().enumerate() {
        let is_statement =
            at.checked_sub(1).and_then(|at| tokens.get(at)).is_none_or(|it| matches!(it.0, "{" | "}" | ";"));
        let Some((name, _)) = tokens.get(at + 1).filter(|_| *word == "zone" && is_statement) else { continue };
        let (mut depth, mut is_type) = (0_usize, false);
        for (word, _) in tokens.iter().skip(at + 2) {
            match *word {
                "{" => depth += 1,
                "}" if depth <= 1 => break,
                "}" => depth -= 1,
                ";" if depth == 0 => break,
                "forward" | "static-stub" | "stub" if is_type && depth == 1 => {
                    zones.extend(listed(name, *line));
                    break;
                }
                _ => {}
            }
            is_type = *word == "type";
        }
    }
    zones
}

/// Unbound: `name:` below `forward-zone:` or `stub-zone:`.
fn of_unbound(text: &str) -> Vec<ListedZone> {
    let tokens = tokens(text);
    let mut is_inside = false;
    let mut zones = Vec::new();
    for (at, (word, line)) in tokens.iter().enumerate() {
        match *word {
            "forward-zone:" | "stub-zone:" => is_inside = true,
            word if UNBOUND_SECTIONS.contains(&word) => is_inside = false,
            "name:" if is_inside => zones.extend(tokens.get(at + 1).and_then(|(name, _)| listed(name, *line))),
            _ => {}
        }
    }
    zones
}

/// Sections of Unbound's settings whose `name:` is no forwarded zone.
const UNBOUND_SECTIONS: [&str; 6] = ["server:", "remote-control:", "auth-zone:", "view:", "rpz:", "python:"];

/// Names by their place in a line: CoreDNS's `x:53, y {`, PowerShell's table with `Forwarder` behind the name, CSV, and plain
/// lists with a name on each line.
fn of_columns(code: &str, line: usize) -> Vec<ListedZone> {
    let (front, is_block) = code.strip_suffix('{').map_or((code, false), |front| (front.trim(), true));
    let words: Vec<&str> = front.split([' ', '\t', ',']).filter(|word| !word.is_empty()).collect();
    let bare = |word: &str| {
        let word = word.strip_prefix("dns://").unwrap_or(word);
        let port = |(name, port): (&str, &str)| port.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.to_owned());
        word.rsplit_once(':').and_then(port).unwrap_or_else(|| word.to_owned())
    };
    match words.as_slice() {
        [word] => return listed(&bare(word), line).into_iter().collect(),
        [name, kind, ..] if kind.eq_ignore_ascii_case("forwarder") => return listed(name, line).into_iter().collect(),
        _ => {}
    }
    if is_block {
        let zones: Option<Vec<ListedZone>> = words.iter().map(|word| listed(&bare(word), line)).collect();
        return zones.unwrap_or_default();
    }
    let cells = code.split([',', ';', '\t']).filter(|_| code.contains([',', ';', '\t']));
    cells.filter_map(|cell| listed(cell, line)).filter(|it| is_of_azure(&it.zone)).collect()
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
        let ruleset = r#"[{"domainName": "a.example.", "forwardingRuleState": "Disabled"}, {"domainName": "b.example.", "forwardingRuleState": "Enabled"}]"#;
        assert_eq!(zones(ruleset), ["0:b.example"], "a rule that is switched off");
        assert!(read_list("nothing here").is_none() && read_list("").is_none() && read_list("[]").is_none());
    }

    #[test]
    fn settings_are_read_however_they_are_laid_out() {
        for bind in [
            "zone \"a.example\" {\n  forwarders {\n    10.0.0.4;\n  };\n  type forward;\n};\n",
            "zone\t\"a.example\"\t{\n\ttype\tforward;\n};\n",
            "zone \"a.example\"\n{\n type forward; # x\n};\n",
            "view v { zone \"b.example\" { type primary; file \"x\"; }; zone \"a.example\" { type forward; }; };\n",
            "// zone \"b.example\" { type forward; };\n# zone \"b.example\" { type forward; };\n/* zone \"b.example\" {\n type forward; }; */ zone a.example IN { type forward; };\n",
        ] {
            let found: Vec<_> = read_list(bind).unwrap_or_default().into_iter().map(|it| it.zone).collect();
            assert_eq!(found, ["a.example"], "{bind}");
        }
        assert_eq!(zones("zone \"a.example\" { type forward; }; zone \"b.example\" { type forward; };").len(), 2);
        let unbound = "forward-zone: # x\n  name: \"a.example.\" # why\nstub-zone: name: 'b.example'\nauth-zone:\n  name: c.example\n";
        assert_eq!(zones(unbound), ["2:a.example", "3:b.example"]);
        let dnsmasq = "server=/a.example/10.0.0.4#5353 # x\nserver=/b.example/\nserver=/c.example/#\n#server=/d.example/10.0.0.4\n";
        assert_eq!(zones(dnsmasq), ["1:a.example"]);
        assert_eq!(zones("a.example:53, b.example {\n  forward . 10.0.0.4\n}\n"), ["1:a.example", "1:b.example"]);
        assert_eq!(
            zones("ZoneName  ZoneType\n--------  --------\na.example  Forwarder  False\nb.example  Primary  False\n"),
            ["3:a.example"]
        );
        let csv = "header-forwardzone,fqdn*,zone_format*\nforwardzone,blob.core.windows.net,FORWARD,\"pldns-1/10.0.0.4\",True\n";
        assert_eq!(zones(csv), ["2:blob.core.windows.net"]);
    }

    #[test]
    fn names_that_terraform_computes_are_found_where_they_stand() {
        let literal = "resource \"azurerm_private_dns_resolver_forwarding_rule\" \"x\" {\n  domain_name = \"blob.core.windows.net.\" # why\n}\n";
        assert_eq!(zones(literal), ["2:blob.core.windows.net"]);
        let each = "locals {\n  zones = {\n    blob = \"blob.core.windows.net.\"\n    # file = \"file.core.windows.net.\"\n  }\n}\nresource \"x\" \"y\" {\n  for_each = local.zones\n  domain_name = each.value\n}\n";
        assert_eq!(zones(each), ["3:blob.core.windows.net"]);
    }
}
