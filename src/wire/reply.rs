//! Replies written straight into a listener's buffer: header, question, records, OPT. All of them are closed by [`close`].

use super::edns::{self, Edns, OPT_LEN};
use super::header::{self, HEADER_LEN, Header};
use super::query::Refusal;
use super::{ExtendedError, Message, NameBuf, Query, Rcode, Rtype, Section};

/// How many bytes a reply to this query may have over UDP: what the client can take, at most 1232 (RFC 6891 §6.2.3,
/// RFC 9715); 512 without EDNS.
pub fn udp_limit(edns: Option<Edns>) -> usize {
    edns.map_or(edns::UDP_PAYLOAD_PLAIN, |edns| edns.payload.clamp(edns::UDP_PAYLOAD_PLAIN, edns::UDP_PAYLOAD_MAX))
        as usize
}

/// What a reply takes from its query.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The ID.
    pub id: u16,
    /// The flags: opcode, RD and CD are echoed; AD says that the client understands it.
    pub flags: u16,
    /// Where header and question end in the reply.
    pub question_end: usize,
    /// The OPT record, if there was one.
    pub edns: Option<Edns>,
}

impl From<&Query<'_>> for Asked {
    #[inline]
    fn from(query: &Query<'_>) -> Self {
        let question_end = HEADER_LEN + query.question().len();
        Self { id: query.header.id, flags: query.header.flags, question_end, edns: query.edns }
    }
}

/// What a reply says besides its records.
#[derive(Debug, Clone, Copy)]
pub struct Closing<'a> {
    /// The response code.
    pub rcode: Rcode,
    /// The records are authoritative (AA).
    pub authoritative: bool,
    /// All of them are authentic (AD). Only clients that set AD or DO are told (RFC 6840 §5.8).
    pub authentic: bool,
    /// Records of answer or authority are missing (TC).
    pub truncated: bool,
    /// How many records were written.
    pub counts: Counts,
    /// Options of the OPT record.
    pub options: ReplyOptions<'a>,
}

/// How many records were written to each section, without the OPT record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records in the answer section.
    pub answer: u16,
    /// Records in the authority section.
    pub authority: u16,
    /// Records in the additional section.
    pub additional: u16,
}

/// Options of a reply's OPT record. Whatever does not fit is left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReplyOptions<'a> {
    /// This server's own extended error. It comes first.
    pub error: Option<ExtendedError>,
    /// Extended errors of upstreams, as options.
    pub upstream_errors: &'a [u8],
}

impl ReplyOptions<'_> {
    #[inline]
    fn is_empty(&self) -> bool {
        self.error.is_none() && self.upstream_errors.is_empty()
    }
}

/// Closes a reply: `out` has room for a header, the question and the records; the OPT record is appended where the client
/// speaks EDNS, and the header is written.
///
/// The reply is never longer than `limit`. Records for which there is no room beside an empty OPT record are dropped and TC
/// is set, so that the client asks again over TCP; options are fitted after the records (RFC 8914 §3: extended errors are
/// the first to go).
#[inline]
pub fn close(out: &mut Vec<u8>, asked: &Asked, closing: Closing<'_>, limit: usize) {
    let Closing { rcode, authoritative, authentic, mut truncated, mut counts, options } = closing;
    let opt_len = if asked.edns.is_some() { OPT_LEN } else { 0 };
    if out.len() + opt_len > limit {
        out.truncate(asked.question_end);
        counts = Counts::default();
        truncated = true;
    }
    // Without EDNS there is no place for the upper bits: SERVFAIL instead.
    let rcode = if rcode.0 > header::RCODE && asked.edns.is_none() { Rcode::SERVFAIL } else { rcode };
    let kept = asked.flags & (header::OPCODE | header::RD | header::CD);
    let mut flags = header::QR | header::RA | kept | (rcode.0 & header::RCODE);
    if authoritative {
        flags |= header::AA;
    }
    if truncated {
        flags |= header::TC;
    }
    if authentic && (asked.flags & header::AD != 0 || asked.edns.is_some_and(|edns| edns.dnssec_ok)) {
        flags |= header::AD;
    }
    let mut arcount = counts.additional;
    if let Some(edns) = asked.edns {
        let start = out.len();
        out.extend_from_slice(&edns::opt_head(rcode, edns.dnssec_ok, 0));
        if !options.is_empty() || edns.is_padded {
            push_options(out, options, limit);
            if edns.is_padded {
                edns::push_padding(out, limit);
            }
            close_options(out, start);
        }
        arcount += 1;
    }
    let head = Header {
        id: asked.id,
        flags,
        qdcount: u16::from(asked.question_end > HEADER_LEN),
        ancount: counts.answer,
        nscount: counts.authority,
        arcount,
    };
    if let Some(place) = out.first_chunk_mut::<HEADER_LEN>() {
        *place = head.to_bytes();
    }
}

