//! What is wrong in a file, where, and what to do about it.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Places are counted in blocks of so many bytes, so that one is found without a walk through the whole text.
const BLOCK: usize = 1 << 12;
/// Problems of each severity that are kept; the others are counted.
pub const PROBLEMS_MAX: usize = 1000;
/// Characters of a line that are shown with a problem, and in front of what is marked.
const SHOWN_MAX: usize = 400;
const SHOWN_BEFORE: usize = 60;
/// Characters of a message or hint, which may repeat what a file says.
const TEXT_MAX: usize = 1000;

/// A file's text with the name under which it is reported.
#[derive(Debug, Clone)]
pub struct SourceText {
    name: Arc<str>,
    text: Arc<String>,
    /// What is in front of each block; counted when first asked.
    blocks: Arc<OnceLock<Vec<Block>>>,
}

/// What is in front of a block of a text.
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    newlines: usize,
    characters: usize,
    /// Where the line begins that goes on in the block.
    line_start: usize,
}

impl SourceText {
    /// A text that was read from the file called `name`.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: Arc::new(text.into()), blocks: Arc::default() }
    }

    /// The name under which the file is reported.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column (both from 1, columns in characters) of a byte of the text. Costs the same wherever it is and however
    /// long the line.
    pub fn line_and_column(&self, at: usize) -> (usize, usize) {
        let before = self.before(at);
        let column = before.characters - self.before(before.line_start).characters + 1;
        (before.newlines + 1, column)
    }

    /// What is in front of a byte of the text.
    fn before(&self, at: usize) -> Block {
        let bytes = self.text.as_bytes();
        let at = at.min(bytes.len());
        let blocks = self.blocks.get_or_init(|| {
            let mut next = Block::default();
            let blocks = bytes.chunks(BLOCK).enumerate();
            blocks
                .map(|(number, block)| {
                    let behind = next.behind(number * BLOCK, block);
                    std::mem::replace(&mut next, behind)
                })
                .collect()
        });
        let number = (at / BLOCK).min(blocks.len().saturating_sub(1));
        let start = number * BLOCK;
        blocks.get(number).copied().unwrap_or_default().behind(start, bytes.get(start..at).unwrap_or_default())
    }

    /// `file:line:column` of a byte of the text.
    pub fn place(&self, at: usize) -> String {
        let (line, column) = self.line_and_column(at);
        format!("{}:{line}:{column}", self.name)
    }

    /// What is shown of the line of a span: a part of it where it is long, and which characters of that to mark.
    fn excerpt(&self, span: &Range<usize>) -> (String, Range<usize>) {
        let line_start = self.before(span.start).line_start;
        let (_, column) = self.line_and_column(span.start);
        let line = |from: usize| self.text.get(from..).unwrap_or_default().lines().next().unwrap_or_default();
        let shown = |text: &str| text.chars().take(SHOWN_MAX + 1).collect::<String>();
        let (mut text, mark) = if column - 1 > SHOWN_BEFORE {
            let before = self.text.get(line_start..span.start).unwrap_or_default();
            let before: String = before.chars().rev().take(SHOWN_BEFORE).collect();
            let before: String = before.chars().rev().collect();
            (format!("…{before}{}", shown(line(span.start))), SHOWN_BEFORE + 1)
        } else {
            (shown(line(line_start)), column - 1)
        };
        if let Some((end, _)) = text.char_indices().nth(SHOWN_MAX) {
            text.truncate(end);
            text.push('…');
        }
        let marked = self.text.get(span.clone()).unwrap_or_default().lines().next().unwrap_or_default();
        let marked = marked.chars().take(SHOWN_MAX).count().min(text.chars().count().saturating_sub(mark));
        (text, mark..mark + marked.max(1))
    }
}

impl Block {
    /// What is in front of the text that follows `bytes`, which begin at `start`.
    fn behind(self, start: usize, bytes: &[u8]) -> Self {
        // Bytes that begin a character in UTF-8.
        let characters = bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        let newlines = bytes.iter().filter(|&&byte| byte == b'\n').count();
        let line_start = bytes.iter().rposition(|&byte| byte == b'\n').map_or(self.line_start, |at| start + at + 1);
        Self { newlines: self.newlines + newlines, characters: self.characters + characters, line_start }
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
    /// A problem at `span` (bytes) of `source`.
    pub fn at(
        severity: Severity,
        source: &SourceText,
        span: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            place: source.place(span.start),
            message: shortened(message.into()),
            hint: shortened(hint.into()),
            line: Some(source.excerpt(&span)),
        }
    }

    /// A problem with a file as a whole: it cannot be read, or nothing matches.
    pub fn of_file(
        severity: Severity,
        file: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let (message, hint) = (shortened(message.into()), shortened(hint.into()));
        Self { severity, place: file.into(), message, hint, line: None }
    }
}

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(TEXT_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
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

/// The problems of a run, in the order found: the first 1,000 errors and the first 1,000 warnings, and how many more there
/// are. So what a broken file takes of memory, log and terminal is bounded, however it is broken.
#[derive(Debug, Clone, Default)]
pub struct Problems {
    kept: Vec<Diagnostic>,
    counts: Counts,
}

/// How many problems there are.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    errors: usize,
    warnings: usize,
}

impl Counts {
    fn of(&mut self, severity: Severity) -> &mut usize {
        match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        }
    }
}

