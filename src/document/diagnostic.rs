//! What is wrong in a file, where, and what to do about it.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Newlines are counted in blocks of so many octets, so that a place is found without a walk through the whole text.
const LINE_BLOCK: usize = 1 << 12;

/// A file's text with the name under which it is reported.
#[derive(Debug, Clone)]
pub struct SourceText {
    name: Arc<str>,
    text: Arc<String>,
    /// How many newlines there are in front of each block; counted when first asked.
    lines: Arc<OnceLock<Vec<usize>>>,
}

impl SourceText {
    /// A text that was read from the file called `name`.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: Arc::new(text.into()), lines: Arc::default() }
    }

    /// The name under which the file is reported.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column (both from 1, columns in characters) of an octet of the text.
    pub fn line_and_column(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (self.newlines_before(before.len()) + 1, column)
    }

    fn newlines_before(&self, at: usize) -> usize {
        let count = |octets: &[u8]| octets.iter().filter(|&&octet| octet == b'\n').count();
        let octets = self.text.as_bytes();
        let sums = self.lines.get_or_init(|| {
            let mut sum = 0;
            let blocks = octets.chunks(LINE_BLOCK);
            let sum_before = |block| {
                let before = sum;
                sum += count(block);
                before
            };
            blocks.map(sum_before).collect()
        });
        let block = (at / LINE_BLOCK).min(sums.len().saturating_sub(1));
        let sum = sums.get(block).copied().unwrap_or_default();
        sum + octets.get(block * LINE_BLOCK..at).map_or(0, count)
    }

    /// `file:line:column` of an octet of the text.
    pub fn place(&self, at: usize) -> String {
        let (line, column) = self.line_and_column(at);
        format!("{}:{line}:{column}", self.name)
    }

    fn line_at(&self, at: usize) -> &str {
        let at = at.min(self.text.len());
        let start = self.text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
        self.text.get(start..).unwrap_or_default().lines().next().unwrap_or_default()
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing is served from this file.
    Error,
    /// Legal, and a known trap.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One problem: where, the line itself, what is wrong, what to do.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// `file:line:column`, or the file alone where the problem has no place in it.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
    /// The offending line with the columns to mark, where there is one.
    line: Option<(String, Range<usize>)>,
}

impl Diagnostic {
    /// A problem at `span` (octets) of `source`.
    pub fn at(
        severity: Severity,
        source: &SourceText,
        span: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let line = source.line_at(span.start);
        let (_, column) = source.line_and_column(span.start);
        let marked =
            source.text().get(span.clone()).map_or(1, |text| text.lines().next().unwrap_or_default().chars().count());
        Self {
            severity,
            place: source.place(span.start),
            message: message.into(),
            hint: hint.into(),
            line: Some((line.to_owned(), column - 1..column - 1 + marked.max(1))),
        }
    }

    /// A problem with a file as a whole: it cannot be read, or nothing matches.
    pub fn of_file(
        severity: Severity,
        file: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { severity, place: file.into(), message: message.into(), hint: hint.into(), line: None }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.severity, self.message)?;
        if let Some((line, marked)) = &self.line {
            // Tabs and other control characters would shift the marks, and could do worse to a terminal.
            let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            write!(f, "\n  | {line}\n  | {}{}", " ".repeat(marked.start), "^".repeat(marked.len()))?;
        }
        if !self.hint.is_empty() {
            write!(f, "\n  = hint: {}", self.hint)?;
        }
        Ok(())
    }
}

/// All problems of a run, in the order found.
#[derive(Debug, Clone, Default)]
pub struct Problems(Vec<Diagnostic>);

impl Problems {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Adds all of another list.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// Whether there is an error among them.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// How many are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }
}

impl Problems {
    /// How many there are, as in `1 error, 2 warnings`; `no problems` where there are none.
    pub fn summary(&self) -> String {
        let count = |severity| {
            let count = self.count(severity);
            format!("{count} {severity}{}", if count == 1 { "" } else { "s" })
        };
        if self.0.is_empty() {
            return "no problems".to_owned();
        }
        format!("{}, {}", count(Severity::Error), count(Severity::Warning))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|diagnostic| writeln!(f, "{diagnostic}"))
    }
}
