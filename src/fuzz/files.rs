//! What files and commands bring in: records files, record data, metadata, zone files, settings.

use std::net::IpAddr;

use crate::azure::metadata::read_zone_file;
use crate::config::{Environment, read_settings};
use crate::document::{PROBLEMS_MAX, Problems, SourceText};
use crate::generate::{Format, Input, Options, generate, print};
use crate::rdata;
use crate::records::{Packed, Table, TableSettings, by_each_reader, compile, read_records};
use crate::wire::Rtype;

/// Characters of a problem as it is printed: message, hint, line and marks, each of which is bounded.
const PRINTED_MAX: usize = 4000;

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Problems are few, short, and fit for a terminal.
fn check_problems(problems: &Problems) {
    assert!(problems.iter().count() <= 2 * PROBLEMS_MAX, "{}", problems.summary());
    problems.iter().for_each(|problem| check_printed(&problem.to_string()));
}

fn check_printed(problem: &str) {
    assert!(problem.chars().count() <= PRINTED_MAX, "{problem}");
    assert!(!problem.chars().any(|c| c.is_control() && c != '\n'), "control characters: {problem:?}");
}

fn table(source: &SourceText, packs: &[Packed], problems: &mut Problems) -> Table {
    compile(packs, &[], TableSettings { ttl: 10 }, vec![source.clone()], problems)
}

/// All that a table holds.
fn content(table: &Table) -> Vec<String> {
    table.iter().map(|(owner, rrset)| format!("{owner:?} {rrset:?}")).collect()
}

/// A records file: each way to read it comes to the same, and what is in the table can be printed and read again.
pub(super) fn records(bytes: &[u8]) {
    let source = SourceText::new("records.toml", text_of(bytes));
    let [usual, parser, large] = by_each_reader(&source).map(|(packs, mut problems)| {
        let table = table(&source, &packs, &mut problems);
        check_problems(&problems);
        (content(&table), problems, table)
    });
    assert_eq!(usual.1.to_string(), parser.1.to_string(), "{}", source.text());
    assert_eq!(usual.0, parser.0, "{}", source.text());
    if !large.1.has_errors() {
        assert!(!parser.1.has_errors(), "read as a large file alone: {}", source.text());
        assert_eq!(large.0, parser.0, "{}", source.text());
    }
    let (_, _, table) = usual;
    for (owner, rrset) in table.iter() {
        table.lookup(owner, rrset.rtype, IpAddr::from([10, 0, 0, 1]));
        for (_, data) in rrset.iter() {
            let text = rdata::present(rrset.rtype, data);
            assert_eq!(rdata::parse(rrset.rtype, &text).as_deref(), Ok(data), "{} {text}", rrset.rtype);
        }
    }
}

/// Record data: a type, then its data in wire form, which is also read as text.
pub(super) fn rdata(bytes: &[u8]) {
    let Some((rtype, bytes)) = bytes.split_first_chunk() else { return };
    let rtype = Rtype(u16::from_be_bytes(*rtype));
    let text = rdata::present(rtype, bytes);
    check_data(rtype, &text);
    match rdata::parse(rtype, &text) {
        Ok(read) => assert_eq!(read, bytes, "{rtype} {text}"),
        // What does not fit its type is printed by length and bytes.
        Err(_) => assert!(text.starts_with("\\# ") || rtype.is_meta(), "{rtype} {text}"),
    }
    check_data(rtype, &text_of(bytes));
}

/// Data in presentation form is refused with its place, or printed and read as the same.
fn check_data(rtype: Rtype, text: &str) {
    match rdata::parse(rtype, text) {
        Ok(data) => {
            assert!(data.len() <= rdata::RDATA_MAX);
            let printed = rdata::present(rtype, &data);
            assert!(printed.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{printed:?}");
            assert_eq!(rdata::parse(rtype, &printed), Ok(data), "{rtype} {text} {printed}");
        }
        Err(error) => {
            assert!(error.at <= text.len() && text.is_char_boundary(error.at), "{error:?} {text}");
            assert!(error.hint().len() < PRINTED_MAX);
        }
    }
}

/// Input of `generate`: every format can be written, and what is written for this server is read without a problem.
pub(super) fn metadata(bytes: &[u8]) {
    for lenient in [false, true] {
        let input = Input { name: "input".to_owned(), bytes: bytes.to_vec(), written: None };
        let (records, messages) = generate(&[input], &Options { lenient, ..Options::default() });
        assert!(records.is_some() != messages.has_error(), "records or an error");
        messages.shown().iter().for_each(|message| check_printed(&message.to_string()));
        let Some(records) = records else { continue };
        for format in Format::ALL {
            let text = print(&records, format).text;
            assert!(!text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')), "{text:?}");
            if format == Format::Toml {
                let source = SourceText::new("records.toml", text);
                let mut problems = Problems::default();
                let packs = read_records(&source, 0, &mut problems);
                table(&source, &packs, &mut problems);
                assert!(!problems.has_errors(), "{problems}{}", source.text());
            }
        }
    }
}

/// A zone file, by itself and as input of `generate`.
pub(super) fn zone_file(bytes: &[u8]) {
    let text = format!("; \n{}", text_of(bytes));
    let file = read_zone_file(&text);
    assert!(file.problems.len() <= text.lines().count(), "a line has one problem at most");
    metadata(text.as_bytes());
}

/// Settings.
pub(super) fn settings(bytes: &[u8]) {
    let source = SourceText::new("pldns.toml", text_of(bytes));
    let environment =
        Environment { public_zones: &["blob.core.windows.net"], is_local: &|address| address.is_loopback() };
    let mut problems = Problems::default();
    let settings = read_settings(&source, &environment, &mut problems);
    check_problems(&problems);
    if !problems.has_errors() {
        assert!(!settings.listen.dns.is_empty(), "a server listens");
        assert!(settings.forwards.iter().all(|rule| !rule.upstreams.is_empty()), "a rule has upstreams");
    }
}
