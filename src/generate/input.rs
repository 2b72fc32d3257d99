//! From bytes to documents: encodings, several JSON documents one after the other, zone files.

use serde_json::Value;

use super::message::{Messages, Place};
use crate::azure::metadata::is_zone_file;

/// An input of the command: what it is called, and its bytes.
#[derive(Debug)]
pub struct Input {
    /// The file's name, or `standard input`.
    pub name: String,
    /// What was read.
    pub bytes: Vec<u8>,
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
}

/// The documents of an input. What cannot be read ends it with an error.
pub(super) fn documents(input: &Input, messages: &mut Messages) -> Vec<Document> {
    let start = Place { input: input.name.clone(), document: 0, at: String::new() };
    let Some(text) = decode(&input.bytes) else {
        messages.error(
            Some(&start),
            "this is neither UTF-8 nor UTF-16 with a byte order mark",
            "save the output of az as UTF-8",
        );
        return Vec::new();
    };
    if is_zone_file(&text) {
        return vec![Document { place: start, content: Content::ZoneFile(text) }];
    }
    let mut values = Vec::new();
    for value in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
        match value {
            Ok(value) => values.push(value),
            Err(error) => {
                let at = start.at(&format!("{}:{}", error.line(), error.column()));
                messages.error(Some(&at), format!("this is not JSON: {}", reason(&error)), hint(&error));
                return Vec::new();
            }
        }
    }
    if values.is_empty() {
        messages.error(Some(&start), "the input is empty", "did the az command before it fail?");
    }
    let several = values.len() > 1;
    let number = |at: usize| if several { at + 1 } else { 0 };
    let place = |at| Place { document: number(at), at: "$".to_owned(), ..start.clone() };
    values
        .into_iter()
        .enumerate()
        .map(|(at, value)| Document { place: place(at), content: Content::Json(value) })
        .collect()
}

/// UTF-8, with its mark or without, or UTF-16 with its mark: what shells redirect into files.
fn decode(bytes: &[u8]) -> Option<String> {
    let utf16 = |unit: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        rest.is_empty().then(|| String::from_utf16(&pairs.iter().map(|pair| unit(*pair)).collect::<Vec<_>>()).ok())?
    };
    match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        [0xFF, 0xFE, rest @ ..] => utf16(u16::from_le_bytes, rest),
        [0xFE, 0xFF, rest @ ..] => utf16(u16::from_be_bytes, rest),
        _ => String::from_utf8(bytes.to_vec()).ok(),
    }
}

/// The parser's reason without the place, which stands elsewhere in the message.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

fn hint(error: &serde_json::Error) -> &'static str {
    if error.is_eof() {
        "the text ends too early: is the file whole?"
    } else {
        "let az print JSON: add `--output json`"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (Vec<Value>, Vec<String>) {
        let mut messages = Messages::default();
        let input = Input { name: "in.json".into(), bytes: bytes.to_vec() };
        let values = documents(&input, &mut messages)
            .into_iter()
            .map(|document| match document.content {
                Content::Json(value) => value,
                Content::ZoneFile(text) => Value::from(text),
            })
            .collect();
        (values, messages.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_encoding_that_shells_write() {
        let text = "{\"a\": \"\u{e9}\"}\n[]\n";
        let le: Vec<u8> = [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect();
        let marked = [&[0xEF, 0xBB, 0xBF], text.as_bytes()].concat();
        for bytes in [text.as_bytes(), &le, &be, &marked] {
            let (values, messages) = read(bytes);
            assert_eq!((values.len(), messages.len()), (2, 0), "{bytes:?}");
            assert_eq!(values[0]["a"], "\u{e9}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_place() {
        for (bytes, expected) in [
            (&b"{\n  \"a\": ]"[..], "in.json:2:8"),
            (b"{", "is the file whole?"),
            (b"  ", "the input is empty"),
            (b"ERROR: az", "--output json"),
            (b"\xff\xfea", "neither UTF-8"),
            (b"\"\xff\"", "neither UTF-8"),
        ] {
            let (values, messages) = read(bytes);
            assert!(values.is_empty() && messages.len() == 1 && messages[0].contains(expected), "{messages:?}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(read(deep.as_bytes()).1.len(), 1);
    }
}
