//! What is left of a broken records file once the plain records are taken out, read as one document.
//!
//! The TOML parser goes on behind an error, and what it makes of the text behind depends on the error: it may take the
//! next header for a part of the broken one, or give up building tables altogether. So the odd parts are put one behind
//! the other, each with two records more: one that may be taken in, and one that shows whether tables are still built.
//! The plain records that were left out change nothing for the parser; those that it would not have come to are dropped.

use std::ops::Range;

use toml::de::DeTable;

use super::file::{RecordSpec, read_tables};
use super::packed::{Packed, Record};
use super::read::WINDOW;
use crate::document::{Document, Excerpt, Problems, SourceText, headers_behind};

/// How many records behind an odd part are read with it.
const WITNESSES: usize = 2;

/// Reads the parts at `odd` (in order) and merges their records with the plain ones among `packs`. All problems of the
/// file are added to `problems`. Nothing where that is not enough to know what the whole file says: tables were given up,
/// and as `foreign` says there are others than records among them.
pub(super) fn read_remainder(
    source: &SourceText,
    file: u32,
    odd: &[Range<usize>],
    foreign: bool,
    packs: &[Packed],
    problems: &mut Problems,
) -> Option<Packed> {
    let (ranges, last_witness) = with_witnesses(source.text(), odd);
    let excerpt = Excerpt::new(source.text(), &ranges);
    let document = Document::excerpt(source, &excerpt);
    let root = document.parse();
    let last_table = last_table(&document, &root);
    let end = match (last_witness, last_table) {
        (Some(witness), table) if table.is_none_or(|table| table < witness) => {
            if foreign {
                return None;
            }
            table.or_else(|| odd.first().map(|first| first.start)).unwrap_or_default()
        }
        _ => usize::MAX,
    };
    let specs = read_tables(&document, &root);
    drop(root);
    problems.extend(document.into_problems());
    let is_left_out = |at: usize| {
        let behind = ranges.partition_point(|range| range.start <= at);
        let range = behind.checked_sub(1).and_then(|last| ranges.get(last));
        at <= end && range.is_none_or(|range| !range.contains(&at))
    };
    let left_out = packs.iter().flat_map(Packed::iter).map(|(_, record)| record);
    Some(merge(file, &specs, left_out.filter(|record| is_left_out(record.at as usize))))
}

/// Where the last record begins that became a table.
fn last_table(document: &Document<'_>, root: &DeTable<'_>) -> Option<usize> {
    let records = root.get("record")?.get_ref().as_array()?;
    records.iter().map(|table| document.in_file(table.span().start)).max()
}

/// All records in the order of the file.
fn merge<'p>(file: u32, specs: &[RecordSpec], packed: impl Iterator<Item = Record<'p>>) -> Packed {
    let mut merged = Packed::new(file, 0);
    let mut specs = specs.iter().peekable();
    for record in packed {
        while let Some(spec) = specs.next_if(|spec| spec.at < record.at) {
            merged.push(spec);
        }
        merged.push_record(&record);
    }
    for spec in specs {
        merged.push(spec);
    }
    merged
}

/// The odd parts, each with the records behind it; and where the last of those begins, if it is no odd one.
fn with_witnesses(text: &str, odd: &[Range<usize>]) -> (Vec<Range<usize>>, Option<usize>) {
    let mut ranges: Vec<(Range<usize>, Option<usize>)> = Vec::with_capacity(odd.len());
    for part in odd {
        let mut end = part.end;
        let mut witness = None;
        for _ in 0..WITNESSES {
            witness = (end < text.len()).then_some(end);
            // What was given up is followed by more of the same.
            let Ok(headers) = headers_behind(text, end, WINDOW) else {
                break;
            };
            end = headers.first().copied().unwrap_or(text.len());
        }
        match ranges.last_mut() {
            // The records behind the part before are odd themselves.
            Some((last, known)) if part.start < last.end => {
                (last.end, *known) = (last.end.max(end), witness);
            }
            _ => ranges.push((part.start..end, witness)),
        }
    }
    let last_witness = ranges.iter().rev().find_map(|(_, witness)| *witness);
    (ranges.into_iter().map(|(range, _)| range).collect(), last_witness)
}
