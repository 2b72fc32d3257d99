//! A records file into packed records.
//!
//! Nearly all records have the usual shape (`plain.rs`) and are read by hand. Where one has not, that part of the file,
//! from its header to a header further on, goes through the TOML parser, which alone says what is wrong. A large file is
//! cut into parts that all cores read; a part counts when the one before ended exactly where it begins, else its
//! beginning was no header, and the reading goes on from where that one ended.
//!
//! What the parser says of a part is what it says of the whole file, as long as the part is well-formed and holds
//! records alone. Where it is not, the parts in question are read again as one document, so that what an error does to
//! the records behind it is the same as in the whole file (`remainder.rs`). Nothing that is wrong may be reported
//! differently, or be missed, because the file was cut.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::file::read_tables;
use super::packed::Packed;
use super::plain::{HEADER, PlainRecord, first_header};
use super::remainder::read_remainder;
use crate::document::{Diagnostic, Document, Problems, Severity, SourceText, headers_behind};

/// Octets of a part.
const PART_LEN: usize = 2 << 20;
/// Octets of an unusual record and what follows it that the TOML parser is given.
pub(super) const WINDOW: usize = 8 << 10;

/// Reads all records of a file, which has the number `file` among the files of the table; what is wrong is added to
/// `problems` and left out. A file has 4 GiB at most.
pub fn read_records(source: &SourceText, file: u32, problems: &mut Problems) -> Vec<Packed> {
    if u32::try_from(source.text().len()).is_err() {
        let (message, hint) = ("the file is larger than 4 GiB", "divide the records among several files");
        problems.push(Diagnostic::of_file(Severity::Error, source.name(), message, hint));
        return Vec::new();
    }
    read_in_parts(source, file, PART_LEN, WINDOW, problems)
}

fn read_in_parts(
    source: &SourceText,
    file: u32,
    part_len: usize,
    window: usize,
    problems: &mut Problems,
) -> Vec<Packed> {
    let Some(start) = first_header(source.text()) else {
        return vec![read_whole(source, file, problems)];
    };
    let parts = read_parts(source, file, &cut(source.text(), start, part_len), window);
    let parts = in_a_row(source, file, start, parts, window);
    match parts.iter().map(|part| part.verdict).max().unwrap_or_default() {
        Verdict::Good => {
            let mut packs = Vec::with_capacity(parts.len());
            for part in parts {
                problems.extend(part.problems);
                packs.push(part.packed);
            }
            packs
        }
        verdict @ (Verdict::Broken | Verdict::Mixed) => {
            let given_up = parts.last().and_then(|part| part.given_up);
            let (odd, packs) = parts.into_iter().map(|part| (part.odd, part.packed)).unzip::<_, _, Vec<_>, Vec<_>>();
            let mixed = verdict == Verdict::Mixed;
            let remainder = read_remainder(source, file, &odd.concat(), mixed, &packs, problems);
            let packed = remainder.unwrap_or_else(|| read_whole(source, file, problems));
            if let Some(at) = given_up {
                let (message, hint) = ("the rest of the file was not read", "put the first of these problems right");
                problems.push(Diagnostic::at(Severity::Error, source, at..at, message, hint));
            }
            vec![packed]
        }
        Verdict::Foreign => vec![read_whole(source, file, problems)],
    }
}

/// Reads the whole file as one document.
fn read_whole(source: &SourceText, file: u32, problems: &mut Problems) -> Packed {
    let document = Document::new(source);
    let root = document.parse();
    let mut packed = Packed::new(file, 0);
    for spec in read_tables(&document, &root) {
        packed.push(&spec);
    }
    drop(root);
    problems.extend(document.into_problems());
    packed
}

/// A part of a file as it was read.
struct Part {
    start: usize,
    /// Where the next one begins.
    end: usize,
    packed: Packed,
    /// What went through the TOML parser.
    odd: Vec<Range<usize>>,
    problems: Problems,
    verdict: Verdict,
    /// Where the reading was given up, for the whole file.
    given_up: Option<usize>,
}

/// How far the reading of a part can be trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// It is what the whole file says.
    #[default]
    Good,
    /// There is a syntax error: what becomes of the records behind it has to be seen.
    Broken,
    /// There is a table that is no record: what it means depends on others of its kind.
    Mixed,
    /// Something there may change what every record means.
    Foreign,
}

/// Cuts a text into parts of `len` octets or more that begin with what looks like a header.
fn cut(text: &str, start: usize, len: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut at = start;
    while at < text.len() {
        let next = next_header_line(text, at, len);
        parts.push(at..next);
        at = next;
    }
    parts
}

/// Where the first line begins that looks like a header, `len` octets or more behind `at`.
fn next_header_line(text: &str, at: usize, len: usize) -> usize {
    const LINE: &str = "\n[[record]]";
    let from = text.floor_char_boundary(at.saturating_add(len));
    text.get(from..).and_then(|rest| rest.find(LINE)).map_or(text.len(), |place| from + place + 1)
}

