//! A snippet of a Corefile, to import into a server block: names in `hosts`, wildcards of both kinds in `template`.

use std::collections::BTreeMap;

use super::Printed;
use super::sheet::{Can, Sheet, is_partial_wildcard, is_wildcard, parent, plain, ttl};
use crate::generate::records::{Record, Records};

pub(super) fn print(records: &Records) -> Printed {
    let mut sheet = Sheet::new(records, "#");
    sheet.comment("");
    sheet.comment("Import it into a server block: `. { import pldns; forward . 168.63.129.16 }`, after `import FILE` of this file.");
    let can = Can { wildcards: true, partial_wildcards: true, types: &["A", "AAAA"] };
    let groups = sheet.expressible(records, can);
    let is_pattern = |record: &Record| is_wildcard(&record.name) || is_partial_wildcard(&record.name);
    sheet.blank();
    sheet.line("(pldns) {");
    sheet.line("    hosts {");
    for (title, records) in &groups {
        let exact: Vec<_> = records.iter().filter(|record| !is_pattern(record)).collect();
        if !exact.is_empty() {
            sheet.comment(title);
        }
        for record in exact {
            for data in &record.data {
                sheet.line(&format!("        {data} {}", plain(&record.name)));
            }
        }
    }
    sheet.line("        ttl 10");
    sheet.line("        fallthrough");
    sheet.line("    }");
    let mut patterns: BTreeMap<String, Vec<&Record>> = BTreeMap::new();
    for record in groups.iter().flat_map(|(_, records)| records).filter(|record| is_pattern(record)) {
        patterns.entry(plain(&record.name)).or_default().push(record);
    }
    // The longest fixed part goes first, as in the records table.
    let mut patterns: Vec<_> = patterns.into_iter().collect();
    patterns.sort_by_key(|(name, _)| (name.starts_with("*."), std::cmp::Reverse(name.len())));
    for (name, records) in patterns {
        let zone = records.first().map(|record| parent(&record.name)).unwrap_or_default();
        let expression = expression(&name);
        for record in &records {
            sheet.line(&format!("    template IN {} {zone} {{", record.record_type));
            sheet.line(&format!("        match {expression}"));
            for data in &record.data {
                let answer = format!("{{{{ .Name }}}} {} IN {} {data}", ttl(record), record.record_type);
                sheet.line(&format!("        answer \"{answer}\""));
            }
            sheet.line("        fallthrough");
            sheet.line("    }");
        }
        // The other types of such a name: no data.
        sheet.line(&format!("    template IN ANY {zone} {{"));
        sheet.line(&format!("        match {expression}"));
        sheet.line("        rcode NOERROR");
        sheet.line("        fallthrough");
        sheet.line("    }");
    }
    sheet.line("}");
    sheet.finish()
}

/// A regular expression for the names that a pattern stands for, without what a Corefile would have to quote.
fn expression(name: &str) -> String {
    let (first, rest) = name.split_once('.').unwrap_or((name, ""));
    let first = match first {
        "*" => ".+".to_owned(),
        partial => partial.replace('*', "[^.]+"),
    };
    format!("^{first}[.]{}[.]$", rest.replace('.', "[.]"))
}
