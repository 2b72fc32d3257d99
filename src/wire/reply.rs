//! Replies written straight into a listener's buffer: header, question, bytes that are ready, OPT.

use super::edns::{self, OPT_LEN, push_opt};
use super::header::{self, HEADER_LEN, Header};
use super::query::Refusal;
use super::{ExtendedError, Query, Rcode};

/// How many octets a reply to this query may have over UDP: what the client can take, at most 1232 (RFC 6891 §6.2.3,
/// RFC 9715); 512 without EDNS.
pub fn udp_limit(edns: Option<edns::Edns>) -> usize {
    edns.map_or(edns::UDP_PAYLOAD_PLAIN, |edns| edns.payload.clamp(edns::UDP_PAYLOAD_PLAIN, edns::UDP_PAYLOAD_MAX))
        as usize
}

/// A reply under way: header and question stand, records are appended, [`Writer::finish`] closes it.
pub struct Writer<'w, 'q> {
    out: &'w mut Vec<u8>,
    query: &'q Query<'q>,
    limit: usize,
}

/// How many records were written to each section.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Records in the answer section.
    pub answer: u16,
    /// Records in the authority section.
    pub authority: u16,
}

impl<'w, 'q> Writer<'w, 'q> {
    /// Clears `out` and writes header and question; the reply may have `limit` octets.
    #[inline]
    pub fn start(query: &'q Query<'q>, limit: usize, out: &'w mut Vec<u8>) -> Self {
        out.clear();
        out.extend_from_slice(&[0; HEADER_LEN]);
        out.extend_from_slice(query.question());
        Self { out, query, limit }
    }

    /// The buffer, for records to be appended.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Appends the OPT record where the client speaks EDNS and writes the header. Records that make the reply longer
    /// than its limit are dropped and TC is set: the client asks again over TCP.
    #[inline]
    pub fn finish(self, rcode: Rcode, authoritative: bool, counts: Counts, error: Option<ExtendedError>) {
        let Self { out, query, limit } = self;
        let question_end = HEADER_LEN + query.question().len();
        let option = error.map(edns::extended_error_option);
        let options = option.as_ref().map_or(&[][..], |option| option);
        let opt_len = if query.edns.is_some() { OPT_LEN + options.len() } else { 0 };
        let mut counts = counts;
        let mut flags =
            header::QR | header::RA | (query.header.flags & (header::RD | header::CD)) | (rcode.0 & header::RCODE);
        if authoritative {
            flags |= header::AA;
        }
        if out.len() + opt_len > limit {
            out.truncate(question_end);
            counts = Counts::default();
            flags |= header::TC;
        }
        let mut arcount = 0;
        if let Some(edns) = query.edns {
            push_opt(out, rcode, edns.dnssec_ok, options);
            arcount = 1;
        }
        let head = Header {
            id: query.header.id,
            flags,
            qdcount: 1,
            ancount: counts.answer,
            nscount: counts.authority,
            arcount,
        };
        if let Some(place) = out.first_chunk_mut::<HEADER_LEN>() {
            *place = head.to_bytes();
        }
    }
}

/// Writes a refusing answer: the question where it could be read, no records, the reason where the client speaks EDNS.
///
/// `bytes` is the query as it came, of at least a header's length.
pub fn write_refusal(bytes: &[u8], refusal: &Refusal, out: &mut Vec<u8>) {
    out.clear();
    let Some(asked) = Header::read(bytes) else { return };
    out.extend_from_slice(&[0; HEADER_LEN]);
    let question = refusal.question_end.and_then(|end| bytes.get(HEADER_LEN..end));
    out.extend_from_slice(question.unwrap_or_default());
    let option = refusal.error.map(edns::extended_error_option);
    if let Some(edns) = refusal.edns {
        push_opt(out, refusal.rcode, edns.dnssec_ok, option.as_ref().map_or(&[], |option| option));
    }
    let kept = header::OPCODE | header::RD | header::CD;
    let head = Header {
        id: asked.id,
        flags: header::QR | header::RA | (asked.flags & kept) | (refusal.rcode.0 & header::RCODE),
        qdcount: u16::from(question.is_some()),
        ancount: 0,
        nscount: 0,
        arcount: u16::from(refusal.edns.is_some()),
    };
    if let Some(place) = out.first_chunk_mut::<HEADER_LEN>() {
        *place = head.to_bytes();
    }
}
