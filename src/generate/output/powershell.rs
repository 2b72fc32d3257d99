//! Commands of PowerShell for DNS on Windows Server.

use std::net::IpAddr;

use super::Printed;
use super::sheet::{ALL_TYPES, Can, Sheet, by_zone, fields, printable_strings, ttl};
use crate::generate::records::{Data, Record, Records};

pub(super) fn print(records: &Records) -> Printed {
    let mut sheet = Sheet::new(records, "#");
    sheet.comment("");
    sheet.comment("Run it on the DNS server. A server that has a privatelink zone answers all of it: names of other owners in that");
    sheet.comment(
        "zone no longer exist for its clients. Zones are files of this server; for Active Directory, set $scope.",
    );
    let can = Can { wildcards: true, partial_wildcards: false, types: ALL_TYPES };
    let groups = sheet.expressible(records, can);
    sheet.blank();
    sheet.line("$ErrorActionPreference = 'Stop'");
    sheet.line("$scope = $null # 'Domain' or 'Forest'");
    sheet.line("function Add-PldnsZone([string]$Name) {");
    sheet.line("    if (Get-DnsServerZone -Name $Name -ErrorAction SilentlyContinue) { return }");
    sheet.line("    if ($scope) { Add-DnsServerPrimaryZone -Name $Name -ReplicationScope $scope }");
    sheet.line("    else { Add-DnsServerPrimaryZone -Name $Name -ZoneFile \"$Name.dns\" }");
    sheet.line("}");
    for (zone, records) in by_zone(records, &groups) {
        sheet.blank();
        sheet.line(&format!("Add-PldnsZone -Name {}", quoted(&zone)));
        for (name, record) in records {
            if name == "@" && record.record_type == "CNAME" {
                sheet.drop(record, "the name of a zone cannot be an alias");
                continue;
            }
            let commands: Option<Vec<String>> =
                record.data.iter().map(|data| command(&zone, &name, record, data)).collect();
            match commands {
                Some(commands) => commands.iter().for_each(|command| sheet.line(command)),
                None => sheet.drop(record, "its text is not printable"),
            }
        }
    }
    sheet.finish()
}

fn command(zone: &str, name: &str, record: &Record, data: &Data) -> Option<String> {
    let seconds = ttl(record);
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    let common = format!(
        "-ZoneName {} -Name {} -TimeToLive '{days}.{hours:02}:{minutes:02}:{:02}'",
        quoted(zone),
        quoted(name),
        seconds % 60
    );
    let fields = fields(data);
    Some(match (record.record_type, data, fields.as_slice()) {
        (_, Data::Address(address @ IpAddr::V4(_)), _) => {
            format!("Add-DnsServerResourceRecordA {common} -IPv4Address {}", quoted(&address.to_string()))
        }
        (_, Data::Address(address), _) => {
            format!("Add-DnsServerResourceRecordAAAA {common} -IPv6Address {}", quoted(&address.to_string()))
        }
        ("CNAME", _, [target]) => {
            format!("Add-DnsServerResourceRecordCName {common} -HostNameAlias {}", quoted(&format!("{target}.")))
        }
        ("PTR", _, [target]) => {
            format!("Add-DnsServerResourceRecordPtr {common} -PtrDomainName {}", quoted(&format!("{target}.")))
        }
        ("MX", _, [preference, exchange]) => format!(
            "Add-DnsServerResourceRecordMX {common} -Preference {} -MailExchange {}",
            quoted(preference),
            quoted(&format!("{exchange}."))
        ),
        ("SRV", _, [priority, weight, port, target]) => format!(
            "Add-DnsServerResourceRecord -Srv {common} -Priority {} -Weight {} -Port {} -DomainName {}",
            quoted(priority),
            quoted(weight),
            quoted(port),
            quoted(&format!("{target}."))
        ),
        ("TXT", ..) => {
            let text = printable_strings(data)?.concat();
            format!("Add-DnsServerResourceRecord -Txt {common} -DescriptiveText {}", quoted(&text))
        }
        _ => return None,
    })
}

/// A string in single quotes. PowerShell takes typographic quotes for single quotes too.
pub(in crate::generate) fn quoted(text: &str) -> String {
    let mut out = String::from("'");
    for c in text.chars() {
        if matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{201A}' | '\u{201B}') {
            out.push(c);
        }
        out.push(c);
    }
    out.push('\'');
    out
}