impl Problems {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.push_with(diagnostic.severity, || diagnostic);
    }

    /// Adds one of this severity, which is only put into words if it is kept.
    pub fn push_with(&mut self, severity: Severity, diagnostic: impl FnOnce() -> Diagnostic) {
        let count = self.counts.of(severity);
        *count += 1;
        if *count <= PROBLEMS_MAX {
            self.kept.push(diagnostic());
        }
    }

    /// Adds all of another list.
    pub fn extend(&mut self, more: Self) {
        let uncounted = more.more();
        more.kept.into_iter().for_each(|diagnostic| self.push(diagnostic));
        self.count_more(uncounted.errors, uncounted.warnings);
    }

    /// Counts some that are not kept.
    pub fn count_more(&mut self, errors: usize, warnings: usize) {
        self.counts.errors += errors;
        self.counts.warnings += warnings;
    }

    /// Whether there is an error among them.
    pub fn has_errors(&self) -> bool {
        self.counts.errors > 0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are, those included that are not kept.
    pub fn len(&self) -> usize {
        self.counts.errors + self.counts.warnings
    }

    /// Those that are kept.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.kept.iter()
    }

    /// How many are of this severity, those included that are not kept.
    pub fn count(&self, severity: Severity) -> usize {
        let mut counts = self.counts;
        *counts.of(severity)
    }

    /// How many there are besides those that are kept, in words; nothing where there are none.
    pub fn rest(&self) -> Option<String> {
        let more = self.more();
        let count = |count: usize, what: &str| match count {
            0 => None,
            1 => Some(format!("1 more {what}")),
            _ => Some(format!("{count} more {what}s")),
        };
        let counts: Vec<String> =
            [count(more.errors, "error"), count(more.warnings, "warning")].into_iter().flatten().collect();
        (!counts.is_empty()).then(|| format!("{} not shown", counts.join(" and ")))
    }

    /// How many there are, as in `1 error, 2 warnings`; `no problems` where there are none.
    pub fn summary(&self) -> String {
        let count = |severity| {
            let count = self.count(severity);
            format!("{count} {severity}{}", if count == 1 { "" } else { "s" })
        };
        if self.is_empty() {
            return "no problems".to_owned();
        }
        format!("{}, {}", count(Severity::Error), count(Severity::Warning))
    }

    fn more(&self) -> Counts {
        let mut more = self.counts;
        for diagnostic in &self.kept {
            *more.of(diagnostic.severity) -= 1;
        }
        more
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kept.iter().try_for_each(|diagnostic| writeln!(f, "{diagnostic}"))?;
        self.rest().map_or(Ok(()), |rest| writeln!(f, "{rest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_thousand_of_each_severity_are_kept_and_the_rest_is_counted() {
        let source = SourceText::new("x", "one line");
        let problem = |severity| Diagnostic::at(severity, &source, 0..3, "wrong", "");
        let mut problems = Problems::default();
        for _ in 0..PROBLEMS_MAX + 5 {
            problems.push(problem(Severity::Warning));
        }
        assert!(!problems.has_errors());
        let mut others = Problems::default();
        for _ in 0..PROBLEMS_MAX + 1 {
            others.push_with(Severity::Error, || problem(Severity::Error));
        }
        others.push_with(Severity::Error, || unreachable!("it is not kept"));
        problems.extend(others);
        assert_eq!(problems.iter().count(), 2 * PROBLEMS_MAX);
        assert_eq!((problems.count(Severity::Error), problems.count(Severity::Warning)), (1002, 1005));
        assert_eq!(problems.len(), 2007);
        assert_eq!(problems.rest().as_deref(), Some("2 more errors and 5 more warnings not shown"));
        assert!(problems.to_string().ends_with("\n2 more errors and 5 more warnings not shown\n"));
    }

    #[test]
    fn places_are_found_in_every_block() {
        let text = ["é".repeat(3000), "\n".repeat(5000), "x".repeat(10_000), "\r\ny".to_owned()].concat();
        let source = SourceText::new("x", text.clone());
        for at in (0..=text.len()).step_by(17).filter(|&at| text.is_char_boundary(at)) {
            let before = &text[..at];
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            let expected = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
            assert_eq!(source.line_and_column(at), expected, "{at}");
        }
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_shown() {
        let text = format!("{}WRONG{}", "é".repeat(100_000), "b".repeat(100_000));
        let source = SourceText::new("x", text.clone());
        let at = text.find("WRONG").unwrap();
        let shown = Diagnostic::at(Severity::Error, &source, at..at + 5, text.clone(), text.clone()).to_string();
        assert!(shown.len() < 8000, "{} bytes", shown.len());
        assert!(shown.starts_with("x:1:100001: error: éé"), "{shown}");
        let lines: Vec<Vec<char>> = shown.lines().map(|line| line.chars().collect()).collect();
        let mark = lines[2].iter().position(|&c| c == '^').unwrap();
        let marked: String = lines[1][mark..].iter().zip(&lines[2][mark..]).map(|(c, _)| c).collect();
        assert_eq!(marked, "WRONG");
        let whole = Diagnostic::at(Severity::Error, &source, at..text.len(), "", "").to_string();
        assert!(whole.len() < 2500 && whole.contains('^'), "{whole}");
    }
}
