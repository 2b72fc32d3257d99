//! The type that a query asks for, as a word of a bounded set.

use crate::wire::header::HEADER_LEN;
use crate::wire::name::wire_len;
use crate::wire::{Name, Rtype};

/// A type, or all others together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QtypeLabel {
    /// A.
    A,
    /// AAAA.
    Aaaa,
    /// CNAME.
    Cname,
    /// PTR.
    Ptr,
    /// HTTPS.
    Https,
    /// TXT.
    Txt,
    /// SRV.
    Srv,
    /// SOA.
    Soa,
    /// NS.
    Ns,
    /// MX.
    Mx,
    /// ANY.
    Any,
    /// Every other type, and queries that have no question that could be read.
    Other,
}

impl QtypeLabel {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 12] = [
        Self::A,
        Self::Aaaa,
        Self::Cname,
        Self::Ptr,
        Self::Https,
        Self::Txt,
        Self::Srv,
        Self::Soa,
        Self::Ns,
        Self::Mx,
        Self::Any,
        Self::Other,
    ];

    /// The word for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Ptr => "PTR",
            Self::Https => "HTTPS",
            Self::Txt => "TXT",
            Self::Srv => "SRV",
            Self::Soa => "SOA",
            Self::Ns => "NS",
            Self::Mx => "MX",
            Self::Any => "ANY",
            Self::Other => "other",
        }
    }

    /// Reads it out of a query's bytes.
    pub(super) fn of(query: &[u8]) -> Self {
        match type_at_question(query).map(|rtype| rtype.0) {
            Some(1) => Self::A,
            Some(28) => Self::Aaaa,
            Some(5) => Self::Cname,
            Some(12) => Self::Ptr,
            Some(65) => Self::Https,
            Some(16) => Self::Txt,
            Some(33) => Self::Srv,
            Some(6) => Self::Soa,
            Some(2) => Self::Ns,
            Some(15) => Self::Mx,
            Some(255) => Self::Any,
            _ => Self::Other,
        }
    }
}

/// The type behind the first name, whatever the rest of the message is.
pub(super) fn type_at_question(query: &[u8]) -> Option<Rtype> {
    let mut at = HEADER_LEN;
    loop {
        let len = usize::from(*query.get(at)?);
        at += 1 + len;
        match len {
            0 => break,
            1..64 => {}
            _ => return None,
        }
    }
    Some(Rtype(u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?])))
}

/// The name that a query or response has in its question, in lower case: upstream queries have a random mixture.
pub(super) fn question_name(message: &[u8]) -> Option<Name> {
    let question = message.get(HEADER_LEN..)?;
    Name::from_wire(question.get(..wire_len(question)?)?).map(|name| name.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_behind_the_name() {
        let query = |name: &[u8], rtype: u16| [&[0; 12][..], name, &rtype.to_be_bytes(), &[0, 1]].concat();
        assert_eq!(QtypeLabel::of(&query(b"\x01a\0", 28)), QtypeLabel::Aaaa);
        assert_eq!(QtypeLabel::of(&query(b"\0", 255)), QtypeLabel::Any);
        assert_eq!(QtypeLabel::of(&query(b"\0", 44)), QtypeLabel::Other);
        assert_eq!(QtypeLabel::of(&query(b"\xc0\x0c", 1)), QtypeLabel::Other);
        for len in 0..15 {
            assert_eq!(QtypeLabel::of(&query(b"\x01a\0", 1)[..len]), QtypeLabel::Other);
        }
    }

    #[test]
    fn counters_are_in_order() {
        for (place, kind) in QtypeLabel::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
    }
}
