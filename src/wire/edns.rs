//! EDNS: the OPT record in and out (RFC 6891), extended errors (RFC 8914).

use super::Rcode;

/// The largest payload announced and sent over UDP, bytes: larger datagrams are cut into fragments, which Azure's
/// networks lose and which carry neither port nor ID to check (RFC 9715).
pub const UDP_PAYLOAD_MAX: u16 = 1232;
/// The largest answer over UDP to a client without EDNS, bytes (RFC 1035 §4.2.1).
pub const UDP_PAYLOAD_PLAIN: u16 = 512;
/// Options in one OPT record beyond which a query is taken for an attack.
pub const OPTIONS_MAX: usize = 32;
/// Bytes of an OPT record without options.
pub const OPT_LEN: usize = 11;
/// Extended errors that are kept of one answer, and of all that one reply may carry.
pub const EXTENDED_ERRORS_MAX: usize = 4;
/// Bytes of the text of an extended error that are kept (RFC 8914 §2 and §6: a text is for people, and long ones are to be
/// avoided).
pub const EXTRA_TEXT_MAX: usize = 64;

/// Padded replies are multiples of this many bytes (RFC 8467 §4.1).
pub const PADDING_BLOCK: usize = 468;

/// Option code of padding (RFC 7830 §3).
const OPTION_PADDING: u16 = 12;
/// Option code of how long a TCP connection may be idle (RFC 7828 §3.1).
const OPTION_TCP_KEEPALIVE: u16 = 11;
/// A padding option without padding.
pub(super) const EMPTY_PADDING: [u8; 4] = {
    let [high, low] = OPTION_PADDING.to_be_bytes();
    [high, low, 0, 0]
};
/// Option code of an extended error (RFC 8914 §2).
const OPTION_EXTENDED_ERROR: u16 = 15;
/// The DO bit in the OPT record's TTL field (RFC 3225).
const DO: u32 = 0x8000;

/// What an OPT record says, without its options: they are hop by hop and none of them changes an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// The sender's payload size, bytes.
    pub payload: u16,
    /// The EDNS version; 0 is the only one there is.
    pub version: u8,
    /// The upper eight bits of the response code.
    pub rcode_high: u8,
    /// DNSSEC records wanted (DO).
    pub dnssec_ok: bool,
    /// The reply is to be padded (RFC 7830 §4): [`Query::pad_reply`](super::Query::pad_reply) sets it.
    pub is_padded: bool,
}

impl Edns {
    /// Reads the fixed fields of an OPT record: its class and TTL.
    pub fn from_fields(class: u16, ttl: u32) -> Self {
        let [rcode_high, version, ..] = ttl.to_be_bytes();
        Self { payload: class, version, rcode_high, dnssec_ok: ttl & DO != 0, is_padded: false }
    }
}

/// An INFO-CODE of RFC 8914 §4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExtendedError(pub u16);

impl ExtendedError {
    /// 0: see the text.
    pub const OTHER: Self = Self(0);
    /// 3: an expired answer is served (RFC 8767).
    pub const STALE_ANSWER: Self = Self(3);
    /// 17: the answer is withheld because of a rule of the operator.
    pub const FILTERED: Self = Self(17);
    /// 18: this client may not ask.
    pub const PROHIBITED: Self = Self(18);
    /// 20: not in the table, and no recursion was desired.
    pub const NOT_AUTHORITATIVE: Self = Self(20);
    /// 21: this kind of question is not supported.
    pub const NOT_SUPPORTED: Self = Self(21);
    /// 22: no upstream answered in time.
    pub const NO_REACHABLE_AUTHORITY: Self = Self(22);
    /// 23: the way to the upstream is broken.
    pub const NETWORK_ERROR: Self = Self(23);
    /// 13: a failure that is remembered (RFC 9520).
    pub const CACHED_ERROR: Self = Self(13);
}

/// Whether the options in the data of an OPT record are well formed, and at most [`OPTIONS_MAX`].
// On every query's way: a release inlines less than the compiler would by itself (deploy/release.sh).
#[inline(always)]
pub fn options_are_sound(data: &[u8]) -> bool {
    let mut count = 0;
    let mut options = Options(data);
    for _ in options.by_ref() {
        count += 1;
    }
    options.0.is_empty() && count <= OPTIONS_MAX
}

/// The options in the data of an OPT record as (code, data); ends early at the first that is cut.
pub struct Options<'a>(pub &'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[c0, c1, l0, l1], rest) = self.0.split_first_chunk::<4>()?;
        let (data, rest) = rest.split_at_checked(u16::from_be_bytes([l0, l1]) as usize)?;
        self.0 = rest;
        Some((u16::from_be_bytes([c0, c1]), data))
    }
}

/// Whether a query was padded: then its client wants the reply to be.
pub fn has_padding(opt_data: &[u8]) -> bool {
    Options(opt_data).any(|(code, _)| code == OPTION_PADDING)
}

/// Whether a query has the option that is for TCP connections alone.
pub fn has_tcp_keepalive(opt_data: &[u8]) -> bool {
    Options(opt_data).any(|(code, _)| code == OPTION_TCP_KEEPALIVE)
}

