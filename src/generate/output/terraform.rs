//! Resources of Terraform that put the records into private DNS zones.

use std::collections::BTreeSet;

use super::Printed;
use super::sheet::{ALL_TYPES, Can, Sheet, by_zone, fields, printable_strings, ttl};
use crate::generate::records::{Data, Record, Records};

pub(super) fn print(records: &Records) -> Printed {
    let mut sheet = Sheet::new(records, "#");
    sheet.comment("");
    sheet.comment("Link the zones to the networks that are to see them. A network with a link to a privatelink zone gets all names of");
    sheet.comment("that zone from it: names of other owners no longer exist there.");
    let can = Can { wildcards: true, partial_wildcards: false, types: ALL_TYPES };
    let groups = sheet.expressible(records, can);
    sheet.blank();
    sheet.line("variable \"resource_group_name\" {");
    sheet.line("  type        = string");
    sheet.line("  description = \"The resource group of the private DNS zones\"");
    sheet.line("}");
    let mut labels = Labels::default();
    for (zone, records) in by_zone(records, &groups) {
        let label = labels.of(&zone);
        sheet.blank();
        sheet.line(&format!("resource \"azurerm_private_dns_zone\" \"{label}\" {{"));
        sheet.line(&format!("  name                = {}", quoted(&zone)));
        sheet.line("  resource_group_name = var.resource_group_name");
        sheet.line("}");
        for (name, record) in records {
            if name == "@" && record.record_type == "CNAME" {
                sheet.drop(record, "the name of a zone cannot be an alias");
                continue;
            }
            let Some(body) = body(record) else {
                sheet.drop(record, "its text is not printable");
                continue;
            };
            let kind = record.record_type.to_ascii_lowercase();
            let own = labels.of(&format!("{kind}-{name}-{zone}"));
            sheet.blank();
            sheet.line(&format!("resource \"azurerm_private_dns_{kind}_record\" \"{own}\" {{"));
            sheet.line(&format!("  name                = {}", quoted(&name)));
            sheet.line(&format!("  zone_name           = azurerm_private_dns_zone.{label}.name"));
            sheet.line("  resource_group_name = var.resource_group_name");
            sheet.line(&format!("  ttl                 = {}", ttl(record)));
            body.iter().for_each(|line| sheet.line(line));
            sheet.line("}");
        }
    }
    sheet.finish()
}

/// The lines that hold the data.
fn body(record: &Record) -> Option<Vec<String>> {
    let all =
        |records: &[Data]| records.iter().map(|data| quoted(&fields(data).concat())).collect::<Vec<_>>().join(", ");
    let block = |members: Vec<(&str, String)>| {
        let width = members.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
        let lines = members.into_iter().map(|(key, value)| format!("    {key:width$} = {value}"));
        ["  record {".to_owned()].into_iter().chain(lines).chain(["  }".to_owned()]).collect::<Vec<_>>()
    };
    let number = |field: &String| field.parse::<u16>().ok().map(|number| number.to_string());
    match record.record_type {
        "A" | "AAAA" | "PTR" => Some(vec![format!("  records             = [{}]", all(&record.data))]),
        "CNAME" => Some(vec![format!("  record              = {}", all(record.data.get(..1)?))]),
        _ => {
            let blocks = record.data.iter().map(|data| match (record.record_type, fields(data).as_slice()) {
                ("MX", [preference, exchange]) => {
                    Some(block(vec![("preference", number(preference)?), ("exchange", quoted(exchange))]))
                }
                ("SRV", [priority, weight, port, target]) => Some(block(vec![
                    ("priority", number(priority)?),
                    ("weight", number(weight)?),
                    ("port", number(port)?),
                    ("target", quoted(target)),
                ])),
                ("TXT", _) => Some(block(vec![("value", quoted(&printable_strings(data)?.concat()))])),
                _ => None,
            });
            blocks.collect::<Option<Vec<_>>>().map(|blocks| blocks.concat())
        }
    }
}

/// Names of resources: each once.
#[derive(Default)]
struct Labels(BTreeSet<String>);

impl Labels {
    fn of(&mut self, text: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let text = text.replace('*', "any").replace('@', "zone");
        let mut label: String = text.chars().map(plain).collect();
        if !label.starts_with(|c: char| c.is_ascii_alphabetic()) {
            label.insert_str(0, "n_");
        }
        while !self.0.insert(label.clone()) {
            label.push('_');
        }
        label
    }
}

/// A string of HCL: `${` and `%{` would begin a template.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "$${").replace("%{", "%%{");
    format!("\"{text}\"")
}
