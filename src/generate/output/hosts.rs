//! A hosts file: a line for each address of a name. It has no wildcards, no other types, and no TTL.

use super::Printed;
use super::sheet::{Can, Sheet, plain};
use crate::generate::records::Records;

pub(super) fn print(records: &Records) -> Printed {
    let mut sheet = Sheet::new(records, "#");
    let can = Can { wildcards: false, partial_wildcards: false, types: &["A", "AAAA"] };
    for (title, records) in sheet.expressible(records, can) {
        sheet.blank();
        sheet.comment(title);
        for record in records {
            for data in &record.data {
                sheet.line(&format!("{data} {}", plain(&record.name)));
            }
        }
    }
    sheet.finish()
}
