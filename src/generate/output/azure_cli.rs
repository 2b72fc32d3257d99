//! Commands of the Azure CLI that put the records into private DNS zones; the resource group is `RESOURCE_GROUP`.

use super::Printed;
use super::sheet::{ALL_TYPES, Can, Sheet, by_zone, fields, printable_strings, ttl};
use crate::generate::records::{Data, Record, Records};

pub(super) fn print(records: &Records) -> Printed {
    let mut sheet = Sheet::new(records, "#");
    sheet.comment("");
    sheet.comment("Run it with sh, and link the zones to the networks that are to see them. A network with a link to a privatelink");
    sheet.comment("zone gets all names of that zone from it: names of other owners no longer exist there.");
    let can = Can { wildcards: true, partial_wildcards: false, types: ALL_TYPES };
    let groups = sheet.expressible(records, can);
    sheet.blank();
    sheet.line("set -eu");
    sheet.line(": \"${RESOURCE_GROUP:?set it to the resource group of the private DNS zones}\"");
    for (zone, records) in by_zone(records, &groups) {
        sheet.blank();
        let of_zone = format!("--resource-group \"$RESOURCE_GROUP\" --zone-name {}", quoted(&zone));
        let create = format!("--resource-group \"$RESOURCE_GROUP\" --name {}", quoted(&zone));
        sheet.line(&format!("az network private-dns zone create {create} --output none"));
        for (name, record) in records {
            if name == "@" && record.record_type == "CNAME" {
                sheet.drop(record, "the name of a zone cannot be an alias");
                continue;
            }
            let kind = record.record_type.to_ascii_lowercase();
            let adds: Option<Vec<String>> = record.data.iter().map(|data| added(record, data)).collect();
            let Some(adds) = adds else {
                sheet.drop(record, "its text is not printable");
                continue;
            };
            let set = format!("az network private-dns record-set {kind}");
            let (name, ttl) = (quoted(&name), ttl(record));
            sheet.line(&format!("{set} create {of_zone} --name {name} --ttl {ttl} --output none"));
            let verb = if kind == "cname" { "set-record" } else { "add-record" };
            for add in adds {
                sheet.line(&format!("{set} {verb} {of_zone} --record-set-name {name} {add} --output none"));
            }
        }
    }
    sheet.finish()
}

fn added(record: &Record, data: &Data) -> Option<String> {
    let fields = fields(data);
    Some(match (record.record_type, fields.as_slice()) {
        ("A", [address]) => format!("--ipv4-address {}", quoted(address)),
        ("AAAA", [address]) => format!("--ipv6-address {}", quoted(address)),
        ("CNAME", [target]) => format!("--cname {}", quoted(target)),
        ("PTR", [target]) => format!("--ptrdname {}", quoted(target)),
        ("MX", [preference, exchange]) => {
            format!("--preference {} --exchange {}", quoted(preference), quoted(exchange))
        }
        ("SRV", [priority, weight, port, target]) => format!(
            "--priority {} --weight {} --port {} --target {}",
            quoted(priority),
            quoted(weight),
            quoted(port),
            quoted(target)
        ),
        ("TXT", _) => {
            let strings = printable_strings(data)?;
            // A value that begins with a hyphen would be taken for an option, one with @ for a file.
            if strings.iter().any(|string| string.starts_with(['-', '@'])) {
                return None;
            }
            format!("--value {}", strings.iter().map(|string| quoted(string)).collect::<Vec<_>>().join(" "))
        }
        _ => return None,
    })
}

/// A word in single quotes of the POSIX shell.
pub(in crate::generate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
