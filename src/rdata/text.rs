//! Names, character-strings and longer texts.

use std::fmt::Write;

use super::token::{Token, Tokens};
use super::wire::{Wire, Words};
use super::{Fault, Problem};
use crate::wire::{Name, name::Presented};

/// The largest size of a character-string, bytes (RFC 1035 §3.3).
const STRING_MAX: usize = 255;

/// Reads a domain name; it is absolute with or without the final dot.
pub(super) fn read_name(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let token = tokens.word()?;
    name(token, tokens.label).map(|name| rdata.extend_from_slice(name.as_wire()))
}

/// Reads names to the end of the text, also none.
pub(super) fn read_names(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    while let Some(token) = tokens.next_word()? {
        rdata.extend_from_slice(name(token, tokens.label)?.as_wire());
    }
    Ok(())
}

fn name(token: Token<'_>, label: &'static str) -> Result<Name, Fault> {
    Name::parse(token.raw).map_err(|error| token.fault(Problem::Name { found: token.shown(), label, error }))
}

/// Prints a name with its final dot.
pub(super) fn present_name(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    let name = wire.name()?;
    let dot = if name.len() > 1 { "." } else { "" };
    words.word(format_args!("{}{dot}", Presented(name)));
    Some(())
}

/// Prints names to the end of the data.
pub(super) fn present_names(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    while !wire.is_empty() {
        present_name(wire, words)?;
    }
    Some(())
}

/// Reads one character-string, with or without quotes.
pub(super) fn read_string(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let token = tokens.some()?;
    push_string(token, rdata)
}

/// Reads a character-string if the text goes on.
pub(super) fn read_optional_string(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    tokens.next()?.map_or(Ok(()), |token| push_string(token, rdata))
}

/// Reads character-strings to the end of the text, at least one.
pub(super) fn read_strings(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    read_string(tokens, rdata)?;
    while let Some(token) = tokens.next()? {
        push_string(token, rdata)?;
    }
    Ok(())
}

fn push_string(token: Token<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let bytes = token.bytes()?;
    let len = u8::try_from(bytes.len()).map_err(|_| token.fault(Problem::StringTooLong(bytes.len())))?;
    rdata.push(len);
    rdata.extend_from_slice(&bytes);
    Ok(())
}

/// Prints one character-string in quotes.
pub(super) fn present_string(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    wire.counted().map(|bytes| words.word(quoted(bytes)))
}

/// Prints a character-string if the data goes on.
pub(super) fn present_optional_string(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    if wire.is_empty() { Some(()) } else { present_string(wire, words) }
}

/// Prints character-strings to the end of the data, at least one.
pub(super) fn present_strings(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    present_string(wire, words)?;
    while !wire.is_empty() {
        present_string(wire, words)?;
    }
    Some(())
}

/// Reads one text of any length that fills the rest of the data; at least `min` bytes.
pub(super) fn read_long(min: usize, tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let token = tokens.some()?;
    let bytes = token.bytes()?;
    if bytes.len() < min {
        return Err(token.fault(Problem::TooShort { label: tokens.label, len: bytes.len(), min }));
    }
    rdata.extend_from_slice(&bytes);
    Ok(())
}

/// Prints the rest of the data as one text in quotes; at least `min` bytes.
pub(super) fn present_long(min: usize, wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    let bytes = wire.rest();
    words.word(quoted(bytes));
    (bytes.len() >= min).then_some(())
}

/// Reads the tag of a CAA property: letters and digits (RFC 8659 §4.1).
pub(super) fn read_tag(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let token = tokens.word()?;
    if !is_tag(token.raw.as_bytes()) {
        return Err(tokens.not(token, "letters and digits, such as issue, issuewild or iodef"));
    }
    push_string(token, rdata)
}

/// Prints the tag of a CAA property.
pub(super) fn present_tag(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    let tag = wire.counted().filter(|tag| is_tag(tag))?;
    words.word(tag.escape_ascii());
    Some(())
}

fn is_tag(tag: &[u8]) -> bool {
    (1..=STRING_MAX).contains(&tag.len()) && tag.iter().all(u8::is_ascii_alphanumeric)
}

/// A text in quotes; what is not printable ASCII as `\DDD`, so that it can break no line and no terminal.
pub(super) fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(text, "\\{byte:03}")),
        }
    }
    text.push('"');
    text
}
