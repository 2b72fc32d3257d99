//! EDNS: the OPT record in and out (RFC 6891), extended errors (RFC 8914).

use super::Rcode;

/// The largest payload announced and sent over UDP, octets: larger datagrams are cut into fragments, which Azure's
/// networks lose and which carry neither port nor ID to check (RFC 9715).
pub const UDP_PAYLOAD_MAX: u16 = 1232;
/// The largest answer over UDP to a client without EDNS, octets (RFC 1035 §4.2.1).
pub const UDP_PAYLOAD_PLAIN: u16 = 512;
/// Options in one OPT record beyond which a query is taken for an attack.
pub const OPTIONS_MAX: usize = 32;
/// Octets of an OPT record without options.
pub const OPT_LEN: usize = 11;

/// Option code of an extended error (RFC 8914 §2).
const OPTION_EXTENDED_ERROR: u16 = 15;
/// The DO bit in the OPT record's TTL field (RFC 3225).
const DO: u32 = 0x8000;

/// What an OPT record says, without its options: they are hop by hop and none of them changes an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// The sender's payload size, octets.
    pub payload: u16,
    /// The EDNS version; 0 is the only one there is.
    pub version: u8,
    /// The upper eight bits of the response code.
    pub rcode_high: u8,
    /// DNSSEC records wanted (DO).
    pub dnssec_ok: bool,
}

impl Edns {
    /// Reads the fixed fields of an OPT record: its class and TTL.
    pub fn from_fields(class: u16, ttl: u32) -> Self {
        let [rcode_high, version, ..] = ttl.to_be_bytes();
        Self { payload: class, version, rcode_high, dnssec_ok: ttl & DO != 0 }
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

/// The extended errors among the options of an OPT record, as options ready to be written again.
pub fn extended_errors(opt_data: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    for (code, data) in Options(opt_data) {
        if code == OPTION_EXTENDED_ERROR && data.len() >= 2 {
            push_option(&mut kept, code, data);
        }
    }
    kept
}

/// One extended error as an option ready to be written.
pub fn extended_error_option(error: ExtendedError) -> [u8; 6] {
    let [c0, c1] = error.0.to_be_bytes();
    [0, OPTION_EXTENDED_ERROR as u8, 0, 2, c0, c1]
}

/// Appends an OPT record: our payload size, the upper bits of `rcode`, DO as the client said it, and `options`.
pub fn push_opt(out: &mut Vec<u8>, rcode: Rcode, dnssec_ok: bool, options: &[u8]) {
    out.extend_from_slice(&opt_head(rcode, dnssec_ok, options.len()));
    out.extend_from_slice(options);
}

/// An OPT record as far as its options, of which there are so many octets.
pub fn opt_head(rcode: Rcode, dnssec_ok: bool, options_len: usize) -> [u8; OPT_LEN] {
    let [p0, p1] = UDP_PAYLOAD_MAX.to_be_bytes();
    let [l0, l1] = (options_len as u16).to_be_bytes();
    let flags = if dnssec_ok { (DO >> 8) as u8 } else { 0 };
    [0, 0, 41, p0, p1, (rcode.0 >> 4) as u8, 0, flags, 0, l0, l1]
}

fn push_option(out: &mut Vec<u8>, code: u16, data: &[u8]) {
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
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
}
