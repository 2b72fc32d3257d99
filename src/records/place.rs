//! Where records are written: file and line of every RRset, for explanations.
//!
//! Eight bytes for each RRset, beside the table and not in it: a query never reads them. All files' lines are numbered
//! through, so that one number says file and line.

use std::sync::Arc;

use crate::document::SourceText;

/// A number that no line has.
const NO_LINE: u32 = u32::MAX;

/// Where a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordPlace<'t> {
    /// The file as it is reported.
    pub file: &'t str,
    /// The line, from 1.
    pub line: u32,
}

/// The files with the number of each one's first line.
#[derive(Debug, Default)]
pub(super) struct FileLines(Vec<(Arc<str>, u32)>);

impl FileLines {
    pub(super) fn new(sources: &[SourceText]) -> Self {
        let mut first = 0_u32;
        let files = sources.iter().map(|source| {
            let start = first;
            let lines = source.text().bytes().filter(|&byte| byte == b'\n').count() + 1;
            first = first.saturating_add(u32::try_from(lines).unwrap_or(NO_LINE));
            (Arc::from(source.name()), start)
        });
        Self(files.collect())
    }

    /// The number of a file's line, which is counted from 0.
    pub(super) fn number(&self, file: usize, line: usize) -> u32 {
        let first = self.0.get(file).map_or(NO_LINE, |(_, first)| *first);
        first.saturating_add(u32::try_from(line).unwrap_or(NO_LINE))
    }
}

/// The lines of all RRsets of a table.
#[derive(Debug, Default)]
pub(super) struct Places {
    files: FileLines,
    /// Entry and line of each RRset, in the order of the arena.
    lines: Vec<(u32, u32)>,
}

impl Places {
    pub(super) fn new(files: FileLines, rrsets: usize) -> Self {
        Self { files, lines: Vec::with_capacity(rrsets) }
    }

    /// Notes the next RRset of the entry at this offset.
    pub(super) fn push(&mut self, entry: u32, line: Option<u32>) {
        self.lines.push((entry, line.unwrap_or(NO_LINE)));
    }

    /// Where the RRset with this number (from 0) of the entry at this offset is written.
    pub(super) fn find(&self, entry: u32, number: usize) -> Option<RecordPlace<'_>> {
        let first = self.lines.partition_point(|(known, _)| *known < entry);
        let (known, line) = self.lines.get(first + number)?;
        if *known != entry || *line == NO_LINE {
            return None;
        }
        let file = self.files.0.partition_point(|(_, first)| first <= line).checked_sub(1)?;
        let (name, first) = self.files.0.get(file)?;
        Some(RecordPlace { file: name, line: line - first + 1 })
    }

    pub(super) fn memory(&self) -> usize {
        self.lines.capacity() * size_of::<(u32, u32)>()
    }
}