/// Appends as many options as fit to the OPT record that is the last.
fn push_options(out: &mut Vec<u8>, options: ReplyOptions<'_>, limit: usize) {
    let own = options.error.map(edns::extended_error_option);
    let errors = own.iter().map(<[u8; 6]>::as_slice).chain(edns::whole_options(options.upstream_errors));
    for option in errors.take(edns::EXTENDED_ERRORS_MAX) {
        if out.len() + option.len() <= limit {
            out.extend_from_slice(option);
        }
    }
}

/// Writes how long the options are of the OPT record that begins at `opt` and is the last.
fn close_options(out: &mut Vec<u8>, opt: usize) {
    let start = opt + OPT_LEN;
    match u16::try_from(out.len() - start) {
        Ok(len) => {
            if let Some(place) = out.get_mut(start - 2..start) {
                place.copy_from_slice(&len.to_be_bytes());
            }
        }
        Err(_) => out.truncate(start),
    }
}

/// A reply under way: room for the header and the question are written, records are appended, [`Writer::finish`] closes
/// it.
pub struct Writer<'w, 'q> {
    out: &'w mut Vec<u8>,
    query: &'q Query<'q>,
    limit: usize,
}

impl<'w, 'q> Writer<'w, 'q> {
    /// Clears `out` and writes header and question; the reply may have `limit` bytes.
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

    /// Closes a reply without records, with an extended error and its text, where there is room for it.
    pub fn finish_failure(self, rcode: Rcode, error: ExtendedError, text: &str) {
        let Self { out, query, limit } = self;
        let mut option = Vec::new();
        edns::push_extended_error(&mut option, error.0.to_be_bytes(), text);
        let options = ReplyOptions { error: None, upstream_errors: &option };
        let closing = Closing {
            rcode,
            authoritative: false,
            authentic: false,
            truncated: false,
            counts: Counts::default(),
            options,
        };
        close(out, &query.into(), closing, limit);
    }

    /// Closes the reply, as [`close`] does.
    #[inline]
    pub fn finish(self, rcode: Rcode, authoritative: bool, counts: Counts, error: Option<ExtendedError>) {
        let Self { out, query, limit } = self;
        let options = ReplyOptions { error, upstream_errors: &[] };
        let closing = Closing { rcode, authoritative, authentic: false, truncated: false, counts, options };
        close(out, &query.into(), closing, limit);
    }
}

/// Writes a refusing answer of at most `limit` bytes: the question where it could be read, no records, the reason where the
/// client speaks EDNS and there is room.
///
/// `bytes` is the query as it came, of at least a header's length. A limit of its length is always met: the reply repeats
/// no more than the query had.
pub fn write_refusal(bytes: &[u8], refusal: &Refusal, limit: usize, out: &mut Vec<u8>) {
    out.clear();
    let Some(query) = Header::read(bytes) else { return };
    out.extend_from_slice(&[0; HEADER_LEN]);
    let question = refusal.question_end.and_then(|end| bytes.get(HEADER_LEN..end));
    out.extend_from_slice(question.unwrap_or_default());
    let asked = Asked { id: query.id, flags: query.flags, question_end: out.len(), edns: refusal.edns };
    let closing = Closing {
        rcode: refusal.rcode,
        authoritative: false,
        authentic: false,
        truncated: false,
        counts: Counts::default(),
        options: ReplyOptions { error: refusal.error, upstream_errors: &[] },
    };
    close(out, &asked, closing, limit);
}

