//! Settings of dnsmasq.
//!
//! A name is a `host-record` with its addresses and TTL. `local=` keeps queries for other types of it from going upstream;
//! it holds for the names below it too, which then do not exist. A wildcard is an `address=`, which answers the name above
//! the star as well.

use std::collections::BTreeSet;

use super::Printed;
use super::sheet::{Can, Sheet, fields, is_wildcard, parent, plain, printable_strings, ttl};
use crate::generate::records::{Data, Record, Records};

pub(super) fn print(records: &Records) -> Printed {
    let mut sheet = Sheet::new(records, "#");
    sheet.comment("");
    sheet.comment(
        "conf-file= this file. Names below a name of this file do not exist for dnsmasq, unless they are in it too; a",
    );
    sheet.comment("wildcard also answers for the name above it.");
    let can =
        Can { wildcards: true, partial_wildcards: false, types: &["A", "AAAA", "CNAME", "MX", "PTR", "SRV", "TXT"] };
    let groups = sheet.expressible(records, can);
    let all = || groups.iter().flat_map(|(_, records)| records.iter().copied());
    let exact: BTreeSet<String> =
        all().filter(|record| !is_wildcard(&record.name)).map(|record| plain(&record.name)).collect();
    let addressed: BTreeSet<String> = all()
        .filter(|record| matches!(record.record_type, "A" | "AAAA") && !is_wildcard(&record.name))
        .map(|record| plain(&record.name))
        .collect();
    let mut local = BTreeSet::new();
    for (title, records) in &groups {
        sheet.blank();
        sheet.comment(title);
        for record in records {
            let wildcard = is_wildcard(&record.name);
            let name = if wildcard { parent(&record.name) } else { plain(&record.name) };
            if wildcard && (exact.contains(&name) || !matches!(record.record_type, "A" | "AAAA")) {
                sheet.drop(record, "the name above the wildcard has records of its own, or it has no addresses");
                continue;
            }
            let lines: Option<Vec<String>> =
                record.data.iter().map(|data| line(&name, record, data, wildcard, &addressed)).collect();
            let Some(lines) = lines else {
                sheet.drop(record, "dnsmasq has no way to write it, or its target is not in this file");
                continue;
            };
            lines.iter().for_each(|line| sheet.line(line));
            if local.insert(name.clone()) {
                sheet.line(&format!("local=/{name}/"));
            }
        }
    }
    sheet.finish()
}

fn line(name: &str, record: &Record, data: &Data, wildcard: bool, addressed: &BTreeSet<String>) -> Option<String> {
    let fields = fields(data);
    match (record.record_type, fields.as_slice()) {
        ("A" | "AAAA", _) if wildcard => Some(format!("address=/{name}/{data}")),
        ("A" | "AAAA", _) => Some(format!("host-record={name},{data},{}", ttl(record))),
        ("CNAME", [target]) if addressed.contains(target) => Some(format!("cname={name},{target},{}", ttl(record))),
        ("PTR", [target]) => Some(format!("ptr-record={name},{target}")),
        ("MX", [preference, exchange]) => Some(format!("mx-host={name},{exchange},{preference}")),
        ("SRV", [priority, weight, port, target]) => {
            Some(format!("srv-host={name},{target},{port},{priority},{weight}"))
        }
        ("TXT", _) => text(name, printable_strings(data)),
        _ => None,
    }
}

/// Each string in quotes, as a comma would end it; a quote cannot be written.
fn text(name: &str, strings: Option<Vec<String>>) -> Option<String> {
    let strings = strings.filter(|strings| !strings.iter().any(|string| string.contains(['"', '\\'])))?;
    let quoted: String = strings.iter().map(|string| format!(",\"{string}\"")).collect();
    Some(format!("txt-record={name}{quoted}"))
}