/// Reads each part as if it began with a header, on all cores.
fn read_parts(source: &SourceText, file: u32, ranges: &[Range<usize>], window: usize) -> Vec<Part> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut parts = Vec::new();
        while let Some(range) = ranges.get(next.fetch_add(1, Ordering::Relaxed)) {
            parts.push(read_part(source, file, range.clone(), window));
        }
        parts
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let helpers = cores.min(ranges.len()).saturating_sub(1);
    let mut parts = thread::scope(|scope| {
        // Where no thread can be had, this one does the work alone.
        let started = (0..helpers).filter_map(|_| thread::Builder::new().spawn_scoped(scope, work).ok());
        let started: Vec<_> = started.collect();
        let mut parts = work();
        for helper in started {
            match helper.join() {
                Ok(more) => parts.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        parts
    });
    parts.sort_unstable_by_key(|part| part.start);
    parts
}

/// The parts from `start` to the end of the text of which each begins where the one before ended.
fn in_a_row(source: &SourceText, file: u32, start: usize, parts: Vec<Part>, window: usize) -> Vec<Part> {
    let mut row: Vec<Part> = Vec::with_capacity(parts.len());
    let mut at = start;
    let fill = |row: &mut Vec<Part>, at: &mut usize, to: usize| {
        while *at < to {
            let part = read_part(source, file, *at..to, window);
            *at = part.end;
            row.push(part);
        }
    };
    for part in parts {
        fill(&mut row, &mut at, part.start);
        if part.start == at {
            at = part.end;
            row.push(part);
        }
    }
    fill(&mut row, &mut at, source.text().len());
    row
}

fn read_part(source: &SourceText, file: u32, range: Range<usize>, window: usize) -> Part {
    let mut part = Part {
        start: range.start,
        end: range.start,
        packed: Packed::new(file, range.len()),
        odd: Vec::new(),
        problems: Problems::default(),
        verdict: Verdict::Good,
        given_up: None,
    };
    let mut plain = PlainRecord::default();
    while part.end < range.end {
        match plain.read(source.text(), part.end) {
            Some(next) if plain.pack(part.end, &mut part.packed).is_some() => part.end = next,
            _ => part.read_odd(source, window),
        }
    }
    part
}

impl Part {
    /// Has the TOML parser read what comes next, up to a header.
    fn read_odd(&mut self, source: &SourceText, window: usize) {
        if self.verdict > Verdict::Good || self.read_well_formed(source, window).is_none() {
            self.read_up_to_header(source, window);
        }
    }

    /// Reads up to a line that looks like the header of a record. Where that much is a document of records without an
    /// error, nothing in it goes on behind that line, so it was one. Nothing where it is not.
    fn read_well_formed(&mut self, source: &SourceText, window: usize) -> Option<()> {
        let (text, start) = (source.text(), self.end);
        if !text.get(start..)?.starts_with(HEADER) {
            return None;
        }
        let end = next_header_line(text, start, window);
        let document = Document::part(source, start..end);
        let root = document.parse();
        if document.has_problems() || root.len() != 1 {
            return None;
        }
        self.end = end;
        self.odd.push(start..end);
        for spec in read_tables(&document, &root) {
            self.packed.push(&spec);
        }
        drop(root);
        self.problems.extend(document.into_problems());
        Some(())
    }

    fn read_up_to_header(&mut self, source: &SourceText, window: usize) {
        let (start, text_len) = (self.end, source.text().len());
        let headers = match headers_behind(source.text(), start, window) {
            Ok(headers) => headers,
            Err(up_to) => {
                self.verdict = Verdict::Broken;
                self.odd.push(start..up_to);
                (self.end, self.given_up) = (text_len, Some(up_to));
                return;
            }
        };
        let (&end, between) = headers.split_last().unwrap_or((&text_len, &[]));
        self.end = end;
        self.odd.push(start..end);
        for &header in [start].iter().chain(between) {
            self.verdict = self.verdict.max(verdict_of(source.text().get(header..).unwrap_or_default()));
        }
        if self.verdict > Verdict::Good {
            return; // all that is odd will be read again
        }
        let document = Document::part(source, start..end);
        let root = document.parse();
        if document.has_problems() {
            self.verdict = Verdict::Broken;
            return;
        }
        for spec in read_tables(&document, &root) {
            self.packed.push(&spec);
        }
        drop(root);
        self.problems.extend(document.into_problems());
    }
}

/// What a table means that begins with this header.
fn verdict_of(header: &str) -> Verdict {
    if header.starts_with(HEADER) {
        return Verdict::Good;
    }
    if ["[[record]", "[[record"].contains(&header.lines().next().unwrap_or_default().trim_end()) {
        return Verdict::Broken;
    }
    let key = header.trim_start_matches('[').trim_start_matches([' ', '\t']);
    let key_len = key.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').unwrap_or(key.len());
    match key.split_at_checked(key_len) {
        Some((bare, rest)) if !["", "record"].contains(&bare) && rest.starts_with([']', '.', ' ', '\t']) => {
            Verdict::Mixed
        }
        _ => Verdict::Foreign,
    }
}

#[cfg(test)]
mod tests;
