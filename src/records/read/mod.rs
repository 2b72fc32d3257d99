//! A records file into packed records.
//!
//! Nearly all files consist of records in the usual shape (`plain.rs`), which are read by hand. A small file that has
//! anything else is read by the TOML parser, whole. A large one never is: the parser's tree takes some seventy bytes for
//! each of the text. Where a large file has something unusual, the parser is given a window of it, from a header to a header
//! further on: what it says of a window that is well-formed is what it says of that much of the whole file. At the first
//! window that is not, the reading ends, with that window's first error.
//!
//! A large file is cut into parts that all cores read; a part counts when the one before ended exactly where it begins,
//! else its beginning was no header, and the reading goes on from where that one ended.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::file::read_tables;
use super::packed::Packed;
use super::plain::{PlainRecord, first_header};
use super::remark::is_generated;
use crate::document::{Diagnostic, Document, Problems, Severity, SourceText, SyntaxError};

/// How much is read at once.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Bytes that the TOML parser is given, at most. More than a record can need: its data has 65,000 bytes.
    toml_max: usize,
    /// Bytes of a part that one core reads.
    part_len: usize,
    /// Bytes of windows: the smallest that is well-formed is used. The last one is for the one core alone that puts the
    /// parts together.
    windows: [usize; 3],
}

const LIMITS: Limits = Limits { toml_max: 512 << 10, part_len: 2 << 20, windows: [8 << 10, 64 << 10, 256 << 10] };

/// Reads all records of a file, which has the number `file` among the files of the table; what is wrong is added to
/// `problems` and left out. A file has 4 GiB at most, and a record 512 KiB.
pub fn read_records(source: &SourceText, file: u32, problems: &mut Problems) -> Vec<Packed> {
    if u32::try_from(source.text().len()).is_err() {
        let (message, hint) = ("the file is larger than 4 GiB", "divide the records among several files");
        problems.push(Diagnostic::of_file(Severity::Error, source.name(), message, hint));
        return Vec::new();
    }
    read_within(source, file, LIMITS, problems)
}

/// What each reader makes of a file: that of [`read_records`], the TOML parser by itself, and that of large files. For the
/// fuzzer, which compares them.
pub(crate) fn by_each_reader(source: &SourceText) -> [(Vec<Packed>, Problems); 3] {
    let by = |read: &dyn Fn(&mut Problems) -> Vec<Packed>| {
        let mut problems = Problems::default();
        (read(&mut problems), problems)
    };
    let small = Limits { toml_max: source.text().len(), part_len: 100, windows: [100, 400, 10_000] };
    [
        by(&|problems| read_records(source, 0, problems)),
        by(&|problems| vec![read_whole(source, 0, problems)]),
        by(&|problems| read_large(source, 0, small, problems)),
    ]
}

fn read_within(source: &SourceText, file: u32, limits: Limits, problems: &mut Problems) -> Vec<Packed> {
    if source.text().len() >= limits.toml_max {
        return read_large(source, file, limits, problems);
    }
    vec![read_plain(source, file).unwrap_or_else(|| read_whole(source, file, problems))]
}

/// Reads a file whose records are all plain; nothing where one is not.
fn read_plain(source: &SourceText, file: u32) -> Option<Packed> {
    let text = source.text();
    let mut packed = Packed::new(file, text);
    let mut plain = PlainRecord::default();
    let mut at = first_header(text).ok()?;
    while at < text.len() {
        let next = plain.read(text, at)?;
        plain.pack(at, &mut packed)?;
        at = next;
    }
    Some(packed)
}

/// Reads the whole file as one document.
fn read_whole(source: &SourceText, file: u32, problems: &mut Problems) -> Packed {
    let document = Document::new(source);
    let root = document.parse();
    let mut packed = Packed::new(file, source.text());
    read_tables(&document, &root, is_generated(source.text()), |spec| {
        packed.push(spec);
    });
    drop(root);
    problems.extend(document.into_problems());
    packed
}

fn read_large(source: &SourceText, file: u32, limits: Limits, problems: &mut Problems) -> Vec<Packed> {
    let start = match first_header(source.text()) {
        Ok(start) => start,
        Err(at) => {
            let message = format!("a file of more than {} KiB has [[record]] tables alone", limits.toml_max >> 10);
            problems.push(Diagnostic::at(Severity::Error, source, at..at, message, "begin with [[record]]"));
            return Vec::new();
        }
    };
    let reader = Reader { source, file, limits };
    let parts = reader.read_parts(&cut(source.text(), start, limits.part_len));
    let parts = reader.in_a_row(start, parts);
    let mut packs = Vec::with_capacity(parts.len());
    for part in parts {
        problems.extend(part.problems);
        packs.push(part.packed);
    }
    packs
}

/// A part of a large file as it was read.
struct Part {
    start: usize,
    /// Where the next one begins.
    end: usize,
    packed: Packed,
    problems: Problems,
    /// It ends where a window could not be read.
    is_stopped: bool,
}

