//! Messages of `generate`: where, what, and the next step, as [`Diagnostic`]s like those of settings and records.
//!
//! Metadata is written by others: every string taken from it goes through [`printable`] before it reaches a terminal
//! or a comment.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::panic::Location;
use std::time::SystemTime;

use crate::document::{Diagnostic, Severity, SourceText};

/// A place in an input, and what tells it from other places when sources disagree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The input's name: a file's, or `standard input`.
    pub input: String,
    /// Which of several documents in it, from 1; 0 when it has only one.
    pub document: usize,
    /// A JSON path, or `line:column`, or "".
    pub at: String,
    /// The number of the object among all objects of the run, in the order of the inputs.
    pub order: usize,
    /// When the object was last changed by its own word, milliseconds since 1970.
    pub changed: Option<i64>,
    /// When its input was last written.
    pub written: Option<SystemTime>,
}

/// The messages of a run, in the order in which they arose.
#[derive(Debug, Default)]
pub struct Messages {
    list: Vec<Message>,
    seen: HashSet<(String, String)>,
    lenient: bool,
}

/// A message and what kind it is: all messages that one line of this program writes are of one kind.
#[derive(Debug)]
struct Message {
    kind: &'static Location<'static>,
    diagnostic: Diagnostic,
    /// Whether `--lenient` would make a warning of it.
    may_be_lenient: bool,
}

impl Messages {
    /// No messages yet. With `lenient`, what concerns one name or object is a warning instead of an error.
    pub(super) fn new(lenient: bool) -> Self {
        Self { lenient, ..Self::default() }
    }

    /// One name or object cannot be used; with `--lenient` the rest can.
    #[track_caller]
    pub(super) fn error(&mut self, place: Option<&Place>, text: impl Into<String>, hint: impl Into<String>) {
        let severity = if self.lenient { Severity::Warning } else { Severity::Error };
        self.push(Location::caller(), of_place(severity, place, text.into(), hint.into()), true);
    }

    /// The whole run failed, whatever the options say.
    #[track_caller]
    pub(super) fn fatal(&mut self, place: Option<&Place>, text: impl Into<String>, hint: impl Into<String>) {
        self.push(Location::caller(), of_place(Severity::Error, place, text.into(), hint.into()), false);
    }

    #[track_caller]
    pub(super) fn warning(&mut self, place: Option<&Place>, text: impl Into<String>, hint: impl Into<String>) {
        self.push(Location::caller(), of_place(Severity::Warning, place, text.into(), hint.into()), false);
    }

    /// Something is wrong at `span` (bytes) of a text input: an error, or a warning with `--lenient`.
    #[track_caller]
    pub(super) fn error_at(&mut self, source: &SourceText, span: Range<usize>, text: String, hint: String) {
        let severity = if self.lenient { Severity::Warning } else { Severity::Error };
        self.push(Location::caller(), Diagnostic::at(severity, source, span, text, hint), true);
    }

    /// Something at `span` (bytes) of a text input was passed over.
    #[track_caller]
    pub(super) fn warning_at(&mut self, source: &SourceText, span: Range<usize>, text: String, hint: String) {
        self.push(Location::caller(), Diagnostic::at(Severity::Warning, source, span, text, hint), false);
    }

    /// As [`error`](Self::error), the first time only, wherever the same text comes up again.
    #[track_caller]
    pub(super) fn error_once(&mut self, place: &Place, text: String, hint: String) {
        if self.seen.insert((String::new(), text.clone())) {
            self.error(Some(place), text, hint);
        }
    }

    fn push(&mut self, kind: &'static Location<'static>, diagnostic: Diagnostic, may_be_lenient: bool) {
        if self.seen.insert((diagnostic.place.clone(), diagnostic.message.clone())) {
            self.list.push(Message { kind, diagnostic, may_be_lenient });
        }
    }

    /// Whether no records may come out.
    pub fn has_error(&self) -> bool {
        self.list.iter().any(|message| message.diagnostic.severity == Severity::Error)
    }

