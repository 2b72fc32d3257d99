//! What `generate` says to its user: where, what, and what to do about it.
//!
//! Metadata is written by others: every text out of it goes through [`printable`] before it reaches a terminal or a
//! comment.

use std::fmt;

/// A place in an input.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The input's name: a file's, or `standard input`.
    pub input: String,
    /// Which of several documents in it, from 1; 0 when it has only one.
    pub document: usize,
    /// A JSON path, or `line:column`, or "".
    pub at: String,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// No records come out.
    Error,
    /// Records come out, but something was left out or guessed.
    Warning,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// How bad it is.
    pub severity: Severity,
    /// Where in the input, unless it concerns all of it.
    pub place: Option<Place>,
    /// What is wrong.
    pub text: String,
    /// What to do about it, or "".
    pub hint: String,
}

/// The messages of a run, in the order in which they arose.
#[derive(Debug, Default)]
pub struct Messages(Vec<Message>);

impl Messages {
    pub(super) fn error(&mut self, place: Option<&Place>, text: impl Into<String>, hint: impl Into<String>) {
        self.push(Severity::Error, place, text.into(), hint.into());
    }

    pub(super) fn warning(&mut self, place: Option<&Place>, text: impl Into<String>, hint: impl Into<String>) {
        self.push(Severity::Warning, place, text.into(), hint.into());
    }

    /// Says it the first time only, wherever it comes up again.
    pub(super) fn error_once(&mut self, place: &Place, text: String, hint: String) {
        if !self.0.iter().any(|message| message.text == text && message.hint == hint) {
            self.push(Severity::Error, Some(place), text, hint);
        }
    }

    fn push(&mut self, severity: Severity, place: Option<&Place>, text: String, hint: String) {
        let message = Message { severity, place: place.cloned(), text, hint };
        if !self.0.contains(&message) {
            self.0.push(message);
        }
    }

    /// Whether no records may come out.
    pub fn has_error(&self) -> bool {
        self.0.iter().any(|message| message.severity == Severity::Error)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        self.0.iter()
    }
}

impl Place {
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

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{word}: {}", self.text)?;
        if let Some(place) = &self.place {
            write!(f, "\n  --> {place}")?;
        }
        if !self.hint.is_empty() {
            write!(f, "\n  hint: {}", self.hint)?;
        }
        Ok(())
    }
}

/// A text of others, fit for one line of a terminal or a comment: what is not printable ASCII is escaped, and what is
/// longer than 200 characters is cut.
pub fn printable(text: &str) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == PRINTABLE_MAX {
            out.push_str("...");
            break;
        }
        match c {
            ' '..='~' if c != '\\' => out.push(c),
            _ => out.extend(c.escape_default()),
        }
    }
    out
}

/// A text of others as one word of a shell command, or `placeholder` when it is not plainly harmless there.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_are_tamed() {
        assert_eq!(printable("a\n\u{1b}[31m\u{e9}\\"), r"a\n\u{1b}[31m\u{e9}\\");
        assert_eq!(printable(&"x".repeat(300)).len(), 203);
        assert_eq!(shell_word(Some("/subscriptions/a-b"), "ID"), "/subscriptions/a-b");
        assert_eq!(shell_word(Some("rg (old)"), "ID"), "'rg (old)'");
        for text in ["$(id)", "a'b", "a;b", "", "`id`", "-x", "a\nb"] {
            assert_eq!(shell_word(Some(text), "ID"), "ID", "{text}");
        }
    }
}
