//! TOML documents as operators write them: read key by key, every problem noted with its place, none of them fatal.
//!
//! [`TableReader`] gives typed values of a table and remembers which keys were asked for; what is left over at the end
//! is an unknown key, reported with the nearest known one. Problems collect in a [`Problems`] list, so that one run
//! reports all of them. This room knows TOML and places, not what any key means.

mod diagnostic;
mod syntax;
mod units;

use std::cell::{Cell, RefCell};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use diagnostic::{Diagnostic, PROBLEMS_MAX, Problems, Severity, SourceText};
pub use units::{parse_duration, parse_size};

/// A document being read: its text and the problems found in it so far.
pub struct Document<'d> {
    source: &'d SourceText,
    text: &'d str,
    /// Where in the file the text begins.
    start: usize,
    problems: RefCell<Problems>,
    /// The header of a table has no end.
    has_unclosed_header: Cell<bool>,
}

/// Why a text is no TOML document: the first error.
#[derive(Debug, Clone)]
pub struct SyntaxError {
    /// Bytes of the text.
    span: Range<usize>,
    message: String,
}

impl<'d> Document<'d> {
    /// Starts reading `source`.
    pub fn new(source: &'d SourceText) -> Self {
        Self {
            source,
            text: source.text(),
            start: 0,
            problems: RefCell::default(),
            has_unclosed_header: Cell::default(),
        }
    }

    /// Starts reading a part of `source` as if it were a file of its own; problems have their places in the whole and are
    /// added to `problems`. A part that is none (not within the text) is empty.
    pub fn part(source: &'d SourceText, part: Range<usize>, problems: Problems) -> Self {
        let text = source.text().get(part.clone()).unwrap_or_default();
        let problems = RefCell::new(problems);
        Self { source, text, start: part.start, problems, has_unclosed_header: Cell::default() }
    }

    /// Where in the file the byte `at` of the text being read is.
    pub fn in_file(&self, at: usize) -> usize {
        self.start + at
    }

    /// The problems found.
    pub fn into_problems(self) -> Problems {
        self.problems.into_inner()
    }

    /// Parses the text; syntax errors are noted and what could be read is returned. Of a text with more errors than are
    /// kept, nothing is.
    pub fn parse(&self) -> DeTable<'d> {
        if let Some((errors, more)) = syntax::many_errors(self.text) {
            errors.into_iter().for_each(|error| self.note_syntax(error));
            self.problems.borrow_mut().count_more(more, 0);
            return DeTable::new();
        }
        let (table, errors) = DeTable::parse_recoverable(self.text);
        errors.iter().for_each(|error| self.note_syntax(SyntaxError::of(error)));
        table.into_inner()
    }

    /// `file:line:column` of a place of the text.
    pub fn place(&self, at: usize) -> String {
        self.source.place(self.in_file(at))
    }

    /// Parses the text where it is well-formed; nothing is noted.
    ///
    /// # Errors
    /// The first [`SyntaxError`].
    pub fn parse_strictly(&self) -> Result<DeTable<'d>, SyntaxError> {
        DeTable::parse(self.text).map(Spanned::into_inner).map_err(|error| SyntaxError::of(&error))
    }

    /// Notes that the text is not TOML.
    pub fn note_syntax(&self, error: SyntaxError) {
        if error.message.starts_with("unclosed table") {
            self.has_unclosed_header.set(true);
        }
        let hint = match self.line_of_the_first(&error) {
            Some(line) => format!("the first is in line {line}: put both into one"),
            None => "see https://toml.io for the format".to_owned(),
        };
        self.error(error.span, format!("not TOML: {}", error.message), hint);
    }

    /// Whether the header of a table was not closed, so that the keys below it seem to be the file's.
    pub fn has_unclosed_header(&self) -> bool {
        self.has_unclosed_header.get()
    }

    /// Where a table stood before, if the error is that its header comes again.
    fn line_of_the_first(&self, error: &SyntaxError) -> Option<usize> {
        if error.message != "duplicate key" {
            return None;
        }
        let before = self.text.get(..error.span.start)?;
        let header = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
        let again = header(self.text.lines().nth(before.matches('\n').count())?);
        if !again.starts_with('[') {
            return None;
        }
        let at = before.lines().position(|line| header(line) == again)?;
        let head = self.source.text().get(..self.start)?;
        Some(head.matches('\n').count() + at + 1)
    }

    /// Notes an error at a place of the text.
    pub fn error(&self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        self.note(Severity::Error, span, message, hint);
    }

    /// Notes a warning at a place of the text.
    pub fn warning(&self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        self.note(Severity::Warning, span, message, hint);
    }

    fn note(&self, severity: Severity, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        let span = self.in_file(span.start)..self.in_file(span.end);
        let diagnostic = || Diagnostic::at(severity, self.source, span, message, hint);
        self.problems.borrow_mut().push_with(severity, diagnostic);
    }

    /// Notes an error whose message is only put together if it is kept.
    fn error_with(&self, span: &Range<usize>, message: impl FnOnce() -> String, hint: &str) {
        let span = self.in_file(span.start)..self.in_file(span.end);
        let diagnostic = || Diagnostic::at(Severity::Error, self.source, span, message(), hint);
        self.problems.borrow_mut().push_with(Severity::Error, diagnostic);
    }

    /// Reads `table`, which `path` names in messages.
    pub fn reader<'t>(&'t self, table: &'t DeTable<'t>, path: &'t str) -> TableReader<'t> {
        TableReader { document: self, table, path, asked: RefCell::default() }
    }
}

