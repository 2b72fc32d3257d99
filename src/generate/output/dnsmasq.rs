//! Settings of dnsmasq.
//!
//! `address=` answers a name and all names below it, and NODATA for other types of theirs: the way to write wildcards too,
//! the name above the star included.

use std::collections::BTreeSet;

use super::Printed;
use super::sheet::{Can, Sheet, fields, is_wildcard, parent, plain, printable_strings};
use crate::generate::records::Records;

pub(super) fn print(records: &Records) -> Printed {
    let mut sheet = Sheet::new(records, "#");
    sheet.comment("");
    sheet.comment(
        "conf-file= this file. A name here also answers for all names below it, a wildcard for the name above it.",
    );
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
            for data in &record.data {
                let fields = fields(data);
                let line = match (record.record_type, fields.as_slice()) {
                    ("A" | "AAAA", _) => Some(format!("address=/{name}/{data}")),
                    ("CNAME", [target]) if addressed.contains(target) => Some(format!("cname={name},{target}")),
                    ("PTR", [target]) => Some(format!("ptr-record={name},{target}")),
                    ("MX", [preference, exchange]) => Some(format!("mx-host={name},{exchange},{preference}")),
                    ("SRV", [priority, weight, port, target]) => {
                        Some(format!("srv-host={name},{target},{port},{priority},{weight}"))
                    }
                    ("TXT", _) => text(&name, printable_strings(data)),
                    _ => None,
                };
                match line {
                    Some(line) => sheet.line(&line),
                    None => {
                        sheet.drop(record, "dnsmasq has no way to write it, or its target is not in this file");
                        break;
                    }
                }
            }
        }
    }
    sheet.finish()
}

/// Each string in quotes, as a comma would end it; a quote cannot be written.
fn text(name: &str, strings: Option<Vec<String>>) -> Option<String> {
    let strings = strings.filter(|strings| !strings.iter().any(|string| string.contains(['"', '\\'])))?;
    let quoted: String = strings.iter().map(|string| format!(",\"{string}\"")).collect();
    Some(format!("txt-record={name}{quoted}"))
}
