//! What is left of a broken records file once the plain records are taken out, read as one document.
//!
//! The TOML parser goes on behind an error, and what it makes of the text behind depends on the error: it may take the
//! next header for a part of the broken one, or give up building tables altogether. So the odd parts are put one behind
//! the other, each with two records more: one that may be taken in, and one that shows whether tables are still built.
//! The plain records that were left out change nothing for the parser; those that it would not have come to are dropped.

use std::ops::Range;

use super::file::read_tables;
use super::packed::Packed;
use super::read::WINDOW;
use crate::document::{Document, Excerpt, Problems, SourceText, headers_behind};

/// How many records behind an odd part are read with it.
const WITNESSES: usize = 2;

/// Reads the parts at `odd` (in order) and merges their records with the plain ones among `packs`. All problems of the
/// file are added to `problems`.
pub(super) fn read_remainder(
    source: &SourceText,
    file: u32,
    odd: &[Range<usize>],
    packs: &[Packed],
    problems: &mut Problems,
) -> Packed {
    let (ranges, last_seen) = with_witnesses(source.text(), odd);
    let excerpt = Excerpt::new(source.text(), &ranges);
    let document = Document::excerpt(source, &excerpt);
    let root = document.parse();
    let last_table = root
        .values()
        .flat_map(|value| {
            let list = value.get_ref().as_array().into_iter().flat_map(|list| list.iter());
            std::iter::once(value).chain(list)
        })
        .map(|table| document.in_file(table.span().start))
        .max();
    let specs = read_tables(&document, &root);
    // Tables were built to the end, or to the last one there is.
    let last_table = last_table.or(ranges.first().map(|range| range.start)).unwrap_or_default();
    let end = if last_table < last_seen { last_table } else { usize::MAX };
    drop(root);
    problems.extend(document.into_problems());
    let is_read_here = |at: usize| {
        let behind = ranges.partition_point(|range| range.start <= at);
        behind.checked_sub(1).and_then(|last| ranges.get(last)).is_some_and(|range| range.contains(&at))
    };
    let mut merged = Packed::new(file, 0);
    let mut specs = specs.iter().peekable();
    for (_, record) in packs.iter().flat_map(Packed::iter) {
        let at = record.at as usize;
        if at > end || is_read_here(at) {
            continue;
        }
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

/// The odd parts, each with the records behind it; and the place from which on a table is there if tables are built to
/// the end: the last of those records, or the last part where the text ends before.
fn with_witnesses(text: &str, odd: &[Range<usize>]) -> (Vec<Range<usize>>, usize) {
    let mut ranges: Vec<Range<usize>> = Vec::with_capacity(odd.len());
    let mut last_seen = 0;
    for part in odd {
        let mut end = part.end;
        last_seen = part.start;
        for number in 1..=WITNESSES {
            if number == WITNESSES && end < text.len() {
                last_seen = end;
            }
            end = headers_behind(text, end, WINDOW).first().copied().unwrap_or(text.len());
        }
        match ranges.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(end),
            _ => ranges.push(part.start..end),
        }
    }
    (ranges, last_seen)
}
