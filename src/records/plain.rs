//! Records in the shape that `pldns generate` and people write, read without a TOML parser.
//!
//! ```toml
//! [[record]]                       # comments may stand at the end of lines and between them
//! name = "host.example.com"
//! data = ["10.1.0.5", '10.1.0.6']  # a list may go over several lines
//! ```
//!
//! Texts stand in one line, without escapes; keys are bare and stand once. Whatever is written otherwise, or is wrong in
//! any way, is not plain: nothing here says why, and the TOML parser has the word. So a plain record must mean here what
//! it means there, and that is the one rule of this file.

use std::ops::Range;

use super::packed::{Packed, Rest, Texts};
use super::spec::{parse_prefix, ttl_seconds};
use crate::document::parse_duration;
use crate::wire::Rtype;

/// How the table of a record begins.
pub(super) const HEADER: &str = "[[record]]";

/// What stands in a record.
#[derive(Default)]
pub(super) struct PlainRecord<'t> {
    name: Option<&'t str>,
    rtype: Option<&'t str>,
    ttl: Option<&'t str>,
    data: Vec<&'t str>,
    clients: Vec<&'t str>,
}

impl<'t> PlainRecord<'t> {
    /// Reads the record whose header begins at byte `at`; says where the next header, or the end of the text, is.
    /// Nothing when it is not plain.
    pub(super) fn read(&mut self, text: &'t str, at: usize) -> Option<usize> {
        (self.name, self.rtype, self.ttl) = (None, None, None);
        self.data.clear();
        self.clients.clear();
        let mut cursor = Cursor { text, at };
        cursor.take(HEADER)?;
        cursor.end_line()?;
        loop {
            cursor.skip_lines()?;
            match cursor.peek() {
                None => return Some(cursor.at),
                // Any other table may be a part of this record.
                Some(b'[') => return cursor.rest().starts_with(HEADER.as_bytes()).then_some(cursor.at),
                Some(_) => self.read_key(&mut cursor)?,
            }
        }
    }

    fn read_key(&mut self, cursor: &mut Cursor<'t>) -> Option<()> {
        let key = cursor.bare_key();
        cursor.skip_spaces();
        cursor.take("=")?;
        cursor.skip_spaces();
        let once = |place: &mut Option<&'t str>, text: &'t str| place.replace(text).is_none().then_some(());
        match key {
            "name" => once(&mut self.name, cursor.text()?)?,
            "type" => once(&mut self.rtype, cursor.text()?)?,
            "ttl" => once(&mut self.ttl, cursor.text()?)?,
            "data" => cursor.texts(&mut self.data)?,
            "clients" => cursor.texts(&mut self.clients)?,
            _ => return None,
        }
        cursor.end_line()
    }

    /// Packs the record that was read; nothing when what it says is not in order.
    pub(super) fn pack(&self, at: usize, packed: &mut Packed) -> Option<()> {
        let rtype = Rtype::parse(self.rtype?).filter(|rtype| !rtype.is_meta())?;
        let texts = Texts { name: self.name?, rtype, data: &self.data };
        if texts.data.is_empty() {
            return None;
        }
        let ttl = match self.ttl {
            Some(text) => Some(ttl_seconds(parse_duration(text)?)?),
            None => None,
        };
        let at = u32::try_from(at).ok()?;
        if self.clients.is_empty() {
            return packed.push_texts(&texts, Rest { ttl, clients: &[], at });
        }
        let clients: Vec<_> = self.clients.iter().map(|text| parse_prefix(text)).collect::<Option<_>>()?;
        packed.push_texts(&texts, Rest { ttl, clients: &clients, at })
    }
}

/// Where the first header is, when nothing but blank lines and comments stands in front of it; the end of the text when
/// there is none.
///
/// # Errors
/// Where something else is in front of it.
pub(super) fn first_header(text: &str) -> Result<usize, usize> {
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut cursor = Cursor { text, at: start };
    let is_header = cursor.skip_lines().is_some() && matches!(cursor.peek(), None | Some(b'['));
    if is_header { Ok(cursor.at) } else { Err(cursor.at) }
}

/// Where the name of the record is written whose header begins at byte `at`, its quotes included; nothing when it is not
/// plain.
pub(super) fn name_span(text: &str, at: usize) -> Option<Range<usize>> {
    let mut record = PlainRecord::default();
    record.read(text, at)?;
    let name = record.name?;
    let start = name.as_ptr() as usize - text.as_ptr() as usize;
    Some(start.checked_sub(1)?..start + name.len() + 1)
}

struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    #[inline]
    fn rest(&self) -> &'t [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn take(&mut self, expected: &str) -> Option<()> {
        self.rest().starts_with(expected.as_bytes()).then(|| self.at += expected.len())
    }

    #[inline]
    fn skip_spaces(&mut self) {
        self.skip_while(|byte| matches!(byte, b' ' | b'\t'));
    }

    #[inline]
    fn skip_while(&mut self, fits: impl Fn(u8) -> bool) {
        let rest = self.rest();
        self.at += rest.iter().position(|&byte| !fits(byte)).unwrap_or(rest.len());
    }

    fn bare_key(&mut self) -> &'t str {
        let start = self.at;
        self.skip_while(|byte| byte.is_ascii_lowercase());
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Takes the rest of a line: spaces, a comment, and the newline or the end of the text.
    fn end_line(&mut self) -> Option<()> {
        self.skip_spaces();
        if self.peek() == Some(b'#') {
            self.skip_while(|byte| byte == b'\t' || byte >= b' ' && byte != 0x7f);
        }
        match self.peek() {
            None => Some(()),
            Some(b'\n') => self.take("\n"),
            Some(_) => self.take("\r\n"),
        }
    }

    /// Takes lines that are blank or hold a comment alone, and the spaces in front of what comes then.
    fn skip_lines(&mut self) -> Option<()> {
        loop {
            self.skip_spaces();
            match self.peek() {
                Some(b'#' | b'\n' | b'\r') => self.end_line()?,
                _ => return Some(()),
            }
        }
    }

    /// A text in one line without escapes.
    fn text(&mut self) -> Option<&'t str> {
        let quote = self.peek().filter(|byte| matches!(byte, b'"' | b'\''))?;
        self.at += 1;
        let start = self.at;
        self.skip_while(|byte| matches!(byte, b' '..=b'~') && byte != quote && byte != b'\\');
        let text = self.text.get(start..self.at)?;
        if self.peek()? != quote {
            return None;
        }
        self.at += 1;
        // Two quotes and a third one begin a text of many lines; no third one can follow here.
        Some(text)
    }

    /// One text, or a list of at least one, for a key that did not stand yet.
    fn texts(&mut self, into: &mut Vec<&'t str>) -> Option<()> {
        if !into.is_empty() {
            return None;
        }
        if self.peek() != Some(b'[') {
            into.push(self.text()?);
            return Some(());
        }
        self.at += 1;
        loop {
            self.skip_lines()?;
            if self.peek() == Some(b']') {
                self.at += 1;
                return (!into.is_empty()).then_some(());
            }
            into.push(self.text()?);
            self.skip_lines()?;
            if self.peek() != Some(b']') {
                self.take(",")?;
            }
        }
    }
}
