//! The format of records files: `[[record]]` tables with name, type, data, and where wanted ttl and clients.
//!
//! ```toml
//! [[record]]
//! name = "*.eastus.inference.ml.azure.com"   # RFC 4592
//! type = "A"
//! data = "10.1.0.7"                          # presentation form, one text or a list
//! ttl  = "10s"
//! clients = ["10.1.0.0/16"]                  # only these clients see it
//! ```

use std::ops::Range;

use ipnet::IpNet;
use toml::de::DeTable;

use super::plain;
use super::remark::remarks;
use super::spec::{RecordSpec, any_prefix, ttl_seconds};
use crate::document::{Document, Placed, Problems, SourceText, TableReader, parse_duration};
use crate::rdata;
use crate::wire::name::{MisplacedStar, a_label_form, misplaced_star};
use crate::wire::{Name, Rtype};

/// Reads the records of a document, as far as it could be parsed, and gives each to `take`; what is wrong is noted there and
/// left out, what is remarkable is noted.
pub(super) fn read_tables(
    document: &Document<'_>,
    root: &DeTable<'_>,
    is_generated: bool,
    mut take: impl FnMut(&RecordSpec),
) {
    let reader = document.reader(root, "the file");
    let tables = reader.tables("record");
    for table in &tables {
        if let Some(record) = read_record(document, table, is_generated) {
            take(&record);
        }
    }
    reader.finish();
}

/// Where the name of the record is written whose table begins at byte `at` of a file; the table's first line where that
/// cannot be told.
pub(super) fn name_span(source: &SourceText, at: usize) -> Range<usize> {
    /// Bytes that are looked through.
    const NEAR: usize = 4 << 10;
    let text = source.text();
    plain::name_span(text, at).unwrap_or_else(|| {
        let rest = text.get(at..text.floor_char_boundary(at.saturating_add(NEAR))).unwrap_or_default();
        let end = at + rest.find("\n[[").map_or(rest.len(), |newline| newline + 1);
        let document = Document::part(source, at..end, Problems::default());
        let root = document.parse_strictly().ok();
        let tables = root.as_ref().and_then(|root| root.get("record")?.get_ref().as_array());
        let name = tables.and_then(|tables| tables.first()?.get_ref().as_table()?.get("name"));
        let line_end = rest.find('\n').map_or(end, |newline| at + newline);
        name.map_or(at..line_end, |name| document.in_file(name.span().start)..document.in_file(name.span().end))
    })
}

fn read_record(document: &Document<'_>, table: &Placed<&DeTable<'_>>, is_generated: bool) -> Option<RecordSpec> {
    let reader = document.reader(table.value, "[[record]]");
    reader.missing(&table.span, "name", "name = \"host.privatelink.blob.core.windows.net\"");
    reader.missing(&table.span, "type", "type = \"A\"");
    reader.missing(&table.span, "data", "data = [\"10.1.0.5\"]");
    let name = read_name(document, &reader);
    let rtype = read_type(document, &reader);
    let ttl = read_ttl(document, &reader);
    let clients = read_clients(document, &reader);
    let texts = reader.texts("data");
    let data_span = reader.key_span("data").unwrap_or_else(|| table.span.clone());
    let (name_span, value_span) = (reader.value_span("name"), reader.value_span("data"));
    reader.finish();
    let (name, rtype, ttl, clients, texts) = (name?, rtype?, ttl?, clients?, texts?);
    if texts.is_empty() {
        document.error(data_span, format!("the record {name} {rtype} has no data"), "data = [\"10.1.0.5\"]");
        return None;
    }
    let data = texts.iter().map(|text| read_data(document, rtype, text)).collect::<Option<Vec<_>>>()?;
    for remark in remarks(name.as_wire(), rtype, data.iter().map(Vec::as_slice), is_generated) {
        let span = if remark.is_of_data() { &value_span } else { &name_span };
        document.warning(span.clone().unwrap_or_else(|| table.span.clone()), remark.message(&name), remark.hint());
    }
    let at = u32::try_from(document.in_file(table.span.start)).ok()?;
    Some(RecordSpec { name, rtype, data, ttl, clients, at })
}

