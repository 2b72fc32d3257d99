//! A response policy zone of BIND: it answers the names in it and leaves all others alone, wildcards included.

use super::Printed;
use super::sheet::{ALL_TYPES, Can, Sheet, plain, ttl};
use crate::generate::records::{Record, Records};

pub(super) fn print(records: &Records) -> Printed {
    let mut sheet = Sheet::new(records, ";");
    sheet.comment("");
    for line in SETTINGS {
        sheet.comment(line);
    }
    sheet.line("$TTL 10");
    sheet.line("@ IN SOA localhost. hostmaster.localhost. 1 3600 300 2419200 10");
    sheet.line("@ IN NS localhost.");
    let can = Can { wildcards: true, partial_wildcards: false, types: ALL_TYPES };
    for (title, records) in sheet.expressible(records, can) {
        sheet.blank();
        sheet.comment(title);
        for record in records {
            if is_special(record) {
                sheet.drop(record, "it means something else in a response policy zone");
                continue;
            }
            for data in &record.data {
                let name = plain(&record.name);
                sheet.line(&format!("{name} {} IN {} {data}", ttl(record), record.record_type));
            }
        }
    }
    sheet.finish()
}

/// Names and aliases that a response policy zone takes for instructions.
fn is_special(record: &Record) -> bool {
    let name = plain(&record.name);
    let is_trigger = |label: &str| label.to_ascii_lowercase().starts_with("rpz-");
    let alias = record.data.first().map(ToString::to_string).filter(|_| record.record_type == "CNAME");
    let is_action = |alias: String| alias == "." || alias.starts_with('*') || is_trigger(&alias);
    name.rsplit('.').next().is_some_and(is_trigger) || alias.is_some_and(is_action)
}

const SETTINGS: [&str; 7] = [
    "A response policy zone. In named.conf:",
    "  options {",
    "      response-policy { zone \"pldns.rpz\"; } qname-wait-recurse no break-dnssec yes;",
    "  };",
    "  zone \"pldns.rpz\" { type primary; file \"pldns.rpz\"; allow-query { none; }; };",
    "An alias is answered as it is written here; its target is looked up like any other name.",
    "",
];
