//! The records file: `[[record]]` tables with `name`, `type`, `data` and, where it is not the default, `ttl`.

use std::fmt::Write;

use crate::generate::records::{Record, Records};

pub(super) fn print(records: &Records) -> String {
    let mut out = String::new();
    for line in &records.header {
        comment(&mut out, line);
    }
    for group in &records.groups {
        out.push('\n');
        comment(&mut out, &group.title);
        for record in &group.records {
            print_record(&mut out, record);
        }
    }
    out
}

fn print_record(out: &mut String, record: &Record) {
    let data: Vec<String> = record.data.iter().map(|data| quoted(&data.to_string())).collect();
    let name = quoted(&record.name.to_string());
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "\n[[record]]\nname = {name}\ntype = {}\ndata = [{}]",
        quoted(record.record_type),
        data.join(", ")
    );
    if let Some(ttl) = record.ttl {
        let _ = writeln!(out, "ttl  = \"{ttl}s\"");
    }
}

/// A comment line. A character that could end it early is not let in, whoever made the text.
fn comment(out: &mut String, line: &str) {
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    let _ = writeln!(out, "{}", format!("# {line}").trim_end());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::records::{Data, RecordGroup};
    use crate::wire::Name;

    #[test]
    fn what_is_printed_is_read_back_the_same() {
        let hostile = "\"v=1\" \"a\\\"b\\010\" ' $(id) ${x} \u{7f}\u{e9}";
        let record = Record {
            name: Name::parse("a.b").unwrap(),
            record_type: "TXT",
            data: vec![Data::Presentation(hostile.to_owned()), Data::Address("::1".parse().unwrap())],
            ttl: Some(3600),
        };
        let group = RecordGroup { title: "x\n[[record]]\r".to_owned(), records: vec![record] };
        let text = print(&Records { header: vec!["head\nname = 1".to_owned(), String::new()], groups: vec![group] });
        let read: ::toml::Table = text.parse().unwrap();
        assert_eq!(read["record"][0]["data"][0].as_str(), Some(hostile));
        assert_eq!(read["record"][0]["data"][1].as_str(), Some("::1"));
        assert_eq!(read["record"][0]["ttl"].as_str(), Some("3600s"));
        assert_eq!(read["record"].as_array().unwrap().len(), 1);
        assert!(text.starts_with("# headname = 1\n#\n"), "{text}");
    }
}
