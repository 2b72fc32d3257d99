//! Bytes as hexadecimal, base32hex and base64 text (RFC 4648), which in records may have white space in it.

use super::token::{Token, Tokens};
use super::wire::{Wire, Words};
use super::{Fault, Problem};

/// Hexadecimal, printed in upper case, read in both.
pub(super) const HEX: Encoding = Encoding {
    bits: 4,
    digits: b"0123456789ABCDEF",
    any_case: true,
    padded: false,
    want: "hexadecimal digits",
    whole: "hexadecimal digits come in pairs",
};

/// Base 32 with the extended hex alphabet, unpadded, as NSEC3 has it (RFC 5155 §3.3).
pub(super) const BASE32: Encoding = Encoding {
    bits: 5,
    digits: b"0123456789ABCDEFGHIJKLMNOPQRSTUV",
    any_case: true,
    padded: false,
    want: "base32hex (0 to 9 and A to V)",
    whole: "a base32hex character is missing or wrong at its end",
};

/// Base 64, padded.
pub(super) const BASE64: Encoding = Encoding {
    bits: 6,
    digits: b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    any_case: false,
    padded: true,
    want: "base64",
    whole: "base64 characters come in groups of four, the last one filled up with =",
};

/// A way to write bytes with a few bits in each character.
pub(super) struct Encoding {
    bits: u32,
    digits: &'static [u8],
    any_case: bool,
    padded: bool,
    want: &'static str,
    whole: &'static str,
}

impl Encoding {
    /// Reads all that is left of the text; at least `min` bytes.
    pub(super) fn read_rest(&self, tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>, min: usize) -> Result<(), Fault> {
        let first = if min > 0 { Some(tokens.word()?) } else { tokens.next_word()? };
        let Some(first) = first else { return Ok(()) };
        let mut decoder = Decoder::new(self);
        let mut last = first;
        decoder.take(first, tokens.label)?;
        while let Some(token) = tokens.next_word()? {
            decoder.take(token, tokens.label)?;
            last = token;
        }
        let bytes = decoder.finish(last, tokens.label)?;
        if bytes.len() < min {
            return Err(first.fault(Problem::TooShort { label: tokens.label, len: bytes.len(), min }));
        }
        rdata.extend_from_slice(&bytes);
        Ok(())
    }

    /// Reads one token.
    pub(super) fn decode(&self, token: Token<'_>, label: &'static str) -> Result<Vec<u8>, Fault> {
        let mut decoder = Decoder::new(self);
        decoder.take(token, label)?;
        decoder.finish(token, label)
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
        let mut text = String::with_capacity(bytes.len() * 2);
        let (mut held, mut count) = (0, 0);
        for &byte in bytes {
            held = (held << 8) | u32::from(byte);
            count += 8;
            while count >= self.bits {
                count -= self.bits;
                text.push(self.digit(held >> count));
                held &= (1 << count) - 1;
            }
        }
        if count > 0 {
            text.push(self.digit(held << (self.bits - count)));
        }
        while self.padded && !text.len().is_multiple_of(4) {
            text.push('=');
        }
        text
    }

    fn digit(&self, value: u32) -> char {
        self.digits.get(value as usize).copied().map_or('?', char::from)
    }

    fn value(&self, c: char) -> Option<u32> {
        let c = if self.any_case { c.to_ascii_uppercase() } else { c };
        let at = self.digits.iter().position(|&digit| char::from(digit) == c)?;
        u32::try_from(at).ok()
    }
}

/// Characters to bytes, in several pieces.
struct Decoder<'a> {
    encoding: &'a Encoding,
    bytes: Vec<u8>,
    /// Bits that make no whole byte yet, and how many.
    held: u32,
    count: u32,
    characters: usize,
    padding: usize,
}

impl<'a> Decoder<'a> {
    fn new(encoding: &'a Encoding) -> Self {
        Self { encoding, bytes: Vec::new(), held: 0, count: 0, characters: 0, padding: 0 }
    }

    fn take(&mut self, token: Token<'_>, label: &'static str) -> Result<(), Fault> {
        for (i, c) in token.raw.char_indices() {
            let want = self.encoding.want;
            let wrong = || Fault { at: token.at + i, problem: Problem::Not { found: c.to_string(), label, want } };
            self.characters += 1;
            if self.encoding.padded && c == '=' {
                self.padding += 1;
                continue;
            }
            let value = self.encoding.value(c).filter(|_| self.padding == 0).ok_or_else(wrong)?;
            self.held = (self.held << self.encoding.bits) | value;
            self.count += self.encoding.bits;
            if self.count >= 8 {
                self.count -= 8;
                self.bytes.push((self.held >> self.count) as u8);
                self.held &= (1 << self.count) - 1;
            }
        }
        Ok(())
    }

    /// The bytes, when the text ended where an byte ends and filled up as it must.
    fn finish(self, last: Token<'_>, label: &'static str) -> Result<Vec<u8>, Fault> {
        let whole = self.count < self.encoding.bits && self.held == 0;
        let filled = !self.encoding.padded || (self.characters.is_multiple_of(4) && self.padding <= 2);
        if whole && filled {
            return Ok(self.bytes);
        }
        Err(Fault { at: last.at + last.raw.len(), problem: Problem::CutOff { label, want: self.encoding.whole } })
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
