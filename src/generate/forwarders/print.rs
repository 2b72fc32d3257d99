//! Conditional forwarders in the words of the server that is to have them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::generate::output::{posix_quoted, powershell_quoted};

/// Where pldns answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// The address.
    pub address: IpAddr,
    /// The port: 53 unless stated.
    pub port: u16,
}

/// Whose words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFormat {
    /// DNS on Windows Server.
    Windows,
    /// BIND.
    Bind,
    /// Unbound.
    Unbound,
    /// dnsmasq.
    Dnsmasq,
    /// CoreDNS.
    Coredns,
    /// Infoblox NIOS.
    Infoblox,
    /// A forwarding ruleset of Azure DNS Private Resolver.
    Ruleset,
    /// The name resolution policy table of Windows clients.
    Nrpt,
}

impl ServerFormat {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Windows,
        Self::Bind,
        Self::Unbound,
        Self::Dnsmasq,
        Self::Coredns,
        Self::Infoblox,
        Self::Ruleset,
        Self::Nrpt,
    ];

    /// The word for it on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Windows => "windows",
            Self::Bind => "bind",
            Self::Unbound => "unbound",
            Self::Dnsmasq => "dnsmasq",
            Self::Coredns => "coredns",
            Self::Infoblox => "infoblox",
            Self::Ruleset => "ruleset",
            Self::Nrpt => "nrpt",
        }
    }

    /// Whether it can send queries to another port than 53.
    pub fn has_ports(self) -> bool {
        !matches!(self, Self::Windows | Self::Infoblox | Self::Nrpt)
    }
}

/// Settings that were printed.
#[derive(Debug)]
pub struct Printed(pub String);

/// Prints the forwarding of these zones to these servers. With `names`, the zones are complete names.
pub fn print(zones: &[String], names: bool, servers: &[Server], format: ServerFormat) -> Printed {
    let mut lines: Vec<String> = Vec::new();
    match format {
        ServerFormat::Windows => windows(zones, servers, &mut lines),
        ServerFormat::Bind => bind(zones, servers, &mut lines),
        ServerFormat::Unbound => unbound(zones, servers, &mut lines),
        ServerFormat::Dnsmasq => {
            for (zone, server) in pairs(zones, servers) {
                lines.push(format!("server=/{zone}/{}", with_port(server, '#')));
            }
        }
        ServerFormat::Coredns => coredns(zones, servers, &mut lines),
        ServerFormat::Infoblox => infoblox(zones, servers, &mut lines),
        ServerFormat::Ruleset => ruleset(zones, servers, &mut lines),
        ServerFormat::Nrpt => {
            lines.push("# Run as administrator on each client, or set the same rules by group policy.".to_owned());
            let servers: Vec<String> =
                servers.iter().map(|server| powershell_quoted(&server.address.to_string())).collect();
            for zone in zones {
                // A namespace with a leading dot is a suffix, one without is a single name.
                let namespace = powershell_quoted(&if names { zone.clone() } else { format!(".{zone}") });
                lines.push(format!("Add-DnsClientNrptRule -Namespace {namespace} -NameServers {}", servers.join(", ")));
            }
        }
    }
    lines.push(String::new());
    Printed(lines.join("\n"))
}

fn pairs<'a>(zones: &'a [String], servers: &'a [Server]) -> impl Iterator<Item = (&'a String, &'a Server)> {
    zones.iter().flat_map(move |zone| servers.iter().map(move |server| (zone, server)))
}

fn with_port(server: &Server, separator: char) -> String {
    if server.port == 53 { server.address.to_string() } else { format!("{}{separator}{}", server.address, server.port) }
}