/// Cuts a reply that was written: no records and no extended error, and TC, so that the client asks again over TCP; without TC
/// where it says failure, which TCP would only say again. `bytes` is its query.
pub fn cut(bytes: &[u8], reply: &mut Vec<u8>) {
    let mut name_buf = NameBuf::new();
    let (Ok(query), Some(header)) = (Query::parse(bytes, &mut name_buf), Header::read(reply)) else { return };
    let asked = Asked::from(&query);
    reply.truncate(asked.question_end);
    let rcode = header.rcode();
    let closing = Closing {
        rcode,
        authoritative: header.flags & header::AA != 0,
        authentic: false,
        truncated: rcode == Rcode::NOERROR || rcode == Rcode::NXDOMAIN,
        counts: Counts::default(),
        options: ReplyOptions::default(),
    };
    close(reply, &asked, closing, udp_limit(asked.edns));
}

/// How long an answer is of use to a cache between, seconds (RFC 8484 §5.1): the least TTL of the answer section, or of a
/// negative answer that of its SOA record (RFC 2308 §5). Nothing where it may not be kept.
pub fn freshness(reply: &[u8]) -> Option<u32> {
    let message = Message::parse(reply)?;
    let rcode = Header::read(reply)?.flags & header::RCODE;
    if rcode != Rcode::NOERROR.0 && rcode != Rcode::NXDOMAIN.0 {
        return None;
    }
    if let Some(least) = message.section(Section::Answer).map(|record| record.ttl).min() {
        return Some(least);
    }
    let soa = message.section(Section::Authority).find(|record| record.rtype == Rtype::SOA)?;
    let minimum = reply.get(soa.data())?.last_chunk().map(|minimum| u32::from_be_bytes(*minimum))?;
    Some(soa.ttl.min(minimum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::query::tests::query_bytes;
    use crate::wire::{Message, Rtype};

    /// Closes a reply with `records` bytes of records to a query with EDNS; gives its length and TC.
    fn closed(records: usize, upstream_errors: &[u8], limit: usize) -> (usize, bool, Vec<u8>) {
        let bytes = query_bytes("a.example", Rtype::A, header::RD, Some((1232, 0)));
        let mut name_buf = NameBuf::new();
        let query = Query::parse(&bytes, &mut name_buf).unwrap();
        let mut out = Vec::new();
        let mut writer = Writer::start(&query, limit, &mut out);
        // One record of unknown type.
        let len = u16::try_from(records - 12).unwrap().to_be_bytes();
        writer.buffer().extend_from_slice(&[0xc0, 12, 0xff, 1, 0, 1, 0, 0, 0, 9, len[0], len[1]]);
        writer.buffer().resize(12 + query.question().len() + records, 7);
        let closing = Closing {
            rcode: Rcode::NOERROR,
            authoritative: false,
            authentic: false,
            truncated: false,
            counts: Counts { answer: 1, ..Counts::default() },
            options: ReplyOptions { error: Some(ExtendedError::STALE_ANSWER), upstream_errors },
        };
        close(&mut out, &(&query).into(), closing, limit);
        let message = Message::parse(&out).unwrap();
        let opt = message.records.last().unwrap();
        assert_eq!(opt.rtype, Rtype::OPT);
        (out.len(), message.header.flags & header::TC != 0, out[opt.data()].to_vec())
    }

    #[test]
    fn options_are_fitted_after_the_records() {
        let mut text = Vec::new();
        edns::push_extended_error(&mut text, [0, 22], &"x".repeat(64));
        let own = edns::extended_error_option(ExtendedError::STALE_ANSWER);
        let fixed = 12 + 15 + OPT_LEN;
        let (len, truncated, options) = closed(100, &text, 512);
        assert_eq!((len, truncated, options), (fixed + 100 + 76, false, [&own[..], &text].concat()));
        // One byte too few for the text, then for the code, then for the record.
        assert_eq!(closed(512 - fixed - 75, &text, 512), (512 - 69, false, own.to_vec()));
        assert_eq!(closed(512 - fixed - 5, &text, 512), (512 - 5, false, vec![]));
        assert_eq!(closed(512 - fixed, &text, 512), (512, false, vec![]));
        let (len, truncated, _) = closed(512 - fixed + 1, &text, 512);
        assert!(truncated && len <= 512);
    }

    #[test]
    fn a_reply_has_at_most_four_extended_errors() {
        let mut many = Vec::new();
        for _ in 0..20 {
            edns::push_extended_error(&mut many, [0, 22], "");
        }
        let (.., options) = closed(20, &many, 65_535);
        assert_eq!(options.len(), 4 * 6);
        assert!(options.starts_with(&edns::extended_error_option(ExtendedError::STALE_ANSWER)), "our own comes first");
    }

    #[test]
    fn a_reply_that_is_cut_is_as_long_as_its_query() {
        for opt in [None, Some((1232, 0))] {
            let bytes = query_bytes("a.example", Rtype::A, header::RD, opt);
            let mut name_buf = NameBuf::new();
            let query = Query::parse(&bytes, &mut name_buf).unwrap();
            let mut reply = Vec::new();
            let mut writer = Writer::start(&query, 512, &mut reply);
            writer.buffer().extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1]);
            writer.finish(Rcode::NXDOMAIN, false, Counts { answer: 1, ..Counts::default() }, None);
            cut(&bytes, &mut reply);
            assert_eq!(reply.len(), bytes.len());
            let message = Message::parse(&reply).unwrap();
            assert!(message.header.flags & header::TC != 0);
            assert_eq!(message.header.rcode(), Rcode::NXDOMAIN);
            assert_eq!(message.records.iter().filter(|record| record.rtype != Rtype::OPT).count(), 0);
        }
    }

    #[test]
    fn a_failure_that_is_cut_sends_no_client_to_tcp() {
        let bytes = query_bytes("a.example", Rtype::A, header::RD, Some((1232, 0)));
        let mut name_buf = NameBuf::new();
        let query = Query::parse(&bytes, &mut name_buf).unwrap();
        let mut reply = Vec::new();
        let writer = Writer::start(&query, 512, &mut reply);
        writer.finish(Rcode::SERVFAIL, false, Counts::default(), Some(ExtendedError::STALE_ANSWER));
        assert!(reply.len() > bytes.len());
        cut(&bytes, &mut reply);
        assert_eq!(reply.len(), bytes.len());
        let message = Message::parse(&reply).unwrap();
        assert_eq!((message.header.rcode(), message.header.flags & header::TC), (Rcode::SERVFAIL, 0));
    }

    #[test]
    fn authentic_data_is_for_clients_that_understand_it() {
        for (flags, opt, expected) in
            [(0, None, false), (0, Some((1232, 0)), false), (header::AD, None, true), (0, Some((1232, 0x8000)), true)]
        {
            let bytes = query_bytes("a.example", Rtype::A, flags, opt);
            let mut name_buf = NameBuf::new();
            let query = Query::parse(&bytes, &mut name_buf).unwrap();
            let mut out = [&[0; HEADER_LEN], query.question()].concat();
            let closing = Closing {
                rcode: Rcode::NOERROR,
                authoritative: false,
                authentic: true,
                truncated: false,
                counts: Counts::default(),
                options: ReplyOptions::default(),
            };
            close(&mut out, &(&query).into(), closing, 512);
            assert_eq!(Header::read(&out).unwrap().flags & header::AD != 0, expected, "{flags:#x} {opt:?}");
        }
    }
}
