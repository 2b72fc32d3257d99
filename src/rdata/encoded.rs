//! Bytes as hexadecimal, base32hex and base64 text (RFC 4648), which in records may have white space in it.

use data_encoding::{BASE32HEX_NOPAD, BASE64 as BASE64_PADDED, HEXUPPER};

use super::token::{Token, Tokens};
use super::wire::{Wire, Words};
use super::{Fault, Problem};

/// Hexadecimal, printed in upper case, read in both.
pub(super) const HEX: Encoding = Encoding {
    alphabet: &HEXUPPER,
    any_case: true,
    want: "hexadecimal digits",
    whole: "hexadecimal digits come in pairs",
};

/// Base 32 with the extended hex alphabet, unpadded, as NSEC3 has it (RFC 5155 §3.3).
pub(super) const BASE32: Encoding = Encoding {
    alphabet: &BASE32HEX_NOPAD,
    any_case: true,
    want: "base32hex (0 to 9 and A to V)",
    whole: "a base32hex character is missing or wrong at its end",
};

/// Base 64, padded.
pub(super) const BASE64: Encoding = Encoding {
    alphabet: &BASE64_PADDED,
    any_case: false,
    want: "base64",
    whole: "base64 characters come in groups of four, the last one filled up with =",
};

/// A way to write bytes with a few bits in each character.
pub(super) struct Encoding {
    alphabet: &'static data_encoding::Encoding,
    any_case: bool,
    want: &'static str,
    whole: &'static str,
}

impl Encoding {
    /// Reads all that is left of the text; at least `min` bytes.
    pub(super) fn read_rest(&self, tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>, min: usize) -> Result<(), Fault> {
        let first = if min > 0 { Some(tokens.word()?) } else { tokens.next_word()? };
        let Some(first) = first else { return Ok(()) };
        let mut pieces = vec![first];
        while let Some(token) = tokens.next_word()? {
            pieces.push(token);
        }
        let bytes = self.decode_all(&pieces, tokens.label)?;
        if bytes.len() < min {
            return Err(first.fault(Problem::TooShort { label: tokens.label, len: bytes.len(), min }));
        }
        rdata.extend_from_slice(&bytes);
        Ok(())
    }

    /// Reads one token.
    pub(super) fn decode(&self, token: Token<'_>, label: &'static str) -> Result<Vec<u8>, Fault> {
        self.decode_all(&[token], label)
    }

    /// Prints all that is left of the data; at least `min` bytes.
    pub(super) fn present_rest(&self, wire: &mut Wire<'_>, words: &mut Words, min: usize) -> Option<()> {
        let bytes = wire.rest();
        if !bytes.is_empty() {
            words.word(self.encode(bytes));
        }
        (bytes.len() >= min).then_some(())
    }

    /// The text of some bytes.
    pub(super) fn encode(&self, bytes: &[u8]) -> String {
        self.alphabet.encode(bytes)
    }

    /// Reads text that stands in pieces.
    fn decode_all(&self, pieces: &[Token<'_>], label: &'static str) -> Result<Vec<u8>, Fault> {
        let mut text: String = pieces.iter().map(|piece| piece.raw).collect();
        if self.any_case {
            text.make_ascii_uppercase();
        }
        let cut_off = || {
            let at = pieces.last().map_or(0, |last| last.at + last.raw.len());
            Fault { at, problem: Problem::CutOff { label, want: self.whole } }
        };
        // Filled up in the middle, it would be read as several texts.
        let is_filled_early = text.find('=').is_some_and(|first| first + 2 < text.len());
        match self.alphabet.decode(text.as_bytes()) {
            Ok(bytes) if !is_filled_early => Ok(bytes),
            // A wrong character is named, also where the length is wrong as well.
            _ => Err(self.wrong_character(pieces, label).unwrap_or_else(cut_off)),
        }
    }

    /// The first character that is none of the alphabet, or comes after the text was filled up.
    fn wrong_character(&self, pieces: &[Token<'_>], label: &'static str) -> Option<Fault> {
        let specification = self.alphabet.specification();
        let mut is_filled = false;
        let characters = pieces.iter().flat_map(|piece| piece.raw.char_indices().map(|(at, c)| (piece.at + at, c)));
        for (at, found) in characters {
            let c = if self.any_case { found.to_ascii_uppercase() } else { found };
            if specification.padding == Some(c) {
                is_filled = true;
            } else if is_filled || !specification.symbols.contains(c) {
                return Some(Fault { at, problem: Problem::Not { found: found.to_string(), label, want: self.want } });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(encoding: &Encoding, raw: &str) -> Option<Vec<u8>> {
        encoding.decode(Token { at: 0, raw }, "X").ok()
    }

    #[test]
    fn rfc_4648_test_vectors() {
        for (bytes, hex, base32, base64) in [
            ("", "", "", ""),
            ("f", "66", "CO", "Zg=="),
            ("fo", "666F", "CPNG", "Zm8="),
            ("foo", "666F6F", "CPNMU", "Zm9v"),
            ("foob", "666F6F62", "CPNMUOG", "Zm9vYg=="),
            ("fooba", "666F6F6261", "CPNMUOJ1", "Zm9vYmE="),
            ("foobar", "666F6F626172", "CPNMUOJ1E8", "Zm9vYmFy"),
        ] {
            for (encoding, text) in [(&HEX, hex), (&BASE32, base32), (&BASE64, base64)] {
                assert_eq!(encoding.encode(bytes.as_bytes()), text);
                assert_eq!(decode(encoding, text).as_deref(), Some(bytes.as_bytes()), "{text}");
            }
        }
        assert_eq!(decode(&HEX, "aF"), Some(vec![0xaf]));
        assert_eq!(decode(&BASE32, "cpnmu"), Some(b"foo".to_vec()));
    }

    #[test]
    fn what_is_cut_off_or_wrong_is_refused() {
        for text in ["0", "0G", "0x0", "0=", "é"] {
            assert_eq!(decode(&HEX, text), None, "{text}");
        }
        for text in ["C", "CPN", "CPNMUO", "CP", "WW"] {
            assert_eq!(decode(&BASE32, text), None, "{text}");
        }
        for text in ["Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm8", "Zm9=", "=Zg=", "Zg==Zg==", "====", "Zm9-"] {
            assert_eq!(decode(&BASE64, text), None, "{text}");
        }
    }
}
