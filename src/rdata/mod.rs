//! Record data between presentation form and uncompressed wire form (RFC 1035 §5.1, RFC 3597 and the RFC of each type).
//!
//! `schema` says for each type which fields its data has, in order. Each kind of field knows both directions, side by
//! side: text to wire in terms of `Tokens`, wire to text in terms of `Wire` and `Words`. Every
//! type, known or not, can also be written `\# LENGTH HEX`; for a known type the bytes must then fit its fields.
//!
//! What [`parse`] gives, [`present`] prints so that it reads back as the same bytes. Names in text are absolute with or
//! without their final dot. This room must never guess: text that does not fit is refused with its place and what would
//! fit, bytes that do not fit are printed as bytes.

#![deny(clippy::indexing_slicing)]

mod address;
mod bitmap;
mod encoded;
mod field;
mod generic;
mod location;
mod number;
mod relay;
mod schema;
mod service;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod token;
mod wire;

use crate::wire::{NameError, Rtype};
use field::Field;
use schema::Schema;
use token::Tokens;
use wire::{Wire, Words};

/// The largest size of record data, bytes (RFC 1035 §3.2.1: a length of 16 bits).
pub const RDATA_MAX: usize = 65535;

/// Reads one record's data from presentation form into uncompressed wire form.
///
/// White space (line ends too) between fields is free; parentheses and comments of zone files are refused.
///
/// # Errors
/// [`RdataError`] with the place in `text`, when the text is not data of this type, is larger than [`RDATA_MAX`], or
/// the type can never be a record ([`Rtype::is_meta`]).
pub fn parse(rtype: Rtype, text: &str) -> Result<Vec<u8>, RdataError> {
    read(rtype, text).map_err(|fault| RdataError { rtype, at: fault.at, problem: fault.problem })
}

/// Prints record data in presentation form, names with their final dot, everything unprintable escaped.
///
/// Data that does not fit its type, and data of types without a form of their own, comes out as `\# LENGTH HEX`
/// (RFC 3597 §5).
pub fn present(rtype: Rtype, rdata: &[u8]) -> String {
    fitting(rtype, rdata).unwrap_or_else(|| generic::present(rdata))
}

/// Why a text is not the data of a record. Printed, it says what is wrong; [`hint`](Self::hint) says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct RdataError {
    /// The type that the text was read as.
    pub rtype: Rtype,
    /// Where in the text, in bytes from its start; the text's length when something is missing at its end.
    pub at: usize,
    /// What is wrong.
    pub problem: Problem,
}