fn windows(zones: &[String], servers: &[Server], lines: &mut Vec<String>) {
    let servers: Vec<String> = servers.iter().map(|server| powershell_quoted(&server.address.to_string())).collect();
    lines.extend(
        [
            "# Run it on each DNS server that can reach pldns. Zones are stored on that server alone. To keep them in Active",
            "# Directory, set $scope to 'Domain' or 'Forest', but only if every server that gets them can reach pldns: one that",
            "# cannot would fail for these zones.",
            "$ErrorActionPreference = 'Stop'",
            "$scope = $null",
            "$extra = @{}",
            "if ($scope) { $extra.ReplicationScope = $scope }",
        ]
        .map(str::to_owned),
    );
    lines.push(format!("$servers = {}", servers.join(", ")));
    lines.push("$zones = @(".to_owned());
    lines.extend(zones.iter().map(|zone| format!("    {}", powershell_quoted(zone))));
    lines.extend(
        [
            ")",
            "foreach ($zone in $zones) {",
            "    # pldns answers within 4.5 s even while its upstreams fail; the default of 3 s would give up before.",
            "    if (Get-DnsServerZone -Name $zone -ErrorAction SilentlyContinue) {",
            "        Set-DnsServerConditionalForwarderZone -Name $zone -MasterServers $servers -ForwarderTimeout 6",
            "    } else {",
            "        Add-DnsServerConditionalForwarderZone -Name $zone -MasterServers $servers -ForwarderTimeout 6 @extra",
            "    }",
            "    # No root hints when pldns does not answer: they would lead to the public address.",
            "    Set-DnsServerConditionalForwarderZone -Name $zone -UseRecursion $false",
            "}",
        ]
        .map(str::to_owned),
    );
}

fn bind(zones: &[String], servers: &[Server], lines: &mut Vec<String>) {
    let port = |server: &Server| if server.port == 53 { String::new() } else { format!(" port {}", server.port) };
    let servers: String = servers.iter().map(|server| format!(" {}{};", server.address, port(server))).collect();
    lines.push("// Private zones are unsigned. In options, where validation is on:".to_owned());
    lines.push("//     validate-except {".to_owned());
    lines.extend(zones.iter().map(|zone| format!("//         \"{zone}\";")));
    lines.push("//     };".to_owned());
    for zone in zones {
        lines.push(format!("zone \"{zone}\" {{"));
        lines.push("    type forward;".to_owned());
        lines.push("    forward only;".to_owned());
        lines.push(format!("    forwarders {{{servers} }};"));
        lines.push("};".to_owned());
    }
}

fn unbound(zones: &[String], servers: &[Server], lines: &mut Vec<String>) {
    lines.push("server:".to_owned());
    lines.push("    # Private zones are unsigned.".to_owned());
    lines.extend(zones.iter().map(|zone| format!("    domain-insecure: \"{zone}.\"")));
    for zone in zones {
        lines.push("forward-zone:".to_owned());
        lines.push(format!("    name: \"{zone}.\""));
        lines.extend(servers.iter().map(|server| format!("    forward-addr: {}", with_port(server, '@'))));
    }
}

fn coredns(zones: &[String], servers: &[Server], lines: &mut Vec<String>) {
    let to = |server: &Server| match server.address {
        IpAddr::V6(address) => format!("[{address}]:{}", server.port),
        IpAddr::V4(address) => format!("{address}:{}", server.port),
    };
    let servers: Vec<String> = servers.iter().map(to).collect();
    for zone in zones {
        lines.push(format!("{zone}:53 {{"));
        lines.push(format!("    forward . {}", servers.join(" ")));
        lines.push("    cache 10".to_owned());
        lines.push("}".to_owned());
    }
}

/// The form of Infoblox's CSV import for forward zones.
fn infoblox(zones: &[String], servers: &[Server], lines: &mut Vec<String>) {
    lines.push("header-forwardzone,fqdn*,zone_format*,forward_to,forwarders_only".to_owned());
    let list: Vec<String> =
        servers.iter().enumerate().map(|(at, server)| format!("pldns-{}/{}", at + 1, server.address)).collect();
    lines.extend(zones.iter().map(|zone| format!("forwardzone,{zone},FORWARD,\"{}\",True", list.join(","))));
}

fn ruleset(zones: &[String], servers: &[Server], lines: &mut Vec<String>) {
    lines.extend(
        [
            "#!/bin/sh",
            "set -eu",
            ": \"${RESOURCE_GROUP:?set it to the resource group of the ruleset}\"",
            ": \"${RULESET:?set it to the name of the DNS forwarding ruleset}\"",
        ]
        .map(str::to_owned),
    );
    let targets: Vec<String> = servers
        .iter()
        .map(|server| format!("{{\"ip-address\":\"{}\",\"port\":{}}}", server.address, server.port))
        .collect();
    let targets = posix_quoted(&format!("[{}]", targets.join(",")));
    let mut names = BTreeSet::new();
    for zone in zones {
        let name = rule_name(zone, &mut names);
        lines.push(format!(
            "az dns-resolver forwarding-rule create --resource-group \"$RESOURCE_GROUP\" --ruleset-name \"$RULESET\" --name {} --domain-name {} --target-dns-servers {targets} --forwarding-rule-state Enabled --output none",
            posix_quoted(&name),
            posix_quoted(&format!("{zone}.")),
        ));
    }
}

