//! Questions that read like a dig session.
//!
//! `server.ask("name TYPE").rcode("NOERROR").aa().answer("name 10 IN A 10.1.0.5")`. Every answer is read by the
//! tests' own parser and by hickory-proto, and must echo ID, opcode, RD and question exactly. What goes wrong shows
//! both messages whole.

use super::SOON;
use super::dns::{self, Message, Opt, Record};
pub(crate) use super::socket::{client, connect, read_frame, receive, write_frame};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// A query whose upstreams do not respond ends after 4.5 s: what is answered before did not wait for that.
const DEADLINE: Duration = Duration::from_secs(4);

/// One question and how it is asked: RD set, EDNS of 1232 bytes, UDP, from 127.0.0.1.
#[derive(Clone)]
pub(crate) struct Query {
    name: Vec<u8>,
    qtype: u16,
    class: u16,
    id: u16,
    flags: u16,
    opt: Option<Opt>,
    tcp: bool,
    from: Option<IpAddr>,
    timeout: Duration,
}

impl Query {
    /// `name TYPE`, the case of its letters kept.
    pub(crate) fn new(question: &str) -> Self {
        let (name, kind) = question.split_once(' ').unwrap_or_else(|| panic!("name TYPE, not {question:?}"));
        Self {
            name: dns::name(name),
            qtype: dns::rtype(kind),
            class: 1,
            id: next_id(),
            flags: dns::RD,
            opt: Some(Opt { size: 1232, rcode_high: 0, version: 0, flags: 0, options: Vec::new() }),
            tcp: false,
            from: None,
            timeout: SOON,
        }
    }

    pub(crate) fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    pub(crate) fn from(mut self, ip: &str) -> Self {
        self.from = Some(ip.parse().unwrap());
        self
    }

    pub(crate) fn with_id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    pub(crate) fn class(mut self, class: u16) -> Self {
        self.class = class;
        self
    }

    pub(crate) fn opcode(mut self, opcode: u16) -> Self {
        self.flags = self.flags & !0x7800 | opcode << 11;
        self
    }

    pub(crate) fn flag(mut self, flag: u16) -> Self {
        self.flags |= flag;
        self
    }

    pub(crate) fn no_rd(mut self) -> Self {
        self.flags &= !dns::RD;
        self
    }

    pub(crate) fn no_edns(mut self) -> Self {
        self.opt = None;
        self
    }

    pub(crate) fn edns_size(mut self, size: u16) -> Self {
        self.edns().size = size;
        self
    }

    pub(crate) fn edns_version(mut self, version: u8) -> Self {
        self.edns().version = version;
        self
    }

    pub(crate) fn edns_flags(mut self, flags: u16) -> Self {
        self.edns().flags = flags;
        self
    }

    pub(crate) fn option(mut self, code: u16, data: &[u8]) -> Self {
        self.edns().options.push((code, data.to_vec()));
        self
    }

    /// How long an answer is waited for. The usual [`SOON`] is much longer than the 4.5 s that the server may take: that it keeps
    /// its deadline is tested with a simulated clock, beside the code.
    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn edns(&mut self) -> &mut Opt {
        self.opt.as_mut().expect("EDNS is on")
    }

    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for word in [self.id, self.flags, 1, 0, 0, u16::from(self.opt.is_some())] {
            out.extend(word.to_be_bytes());
        }
        out.extend(&self.name);
        out.extend(self.qtype.to_be_bytes());
        out.extend(self.class.to_be_bytes());
        if let Some(opt) = &self.opt {
            opt.write(&mut out);
        }
        out
    }

    /// Asks and takes the answer, which must come and must be one to this question.
    pub(crate) fn ask_at(&self, server: SocketAddr) -> Got {
        self.try_ask_at(server).unwrap_or_else(|| panic!("no answer from {server} to\n{}", dns::show(&self.bytes())))
    }

    /// As [`Self::ask_at`], but silence and a closed connection are none.
    pub(crate) fn try_ask_at(&self, server: SocketAddr) -> Option<Got> {
        let start = Instant::now();
        let bytes = self.send_at(server)?;
        match self.check(&bytes) {
            Ok(message) => Some(Got { query: self.clone(), message, bytes, took: start.elapsed() }),
            Err(why) => panic!("{why}\nasked\n{}got\n{}", dns::show(&self.bytes()), dns::show(&bytes)),
        }
    }

    /// The bytes of the first answer, whatever they are.
    pub(crate) fn send_at(&self, server: SocketAddr) -> Option<Vec<u8>> {
        if self.tcp {
            let mut stream = connect(self.from, server);
            stream.set_read_timeout(Some(self.timeout)).unwrap();
            write_frame(&mut stream, &self.bytes());
            return read_frame(&mut stream);
        }
        let socket = client(self.from, server);
        socket.send(&self.bytes()).unwrap();
        receive(&socket, self.timeout)
    }

    /// Reads an answer twice, and compares what must be echoed.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<Message, String> {
        let message = Message::parse(bytes)?;
        judge(bytes, &message)?;
        if message.id != self.id {
            return Err(format!("ID {} instead of {}", message.id, self.id));
        }
        if message.flags & (dns::QR | 0x7800 | dns::RD) != dns::QR | self.flags & (0x7800 | dns::RD) {
            return Err(format!("flags {:#06x} to a query of {:#06x}", message.flags, self.flags));
        }
        if message.flags & 0x0040 != 0 {
            return Err("the reserved bit Z is set (RFC 1035 §4.1.1)".to_owned());
        }
        let [question] = message.questions.as_slice() else {
            return Err(format!("{} questions", message.questions.len()));
        };
        if (&question.name, question.qtype, question.class) != (&self.name, self.qtype, self.class) {
            return Err("the question is not echoed as asked".to_owned());
        }
        if self.opt.is_none() && message.opt.is_some() {
            return Err("an OPT record without having asked with one".to_owned());
        }
        if self.opt.is_some() && message.opt.is_none() {
            return Err("no OPT record although asked with one (RFC 6891 §6.1.1)".to_owned());
        }
        if !self.tcp && bytes.len() > self.limit() {
            return Err(format!("{} bytes over UDP, {} are allowed", bytes.len(), self.limit()));
        }
        Ok(message)
    }

    fn limit(&self) -> usize {
        self.opt.as_ref().map_or(512, |opt| usize::from(opt.size.clamp(512, 4096)))
    }
}

