//! From bytes to documents: encodings, JSON documents one after the other with messages of commands between them, zone
//! files, lines and CSV.

use std::time::SystemTime;

use serde_json::Value;

use super::csv::Line;
use super::message::{Messages, Place, printable};
use super::text::{self, Text};
use crate::azure::metadata::{Row, is_zone_file};
use crate::document::SourceText;

/// An input of the command: its name and its bytes.
#[derive(Debug)]
pub struct Input {
    /// The file's name, or `standard input`.
    pub name: String,
    /// What was read.
    pub bytes: Vec<u8>,
    /// When it was last written, where that is known: what [`Prefer::Newest`](super::Prefer) goes by.
    pub written: Option<SystemTime>,
}

/// One document and where it comes from.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) place: Place,
    pub(super) content: Content,
}

/// What a document is.
#[derive(Debug)]
pub(super) enum Content {
    Json(Value),
    ZoneFile(String),
    /// Lines of address and names.
    Lines(Vec<Row>),
    /// CSV: each line as an object, with its `line:column`.
    Csv(Vec<(String, Line)>),
}

/// The documents of an input. What cannot be read is a message; the rest of the input is read all the same.
pub(super) fn documents(input: &Input, messages: &mut Messages) -> Vec<Document> {
    let start = Place::of_input(&input.name, input.written);
    let Some(text) = decode(&input.bytes) else {
        messages.error(Some(&start), "this is neither UTF-8 nor UTF-16", "save the output of the command as UTF-8");
        return Vec::new();
    };
    let text = without_colours(text);
    if is_zone_file(&text) {
        return vec![Document { place: start, content: Content::ZoneFile(text) }];
    }
    let source = SourceText::new(printable(&input.name), text);
    let contents = contents(&source, messages);
    let several = contents.len() > 1;
    let number = |at: usize| if several { at + 1 } else { 0 };
    let place = |at: usize, content: &Content| {
        let path = if matches!(content, Content::Json(_)) { "$" } else { "" };
        Place { document: number(at), at: path.to_owned(), ..start.clone() }
    };
    contents.into_iter().enumerate().map(|(at, content)| Document { place: place(at, &content), content }).collect()
}

fn contents(source: &SourceText, messages: &mut Messages) -> Vec<Content> {
    let text = source.text();
    let mut contents = Vec::new();
    let mut notices = Vec::new();
    let mut failed = false;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let skipped = rest.len() - rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{FEFF}').len();
        if skipped > 0 {
            at += skipped;
            continue;
        }
        if begins_json(rest) {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            match values.next() {
                Some(Ok(value)) => {
                    at += values.byte_offset().max(1);
                    contents.push(Content::Json(value));
                }
                Some(Err(error)) => {
                    refuse_json(source, at, &error, messages);
                    failed = true;
                    break;
                }
                None => break,
            }
            continue;
        }
        let end = run_end(rest);
        let run = rest.get(..end).unwrap_or(rest);
        let (line, _) = source.line_and_column(at);
        match text::read(run, line) {
            Text::Lines(rows) => contents.push(Content::Lines(rows)),
            Text::Csv(rows) => contents.push(Content::Csv(rows)),
            Text::Notice(line) => notices.push(at + line.start..at + line.end),
            Text::Wrong(wrong) => {
                failed = true;
                let span = at + wrong.line.start..at + wrong.line.end;
                messages.error_at(source, span, wrong.what.to_owned(), wrong.hint.to_owned());
            }
        }
        at += end.max(1);
    }
    for span in notices {
        if contents.is_empty() {
            failed = true;
            let text = "this is a message of the command, and its result is missing";
            messages.error_at(
                source,
                span,
                text.to_owned(),
                "run the command again by itself and see what it prints".to_owned(),
            );
        } else {
            let text = "this line is a message of the command, not a part of its result: it was skipped";
            let hint = "messages go to standard error: leave `2>&1` out, or add `--only-show-errors`";
            messages.warning_at(source, span, text.to_owned(), hint.to_owned());
        }
    }
    if contents.is_empty() && !failed {
        messages.error(
            Some(&Place::of_input(source.name(), None)),
            "the input is empty",
            "did the command before it fail?",
        );
    }
    contents
}

/// Whether a text begins with a JSON document of its own. A line in quotes is one only when it is one string: else it is
/// CSV.
fn begins_json(text: &str) -> bool {
    let line = text.lines().next().unwrap_or_default().trim();
    let is_string = line.starts_with('"') && serde_json::from_str::<String>(line).is_ok();
    let is_list = text.strip_prefix('[').map(str::trim_start).is_some_and(|inner| {
        // Else it is a line of a log: `[2026-03-01 10:00:00] INFO`.
        inner.is_empty() || inner.starts_with(['{', '[', '"', ']', 'n'])
    });
    text.starts_with('{')
        || is_list
        || is_string
        || ["null", "true", "false"].iter().any(|word| text.trim_end() == *word)
}

/// Where a run of lines ends: where a line begins a JSON document.
fn run_end(text: &str) -> usize {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let rest = text.get(at..).unwrap_or_default().trim_start();
        if at > 0 && rest.starts_with(['{', '[']) && begins_json(rest) {
            return at;
        }
        at += line.len();
    }
    text.len()
}

