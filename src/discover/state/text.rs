//! Discovered records for the formats of `generate`, and as the text of a records file.

use std::collections::BTreeMap;

use super::Discovered;
use crate::generate::{Data, Record, RecordGroup, Records};
use crate::wire::Name;

impl Discovered {
    /// The records for any of the formats of `generate`, a group for each endpoint; `read` subscriptions were read.
    pub fn to_records(&self, read: usize) -> Records {
        let mut groups: BTreeMap<&str, Vec<Record>> = BTreeMap::new();
        for record in &self.records {
            let (Ok(name), record_type) =
                (Name::parse(&record.name), if record.record_type == "A" { "A" } else { "AAAA" })
            else {
                continue;
            };
            let data = record.data.iter().filter_map(|data| data.parse().ok()).map(Data::Address).collect();
            let clients = record.clients.clone();
            groups.entry(&record.endpoint).or_default().push(Record {
                name,
                record_type,
                data,
                ttl: None,
                clients,
                note: None,
            });
        }
        let header = vec![format!("Discovered by pldns {} in {read} subscriptions.", env!("CARGO_PKG_VERSION"))];
        let group = |(endpoint, records): (&str, Vec<Record>)| RecordGroup { title: endpoint.to_owned(), records };
        Records { header, groups: groups.into_iter().map(group).collect(), zones: Vec::new() }
    }

    /// The records as the text of a records file.
    pub fn to_text(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        for record in &self.records {
            let data: Vec<String> = record.data.iter().map(|data| format!("\"{data}\"")).collect();
            // Writing to a String does not fail.
            let _ = write!(
                text,
                "[[record]]\nname = \"{}\"\ntype = \"{}\"\ndata = [{}]\n",
                record.name,
                record.record_type,
                data.join(", ")
            );
            if !record.clients.is_empty() {
                let clients: Vec<String> = record.clients.iter().map(|prefix| format!("\"{prefix}\"")).collect();
                let _ = writeln!(text, "clients = [{}]", clients.join(", "));
            }
            text.push('\n');
        }
        text
    }
}
