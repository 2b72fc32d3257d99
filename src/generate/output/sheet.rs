//! What all printers need: comments, records that a format can express, and the zones that names are put into.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{LeftOut, Printed};
use crate::generate::records::{Data, Record, Records};
use crate::wire::Name;

/// A text being printed.
pub(super) struct Sheet {
    text: String,
    comment: &'static str,
    left_out: Vec<LeftOut>,
    records: usize,
}

/// What a format can express beside plain names.
#[derive(Clone, Copy)]
pub(super) struct Can {
    /// `*.example`.
    pub(super) wildcards: bool,
    /// `*-end.example`, `beginning-*.example`.
    pub(super) partial_wildcards: bool,
    /// Types.
    pub(super) types: &'static [&'static str],
}

/// All types that private DNS zones have.
pub(super) const ALL_TYPES: &[&str] = &["A", "AAAA", "CNAME", "MX", "PTR", "SRV", "TXT"];

impl Sheet {
    /// An empty text whose comments begin with `comment`, headed by what the records were derived from.
    pub(super) fn new(records: &Records, comment: &'static str) -> Self {
        let mut sheet = Self { text: String::new(), comment, left_out: Vec::new(), records: 0 };
        records.header.iter().for_each(|line| sheet.comment(line));
        sheet
    }

    /// A comment line. A character that could end it early is left out, whatever the text.
    pub(super) fn comment(&mut self, line: &str) {
        let line: String = line.chars().filter(|c| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}')).collect();
        let line = format!("{} {line}", self.comment);
        self.line(line.trim_end());
    }

    pub(super) fn line(&mut self, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{line}");
    }

    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// The groups with the records that the format can express; the others are noted as left out.
    pub(super) fn expressible<'r>(&mut self, records: &'r Records, can: Can) -> Vec<(&'r str, Vec<&'r Record>)> {
        let mut groups = Vec::new();
        for group in &records.groups {
            let (mut fine, mut reasons) = (Vec::new(), Vec::new());
            for record in &group.records {
                match obstacle(record, can) {
                    None => fine.push(record),
                    Some(reason) => reasons.push((record, reason)),
                }
            }
            for (record, reason) in reasons {
                self.leave_out(record, reason);
            }
            self.records += fine.len();
            if !fine.is_empty() {
                groups.push((group.title.as_str(), fine));
            }
        }
        groups
    }

    /// Counts records that are printed as they are.
    pub(super) fn count(&mut self, records: usize) {
        self.records += records;
    }

    /// Notes a record that cannot be expressed after all.
    pub(super) fn leave_out(&mut self, record: &Record, reason: &'static str) {
        self.left_out.push(LeftOut { record: format!("{} {}", record.name, record.record_type), reason });
    }

    /// Takes back that a record is printed.
    pub(super) fn drop(&mut self, record: &Record, reason: &'static str) {
        self.records -= 1;
        self.leave_out(record, reason);
    }

    /// The text, with what was left out named at its end.
    pub(super) fn finish(mut self) -> Printed {
        if !self.left_out.is_empty() {
            self.blank();
            self.comment("Left out, for this format cannot express it:");
            for LeftOut { record, reason } in self.left_out.clone() {
                self.comment(&format!("  {record}: {reason}"));
            }
        }
        Printed { text: self.text, records: self.records, left_out: self.left_out }
    }
}

fn obstacle(record: &Record, can: Can) -> Option<&'static str> {
    let is_partial = is_partial_wildcard(&record.name);
    if !record.clients.is_empty() {
        Some("it is for certain client networks alone")
    } else if is_partial && !can.partial_wildcards {
        Some("its first label is a partial wildcard")
    } else if is_wildcard(&record.name) && !can.wildcards {
        Some("it is a wildcard")
    } else if !can.types.contains(&record.record_type) {
        Some("records of this type cannot be written")
    } else {
        None
    }
}

pub(super) fn is_wildcard(name: &Name) -> bool {
    name.labels().next() == Some(b"*")
}

