//! The records file: `[[record]]` tables with `name`, `type`, `data` and, where they are not the default, `ttl` and
//! `clients`.

use std::fmt::Write;

use super::{Printed, Sheet};
use crate::generate::records::{Record, Records};

pub(super) fn print(records: &Records) -> Printed {
    let mut sheet = Sheet::new(records, "#");
    sheet.count(records.groups.iter().map(|group| group.records.len()).sum());
    for group in &records.groups {
        sheet.blank();
        sheet.comment(&group.title);
        for record in &group.records {
            print_record(&mut sheet, record);
        }
    }
    sheet.finish()
}

fn print_record(sheet: &mut Sheet, record: &Record) {
    let list = |items: Vec<String>| items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", ");
    sheet.blank();
    if let Some(note) = record.note {
        sheet.comment(note);
    }
    sheet.line("[[record]]");
    sheet.line(&format!("name = {}", quoted(&record.name.to_string())));
    sheet.line(&format!("type = {}", quoted(record.record_type)));
    sheet.line(&format!("data = [{}]", list(record.data.iter().map(ToString::to_string).collect())));
    if let Some(ttl) = record.ttl {
        sheet.line(&format!("ttl  = \"{ttl}s\""));
    }
    if !record.clients.is_empty() {
        sheet.line(&format!("clients = [{}]", list(record.clients.iter().map(ToString::to_string).collect())));
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