/// A query with this ID for a name's A records, without EDNS.
pub(crate) fn query(id: u16, name: &str) -> Vec<u8> {
    Query::new(&format!("{name} A")).no_edns().with_id(id).bytes()
}

/// hickory-proto reads the same sections. It refuses records without data outside of updates, which RFC 3597 allows.
fn judge(bytes: &[u8], message: &Message) -> Result<(), String> {
    let sections = [&message.answers, &message.authorities, &message.additionals];
    if sections.iter().any(|section| section.iter().any(|record| record.rdata.is_empty())) {
        return Ok(());
    }
    let theirs = hickory_proto::op::Message::read(&mut BinDecoder::new(bytes))
        .map_err(|error| format!("hickory-proto cannot read it: {error}"))?;
    let counts = [theirs.answers.len(), theirs.authorities.len(), theirs.additionals.len()];
    if counts != sections.map(Vec::len) {
        return Err(format!("hickory-proto counts {counts:?}"));
    }
    Ok(())
}

/// IDs that differ within one run, so that answers cannot be mixed up unseen.
fn next_id() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0x2a5b);
    NEXT.fetch_add(0x1235, Ordering::Relaxed)
}

/// An answer, with the question that it answers.
pub(crate) struct Got {
    query: Query,
    pub(crate) message: Message,
    pub(crate) bytes: Vec<u8>,
    pub(crate) took: Duration,
}

impl Got {
    #[track_caller]
    fn ensure(&self, good: bool, what: impl FnOnce() -> String) -> &Self {
        if !good {
            panic!("{}\nasked\n{}got\n{}", what(), dns::show(&self.query.bytes()), self.message);
        }
        self
    }

    #[track_caller]
    pub(crate) fn rcode(&self, rcode: &str) -> &Self {
        self.ensure(self.message.rcode() == dns::rcode(rcode), || format!("rcode {rcode} expected"))
    }

    #[track_caller]
    fn flag(&self, flag: u16, set: bool, name: &str) -> &Self {
        self.ensure(self.message.has(flag) == set, || format!("{name} expected to be {set}"))
    }

    #[track_caller]
    pub(crate) fn aa(&self) -> &Self {
        self.flag(dns::AA, true, "AA")
    }

    #[track_caller]
    pub(crate) fn no_aa(&self) -> &Self {
        self.flag(dns::AA, false, "AA")
    }

    #[track_caller]
    pub(crate) fn ra(&self) -> &Self {
        self.flag(dns::RA, true, "RA")
    }

    #[track_caller]
    pub(crate) fn tc(&self) -> &Self {
        self.flag(dns::TC, true, "TC")
    }

    #[track_caller]
    pub(crate) fn no_tc(&self) -> &Self {
        self.flag(dns::TC, false, "TC")
    }

    #[track_caller]
    pub(crate) fn ad(&self) -> &Self {
        self.flag(dns::AD, true, "AD")
    }

    #[track_caller]
    pub(crate) fn no_ad(&self) -> &Self {
        self.flag(dns::AD, false, "AD")
    }

    #[track_caller]
    pub(crate) fn cd(&self) -> &Self {
        self.flag(dns::CD, true, "CD")
    }

    /// The answer section holds this record.
    #[track_caller]
    pub(crate) fn answer(&self, line: &str) -> &Self {
        let expected = dns::record(line);
        self.ensure(self.message.answers.iter().any(|record| record.is(&expected)), || format!("no answer {line}"))
    }