impl SyntaxError {
    fn of(error: &toml::de::Error) -> Self {
        let message = error.message().lines().next().unwrap_or_default().to_owned();
        Self { span: error.span().unwrap_or(0..0), message }
    }
}

/// A table of a document, read key by key.
pub struct TableReader<'t> {
    document: &'t Document<'t>,
    table: &'t DeTable<'t>,
    path: &'t str,
    asked: RefCell<Vec<&'static str>>,
}

/// A value together with its place.
#[derive(Debug, Clone)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Bytes of the text that it was read from.
    pub span: Range<usize>,
}

impl<'t> TableReader<'t> {
    /// The value of `key`, whatever it is.
    pub fn value(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        self.table.get(key)
    }

    /// Where the value of `key` is written, for messages about it.
    pub fn value_span(&self, key: &str) -> Option<Range<usize>> {
        self.table.get(key).map(Spanned::span)
    }

    /// Where `key` is written, for messages about it.
    pub fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.table.get_key_value(key).map(|(key, _)| key.span())
    }

    /// A text.
    pub fn text(&self, key: &'static str) -> Option<Placed<&'t str>> {
        let value = self.value(key)?;
        match value.get_ref().as_str() {
            Some(text) => Some(Placed { value: text, span: value.span() }),
            None => {
                self.wrong_text(key, value, "a string in quotes");
                None
            }
        }
    }

    /// A list of texts, or one text in its place.
    pub fn texts(&self, key: &'static str) -> Option<Vec<Placed<&'t str>>> {
        let value = self.value(key)?;
        if let Some(text) = value.get_ref().as_str() {
            return Some(vec![Placed { value: text, span: value.span() }]);
        }
        let Some(list) = value.get_ref().as_array() else {
            self.wrong_text(key, value, "a string in quotes or a list of them");
            return None;
        };
        let mut texts = Vec::with_capacity(list.len());
        for item in list {
            match item.get_ref().as_str() {
                Some(text) => texts.push(Placed { value: text, span: item.span() }),
                None => self.wrong_text(key, item, "a string in quotes"),
            }
        }
        Some(texts)
    }

    /// The strings of `key`, whether it is a list or one, without a word on what else there may be.
    pub fn strings(&self, key: &'static str) -> Vec<Placed<&'t str>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let items = value.get_ref().as_array().map_or_else(|| std::slice::from_ref(value), |list| list.as_ref());
        let text =
            |item: &'t Spanned<DeValue<'t>>| item.get_ref().as_str().map(|value| Placed { value, span: item.span() });
        items.iter().filter_map(text).collect()
    }

    /// A text that `read` understands; `expected` says what it should have been.
    pub fn parsed<T>(
        &self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<Placed<T>> {
        if let Some(value) = self.value(key)
            && let Some(number) = value.get_ref().as_integer()
        {
            let unit = if expected.contains("size") { "MiB" } else { "s" };
            let message = format!("`{key}` in {} must be {expected} in quotes, with its unit", self.path);
            self.document.error(value.span(), message, format!("{key} = \"{}{unit}\"", number.as_str()));
            return None;
        }
        let Placed { value, span } = self.text(key)?;
        match read(value) {
            Some(value) => Some(Placed { value, span }),
            None => {
                self.document.error(
                    span,
                    format!("`{key}` is not {expected}"),
                    format!("{key} = {}", example(expected)),
                );
                None
            }
        }
    }

    /// One of a few words, each with its meaning.
    pub fn word<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let Placed { value, span } = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == value);
        if found.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let hint = match nearest(value, &words) {
                Some(word) => format!("did you mean \"{word}\"?"),
                None => format!("{key} = \"{}\"", words.first().copied().unwrap_or_default()),
            };
            self.document.error(span, format!("`{key}` must be one of {}", words.join(", ")), hint);
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// A whole number from `range`; `example` is one that makes sense.
    pub fn number(&self, key: &'static str, range: std::ops::RangeInclusive<u64>, example: u64) -> Option<Placed<u64>> {
        let value = self.value(key)?;
        let number = value.get_ref().as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
        match number {
            Some(number) if range.contains(&number) => Some(Placed { value: number, span: value.span() }),
            _ => {
                let expected = format!("a whole number from {} to {}", range.start(), range.end());
                match value.get_ref().as_integer() {
                    Some(number) => {
                        let message = format!("`{key}` in {} must be {expected}, not {}", self.path, number.as_str());
                        self.document.error(value.span(), message, format!("{key} = {example}"));
                    }
                    None => self.wrong(key, value, &expected, &format!("{key} = {example}")),
                }
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong(key, value, "true or false", &format!("{key} = true"));
        }
        flag
    }

    /// A table, or an empty one where there is none.
    pub fn table(&self, key: &'static str) -> Option<&'t DeTable<'t>> {
        let value = self.value(key)?;
        if value.get_ref().as_table().is_none() {
            self.wrong(key, value, &format!("a table, written [{key}]"), &format!("[{key}]"));
        }
        value.get_ref().as_table()
    }

    /// The tables of a list written `[[key]]`, each with its place.
    pub fn tables(&self, key: &'static str) -> Vec<Placed<&'t DeTable<'t>>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(list) = value.get_ref().as_array() else {
            self.wrong(key, value, &format!("a list of tables, written [[{key}]]"), &format!("[[{key}]]"));
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(list.len());
        for item in list {
            match item.get_ref().as_table() {
                Some(table) => tables.push(Placed { value: table, span: item.span() }),
                None => self.wrong(key, item, &format!("a table, written [[{key}]]"), &format!("[[{key}]]")),
            }
        }
        tables
    }

    /// Notes that a required key is missing from the table that stands at `span`.
    pub fn missing(&self, span: &Range<usize>, key: &str, hint: &str) {
        if !self.table.contains_key(key) {
            self.document.error_with(span, || format!("{} has no `{key}`", self.path), hint);
        }
    }

    /// Notes every key that nothing asked for.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if asked.contains(&name) {
                continue;
            }
            let hint = match nearest(name, &asked) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", unique(&asked).join(", ")),
            };
            self.document.error(key.span(), format!("unknown key `{}` in {}", name.escape_debug(), self.path), hint);
        }
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str, hint: &str) {
        let found = value.get_ref().type_str();
        let message = format!("`{key}` in {} must be {expected}, not {found}", self.path);
        self.document.error(value.span(), message, hint);
    }

    /// The hint has what was found in quotes, where that makes sense.
    fn wrong_text(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let text = match value.get_ref() {
            DeValue::Integer(number) => format!("{key} = \"{}\"", number.as_str()),
            DeValue::Float(number) => format!("{key} = \"{}\"", number.as_str()),
            _ if expected.contains("list") => format!("{key} = [\"...\"]"),
            _ => format!("{key} = \"...\""),
        };
        self.wrong(key, value, expected, &text);
    }
}

