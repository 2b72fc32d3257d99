//! Master files (RFC 1035 §5), one zone after the other, each with its `$ORIGIN`, SOA and NS.
//!
//! A server that loads the whole file for one of the zones ignores the others as out of zone.

use super::Printed;
use super::sheet::{ALL_TYPES, Can, Sheet, by_zone, ttl};
use crate::generate::records::Records;

pub(super) fn print(records: &Records) -> Printed {
    let mut sheet = Sheet::new(records, ";");
    sheet.comment("");
    sheet.comment(
        "Master files, one zone after the other: for each, load the part from its $ORIGIN on. A server that has a",
    );
    sheet.comment(
        "privatelink zone answers all of it: names of other owners in that zone no longer exist for its clients.",
    );
    let can = Can { wildcards: true, partial_wildcards: false, types: ALL_TYPES };
    let groups = sheet.expressible(records, can);
    for (zone, records) in by_zone(records, &groups) {
        sheet.blank();
        sheet.line(&format!("$ORIGIN {zone}."));
        sheet.line("$TTL 10");
        sheet.line("@ IN SOA localhost. hostmaster.localhost. 1 3600 300 2419200 10");
        sheet.line("@ IN NS localhost.");
        for (name, record) in records {
            if name == "@" && record.record_type == "CNAME" {
                sheet.drop(record, "the name of a zone cannot be an alias");
                continue;
            }
            for data in &record.data {
                sheet.line(&format!("{name} {} IN {} {data}", ttl(record), record.record_type));
            }
        }
    }
    sheet.finish()
}
