//! A question that was sent and not yet answered, and what counts as its answer (RFC 5452).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::machine::Via;
use super::rule::ForwardRule;
use crate::wire::edns::push_opt;
use crate::wire::header::{self, HEADER_LEN, Header};
use crate::wire::{Edns, Message, Rcode, Rtype};

/// A question with all who wait for it.
#[derive(Debug)]
pub(super) struct OutstandingQuery<W> {
    /// Tells it from a later one in the same place.
    pub(super) generation: u32,
    pub(super) key: Box<[u8]>,
    /// Name as the first client asked it, type, class.
    pub(super) question: Box<[u8]>,
    pub(super) dnssec_ok: bool,
    pub(super) checking_disabled: bool,
    /// The client whose turn it takes while it waits for a budget.
    pub(super) client: IpAddr,
    pub(super) rule: Arc<ForwardRule>,
    pub(super) waiters: Vec<W>,
    pub(super) deadline: Instant,
    pub(super) tries: Vec<Try>,
    /// When to ask again; nothing when all tries are made.
    pub(super) next_try: Option<Instant>,
    /// Whether it stands in the line of an upstream's budget.
    pub(super) is_waiting: bool,
    /// Asked without EDNS, because an upstream does not understand it.
    pub(super) without_edns: bool,
    /// Somebody may be guessing: only TCP decides now.
    pub(super) is_suspicious: bool,
    /// A UDP answer that matched after a suspicion: for where TCP is not to be had.
    pub(super) held: Option<Vec<u8>>,
    /// An answer that says failure: passed on where nobody says better.
    pub(super) failure: Option<Vec<u8>>,
    /// An upstream could not even be reached.
    pub(super) was_unreachable: bool,
}

/// One query to one upstream.
#[derive(Debug)]
pub(super) struct Try {
    pub(super) upstream: usize,
    pub(super) via: Via,
    pub(super) id: u16,
    pub(super) sent: Instant,
    /// Still expected to be answered.
    pub(super) is_open: bool,
    /// Its patience is over, which its upstream was told.
    pub(super) is_late: bool,
}

/// What a datagram or message from an upstream is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Not an answer to this try.
    Unrelated,
    /// From the right place with the wrong ID, the wrong case, or without the question: somebody may be guessing.
    Suspicious,
    /// The answer, and more of it than fits: TC, or cut where TC should have been.
    Cut,
    /// The upstream does not understand EDNS.
    NoEdns,
    /// The answer says failure.
    Failure,
    /// The answer.
    Answer,
}

/// Judges what came back for a query with this ID and question.
pub(super) fn judge(bytes: &[u8], id: u16, question: &[u8], with_edns: bool) -> Judgement {
    let Some(header) = Header::read(bytes) else {
        return Judgement::Unrelated;
    };
    if header.flags & header::QR == 0 || header.opcode() != 0 {
        return Judgement::Unrelated;
    }
    if header.id != id {
        return Judgement::Suspicious;
    }
    let echoed = bytes.get(HEADER_LEN..HEADER_LEN + question.len()).unwrap_or_default();
    if header.qdcount == 0 && header.rcode() != Rcode::NOERROR {
        return Judgement::Suspicious;
    }
    if header.qdcount != 1 || echoed != question {
        let same_but_for_case = header.qdcount == 1 && echoed.eq_ignore_ascii_case(question);
        return if same_but_for_case {
            Judgement::Suspicious
        } else {
            Judgement::Unrelated
        };
    }
    judge_matching(bytes, &header, with_edns)
}

/// Judges what came by TCP, where nobody can guess: case and a missing question are forgiven.
pub(super) fn judge_stream(bytes: &[u8], id: u16, question: &[u8], with_edns: bool) -> Judgement {
    let Some(header) = Header::read(bytes) else {
        return Judgement::Unrelated;
    };
    if header.flags & header::QR == 0 || header.id != id || header.opcode() != 0 {
        return Judgement::Unrelated;
    }
    if header.qdcount == 0 && header.rcode() == Rcode::FORMERR && with_edns {
        return Judgement::NoEdns;
    }
    let echoed = bytes.get(HEADER_LEN..HEADER_LEN + question.len()).unwrap_or_default();
    if header.qdcount != 1 || !echoed.eq_ignore_ascii_case(question) {
        return Judgement::Unrelated;
    }
    judge_matching(bytes, &header, with_edns)
}

fn judge_matching(bytes: &[u8], header: &Header, with_edns: bool) -> Judgement {
    if header.flags & header::TC != 0 {
        return Judgement::Cut;
    }
    let Some(message) = Message::parse(bytes) else {
        return Judgement::Cut;
    };
    let opt = message.records.iter().find(|record| record.rtype == Rtype::OPT);
    let high = opt.map_or(0, |opt| u16::from(Edns::from_fields(opt.class, opt.ttl).rcode_high));
    match Rcode(header.rcode().0 | high << 4) {
        Rcode::BADVERS if with_edns => Judgement::NoEdns,
        Rcode::NOERROR | Rcode::NXDOMAIN => Judgement::Answer,
        Rcode::FORMERR | Rcode::NOTIMP if with_edns => Judgement::NoEdns,
        _ => Judgement::Failure,
    }
}

/// Writes the query: RD, the client's CD, our own OPT record with its DO, nothing else that the client said.
pub(super) fn write_query<W>(query: &OutstandingQuery<W>, id: u16) -> Vec<u8> {
    let mut flags = header::RD | header::AD;
    if query.checking_disabled {
        flags |= header::CD;
    }
    let arcount = u16::from(!query.without_edns);
    let mut bytes = Header {
        id,
        flags,
        qdcount: 1,
        ancount: 0,
        nscount: 0,
        arcount,
    }
    .to_bytes()
    .to_vec();
    bytes.extend_from_slice(&query.question);
    if !query.without_edns {
        push_opt(&mut bytes, Rcode::NOERROR, query.dnssec_ok, &[]);
    }
    bytes
}
