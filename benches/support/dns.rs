//! Messages as clients and upstreams of the benchmarks write and read them: just enough of RFC 1035, nothing of the
//! library under test, so that a fault in it cannot hide itself.

use std::net::Ipv4Addr;

/// Type A.
pub(crate) const A: u16 = 1;
/// Type CNAME.
const CNAME: u16 = 5;
/// Type OPT.
const OPT: u16 = 41;
/// Compression pointer to the question's name.
const QNAME: [u8; 2] = [0xc0, 12];

/// A name in presentation form as it stands on the wire. Labels of the benchmarks need no escapes.
pub(crate) fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// A query with RD and an OPT record that allows 1232 bytes.
pub(crate) fn query(id: u16, name: &str, qtype: u16) -> Vec<u8> {
    let mut message = Vec::with_capacity(name.len() + 32);
    message.extend_from_slice(&id.to_be_bytes());
    message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    message.extend_from_slice(&wire_name(name));
    message.extend_from_slice(&qtype.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    push_opt(&mut message);
    message
}

fn push_opt(message: &mut Vec<u8>) {
    message.extend_from_slice(&[0, 0, OPT as u8, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
}

/// What an upstream sees of a query.
pub(crate) struct Asked {
    /// The name, lower case, without the last dot.
    pub(crate) name: String,
    /// The type.
    pub(crate) qtype: u16,
    question_end: usize,
    with_opt: bool,
}

impl Asked {
    /// Reads a query with one question.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (name, end) = read_name(bytes, 12)?;
        let qtype = bytes.get(end..end + 2)?;
        (bytes[2] & 0x80 == 0).then_some(Self {
            name,
            qtype: u16::from_be_bytes([qtype[0], qtype[1]]),
            question_end: end + 4,
            with_opt: bytes.get(10..12)? != [0, 0],
        })
    }

    /// The answer to the query in `bytes`: an address behind aliases, or no data where there is no address.
    ///
    /// `aliases` are names in presentation form with the TTL of the CNAME that leads to them.
    pub(crate) fn reply(&self, bytes: &[u8], aliases: &[(String, u32)], address: Option<(Ipv4Addr, u32)>) -> Vec<u8> {
        let mut message = bytes[..self.question_end].to_vec();
        message[2] = 0x80 | (bytes[2] & 0x01);
        message[3] = 0x80;
        let answers = aliases.len() + usize::from(address.is_some());
        message[6..12].copy_from_slice(&[0, answers as u8, 0, u8::from(answers == 0), 0, u8::from(self.with_opt)]);
        let mut owner = QNAME.to_vec();
        for (target, ttl) in aliases {
            let target = wire_name(target);
            push_record(&mut message, &owner, CNAME, *ttl, &target);
            owner = target;
        }
        if let Some((address, ttl)) = address {
            push_record(&mut message, &owner, A, ttl, &address.octets());
        } else if answers == 0 {
            let soa = [&[1, b'm', 0, 1, b'r', 0][..], &[0; 16], &60u32.to_be_bytes()].concat();
            push_record(&mut message, &[0], 6, 60, &soa);
        }
        if self.with_opt {
            push_opt(&mut message);
        }
        message
    }
}

fn push_record(message: &mut Vec<u8>, owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) {
    message.extend_from_slice(owner);
    message.extend_from_slice(&rtype.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message.extend_from_slice(&ttl.to_be_bytes());
    message.extend_from_slice(&(data.len() as u16).to_be_bytes());
    message.extend_from_slice(data);
}

/// What a client sees of a reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The response code.
    pub(crate) rcode: u8,
    /// Whether it was cut.
    pub(crate) is_cut: bool,
    /// The question's name, lower case.
    pub(crate) name: String,
    /// The first address in the answer section.
    pub(crate) address: Option<Ipv4Addr>,
}

impl Seen {
    /// Reads a response.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let head = bytes.first_chunk::<12>()?;
        let (name, end) = read_name(bytes, 12)?;
        let mut at = end + 4;
        let mut address = None;
        for _ in 0..u16::from_be_bytes([head[6], head[7]]) {
            at = skip_name(bytes, at)?;
            let fixed = bytes.get(at..at + 10)?;
            let len = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
            let data = bytes.get(at + 10..at + 10 + len)?;
            if fixed[..2] == A.to_be_bytes() && address.is_none() {
                address = <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from);
            }
            at += 10 + len;
        }
        (head[2] & 0x80 != 0).then_some(Self { rcode: head[3] & 0x0f, is_cut: head[2] & 0x02 != 0, name, address })
    }
}

/// Reads an uncompressed name; gives it and where it ends.
fn read_name(bytes: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut name = String::with_capacity(64);
    loop {
        let len = usize::from(*bytes.get(at)?);
        if len == 0 {
            return Some((name, at + 1));
        }
        let label = bytes.get(at + 1..at + 1 + len).filter(|_| len < 64)?;
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        at += 1 + len;
    }
}

fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            len if len >= 0xc0 => return Some(at + 2),
            len => at += 1 + usize::from(len),
        }
    }
}

/// The address that every name with this first label has: a client can tell a wrong answer without asking anybody.
pub(crate) fn address_of(label: &str) -> Ipv4Addr {
    let hash = label.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [_, b, c, d] = hash.to_be_bytes();
    Ipv4Addr::new(10, b, c, d)
}