/// Appends a padding option to options that end a message, so that the message becomes a multiple of [`PADDING_BLOCK`] bytes,
/// or `limit` where that is less. Without room for the option nothing is appended.
pub fn push_padding(out: &mut Vec<u8>, limit: usize) {
    let len = (out.len() + 4).next_multiple_of(PADDING_BLOCK).min(limit);
    let Some(padding) = len.checked_sub(out.len() + 4).and_then(|padding| u16::try_from(padding).ok()) else {
        return;
    };
    out.extend_from_slice(&OPTION_PADDING.to_be_bytes());
    out.extend_from_slice(&padding.to_be_bytes());
    out.resize(len, 0);
}

/// The options in the data of an OPT record, each whole: code, length and data.
pub(super) fn whole_options(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (_, option) = Options(data).next()?;
        let (whole, rest) = data.split_at_checked(4 + option.len())?;
        data = rest;
        Some(whole)
    })
}

/// The extended errors among the options of an OPT record, as options ready to be written again: the first
/// [`EXTENDED_ERRORS_MAX`], each with at most [`EXTRA_TEXT_MAX`] bytes of text. A text that is not printable UTF-8 is left
/// out.
pub fn extended_errors(opt_data: &[u8]) -> Vec<u8> {
    let errors = Options(opt_data).filter(|&(code, _)| code == OPTION_EXTENDED_ERROR);
    let errors = errors.filter_map(|(_, data)| data.split_first_chunk::<2>());
    let mut kept = Vec::new();
    for (&info_code, text) in errors.take(EXTENDED_ERRORS_MAX) {
        push_extended_error(&mut kept, info_code, short_text(text));
    }
    kept
}

/// As much of a text as is kept, ending between two characters.
fn short_text(text: &[u8]) -> &str {
    // A text may end with a zero byte (RFC 8914 §2).
    let text = text.strip_suffix(&[0]).unwrap_or(text);
    let Ok(text) = std::str::from_utf8(text) else { return "" };
    if text.contains(char::is_control) {
        return "";
    }
    text.get(..text.floor_char_boundary(EXTRA_TEXT_MAX)).unwrap_or_default()
}

/// One extended error as an option ready to be written.
#[inline]
pub fn extended_error_option(error: ExtendedError) -> [u8; 6] {
    let [o0, o1] = OPTION_EXTENDED_ERROR.to_be_bytes();
    let [c0, c1] = error.0.to_be_bytes();
    [o0, o1, 0, 2, c0, c1]
}

/// Appends an extended error with a text as an option; nothing where the text is too long for one.
pub fn push_extended_error(out: &mut Vec<u8>, info_code: [u8; 2], text: &str) {
    let Ok(len) = u16::try_from(info_code.len() + text.len()) else { return };
    out.extend_from_slice(&OPTION_EXTENDED_ERROR.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&info_code);
    out.extend_from_slice(text.as_bytes());
}

/// An OPT record up to its options, which are `options_len` bytes long: our payload size, the upper bits of `rcode`, DO as
/// the client set it.
#[inline]
pub fn opt_head(rcode: Rcode, dnssec_ok: bool, options_len: u16) -> [u8; OPT_LEN] {
    let [p0, p1] = UDP_PAYLOAD_MAX.to_be_bytes();
    let [l0, l1] = options_len.to_be_bytes();
    let [rcode_high, _] = (rcode.0 << 4).to_be_bytes();
    let [_, _, flags, _] = if dnssec_ok { DO } else { 0 }.to_be_bytes();
    [0, 0, 41, p0, p1, rcode_high, 0, flags, 0, l0, l1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_must_fill_their_record() {
        assert!(options_are_sound(&[]));
        assert!(options_are_sound(&[0, 3, 0, 0]));
        assert!(options_are_sound(&[0, 10, 0, 2, 1, 2, 0, 3, 0, 0]));
        assert!(!options_are_sound(&[0, 3, 0]));
        assert!(!options_are_sound(&[0, 3, 0, 1]));
        assert!(options_are_sound(&[0, 3, 0, 0].repeat(OPTIONS_MAX)));
        assert!(!options_are_sound(&[0, 3, 0, 0].repeat(OPTIONS_MAX + 1)));
    }

    #[test]
    fn only_extended_errors_are_kept() {
        let data = [0, 10, 0, 2, 1, 2, 0, 15, 0, 3, 0, 22, b'x', 0, 15, 0, 1, 9];
        assert_eq!(extended_errors(&data), [0, 15, 0, 3, 0, 22, b'x']);
    }

    fn error(text: &[u8]) -> Vec<u8> {
        let len = u16::try_from(2 + text.len()).unwrap().to_be_bytes();
        [&[0, 15][..], &len, &[0, 22], text].concat()
    }

    #[test]
    fn extended_errors_are_few_and_their_texts_short() {
        assert_eq!(extended_errors(&error(&[b'x'; 60_000])), error(&[b'x'; EXTRA_TEXT_MAX]));
        assert_eq!(extended_errors(&error(b"why").repeat(900)), error(b"why").repeat(EXTENDED_ERRORS_MAX));
        // 63 bytes, then a character of two.
        let text = ["x".repeat(63), "\u{e9}\u{e9}".to_owned()].concat();
        assert_eq!(extended_errors(&error(text.as_bytes())), error(&[b'x'; 63]));
        for unprintable in [&b"\xff\xfe"[..], b"\x1b[2J", b"a\nb"] {
            assert_eq!(extended_errors(&error(unprintable)), error(b""), "{unprintable:?}");
        }
        assert_eq!(extended_errors(&error(b"ends with zero\0")), error(b"ends with zero"));
    }
}
