//! Loop tokens: how a server knows a question of its own when it comes back.
//!
//! Every query to another resolver carries an EDNS option with a keyed hash of its question; the key is drawn at start
//! and known to this process alone. A query that carries the right hash can only be one that this process sent: the
//! upstream is this server itself, or forwards back to it. "The same question again" would say no such thing: an
//! on-premises server may well be client and upstream at once. Tokens of other servers are passed on, so that longer
//! loops are found too. Azure DNS is spared: it is no forwarder of ours, and passes no options on.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::letters::in_lower_case;
use crate::wire::edns::Options;

/// The option's code, from the range for local use (RFC 6891 §9).
const OPTION_LOOP: u16 = 65_309;
/// Bytes of a token.
const TOKEN_LEN: usize = 8;
/// Tokens that are passed on: more servers than that in a row are a loop by themselves.
const TOKENS_MAX: usize = 8;

/// Makes and knows this process's tokens. SipHash with a random key.
#[derive(Debug, Clone, Default)]
pub struct LoopGuard(RandomState);

impl LoopGuard {
    /// The tokens that an OPT record's data carries, one behind the other.
    // On every query's way: a release inlines less than the compiler would by itself (deploy/release.sh).
    #[inline(always)]
    pub fn tokens(opt_data: &[u8]) -> &[u8] {
        let found = Options(opt_data).find(|&(code, _)| code == OPTION_LOOP).map(|(_, data)| data);
        found.unwrap_or_default()
    }

    /// Whether one of `tokens` is this process's own for this question; or there are more than any honest path has, or the
    /// last of them is not whole: no server of this kind sends such an option, and the tokens after it could not be found.
    pub fn is_loop(&self, question: &[u8], tokens: &[u8]) -> bool {
        if tokens.is_empty() {
            return false;
        }
        let own = self.token(question);
        let (whole, rest) = tokens.as_chunks::<TOKEN_LEN>();
        whole.len() > TOKENS_MAX || !rest.is_empty() || whole.contains(&own)
    }

    /// The option for a query: the tokens that the question came with, and this process's own.
    pub(super) fn option<'t>(&self, question: &[u8], tokens: &'t [u8]) -> LoopOption<'t> {
        // A question with more is a loop and does not come here.
        let tokens = tokens.get(..TOKENS_MAX * TOKEN_LEN).unwrap_or(tokens);
        let len = u16::try_from(tokens.len() + TOKEN_LEN).unwrap_or_default();
        let ([c0, c1], [l0, l1]) = (OPTION_LOOP.to_be_bytes(), len.to_be_bytes());
        LoopOption { head: [c0, c1, l0, l1], tokens, own: self.token(question) }
    }

    fn token(&self, question: &[u8]) -> [u8; TOKEN_LEN] {
        let mut hash = self.0.build_hasher();
        hash.write(&in_lower_case(question));
        hash.finish().to_be_bytes()
    }
}

/// The option that a query to another resolver carries, in the parts that it is made of.
pub(super) struct LoopOption<'t> {
    /// Code and length.
    head: [u8; 4],
    /// Those that its question came with.
    tokens: &'t [u8],
    own: [u8; TOKEN_LEN],
}

impl LoopOption<'_> {
    /// Its parts, in the order in which they are sent.
    pub(super) fn parts(&self) -> [&[u8]; 3] {
        [&self.head, self.tokens, &self.own]
    }

    /// How many bytes that is: at most some eighty.
    pub(super) fn len(&self) -> u16 {
        let [_, _, l0, l1] = self.head;
        u16::from_be_bytes([l0, l1]) + self.head.len() as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(guard: &LoopGuard, question: &[u8], tokens: &[u8]) -> Vec<u8> {
        let option = guard.option(question, tokens);
        let bytes = option.parts().concat();
        assert_eq!(bytes.len(), usize::from(option.len()));
        bytes
    }

    #[test]
    fn only_the_own_token_for_this_question_is_a_loop() {
        let (mine, other) = (LoopGuard::default(), LoopGuard::default());
        let own = option(&mine, b"\x01A\0\0\x01\0\x01", &[]);
        let tokens = LoopGuard::tokens(&own);
        assert!(mine.is_loop(b"\x01a\0\0\x01\0\x01", tokens), "whatever the case");
        assert!(!mine.is_loop(b"\x01b\0\0\x01\0\x01", tokens));
        assert!(!other.is_loop(b"\x01a\0\0\x01\0\x01", tokens));
        assert!(!mine.is_loop(b"\x01a\0\0\x01\0\x01", &[]));
        let through_other = option(&other, b"\x01a\0\0\x01\0\x01", tokens);
        assert!(mine.is_loop(b"\x01a\0\0\x01\0\x01", LoopGuard::tokens(&through_other)));
    }

    #[test]
    fn tokens_that_are_not_whole_are_a_loop() {
        let guard = LoopGuard::default();
        let question = b"\x01a\0\0\x01\0\x01";
        let own = option(&guard, question, &[]);
        let shifted = [b"abc", LoopGuard::tokens(&own)].concat();
        assert!(guard.is_loop(question, &shifted), "its own token stands where it is not looked for");
        for len in [1, 3, 7, 9, 57, 63, 65] {
            assert!(guard.is_loop(question, &vec![b'x'; len]), "{len} bytes");
        }
        for len in [8, 16, 64] {
            assert!(!guard.is_loop(question, &vec![b'x'; len]), "{len} bytes");
        }
        assert!(guard.is_loop(question, &[b'x'; 72]));
    }
}