fn read_name(document: &Document<'_>, reader: &TableReader<'_>) -> Option<Name> {
    let text = reader.text("name")?;
    let name = match Name::parse(text.value) {
        Ok(name) => name,
        Err(error) => {
            let hint = match a_label_form(text.value) {
                Some(name) => format!("write it as \"{name}\": DNS has letters of other scripts in this form"),
                None if text.value.is_ascii() => "names are complete, as in \"host.example.com\"".to_owned(),
                None => "names have letters, digits, hyphens and underscores, as in \"host.example.com\"".to_owned(),
            };
            document.error(text.span, format!("`name` is not a valid domain name: {error}"), hint);
            return None;
        }
    };
    let (message, hint) = match misplaced_star(name.as_wire()) {
        None => return Some(name),
        Some(MisplacedStar::Plain) => {
            let message = format!("the `*` in {name} stands for itself: only the first label can be a wildcard");
            document.warning(
                text.span,
                message,
                "write the labels that are meant, or *.example for all names below it",
            );
            return Some(name);
        }
        Some(MisplacedStar::InLabel) => (
            format!("{name} could never match: a `*` stands for something only as the first label or at an end of it"),
            "*.example, *-end.example or start-*.example",
        ),
        Some(MisplacedStar::BelowPattern) => (
            format!("{name} could never match: only the first label can be a wildcard"),
            "one `*` stands for any number of labels: *.example",
        ),
    };
    document.error(text.span, message, hint);
    None
}

fn read_type(document: &Document<'_>, reader: &TableReader<'_>) -> Option<Rtype> {
    let text = reader.text("type")?;
    let hint = "a type such as A, AAAA, CNAME, TXT, or TYPE65280 for one without a name (RFC 3597)";
    match Rtype::parse(text.value) {
        Some(rtype) if rtype.is_meta() => {
            document.error(text.span, format!("{rtype} is a type of queries, not of records"), hint);
            None
        }
        Some(rtype) => Some(rtype),
        None => {
            document.error(text.span, format!("unknown type \"{}\"", text.value.escape_debug()), hint);
            None
        }
    }
}

/// The TTL: outer nothing for a wrong one, inner nothing for none.
fn read_ttl(document: &Document<'_>, reader: &TableReader<'_>) -> Option<Option<u32>> {
    if reader.value("ttl").is_none() {
        return Some(None);
    }
    let ttl = reader.parsed("ttl", "a duration", parse_duration)?;
    match ttl_seconds(ttl.value) {
        Some(seconds) => Some(Some(seconds)),
        None => {
            document.error(ttl.span, "a TTL is a whole number of seconds up to 2147483647", "ttl = \"10s\"");
            None
        }
    }
}

fn read_clients(document: &Document<'_>, reader: &TableReader<'_>) -> Option<Vec<IpNet>> {
    let Some(texts) = reader.texts("clients") else {
        return reader.value("clients").is_none().then(Vec::new);
    };
    if texts.is_empty()
        && let Some(value) = reader.value("clients")
    {
        document.error(
            value.span(),
            "`clients` is empty: no client would see the record",
            "clients = [\"10.1.0.0/16\"], or leave it out",
        );
        return None;
    }
    texts.iter().map(|text| read_prefix(document, "clients", text)).collect()
}

/// Reads a network prefix or a single address; notes what is neither.
pub fn read_prefix(document: &Document<'_>, key: &str, text: &Placed<&str>) -> Option<IpNet> {
    match any_prefix(text.value) {
        Some(prefix) if prefix.trunc() == prefix => Some(prefix),
        Some(prefix) => {
            let message = format!("\"{}\" in `{key}` has bits set beyond its prefix", text.value);
            document.error(text.span.clone(), message, format!("did you mean \"{}\"?", prefix.trunc()));
            None
        }
        None => {
            let message = format!("\"{}\" in `{key}` is not a valid network prefix", text.value.escape_debug());
            document.error(text.span.clone(), message, "10.1.0.0/16, fd00::/8, or one address");
            None
        }
    }
}

fn read_data(document: &Document<'_>, rtype: Rtype, text: &Placed<&str>) -> Option<Vec<u8>> {
    match rdata::parse(rtype, text.value) {
        Ok(data) => Some(data),
        Err(error) => {
            document.error(text.span.clone(), format!("`data` is not a valid {rtype} record: {error}"), error.hint());
            None
        }
    }
}