fn refuse_json(source: &SourceText, start: usize, error: &serde_json::Error, messages: &mut Messages) {
    let text = source.text();
    let rest = text.get(start..).unwrap_or_default();
    let before: usize = rest.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let line = rest.get(before..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let column = (0..=error.column().saturating_sub(1).min(line.len())).rev().find(|at| line.is_char_boundary(*at));
    let at = start + before + column.unwrap_or_default();
    let reason = error.to_string();
    let reason = reason.split(" at line ").next().unwrap_or_default();
    let hint = if error.is_eof() {
        "the text ends too early: is the file whole?"
    } else if line.trim_start().starts_with("//") || line.contains(" //") || line.contains("/*") {
        "JSON has no comments: take them out"
    } else if reason.contains("trailing comma") {
        "take the comma before the closing bracket out"
    } else {
        "let the command print JSON by itself: add `--output json`, and leave `2>&1` out"
    };
    if rest.starts_with("[[record]]") {
        let end = start + rest.lines().next().map_or(0, str::len);
        let text = "this is a records file of pldns, not metadata";
        messages.error_at(
            source,
            start..end,
            text.to_owned(),
            "it needs no conversion: name it in `[records] files`".to_owned(),
        );
        return;
    }
    // A character, so that the marks of the message fit.
    let width = text.get(at..).and_then(|rest| rest.chars().next()).filter(|c| *c != '\n').map_or(0, char::len_utf8);
    messages.error_at(source, at..at + width, format!("this is not JSON: {}", printable(reason)), hint.to_owned());
}

/// The text without the colours of a terminal, as `--output jsonc` has them.
fn without_colours(text: String) -> String {
    if !text.contains("\u{1b}[") {
        return text;
    }
    let mut parts = text.split("\u{1b}[");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(part.len());
        match part.get(end..).and_then(|rest| rest.strip_prefix('m')) {
            Some(rest) => out.push_str(rest),
            None => out.extend(["\u{1b}[", part]),
        }
    }
    out
}

/// UTF-8 or UTF-16, with a byte order mark or without: what shells redirect into files. `None` for anything else.
pub fn decode(bytes: &[u8]) -> Option<String> {
    let utf16 = |unit: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        // A final line feed of one byte is what another program added.
        let whole = rest.is_empty() || rest == b"\n";
        whole.then(|| String::from_utf16(&pairs.iter().map(|pair| unit(*pair)).collect::<Vec<_>>()).ok())?
    };
    match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        [0xFF, 0xFE, rest @ ..] => utf16(u16::from_le_bytes, rest),
        [0xFE, 0xFF, rest @ ..] => utf16(u16::from_be_bytes, rest),
        _ if zeros(bytes, 1) => utf16(u16::from_le_bytes, bytes),
        _ if zeros(bytes, 0) => utf16(u16::from_be_bytes, bytes),
        _ => String::from_utf8(bytes.to_vec()).ok(),
    }
}

/// Whether most of the bytes at this half of each pair are zero, and few of the others: ASCII in UTF-16.
fn zeros(bytes: &[u8], half: usize) -> bool {
    let (pairs, _) = bytes.as_chunks::<2>();
    let count = |half: usize| pairs.iter().take(512).filter(|pair| pair.get(half) == Some(&0)).count();
    let looked_at = pairs.len().min(512);
    looked_at > 1 && count(half) * 4 > looked_at * 3 && count(1 - half) * 4 < looked_at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (Vec<Value>, Vec<String>) {
        let mut messages = Messages::new(false);
        let input = Input { name: "in.json".into(), bytes: bytes.to_vec(), written: None };
        let values = documents(&input, &mut messages)
            .into_iter()
            .map(|document| match document.content {
                Content::Json(value) => value,
                Content::ZoneFile(text) => Value::from(text),
                other => Value::from(format!("{other:?}")),
            })
            .collect();
        (values, messages.shown().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_encoding_that_shells_write() {
        let text = "{\"a\": \"\u{e9}\"}\n[]\n";
        let le: Vec<u8> = [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect();
        let marked = [&[0xEF, 0xBB, 0xBF], text.as_bytes()].concat();
        for bytes in [text.as_bytes(), &le, &be, &le[2..], &be[2..], &marked, &[&le[..], b"\n"].concat()] {
            let (values, messages) = read(bytes);
            assert_eq!((values.len(), messages.len()), (2, 0), "{bytes:?}: {messages:?}");
            assert_eq!(values[0]["a"], "\u{e9}");
        }
        // Files with marks, one after the other.
        assert_eq!(read("\u{FEFF}{}\n\u{FEFF}{}".as_bytes()).0.len(), 2);
    }

    #[test]
    fn what_cannot_be_read_is_shown_with_its_place() {
        for (bytes, expected) in [
            (&b"{\n  \"a\": ]"[..], "in.json:2:8"),
            (b"{", "is the file whole?"),
            (b"{\n// x\n}", "JSON has no comments"),
            (b"  ", "the input is empty"),
            (b"ERROR: az", "| ERROR: az"),
            (b"\xff\xfea", "neither UTF-8"),
            (b"\"\xff\"", "neither UTF-8"),
        ] {
            let (values, messages) = read(bytes);
            assert!(values.is_empty() && messages.len() == 1 && messages[0].contains(expected), "{messages:?}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(read(deep.as_bytes()).1.len(), 1);
    }

    #[test]
    fn messages_between_documents_are_skipped_and_shown() {
        let (values, messages) = read(b"WARNING: The extension x\n{}\nWARNING: again\n[]\n");
        assert_eq!((values.len(), messages.len()), (2, 2));
        assert!(
            messages[0].starts_with("in.json:1:1: warning") && messages[0].contains("| WARNING: The extension x"),
            "{messages:?}"
        );
        let (values, messages) =
            read(b"[2026-03-01 10:00:00] INFO x\nuser@host:~$ az network nic list\n[]\n[INFO] end\n");
        assert_eq!((values.len(), messages.len()), (1, 2), "{messages:?}");
        let (values, messages) = read(b"{}\nERROR: (AuthorizationFailed) no\n[]\n");
        assert_eq!((values.len(), messages.len()), (2, 1));
        assert!(messages[0].contains("error") && messages[0].contains("lacks the right"), "{messages:?}");
    }
}
