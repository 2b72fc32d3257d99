//! Domain names in wire form (RFC 1035 §3.1): length byte, label, ..., zero byte; at most 255 bytes.
//!
//! Names are compared as wire labels, byte by byte without regard to ASCII case (RFC 4343), never as text: a dot
//! inside a label does not end it. Text is read and written in presentation form (RFC 1035 §5.1, RFC 4343 §2.1):
//! `\.` and `\DDD` escape what is not a plain character.

use std::fmt;

/// The largest size of a name in wire form, bytes (RFC 1035 §2.3.4).
pub const NAME_MAX: usize = 255;
/// The largest size of a label, bytes (RFC 1035 §2.3.4).
pub const LABEL_MAX: usize = 63;

/// A domain name in wire form: uncompressed, ending in the root label, case kept as given.
///
/// Equality and hashing ignore ASCII case (RFC 4343).
#[derive(Clone)]
pub struct Name(Box<[u8]>);

/// An owner name whose first label is a `*` and a fixed part: it stands for every name in its place whose first label
/// ends or begins so. pldns's own, beside the wildcards of RFC 4592.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartialWildcard<'n> {
    /// `*-end`: first labels that end in these bytes.
    Ending(&'n [u8]),
    /// `start-*`: first labels that begin with these bytes.
    Beginning(&'n [u8]),
}

/// What a `*` in an owner name means where it is not at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MisplacedStar {
    /// It stands in a label with other characters around it, or in a label further on: the name matches nothing but
    /// itself.
    InLabel,
    /// A label that is `*` alone, below a first label that is a pattern: a `*` never stands for a label here.
    BelowPattern,
    /// A label that is `*` alone, below plain labels: a name as any other (RFC 4592 §2.2.1, `sub.*.example`).
    Plain,
}

/// Why a text is no domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No characters at all; the root is written `.`.
    #[error("a name cannot be empty (the root is written \".\")")]
    Empty,
    /// Two dots in a row or a leading dot.
    #[error("a label is empty: there are two dots in a row, or one at the start")]
    EmptyLabel,
    /// A label of more than 63 bytes.
    #[error("the label \"{0}\" is longer than 63 bytes")]
    LabelTooLong(String),
    /// More than 255 bytes.
    #[error("the name is longer than 255 bytes")]
    TooLong,
    /// A backslash with nothing usable behind it.
    #[error("a backslash must be followed by three decimal digits up to 255, or by one character")]
    BadEscape,
    /// A character outside letters, digits, hyphen, underscore and (as first label) `*`.
    #[error("the character {0:?} (U+{code:04X}) is not allowed in a name", code = *.0 as u32)]
    BadCharacter(char),
}

impl Name {
    /// The root name.
    pub fn root() -> Self {
        Self(Box::new([0]))
    }

    /// Reads presentation form. With or without the final dot the name is absolute.
    ///
    /// Letters, digits, `-`, `_`, `*` and `/` may stand plain; every other byte must be escaped, so that look-alike
    /// characters and other separators (U+3002) are refused instead of becoming different names.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let mut wire = Vec::with_capacity(text.len() + 2);
        push_parsed(&mut wire, text)?;
        Ok(Self(wire.into_boxed_slice()))
    }

    /// Takes a name that is already in uncompressed wire form; nothing when it is not one, or has bytes behind it.
    pub fn from_wire(wire: &[u8]) -> Option<Self> {
        (wire_len(wire)? == wire.len()).then(|| Self(wire.into()))
    }

    /// The wire form, ending in the zero byte.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The labels from left to right, without the root label.
    pub fn labels(&self) -> Labels<'_> {
        labels(&self.0)
    }

    /// The name without its first label; nothing for the root.
    pub fn parent(&self) -> Option<Self> {
        parent(&self.0).map(|wire| Self(wire.into()))
    }

    /// The same name with ASCII letters in lower case.
    pub fn to_lowercase(&self) -> Self {
        Self(self.0.to_ascii_lowercase().into_boxed_slice())
    }

    /// Whether this name is `zone` or lies below it.
    pub fn is_within(&self, zone: &Self) -> bool {
        is_within(&self.0, &zone.0)
    }

    /// The name with one more label in front; nothing when it would be too long.
    pub fn child(&self, label: &[u8]) -> Option<Self> {
        let mut wire = Vec::with_capacity(self.0.len() + label.len() + 1);
        push_label(&mut wire, label).ok()?;
        wire.extend_from_slice(&self.0);
        (wire.len() <= NAME_MAX).then(|| Self(wire.into_boxed_slice()))
    }

    /// Whether the first label is `*` alone: a wildcard (RFC 4592 §2.1.1).
    pub fn is_wildcard(&self) -> bool {
        is_wildcard(&self.0)
    }

    /// What the first label must end in or begin with, where it is a partial wildcard.
    pub fn partial_wildcard(&self) -> Option<PartialWildcard<'_>> {
        partial_wildcard(&self.0)
    }

    /// Whether a label says that the name belongs in one of Azure's private DNS zones.
    pub fn is_privatelink(&self) -> bool {
        is_privatelink(&self.0)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        for byte in &self.0 {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Presented(&self.0).fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Presented(&self.0).fmt(f)
    }
}

