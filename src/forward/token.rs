//! Loop tokens: how a server knows a question of its own when it comes back.
//!
//! Every query to another resolver carries an EDNS option with a keyed hash of its question; the key is drawn at start
//! and known to this process alone. A query that carries the right hash can only be one that this process sent: the
//! upstream is this server itself, or forwards back to it. "The same question again" would say no such thing: an
//! on-premises server may well be client and upstream at once. Tokens of other servers are passed on, so that longer
//! loops are found too. Azure DNS is spared: it is no forwarder of ours, and passes no options on.

use std::hash::{BuildHasher, Hasher, RandomState};

use smallvec::SmallVec;

use crate::wire::edns::Options;

/// The option's code, from the range for local use (RFC 6891 §9).
const OPTION_LOOP: u16 = 65_309;
/// Octets of a token.
const TOKEN_LEN: usize = 8;
/// Tokens that are passed on: more servers than that in a row are a loop by themselves.
const TOKENS_MAX: usize = 8;

/// Makes and knows this process's tokens. SipHash with a random key.
#[derive(Debug, Clone, Default)]
pub struct LoopGuard(RandomState);

impl LoopGuard {
    /// The tokens that an OPT record's data carries, one behind the other.
    pub fn tokens(opt_data: &[u8]) -> &[u8] {
        let found = Options(opt_data).find(|&(code, _)| code == OPTION_LOOP).map(|(_, data)| data);
        found.unwrap_or_default()
    }

    /// Whether one of `tokens` is this process's own for this question; or there are more than any honest way has.
    pub fn is_loop(&self, question: &[u8], tokens: &[u8]) -> bool {
        if tokens.is_empty() {
            return false;
        }
        let own = self.token(question);
        tokens.len() > TOKENS_MAX * TOKEN_LEN || tokens.as_chunks::<TOKEN_LEN>().0.contains(&own)
    }

    /// The option for a query: the tokens that the question came with, and this process's own.
    pub(super) fn option(&self, question: &[u8], tokens: &[u8]) -> SmallVec<[u8; 32]> {
        let [c0, c1] = OPTION_LOOP.to_be_bytes();
        let [l0, l1] = ((tokens.len() + TOKEN_LEN) as u16).to_be_bytes();
        let mut option = SmallVec::from_slice(&[c0, c1, l0, l1]);
        option.extend_from_slice(tokens);
        option.extend_from_slice(&self.token(question));
        option
    }

    fn token(&self, question: &[u8]) -> [u8; TOKEN_LEN] {
        let mut hash = self.0.build_hasher();
        let mut lower = SmallVec::<[u8; 260]>::from_slice(question);
        lower.make_ascii_lowercase();
        hash.write(&lower);
        hash.finish().to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_token_for_this_question_is_a_loop() {
        let (mine, other) = (LoopGuard::default(), LoopGuard::default());
        let option = mine.option(b"\x01A\0\0\x01\0\x01", &[]);
        let tokens = LoopGuard::tokens(&option);
        assert!(mine.is_loop(b"\x01a\0\0\x01\0\x01", tokens), "whatever the case");
        assert!(!mine.is_loop(b"\x01b\0\0\x01\0\x01", tokens));
        assert!(!other.is_loop(b"\x01a\0\0\x01\0\x01", tokens));
        assert!(!mine.is_loop(b"\x01a\0\0\x01\0\x01", &[]));
        let through_other = other.option(b"\x01a\0\0\x01\0\x01", tokens);
        assert!(mine.is_loop(b"\x01a\0\0\x01\0\x01", LoopGuard::tokens(&through_other)));
    }
}