/// Why a window of a file was not read.
enum Obstacle {
    /// It is not well-formed.
    NotToml(SyntaxError),
    /// There is no header in so much text.
    NoHeader,
}

/// Cuts a text into parts of `len` bytes or more that begin with what looks like a header.
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

/// Where the first line begins that looks like a header, `len` bytes or more behind `at`.
fn next_header_line(text: &str, at: usize, len: usize) -> usize {
    const LINE: &str = "\n[[record]]";
    let from = text.floor_char_boundary(at.saturating_add(len));
    text.get(from..).and_then(|rest| rest.find(LINE)).map_or(text.len(), |place| from + place + 1)
}

/// Reads a large file.
#[derive(Clone, Copy)]
struct Reader<'s> {
    source: &'s SourceText,
    file: u32,
    limits: Limits,
}

impl Reader<'_> {
    /// Reads each part as if it began with a header, on all cores.
    fn read_parts(self, ranges: &[Range<usize>]) -> Vec<Part> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut parts = Vec::new();
            while let Some(range) = ranges.get(next.fetch_add(1, Ordering::Relaxed)) {
                parts.push(self.read_part(range.clone()));
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
    fn in_a_row(self, start: usize, parts: Vec<Part>) -> Vec<Part> {
        let mut row: Vec<Part> = Vec::with_capacity(parts.len());
        let mut at = start;
        for part in parts {
            self.fill(&mut row, &mut at, part.start);
            if part.start == at {
                at = part.end;
                row.push(part);
            }
        }
        self.fill(&mut row, &mut at, self.source.text().len());
        row
    }

    /// Reads on from `at` to `to`, past what stopped the reading of a part; to the end of the text where there is no way on.
    fn fill(self, row: &mut Vec<Part>, at: &mut usize, to: usize) {
        while *at < to {
            let mut part = self.read_part(*at..to);
            if part.is_stopped
                && let Err(obstacle) = self.read_window(&mut part, &self.limits.windows)
            {
                self.give_up(&mut part, obstacle);
            }
            *at = part.end;
            row.push(part);
        }
    }

    /// Reads a part, or as much of it as the smaller windows can.
    fn read_part(self, range: Range<usize>) -> Part {
        let text = self.source.text();
        let packed = Packed::new(self.file, text.get(range.clone()).unwrap_or_default());
        let mut part =
            Part { start: range.start, end: range.start, packed, problems: Problems::default(), is_stopped: false };
        part.packed.set_generated(text);
        let mut plain = PlainRecord::default();
        let [smaller @ .., _] = &self.limits.windows;
        while part.end < range.end {
            match plain.read(text, part.end) {
                Some(next) if plain.pack(part.end, &mut part.packed).is_some() => part.end = next,
                _ => {
                    if self.read_window(&mut part, smaller).is_err() {
                        part.is_stopped = true;
                        break;
                    }
                }
            }
        }
        part
    }

    /// Has the TOML parser read what comes next, up to a line that looks like the header of a record. Where that much is a
    /// document without an error, nothing in it goes on behind that line, so it was one.
    fn read_window(self, part: &mut Part, windows: &[usize]) -> Result<(), Obstacle> {
        let (text, start) = (self.source.text(), part.end);
        let mut obstacle = Obstacle::NoHeader;
        for &window in windows {
            let end = next_header_line(text, start, window);
            if end - start > self.limits.toml_max {
                break;
            }
            let document = Document::part(self.source, start..end, std::mem::take(&mut part.problems));
            let parsed = document.parse_strictly();
            let is_read = match parsed {
                Ok(root) => {
                    read_tables(&document, &root, is_generated(text), |spec| {
                        part.packed.push(spec);
                    });
                    true
                }
                Err(error) => {
                    obstacle = Obstacle::NotToml(error);
                    false
                }
            };
            part.problems = document.into_problems();
            if is_read {
                part.end = end;
                return Ok(());
            }
        }
        Err(obstacle)
    }

    fn give_up(self, part: &mut Part, obstacle: Obstacle) {
        let (source, at) = (self.source, part.end);
        match obstacle {
            Obstacle::NotToml(error) => {
                // What is wrong with a window may be that it ends where it does.
                let end = source.text().floor_char_boundary(at.saturating_add(self.limits.toml_max));
                let document = Document::part(source, at..end, std::mem::take(&mut part.problems));
                document.note_syntax(document.parse_strictly().err().unwrap_or(error));
                part.problems = document.into_problems();
            }
            Obstacle::NoHeader => {
                let message = format!("more than {} KiB without a [[record]]", self.limits.toml_max >> 10);
                let hint = "no record is as long: is a quote or a bracket not closed?";
                part.problems.push(Diagnostic::at(Severity::Error, source, at..at, message, hint));
            }
        }
        let (message, hint) = ("the rest of the file was not read", "put right what is said before this");
        part.problems.push(Diagnostic::at(Severity::Error, source, at..at, message, hint));
        part.end = source.text().len();
    }
}

#[cfg(test)]
mod tests;