/// An example that fits a description of a value.
fn example(expected: &str) -> &'static str {
    match expected {
        e if e.contains("duration") => "\"60s\" (units: ms, s, m, h, d)",
        e if e.contains("size") => "\"64MiB\" (units: B, KiB, MiB, GiB)",
        _ => "\"...\"",
    }
}

/// The words without repetitions, in their order.
fn unique<'w>(words: &[&'w str]) -> Vec<&'w str> {
    let mut seen = Vec::with_capacity(words.len());
    for word in words {
        if !seen.contains(word) {
            seen.push(*word);
        }
    }
    seen
}

/// The known word that is one or two changes away from `word`.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|known| (distance(word, known), *known))
        .filter(|&(d, known)| d <= 2 && d < known.len())
        .min()
        .map(|(_, known)| known)
}

/// Edit distance (Levenshtein) between two short words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, cb) in row.iter_mut().skip(1).zip(&b) {
            let changed = diagonal + usize::from(ca != *cb);
            diagonal = *cell;
            *cell = changed.min(left + 1).min(diagonal + 1);
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_noted_with_its_place() {
        let source = SourceText::new("pldns.toml", "[listen]\ndsn = []\nadmin = 5\n".to_owned());
        let document = Document::new(&source);
        let root = document.parse();
        let reader = document.reader(&root, "the file");
        let listen = document.reader(reader.table("listen").unwrap(), "[listen]");
        assert!(listen.texts("dns").is_none());
        assert!(listen.text("admin").is_none());
        listen.finish();
        reader.finish();
        drop(root);
        let shown = document.into_problems().to_string();
        assert!(
            shown.contains("pldns.toml:3:9: error: `admin` in [listen] must be a string in quotes, not integer"),
            "{shown}"
        );
        assert!(shown.contains("pldns.toml:2:1: error: unknown key `dsn` in [listen]"), "{shown}");
        assert!(shown.contains("did you mean `dns`?") && shown.contains("dsn = []\n"), "{shown}");
    }

    #[test]
    fn near_words_are_found() {
        assert_eq!(nearest("lisen", &["listen", "forward"]), Some("listen"));
        assert_eq!(nearest("zone", &["listen", "forward"]), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
