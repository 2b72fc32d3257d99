//! Local data of Unbound: a `local-zone` of its own for each name, so that the names beside and below it stay what they
//! are, and other types of the name itself get NODATA.
//!
//! A wildcard is a zone of type `redirect`, which answers for the name above the star as well.

use std::collections::BTreeMap;

use super::Printed;
use super::sheet::{Can, Sheet, is_wildcard, parent, plain, ttl};
use crate::generate::records::{Record, Records};

pub(super) fn print(records: &Records) -> Printed {
    let mut sheet = Sheet::new(records, "#");
    sheet.comment("");
    sheet.comment("include: this file in unbound.conf. A wildcard also answers for the name above it.");
    // Unbound does not follow an alias of its local data.
    let can = Can { wildcards: true, partial_wildcards: false, types: &["A", "AAAA", "MX", "PTR", "SRV", "TXT"] };
    let groups = sheet.expressible(records, can);
    let all = || groups.iter().flat_map(|(_, records)| records.iter().copied());
    let exact: Vec<String> =
        all().filter(|record| !is_wildcard(&record.name)).map(|record| plain(&record.name)).collect();
    sheet.blank();
    sheet.line("server:");
    for (title, records) in &groups {
        sheet.comment(title);
        let mut zones: BTreeMap<(String, &str), Vec<&Record>> = BTreeMap::new();
        for record in records {
            let zone = if is_wildcard(&record.name) {
                (parent(&record.name), "redirect")
            } else {
                (plain(&record.name), "transparent")
            };
            if zone.1 == "redirect" && exact.contains(&zone.0) {
                sheet.drop(record, "the name above the wildcard has records of its own");
                continue;
            }
            zones.entry(zone).or_default().push(record);
        }
        for ((zone, kind), records) in zones {
            sheet.line(&format!("    local-zone: \"{zone}.\" {kind}"));
            for record in records {
                for data in &record.data {
                    // Nothing ends a string in single quotes but a single quote, which TXT data can have as \039.
                    let data = data.to_string().replace('\'', "\\039");
                    let line = format!("'{zone}. {} IN {} {data}'", ttl(record), record.record_type);
                    sheet.line(&format!("    local-data: {line}"));
                }
            }
        }
    }
    sheet.finish()
}