    /// Whether `--lenient` would let the rest of the records come out.
    pub(super) fn lenient_would_help(&self) -> bool {
        let mut errors = self.list.iter().filter(|message| message.diagnostic.severity == Severity::Error).peekable();
        errors.peek().is_some() && errors.all(|message| message.may_be_lenient)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are, those beyond the first ten of a kind included.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// What to show: of each kind the first ten, then one line with the number of the rest.
    pub fn shown(&self) -> Vec<Diagnostic> {
        let is_error = |message: &Message| message.diagnostic.severity == Severity::Error;
        let mut totals: BTreeMap<(&Location<'_>, bool), usize> = BTreeMap::new();
        for message in &self.list {
            *totals.entry((message.kind, is_error(message))).or_default() += 1;
        }
        let mut shown = Vec::new();
        let mut counts: BTreeMap<(&Location<'_>, bool), usize> = BTreeMap::new();
        for message in &self.list {
            let kind = (message.kind, is_error(message));
            let count = counts.entry(kind).or_default();
            *count += 1;
            if *count <= SHOWN_OF_A_KIND {
                shown.push(message.diagnostic.clone());
            }
            let rest = totals.get(&kind).copied().unwrap_or_default().saturating_sub(SHOWN_OF_A_KIND);
            if *count == SHOWN_OF_A_KIND && rest > 0 {
                let text = format!("{rest} more messages of this kind were left out");
                shown.push(of_place(message.diagnostic.severity, None, text, String::new()));
            }
        }
        shown
    }
}

fn of_place(severity: Severity, place: Option<&Place>, text: String, hint: String) -> Diagnostic {
    let place = place.map_or_else(|| "generate".to_owned(), Place::to_string);
    Diagnostic::of_file(severity, place, text, hint)
}

impl Place {
    /// The beginning of an input.
    pub(super) fn of_input(input: &str, written: Option<SystemTime>) -> Self {
        Self { input: input.to_owned(), document: 0, at: String::new(), order: 0, changed: None, written }
    }

    /// The same document, elsewhere.
    pub(super) fn at(&self, path: &str) -> Self {
        Self { at: path.to_owned(), ..self.clone() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.input))?;
        if self.document > 0 {
            write!(f, ", document {}", self.document)?;
        }
        match self.at.as_str() {
            "" | "$" => Ok(()),
            at if at.starts_with('$') => write!(f, ", {}", printable(at)),
            at => write!(f, ":{}", printable(at)),
        }
    }
}

/// A string written by others, fit for one line of a terminal or a comment: what is not printable ASCII is escaped, and
/// what is longer than 200 characters is shortened.
pub fn printable(text: &str) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == PRINTABLE_MAX {
            out.push_str("...");
            break;
        }
        match c {
            ' '..='~' => out.push(c),
            _ => out.extend(c.escape_default()),
        }
    }
    out
}

/// A string written by others as one word of a shell command, or `placeholder` when it is not plainly harmless there.
pub(super) fn shell_word(text: Option<&str>, placeholder: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let Some(text) = text.filter(|text| !text.is_empty() && !text.starts_with('-')) else {
        return placeholder.to_owned();
    };
    if text.chars().all(harmless) {
        text.to_owned()
    } else if text.chars().all(|c| harmless(c) || "() ".contains(c)) {
        format!("'{text}'")
    } else {
        placeholder.to_owned()
    }
}

const PRINTABLE_MAX: usize = 200;
/// Messages of one kind that are shown.
const SHOWN_OF_A_KIND: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_others_are_made_harmless() {
        assert_eq!(printable("a\n\u{1b}[31m\u{e9}"), r"a\n\u{1b}[31m\u{e9}");
        assert_eq!(printable(&"x".repeat(300)).len(), 203);
        assert_eq!(shell_word(Some("/subscriptions/a-b"), "ID"), "/subscriptions/a-b");
        assert_eq!(shell_word(Some("rg (old)"), "ID"), "'rg (old)'");
        for text in ["$(id)", "a'b", "a;b", "", "`id`", "-x", "a\nb"] {
            assert_eq!(shell_word(Some(text), "ID"), "ID", "{text}");
        }
    }

    #[test]
    fn ten_of_a_kind_are_shown_and_the_rest_is_counted() {
        let mut messages = Messages::new(false);
        for number in 0..25 {
            messages.error(None, format!("name {number}"), "");
        }
        messages.warning(None, "another kind", "");
        let shown = messages.shown();
        assert_eq!((messages.len(), shown.len()), (26, 12));
        assert_eq!(shown[10].message, "15 more messages of this kind were left out");
        assert_eq!(shown[11].message, "another kind");
    }

    #[test]
    fn lenient_makes_warnings_of_what_concerns_one_name() {
        let mut messages = Messages::new(true);
        messages.error(None, "one name", "");
        assert!(!messages.has_error());
        messages.fatal(None, "everything", "");
        assert!(messages.has_error() && !messages.lenient_would_help());
    }
}
