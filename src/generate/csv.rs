//! CSV with a header (RFC 4180), as the portal, `Export-Csv` and Excel write it: separated by comma, by semicolon as in many
//! countries, or by tab.

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::azure::{HostName, cloud_of};

/// A line below the header: an object, or what is wrong with the line.
pub(super) type Line = Result<Value, &'static str>;

/// What is wrong with the header, and what to do.
type Wrong = (&'static str, &'static str);

/// The lines of a CSV text, each with its `line:column`; `None` for any other text. `first` is the number of its first line.
pub(super) fn read(text: &str, first: usize) -> Option<Result<Vec<(String, Line)>, Wrong>> {
    // Export-Csv of Windows PowerShell begins with a line of its own, and so does Excel when it is told the separator.
    let is_skipped =
        |line: &&str| line.trim().is_empty() || line.starts_with("#TYPE") || separator_line(line).is_some();
    let skipped = text.lines().take_while(is_skipped).count();
    let body: String = text.lines().skip(skipped).collect::<Vec<_>>().join("\n");
    let header_line = body.lines().next()?;
    let count = |separator: &char| header_line.matches(*separator).count();
    let separator = text.lines().take(skipped).find_map(separator_line).or_else(|| {
        let most = [',', ';', '\t'].into_iter().rev().max_by_key(count)?;
        (count(&most) > 0).then_some(most)
    })?;
    let mut records = cells(&body, separator).into_iter();
    let (_, mut header) = records.next()?;
    // Excel ends lines with separators of empty columns.
    header.truncate(header.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1));
    // A header names its columns: a cell that is a name of Azure or an address is data.
    let is_data = |cell: &String| cell.parse::<IpAddr>().is_ok() || is_azure_name(cell);
    if header.len() < 2 || header.iter().any(|cell| cell.is_empty() || is_data(cell) || cell.len() > 60) {
        return None;
    }
    let is_filled = |cells: &[String]| cells.iter().any(|cell| !cell.is_empty());
    let rows: Vec<(String, Line)> = records
        .filter(|(_, cells)| is_filled(cells))
        .map(|(line, cells)| {
            let place = format!("{}:1", first + skipped + line);
            if cells.get(header.len()..).is_some_and(is_filled) {
                return (place, Err("this line has more cells than the header"));
            }
            // Cells that are missing at the end are empty.
            let cells = cells.into_iter().map(Value::from).chain(std::iter::repeat(Value::Null));
            (place, Ok(Value::Object(header.iter().cloned().zip(cells).collect::<Map<_, _>>())))
        })
        .collect();
    if rows.is_empty() {
        return None;
    }
    let is_twice = |(at, name): (usize, &String)| header.iter().take(at).any(|other| other == name);
    if header.iter().enumerate().any(is_twice) {
        return Some(Err(("two columns have the same name", "give each column of the header a name of its own")));
    }
    Some(Ok(rows))
}

/// Whether a line holds a name of Azure: what would be lost with it.
pub(super) fn holds_name(line: &Value) -> bool {
    line.as_object().is_some_and(|cells| cells.values().filter_map(Value::as_str).any(is_azure_name))
}

fn is_azure_name(text: &str) -> bool {
    HostName::parse(text).is_ok_and(|name| cloud_of(&name).is_some())
}

/// The separator that a line `sep=;` names.
fn separator_line(line: &str) -> Option<char> {
    let mut rest = line.trim_end_matches(['\r', '\n']).strip_prefix("sep=")?.chars();
    let separator = rest.next()?;
    rest.next().is_none().then_some(separator)
}

/// The records of a CSV text with the number of the line that each begins at, from 0.
fn cells(text: &str, separator: char) -> Vec<(usize, Vec<String>)> {
    let mut records = Vec::new();
    let (mut record, mut cell) = (Vec::new(), String::new());
    let (mut quoted, mut line, mut begins) = (false, 0, 0);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' => quoted = !quoted,
            '\n' => {
                line += 1;
                if quoted {
                    cell.push('\n');
                } else {
                    record.push(std::mem::take(&mut cell).trim().to_owned());
                    records.push((begins, std::mem::take(&mut record)));
                    begins = line;
                }
            }
            c if c == separator && !quoted => record.push(std::mem::take(&mut cell).trim().to_owned()),
            c => cell.push(c),
        }
    }
    record.push(cell.trim().to_owned());
    records.push((begins, record));
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn rows(text: &str) -> Vec<(String, Line)> {
        read(text, 1).unwrap().unwrap()
    }

    #[test]
    fn csv_needs_a_header() {
        let text = "\"Name\";\"FQDN\";\"IP address\"\r\n\"pe\";\"a.blob.core.windows.net\";\"10.0.0.4\"\r\n\"with\nbreak\";\"b\";\"\"\"q\"\"\"\r\n";
        let rows = rows(text);
        let expected = json!({"Name": "pe", "FQDN": "a.blob.core.windows.net", "IP address": "10.0.0.4"});
        assert_eq!(rows[0], ("2:1".to_owned(), Ok(expected)));
        assert_eq!((rows[1].0.as_str(), &rows[1].1.as_ref().unwrap()["IP address"]), ("3:1", &Value::from("\"q\"")));
        for text in ["a.blob.core.windows.net,10.0.0.4\n", "x\n1\n", "FQDN,IP\n", ";;\n1;2;3\n", ""] {
            assert!(read(text, 1).is_none(), "{text}");
        }
    }

    #[test]
    fn what_excel_writes_is_read() {
        let expected = json!({"FQDN": "a", "IP": "10.0.0.4"});
        for (text, line) in [
            ("FQDN\tIP\r\na\t10.0.0.4\r\n", "2:1"),
            ("sep=;\r\nFQDN;IP\r\na;10.0.0.4\r\n", "3:1"),
            ("FQDN;IP;;\na;10.0.0.4;;\n;;;\n", "2:1"),
            ("#TYPE Selected.x\nFQDN,IP\na,10.0.0.4\n", "3:1"),
        ] {
            assert_eq!(rows(text), [(line.to_owned(), Ok(expected.clone()))], "{text}");
        }
    }

    #[test]
    fn no_cell_is_lost_in_silence() {
        let found = rows("FQDN,IP,Owner\na,10.0.0.4,me,10.0.0.5\nb\n");
        assert_eq!(found[0].1, Err("this line has more cells than the header"));
        assert_eq!(found[1].1, Ok(json!({"FQDN": "b", "IP": null, "Owner": null})));
        assert!(read("FQDN,IP,IP\na,10.0.0.4,10.0.0.5\n", 1).unwrap().is_err());
    }
}