/// A name in uncompressed wire form, printed in presentation form without the final dot (the root as `.`).
///
/// Everything but letters, digits, `-`, `_`, `*` and `/` is escaped, so that nothing a client puts in a name can break
/// a log line or a terminal.
#[derive(Clone, Copy)]
pub struct Presented<'a>(pub &'a [u8]);

impl fmt::Display for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for label in labels(self.0) {
            if !first {
                f.write_str(".")?;
            }
            first = false;
            for &byte in label {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'*' | b'/' => {
                        write!(f, "{}", byte as char)?
                    }
                    b'.' | b'\\' | b'"' | b'@' | b'$' | b'(' | b')' | b';' => write!(f, "\\{}", byte as char)?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
        }
        if first { f.write_str(".") } else { Ok(()) }
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The labels of a name in uncompressed wire form, from left to right, without the root label.
#[derive(Clone)]
pub struct Labels<'a>(&'a [u8]);

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&len, rest) = self.0.split_first()?;
        if len == 0 {
            return None;
        }
        let (label, rest) = rest.split_at_checked(len as usize)?;
        self.0 = rest;
        Some(label)
    }
}

/// The labels of a name in uncompressed wire form.
pub fn labels(wire: &[u8]) -> Labels<'_> {
    Labels(wire)
}

/// The name behind the first label; nothing for the root.
pub fn parent(wire: &[u8]) -> Option<&[u8]> {
    let (&len, rest) = wire.split_first()?;
    if len == 0 { None } else { rest.get(len as usize..) }
}

/// Whether the first label is `*` alone: a wildcard (RFC 4592 §2.1.1).
pub fn is_wildcard(name: &[u8]) -> bool {
    name.starts_with(&[1, b'*'])
}

/// What the first label must end in or begin with, where it is a partial wildcard.
pub fn partial_wildcard(name: &[u8]) -> Option<PartialWildcard<'_>> {
    let is_fixed = |part: &[u8]| !part.is_empty() && !part.contains(&b'*');
    match labels(name).next()? {
        [b'*', end @ ..] if is_fixed(end) => Some(PartialWildcard::Ending(end)),
        [start @ .., b'*'] if is_fixed(start) => Some(PartialWildcard::Beginning(start)),
        _ => None,
    }
}

/// What a `*` means that is not the first label, or at an end of it; nothing where there is none. The gravest is said.
pub fn misplaced_star(name: &[u8]) -> Option<MisplacedStar> {
    let is_pattern = is_wildcard(name) || partial_wildcard(name).is_some();
    let mut found = None;
    for (number, label) in labels(name).enumerate().filter(|(_, label)| label.contains(&b'*')) {
        match (number, label) {
            (0, _) if is_pattern => {}
            (1, b"*") if is_pattern => found = Some(MisplacedStar::BelowPattern),
            (1.., b"*") => found = found.or(Some(MisplacedStar::Plain)),
            _ => return Some(MisplacedStar::InLabel),
        }
    }
    found
}