    /// The answer section is exactly this, in this order.
    #[track_caller]
    pub(crate) fn answers<S: AsRef<str>>(&self, lines: &[S]) -> &Self {
        let found = same_in_order(&self.message.answers, lines);
        self.ensure(found, || format!("answers expected:\n{}", joined(lines)))
    }

    /// The answer section is exactly this, in any order.
    #[track_caller]
    pub(crate) fn answers_in_any_order<S: AsRef<str>>(&self, lines: &[S]) -> &Self {
        let mut got = self.message.answers.clone();
        let complete = lines.iter().all(|line| {
            let expected = dns::record(line.as_ref());
            let place = got.iter().position(|record| record.is(&expected));
            place.map(|at| got.remove(at)).is_some()
        });
        self.ensure(complete && got.is_empty(), || format!("answers expected:\n{}", joined(lines)))
    }

    #[track_caller]
    pub(crate) fn no_answers(&self) -> &Self {
        self.answers::<&str>(&[])
    }

    #[track_caller]
    pub(crate) fn authority<S: AsRef<str>>(&self, lines: &[S]) -> &Self {
        let found = same_in_order(&self.message.authorities, lines);
        self.ensure(found, || format!("authority expected:\n{}", joined(lines)))
    }

    #[track_caller]
    pub(crate) fn additional<S: AsRef<str>>(&self, lines: &[S]) -> &Self {
        let found = same_in_order(&self.message.additionals, lines);
        self.ensure(found, || format!("additional expected:\n{}", joined(lines)))
    }

    /// Exactly one SOA in the authority section: its owner, and TTL and minimum, both `ttl`.
    #[track_caller]
    pub(crate) fn soa(&self, owner: &str, ttl: u32) -> &Self {
        let soa = self.soas();
        let expected = dns::name(owner);
        let good = soa.len() == 1
            && self.message.authorities.len() == 1
            && soa[0].name.eq_ignore_ascii_case(&expected)
            && soa[0].ttl == ttl
            && soa[0].rdata[soa[0].rdata.len() - 4..] == ttl.to_be_bytes();
        self.ensure(good, || format!("one SOA of {owner} with TTL and minimum {ttl} expected in authority"))
    }

    fn soas(&self) -> Vec<&Record> {
        self.message.authorities.iter().filter(|record| record.rtype == 6).collect()
    }

    /// NODATA from the table (RFC 2308 §2.2): nothing but the SOA of `owner`.
    #[track_caller]
    pub(crate) fn nodata(&self, owner: &str) -> &Self {
        self.rcode("NOERROR").aa().ra().no_answers().soa(owner, 10)
    }

    /// NXDOMAIN from the table (RFC 2308 §2.1): nothing but the SOA of `owner`.
    #[track_caller]
    pub(crate) fn nxdomain(&self, owner: &str) -> &Self {
        self.rcode("NXDOMAIN").aa().ra().no_answers().soa(owner, 10)
    }

    /// The extended errors' codes hold this one.
    #[track_caller]
    pub(crate) fn ede(&self, code: u16) -> &Self {
        let codes: Vec<u16> = self.extended_errors().into_iter().map(|(code, _)| code).collect();
        self.ensure(codes.contains(&code), || format!("extended error {code} expected, there are {codes:?}"))
    }

    /// Some extended error is there (RFC 8914): every refusal and failure of our own says why.
    #[track_caller]
    pub(crate) fn some_ede(&self) -> &Self {
        self.ensure(!self.extended_errors().is_empty(), || "an extended error expected".to_owned())
    }

    #[track_caller]
    pub(crate) fn no_ede(&self) -> &Self {
        self.ensure(self.extended_errors().is_empty(), || "no extended error expected".to_owned())
    }

    pub(crate) fn extended_errors(&self) -> Vec<(u16, String)> {
        self.message.opt.as_ref().map(Opt::extended_errors).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn opt(&self) -> &Opt {
        self.ensure(self.message.opt.is_some(), || "OPT expected".to_owned());
        self.message.opt.as_ref().unwrap()
    }

    #[track_caller]
    pub(crate) fn before_deadline(&self) -> &Self {
        self.ensure(self.took < DEADLINE, || format!("took {:?}: it waited for the deadline of a query", self.took))
    }

    #[track_caller]
    pub(crate) fn not_before(&self, least: Duration) -> &Self {
        self.ensure(self.took >= least, || format!("took {:?}, not before {least:?} expected", self.took))
    }
}

fn same_in_order<S: AsRef<str>>(records: &[Record], lines: &[S]) -> bool {
    records.len() == lines.len()
        && records.iter().zip(lines).all(|(record, line)| record.is(&dns::record(line.as_ref())))
}

fn joined<S: AsRef<str>>(lines: &[S]) -> String {
    lines.iter().map(|line| format!("  {}\n", line.as_ref())).collect()
}