/// The name of a zone's rule: letters, digits and hyphens from a letter to a letter or digit, and each once, since a second rule
/// of a name takes the place of the first.
fn rule_name(zone: &str, taken: &mut BTreeSet<String>) -> String {
    let plain: String = zone.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let plain = plain.trim_matches('-');
    let plain =
        if plain.starts_with(|c: char| c.is_ascii_alphabetic()) { plain.to_owned() } else { format!("z-{plain}") };
    let numbers = std::iter::once(String::new()).chain((2..).map(|number: u32| format!("-{number}")));
    let cut = |end: String| {
        let front: String = plain.chars().take(RULE_NAME_MAX - end.len()).collect();
        format!("{}{end}", front.trim_end_matches('-'))
    };
    // There is always one more number.
    numbers.map(cut).find(|name| taken.insert(name.to_ascii_lowercase())).unwrap_or_default()
}

/// The largest length of a rule's name in Azure.
const RULE_NAME_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::super::read_list;
    use super::*;

    fn servers() -> Vec<Server> {
        let server = |text: &str, port| Server { address: text.parse().unwrap(), port };
        vec![server("10.0.0.4", 53), server("fd00::4", 5353)]
    }

    #[test]
    fn what_is_printed_is_read_back() {
        let zones = vec!["blob.core.windows.net".to_owned(), "vault.azure.net".to_owned()];
        for format in ServerFormat::ALL {
            let Printed(text) = print(&zones, false, &servers(), format);
            let read: Vec<String> = read_list(&text).unwrap().into_iter().map(|it| it.zone).collect();
            assert_eq!(read, zones, "{format:?}\n{text}");
        }
    }

    #[test]
    fn windows_waits_longer_than_pldns_and_asks_no_root_server() {
        let Printed(text) = print(&["blob.core.windows.net".to_owned()], false, &servers()[..1], ServerFormat::Windows);
        let timeout: u32 =
            text.split("-ForwarderTimeout ").nth(1).unwrap().split([' ', '\n']).next().unwrap().parse().unwrap();
        assert!(timeout > 4, "{text}");
        assert!(
            text.contains("-UseRecursion $false")
                && text.contains("ReplicationScope")
                && text.contains("    'blob.core.windows.net'\n")
        );
    }

    #[test]
    fn ports_are_written_as_each_server_has_them() {
        let zones = ["x.example".to_owned()];
        for (format, part) in [
            (ServerFormat::Bind, "fd00::4 port 5353;"),
            (ServerFormat::Unbound, "fd00::4@5353"),
            (ServerFormat::Dnsmasq, "server=/x.example/fd00::4#5353"),
            (ServerFormat::Coredns, "forward . 10.0.0.4:53 [fd00::4]:5353"),
            (ServerFormat::Ruleset, "{\"ip-address\":\"fd00::4\",\"port\":5353}"),
        ] {
            let Printed(text) = print(&zones, false, &servers(), format);
            assert!(format.has_ports() && text.contains(part), "{format:?}\n{text}");
        }
        let Printed(text) = print(&zones, true, &servers()[..1], ServerFormat::Nrpt);
        assert!(text.contains("-Namespace 'x.example' -NameServers '10.0.0.4'"), "{text}");
    }

    #[test]
    fn rules_of_a_ruleset_have_names_that_azure_accepts_each_once() {
        let long = format!("{}.switzerlandnorth.inference.ml.azure.com", "a-".repeat(31) + "b");
        let zones = ["a-b.example", "a.b.example", "0a.example", &long, &format!("{long}.x")];
        let mut taken = BTreeSet::new();
        let names: Vec<String> = zones.iter().map(|zone| rule_name(zone, &mut taken)).collect();
        assert_eq!(names[..3], ["a-b-example", "a-b-example-2", "z-0a-example"]);
        assert!(names[3..].iter().all(|name| name.len() <= RULE_NAME_MAX && !name.ends_with('-')), "{names:?}");
        assert_eq!(taken.len(), zones.len());
    }
}