/// Whether a label says that its name belongs in one of Azure's private DNS zones: `privatelink`, or
/// `privatelink-global` (Azure Virtual Desktop).
pub fn is_privatelink_label(label: &[u8]) -> bool {
    label.eq_ignore_ascii_case(b"privatelink") || label.eq_ignore_ascii_case(b"privatelink-global")
}

/// Whether a name belongs in one of Azure's private DNS zones.
pub fn is_privatelink(name: &[u8]) -> bool {
    labels(name).any(is_privatelink_label)
}

/// How a name with characters of other scripts is written in DNS: in A-labels (RFC 5890 §2.3.2.1). Nothing where there
/// are no such characters, or they form no name.
pub fn a_label_form(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    idna::domain_to_ascii(text).ok().filter(|name| Name::parse(name).is_ok())
}

/// Whether `name` is `zone` or lies below it, both in uncompressed wire form, without regard to ASCII case.
pub fn is_within(name: &[u8], zone: &[u8]) -> bool {
    let mut rest = name;
    while rest.len() > zone.len() {
        match parent(rest) {
            Some(up) => rest = up,
            None => return false,
        }
    }
    rest.eq_ignore_ascii_case(zone)
}

/// How long the uncompressed name at the start of `wire` is; `None` when there is none (a pointer, a label or name
/// that is too long, or no end).
pub fn wire_len(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let len = *wire.get(at)? as usize;
        if len > LABEL_MAX {
            return None;
        }
        at += 1 + len;
        if at > NAME_MAX {
            return None;
        }
        if len == 0 {
            return Some(at);
        }
    }
}

/// Reads presentation form as [`Name::parse`] does and appends the wire form to `out`.
///
/// # Errors
/// [`NameError`] when the text is no name; what is behind the old end of `out` is then of no use.
pub fn push_parsed(out: &mut Vec<u8>, text: &str) -> Result<(), NameError> {
    let start = out.len();
    match text {
        "" => return Err(NameError::Empty),
        "." => {
            out.push(0);
            return Ok(());
        }
        _ => {}
    }
    let mut rest = text.chars();
    let mut label = start; // where the length byte of the label being read is
    out.push(0);
    while let Some(c) = rest.next() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '*' | '/' => out.push(c as u8),
            '.' => {
                close_label(out, label)?;
                label = out.len();
                out.push(0);
            }
            '\\' => out.push(read_escape(&mut rest)?),
            other => return Err(NameError::BadCharacter(other)),
        }
    }
    // Behind a final dot there is the root label, which is there already.
    if !text.ends_with('.') || out.len() - label > 1 {
        close_label(out, label)?;
        out.push(0);
    }
    if out.len() - start > NAME_MAX { Err(NameError::TooLong) } else { Ok(()) }
}

/// Writes the length of the label whose length byte stands at `at` and which ends with `out`.
fn close_label(out: &mut [u8], at: usize) -> Result<(), NameError> {
    let Some((len, label)) = out.get_mut(at..).and_then(<[u8]>::split_first_mut) else {
        return Err(NameError::EmptyLabel);
    };
    *len = label_len(label)?;
    Ok(())
}

fn push_label(wire: &mut Vec<u8>, label: &[u8]) -> Result<(), NameError> {
    wire.push(label_len(label)?);
    wire.extend_from_slice(label);
    Ok(())
}

/// The length of a label, which must have one.
fn label_len(label: &[u8]) -> Result<u8, NameError> {
    match u8::try_from(label.len()) {
        Ok(0) => Err(NameError::EmptyLabel),
        Ok(len) if usize::from(len) <= LABEL_MAX => Ok(len),
        _ => Err(NameError::LabelTooLong(label.escape_ascii().to_string())),
    }
}

fn read_escape(rest: &mut std::str::Chars<'_>) -> Result<u8, NameError> {
    let first = rest.next().ok_or(NameError::BadEscape)?;
    let Some(hundreds) = first.to_digit(10) else {
        return u8::try_from(first).map_err(|_| NameError::BadEscape);
    };
    let mut digit = || rest.next().and_then(|c| c.to_digit(10)).ok_or(NameError::BadEscape);
    let value = hundreds * 100 + digit()? * 10 + digit()?;
    u8::try_from(value).map_err(|_| NameError::BadEscape)
}

#[cfg(test)]
mod tests;