pub(super) fn is_partial_wildcard(name: &Name) -> bool {
    name.labels().next().is_some_and(|label| label.contains(&b'*') && label != b"*")
}

/// The name without its first label, as text.
pub(super) fn parent(name: &Name) -> String {
    let text = name.to_string();
    text.split_once('.').map(|(_, parent)| parent.trim_end_matches('.').to_owned()).unwrap_or_default()
}

/// A name as text without its final dot.
pub(super) fn plain(name: &Name) -> String {
    name.to_string().trim_end_matches('.').to_owned()
}

/// The TTL of a record, seconds: the default where it states none.
pub(super) fn ttl(record: &Record) -> u32 {
    record.ttl.unwrap_or(TTL_DEFAULT)
}

/// Records by the zone that they are put into and their name in it, `@` for the zone's own.
///
/// A name with a `privatelink` label goes into the private DNS zone that Azure would have it in, one below a suffix that
/// the user allowed into that suffix. Every other name gets a zone of its own, so that the names beside it stay what they
/// are.
pub(super) fn by_zone<'r>(
    records: &Records,
    groups: &[(&'r str, Vec<&'r Record>)],
) -> BTreeMap<String, Vec<(String, &'r Record)>> {
    let mut zones: BTreeMap<String, Vec<(String, &Record)>> = BTreeMap::new();
    for record in groups.iter().flat_map(|(_, records)| records.iter().copied()) {
        let (name, zone) = place(&record.name, &records.zones);
        zones.entry(zone).or_default().push((name, record));
    }
    zones
}

fn place(name: &Name, allowed: &[String]) -> (String, String) {
    let text = plain(name);
    let labels: Vec<&str> = text.split('.').collect();
    let split = |at: usize| {
        let (front, zone) = labels.split_at(at);
        (if front.is_empty() { "@".to_owned() } else { front.join(".") }, zone.join("."))
    };
    if let Some(at) = labels.iter().position(|label| crate::azure::is_privatelink_label(label)) {
        return split(at);
    }
    let below = |zone: &&String| text == **zone || text.ends_with(&format!(".{zone}"));
    if let Some(zone) = allowed.iter().filter(below).max_by_key(|zone| zone.len()) {
        return split(labels.len() - zone.split('.').count());
    }
    split(usize::from(labels.first() == Some(&"*")))
}

/// The strings of a TXT record's data, unescaped; `None` for what is not presentation format.
pub(super) fn strings(data: &Data) -> Option<Vec<Vec<u8>>> {
    let text = data.to_string();
    let mut rest = text.bytes().peekable();
    let mut strings = Vec::new();
    loop {
        while rest.next_if_eq(&b' ').is_some() {}
        if rest.peek().is_none() {
            return Some(strings);
        }
        rest.next_if_eq(&b'"')?;
        let mut string = Vec::new();
        loop {
            match rest.next()? {
                b'"' => break,
                b'\\' => {
                    let next = rest.next()?;
                    if next.is_ascii_digit() {
                        let digits = [next, rest.next()?, rest.next()?];
                        string.push(std::str::from_utf8(&digits).ok()?.parse().ok()?);
                    } else {
                        string.push(next);
                    }
                }
                byte => string.push(byte),
            }
        }
        strings.push(string);
    }
}

/// The strings of a TXT record as text; `None` where one has what is not printable text.
pub(super) fn printable_strings(data: &Data) -> Option<Vec<String>> {
    let text = |string: Vec<u8>| String::from_utf8(string).ok().filter(|text| !text.chars().any(char::is_control));
    strings(data)?.into_iter().map(text).collect()
}

/// The fields of the data of MX, SRV and others: separated by spaces, names without their final dot.
pub(super) fn fields(data: &Data) -> Vec<String> {
    data.to_string().split(' ').map(|field| field.trim_end_matches('.').to_owned()).collect()
}

/// What a record has that states none, seconds.
const TTL_DEFAULT: u32 = 10;