impl RdataError {
    /// What is expected instead, with an example: `PREFERENCE EXCHANGE, such as 10 mail.example.com`.
    pub fn hint(&self) -> String {
        match &self.problem {
            Problem::Meta(_) => "leave the record out".to_owned(),
            Problem::StringTooLong(_) if self.fields_repeat() => {
                r#"split it into several quoted strings of at most 255 bytes each, such as "first part" "second part""#
                    .to_owned()
            }
            Problem::Special(special) => format!(r#"put the text in quotes, or write \{special}"#),
            Problem::BadEscape => {
                r#"write \DDD for the byte with that decimal number, and \\ for a backslash"#.to_owned()
            }
            Problem::Length { .. } => generic::hint(),
            Problem::TooLong(_) => format!("record data has at most {RDATA_MAX} bytes"),
            _ => schema::find(self.rtype).map_or_else(generic::hint, Schema::hint),
        }
    }

    fn fields_repeat(&self) -> bool {
        schema::find(self.rtype).is_some_and(|schema| schema.fields.iter().any(|(_, field)| *field == Field::Strings))
    }
}

/// What is wrong with a text that should be record data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The type is for questions or for messages.
    #[error("{0} is a type of questions or messages, never of a record")]
    Meta(Rtype),
    /// The type has no form but the one of RFC 3597.
    #[error("data of type {0} has no form of its own here, only the one by length and bytes")]
    NumberOnly(Rtype),
    /// The text ends before this field.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The text goes on behind the last field.
    #[error("{0:?} is too much: the data is complete before it")]
    Extra(String),
    /// The text of a field is not what the field needs.
    #[error("{found:?} cannot be read as {label}: expected {want}")]
    Not {
        /// The text that stands there, shortened when long.
        found: String,
        /// The field.
        label: &'static str,
        /// What could stand there.
        want: &'static str,
    },
    /// No domain name.
    #[error("{found:?} cannot be read as {label}: {error}")]
    Name {
        /// The text that stands there, shortened when long.
        found: String,
        /// The field.
        label: &'static str,
        /// Why not.
        error: NameError,
    },
    /// A character-string of more than 255 bytes (RFC 1035 §3.3); its size.
    #[error("the text is {0} bytes long, and one string holds at most 255")]
    StringTooLong(usize),
    /// Quotes around something that is no text.
    #[error("{0} stands without quotes")]
    Quoted(&'static str),
    /// No closing quote.
    #[error("the quote that begins here does not end")]
    OpenQuote,
    /// A quote in the middle of a text.
    #[error("a quote inside a text must be written \\\"")]
    InnerQuote,
    /// Something follows a closing quote at once.
    #[error("a space is missing behind the closing quote")]
    NoSpace,
    /// A character with a meaning in zone files.
    #[error("{0:?} outside of quotes means something else in zone files")]
    Special(char),
    /// A backslash with nothing usable behind it.
    #[error("a backslash must be followed by three decimal digits up to 255, or by one character")]
    BadEscape,
    /// Hexadecimal or base64 text that ends in the middle of an byte.
    #[error("{label} is cut off: {want}")]
    CutOff {
        /// The field.
        label: &'static str,
        /// What the encoding needs.
        want: &'static str,
    },
    /// Fewer bytes than the field must have.
    #[error("{label} has {len} bytes, fewer than the {min} that it must have")]
    TooShort {
        /// The field.
        label: &'static str,
        /// How many there are.
        len: usize,
        /// How many there must be.
        min: usize,
    },
    /// The length and the bytes of RFC 3597's form disagree.
    #[error("the length says {said} bytes, but {given} are given")]
    Length {
        /// The stated length.
        said: usize,
        /// The number of bytes given.
        given: usize,
    },
    /// The bytes of RFC 3597's form are not data of the known type.
    #[error("these bytes do not form data of type {0}")]
    NotOf(Rtype),
    /// More data than a record can hold; its size.
    #[error("the data is {0} bytes long, more than a record can hold")]
    TooLong(usize),
    /// A service parameter stands twice.
    #[error("duplicate parameter {0}")]
    Twice(String),
    /// `mandatory` names a parameter that is not there, or the parameter that must go with another is not there.
    #[error("the parameter {needs} needs {missing}, which is not there")]
    Needs {
        /// The parameter that stands there.
        needs: &'static str,
        /// The one that is missing.
        missing: String,
    },
}

/// A problem and its place.
#[derive(Debug)]
struct Fault {
    at: usize,
    problem: Problem,
}

fn read(rtype: Rtype, text: &str) -> Result<Vec<u8>, Fault> {
    if rtype.is_meta() {
        return Err(Fault { at: 0, problem: Problem::Meta(rtype) });
    }
    let mut tokens = Tokens::new(text);
    let mut rdata = Vec::new();
    if tokens.skip_if(generic::MARK) {
        generic::read(&mut tokens, &mut rdata)?;
        if schema::find(rtype).is_some() && fitting(rtype, &rdata).is_none() {
            return Err(Fault { at: 0, problem: Problem::NotOf(rtype) });
        }
    } else {
        let schema = schema::find(rtype).ok_or(Fault { at: 0, problem: Problem::NumberOnly(rtype) })?;
        for &(label, field) in schema.fields {
            tokens.label = label.trim_matches(['[', ']', '.']);
            field.read(&mut tokens, &mut rdata)?;
        }
        tokens.end()?;
    }
    if rdata.len() > RDATA_MAX {
        return Err(Fault { at: 0, problem: Problem::TooLong(rdata.len()) });
    }
    Ok(rdata)
}

/// The data in its type's own form; nothing when it does not fit.
fn fitting(rtype: Rtype, rdata: &[u8]) -> Option<String> {
    let schema = schema::find(rtype)?;
    let mut wire = Wire(rdata);
    let mut words = Words::default();
    for &(_, field) in schema.fields {
        field.present(&mut wire, &mut words)?;
    }
    (wire.is_empty() && rdata.len() <= RDATA_MAX).then(|| words.finish())
}
